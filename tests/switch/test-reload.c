/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload that fails leaves of what was there: everything, if it can. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 300,
};

static uint8_t frame[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void pass(struct fixture *f, unsigned to, unsigned from)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	fixture_send(f, from, frame, BYTES);
	fixture_expect(f, to, frame, BYTES);
}

static void put_port(FILE *file, const char *name, const char *path,
		     const char *keys)
{
	fprintf(file, "  - {name: %s, kind: vhost-user, socket-path: %s%s%s}\n",
		name, path, keys[0] ? ", " : "", keys);
}

/* A port of a file; its socket is that of guest @socket, or, if that is named, the
 * one of @path. */
struct row {
	const char *name, *keys;
	unsigned socket;
	const char *path;
};

static void write_config(const struct fixture *f, const char *head,
			 const struct row *rows, unsigned count)
{
	char path[128];
	FILE *file = fopen(f->config, "we");

	assert_non_null(file);
	fprintf(file, "%s\nports:\n", head);
	for (unsigned i = 0; i < count; i++) {
		fixture_socket(f, rows[i].socket, path);
		put_port(file, rows[i].name, rows[i].path ? rows[i].path : path,
			 rows[i].keys);
	}
	assert_int_equal(fclose(file), 0);
}

/* What it looks like to somebody who asks. */
struct view {
	char config[FIXTURE_SAID_BYTES], ports[FIXTURE_SAID_BYTES],
		counters[FIXTURE_SAID_BYTES];
};

static void look(struct fixture *f, struct view *ret)
{
	assert_int_equal(fixture_ctl(f, "config show"), 0);
	strcpy(ret->config, f->said);
	assert_int_equal(fixture_ctl(f, "port show"), 0);
	strcpy(ret->ports, f->said);
	assert_int_equal(fixture_ctl(f, "stats"), 0);
	strcpy(ret->counters, f->said);
}

static void assert_same(const struct view *a, const struct view *b)
{
	assert_string_equal(a->config, b->config);
	assert_string_equal(a->ports, b->ports);
	assert_string_equal(a->counters, b->counters);
}

static void assert_fails(struct fixture *f, const char *words)
{
	assert_int_equal(fixture_ctl(f, "reload"), 1);
	assert_non_null(strstr(f->said, words));
}

/* Each of guests 0 to 2 where it was heard, and nobody had to be told. */
static void assert_stations(struct fixture *f)
{
	fixture_ctl_says(f, "fdb show", "02:00:00:00:00:00  1     p0");
	assert_non_null(strstr(f->said, "02:00:00:00:00:01  1     p1"));
	assert_non_null(strstr(f->said, "02:00:00:00:00:02  1     p2"));
}

#define MIRROR	"mirror: {ports: [p1]}"
#define STATION "stations: [\"02:00:00:00:00:09\"]"

/* Of p4 the station comes, and goes again with it. */
static void port_that_cannot_come_leaves_the_one_before_alone(void **state)
{
	static const char *const before[] = {"", "", STATION, MIRROR, NULL};
	static const struct row after[] = {
		{"p0", "vlan: 7", 0, NULL},   {"p2", "", 2, NULL},
		{"p3", MIRROR, 3, NULL},      {"p4", STATION, 4, NULL},
		{"p1", "", 1, "/nowhere/p1"},
	};
	static struct view was, is;
	struct fixture *f = *state;

	fixture_start_controlled(f, "lcores: 2", before);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	fixture_join(f, 3, NULL);
	look(f, &was);
	write_config(f, "lcores: 2", after, ARRAY_SIZE(after));
	assert_fails(f, "/nowhere/p1: ");
	look(f, &is);
	assert_same(&is, &was);
	assert_stations(f);
	assert_non_null(strstr(f->said, "02:00:00:00:00:09  1     p2"));

	/* The same guest, and who listens to it. */
	pass(f, 2, 1);
	fixture_expect(f, 3, frame, BYTES);
	pass(f, 1, 2);
	fixture_expect(f, 3, frame, BYTES);
	pass(f, 0, 1);
}

/* The port is to be made anew on its own socket: not before there is place for all
 * that it has. */
static void port_without_places_for_stations_stops_nobody(void **state)
{
	static const char *const before[] = {"", "", "", NULL};
	static const struct row after[] = {
		{"p0", "vlan: 7", 0, NULL},
		{"p2", "", 2, NULL},
		{"p1", "stations: [\"02:00:00:00:01:00\"], queues: 2", 1, NULL},
	};
	static struct view was, is;
	struct fixture *f = *state;

	fixture_start_controlled(f, "fdb-capacity: 3", before);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	look(f, &was);
	write_config(f, "fdb-capacity: 3", after, ARRAY_SIZE(after));
	assert_fails(f, "its stations find no place");
	look(f, &is);
	assert_same(&is, &was);
	assert_stations(f);
	pass(f, 1, 0);
	pass(f, 0, 1);
}

static void put_file_in_place_of_socket(const struct fixture *f, unsigned port)
{
	char path[128];
	FILE *file;

	fixture_socket(f, port, path);
	assert_int_equal(unlink(path), 0);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fclose(file), 0);
}

/* Both sockets are wanted, and both ports stop; that of p2 is not to be had again, by
 * nobody, since there is something else. */
static void port_that_was_halted_comes_back_with_its_stations(void **state)
{
	static const char *const before[] = {"", "shape: {rate: 100000000}", "",
					     NULL};
	static const struct row after[] = {
		{"p0", "vlan: 7", 0, NULL},
		{"p1", "queues: 2", 1, NULL},
		{"p2", "queues: 2", 2, NULL},
	};
	struct fixture *f = *state;
	char path[128];
	uint64_t sent;

	fixture_start_controlled(f, "", before);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	fixture_count(f);
	sent = fixture_counted(f, "p1: sent frames ");
	write_config(f, "", after, ARRAY_SIZE(after));
	put_file_in_place_of_socket(f, 2);
	fixture_socket(f, 2, path);
	assert_fails(f, path);
	process_wait_log(&f->process, "the port p2 does not come back: ");
	fixture_leave(f, 1);
	fixture_join(f, 1, NULL);
	fixture_ctl_says(f, "fdb show", "02:00:00:00:00:00  1     p0");
	assert_non_null(strstr(f->said, "02:00:00:00:00:01  1     p1"));
	assert_null(strstr(f->said, "02:00:00:00:00:02"));
	/* Under its number, with what it has counted. */
	fixture_ctl_says(f, "port show", "\np1    vhost-user  1 ");
	assert_null(strstr(f->said, "p2 "));
	pass(f, 1, 0);
	pass(f, 0, 1);
	fixture_count(f);
	assert_int_equal(fixture_counted(f, "p1: sent frames "), sent + 1);

	assert_int_equal(unlink(path), 0);
	fixture_ctl_says(f, "reload",
			 "added=1 removed=0 changed=1 replaced=1\n");
}

/* Two that change places have both to stop; a third goes on beside the one that
 * replaces it until that is there. */
static void ports_change_places(void **state)
{
	static const char *const before[] = {"", "", "", NULL};
	static const struct row after[] = {
		{"p0", "", 1, NULL},
		{"p1", "", 0, NULL},
		{"p2", "", 3, NULL},
	};
	struct fixture *f = *state;

	fixture_start_controlled(f, "", before);
	fixture_join_all(f, 3);
	write_config(f, "", after, ARRAY_SIZE(after));
	fixture_ctl_says(f, "reload",
			 "added=0 removed=0 changed=0 replaced=3\n");
	for (unsigned i = 0; i < 3; i++)
		fixture_leave(f, i);
	fixture_join(f, 0, NULL);
	fixture_join(f, 1, NULL);
	fixture_join(f, 3, NULL);
	pass(f, 1, 0);
	/* Nobody knew where guest 1 is. */
	fixture_expect(f, 3, frame, BYTES);
	pass(f, 0, 3);
	pass(f, 3, 1);
	fixture_ctl_says(f, "fdb show", "02:00:00:00:00:00  1     p1");
	assert_non_null(strstr(f->said, "02:00:00:00:00:03  1     p2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(port_that_cannot_come_leaves_the_one_before_alone),
		SWITCH_TEST(port_without_places_for_stations_stops_nobody),
		SWITCH_TEST(port_that_was_halted_comes_back_with_its_stations),
		SWITCH_TEST(ports_change_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
