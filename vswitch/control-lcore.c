/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/control-lcore.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vswitch/balance.h"

/* To be freed; NULL: there is no memory. */
static struct balance_queue *list(struct vswitch *vswitch, unsigned *ret_count)
{
	struct balance_queue *queues =
		malloc(BALANCE_MAX_QUEUES * sizeof(*queues));

	if (queues)
		*ret_count =
			balance_list(vswitch_balance(vswitch), vswitch, queues);
	return queues;
}

static int no_memory(char *ret_error)
{
	snprintf(ret_error, RPC_ERROR_BYTES, "there is no memory");
	return RPC_E_FAILED;
}

/* Per mille, as a person reads it. */
static json_t *percent(unsigned load)
{
	char text[16];

	snprintf(text, sizeof(text), "%u.%u%%", load / 10, load % 10);
	return json_string(text);
}

static json_t *describe_lcore(unsigned number, const struct lcore_counters *c,
			      unsigned load)
{
	return json_pack("{s:i, s:i, s:I, s:o}", "lcore", (int)number, "queues",
			 (int)c->sources, "frames", (json_int_t)c->frames,
			 "busy", percent(load));
}

int control_lcore_list(void *arg, json_t *params, json_t **ret_result,
		       char ret_error[static RPC_ERROR_BYTES])
{
	unsigned count, loads[CONFIG_MAX_LCORES] = {0};
	struct balance_queue *queues = list(arg, &count);

	if (!queues)
		return no_memory(ret_error);
	for (unsigned i = 0; i < count; i++)
		loads[queues[i].lcore] += queues[i].load;
	free(queues);
	*ret_result = json_array();
	for (unsigned i = 0; i < vswitch_lcore_count(arg); i++) {
		struct lcore_counters counters;

		lcore_count(vswitch_lcore(arg, i), &counters);
		json_array_append_new(*ret_result,
				      describe_lcore(i, &counters, loads[i]));
	}
	return 0;
}

int control_lcore_queues(void *arg, json_t *params, json_t **ret_result,
			 char ret_error[static RPC_ERROR_BYTES])
{
	unsigned count;
	struct balance_queue *queues = list(arg, &count);

	if (!queues)
		return no_memory(ret_error);
	*ret_result = json_array();
	for (unsigned i = 0; i < count; i++)
		json_array_append_new(
			*ret_result,
			json_pack("{s:s, s:i, s:i, s:o, s:b}", "port",
				  vswitch_port(arg, queues[i].port)->name,
				  "pair", (int)queues[i].pair, "lcore",
				  (int)queues[i].lcore, "busy",
				  percent(queues[i].load), "placed",
				  (int)queues[i].is_placed));
	free(queues);
	return 0;
}

int control_lcore_move(void *arg, json_t *params, json_t **ret_result,
		       char ret_error[static RPC_ERROR_BYTES])
{
	const char *name = json_string_value(json_object_get(params, "port"));
	json_int_t pair = json_integer_value(json_object_get(params, "pair"));
	json_int_t to = json_integer_value(json_object_get(params, "lcore"));
	uint16_t number;
	int err;

	if (vswitch_find_port(arg, name, &number) < 0) {
		snprintf(ret_error, RPC_ERROR_BYTES,
			 "%.64s: no port has this name", name);
		return RPC_E_FAILED;
	}
	if (to < 0 || to >= vswitch_lcore_count(arg)) {
		snprintf(ret_error, RPC_ERROR_BYTES, "lcore: give 0 to %u",
			 vswitch_lcore_count(arg) - 1);
		return RPC_E_PARAMS;
	}
	err = pair < 0 || pair >= CONFIG_MAX_QUEUES
		      ? -ENOENT
		      : balance_place(arg, number, pair, to);
	if (err < 0) {
		snprintf(ret_error, RPC_ERROR_BYTES, "%.64s: pair %lld: %s",
			 name, (long long)pair,
			 err == -ENOENT ? "nobody serves it now"
					: strerror(-err));
		return RPC_E_FAILED;
	}
	*ret_result = json_true();
	return 0;
}
