/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ctl-top.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "vswitch/ctl-client.h"
#include "vswitch/ctl-table.h"

enum {
	BITS = 8,
	MEGA = 1000 * 1000,
};

/* What was counted at one time. */
struct look {
	uint64_t ns;
	json_t *ports; /* of `stats`; owned */
};

static json_t *result_of(FILE *to, const char *method)
{
	json_t *answer = ctl_ask(to, method, json_object());
	json_t *result = json_incref((json_t *)ctl_result(answer));

	json_decref(answer);
	return result;
}

static const json_t *find_port(const json_t *ports, const char *name)
{
	json_t *port;
	size_t at;

	json_array_foreach((json_t *)ports, at, port)
	{
		if (strcmp(json_string_value(json_object_get(port, "port")),
			   name) == 0)
			return port;
	}
	return NULL;
}

/* A count, or the sum of those in an object. */
static uint64_t count_of(const json_t *port, const char *key)
{
	json_t *value = json_object_get(port, key), *member;
	const char *name;
	uint64_t sum = 0;

	if (!json_is_object(value))
		return json_integer_value(value);
	json_object_foreach(value, name, member) sum +=
		json_integer_value(member);
	return sum;
}

/* A second's share, of a port that may be another of that name: from nothing. */
static uint64_t rate(const json_t *now, const json_t *before, const char *key,
		     uint64_t passed_ns)
{
	const uint64_t count = count_of(now, key);
	const uint64_t last = before ? count_of(before, key) : count;
	const uint64_t more = count >= last ? count - last : count;

	return more * (double)NS_PER_SECOND / MAX(passed_ns, UINT64_C(1));
}

static json_t *describe(const json_t *now, const json_t *before,
			uint64_t passed_ns)
{
	static const char *const drops[] = {"sent-dropped", "received-dropped",
					    "not-forwarded", "unreachable"};
	uint64_t dropped = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(drops); i++)
		dropped += rate(now, before, drops[i], passed_ns);
	return json_pack(
		"{s:O, s:I, s:I, s:I, s:I, s:I, s:O}", "port",
		json_object_get(now, "port"), "sent/s",
		(json_int_t)rate(now, before, "sent-frames", passed_ns),
		"sent Mbit/s",
		(json_int_t)(rate(now, before, "sent-bytes", passed_ns) * BITS /
			     MEGA),
		"received/s",
		(json_int_t)rate(now, before, "received-frames", passed_ns),
		"received Mbit/s",
		(json_int_t)(rate(now, before, "received-bytes", passed_ns) *
			     BITS / MEGA),
		"dropped/s", (json_int_t)dropped, "stations",
		json_object_get(now, "stations"));
}

static void show(const struct look *now, const struct look *before,
		 const json_t *lcores)
{
	static const char *const port_columns[] = {"port",
						   "sent/s",
						   "sent Mbit/s",
						   "received/s",
						   "received Mbit/s",
						   "dropped/s",
						   "stations",
						   NULL};
	static const char *const lcore_columns[] = {"lcore", "queues", "frames",
						    "busy", NULL};
	json_t *rows = json_array(), *port;
	size_t at;

	json_array_foreach(now->ports, at, port)
	{
		const char *name =
			json_string_value(json_object_get(port, "port"));

		json_array_append_new(
			rows, describe(port, find_port(before->ports, name),
				       now->ns - before->ns));
	}
	/* From the upper left corner, and nothing below. */
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	ctl_print_table(rows, port_columns);
	putchar('\n');
	ctl_print_table(lcores, lcore_columns);
	putchar('\n');
	json_decref(rows);
}

static int look(FILE *to, struct look *ret)
{
	ret->ports = result_of(to, "stats");
	ret->ns = clock_ns();
	return ret->ports ? 0 : -EIO;
}

static int show_next(FILE *to, struct look *before)
{
	struct look now;
	json_t *lcores;
	int err = look(to, &now);

	if (err < 0)
		return err;
	lcores = result_of(to, "lcore.list");
	if (lcores)
		show(&now, before, lcores);
	json_decref(before->ports);
	*before = now;
	json_decref(lcores);
	return lcores && fflush(stdout) == 0 ? 0 : -EIO;
}

int ctl_top(FILE *to, unsigned count)
{
	struct look before;
	int err = look(to, &before);

	if (err < 0)
		return err;
	for (unsigned i = 0; err == 0 && (count == 0 || i < count); i++) {
		sleep(1);
		err = show_next(to, &before);
	}
	json_decref(before.ports);
	return err;
}
