/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/switch-tests.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "tools/vbench/process.h"

/* --- traffic ----------------------------------------------------------------- */

static bool next_of_pair(void *arg, unsigned from,
			 struct switch_target *ret_target)
{
	*ret_target = (struct switch_target){.guest = from ^ 1};
	return true;
}

static bool next_of_mesh(void *arg, unsigned from,
			 struct switch_target *ret_target)
{
	const struct switch_load *load = arg;
	const unsigned others = load->options->active - 1;
	const unsigned to = load->next[from] % others;

	*ret_target = (struct switch_target){
		.guest = to < from ? to : to + 1,
	};
	return true;
}

static bool next_broadcast(void *arg, unsigned from,
			   struct switch_target *ret_target)
{
	*ret_target = (struct switch_target){.guest = SWITCH_TO_ALL};
	return true;
}

static int pid_of(const struct switch_load *load)
{
	return load->options->backend_pid
		       ? load->options->backend_pid
		       : switch_guest_backend_pid(load->guests[0]);
}

static void sum_up(const struct switch_load *load,
		   struct switch_result *ret_result)
{
	ret_result->sent = ret_result->arrived = ret_result->lost = 0;
	for (unsigned i = 0; i < load->options->guests; i++) {
		ret_result->sent += load->counts[i].sent;
		ret_result->arrived += load->counts[i].arrived;
		ret_result->lost += load->counts[i].lost;
	}
}

static int measure(struct switch_load *load,
		   const struct switch_pattern *pattern,
		   struct switch_result *ret_result)
{
	const int pid = pid_of(load);
	uint64_t before = 0, after = 0, began;
	int err = switch_load_run(load, pattern, load->options->ramp_ns);

	switch_load_reset(load);
	if (process_cpu_ns(pid, &before) < 0)
		before = 0;
	began = clock_ns();
	if (err == 0)
		err = switch_load_run(load, pattern, load->options->time_ns);
	ret_result->elapsed_ns = clock_ns() - began;
	if (before && process_cpu_ns(pid, &after) == 0)
		ret_result->backend_cpu_ns = after - before;
	sum_up(load, ret_result);
	return err;
}

static int run_traffic(struct switch_load *load,
		       struct switch_result *ret_result)
{
	const struct switch_bench_options *o = load->options;
	struct switch_pattern pattern = {
		.next = o->test == SWITCH_PAIRS ? next_of_pair : next_of_mesh,
		.arg = load,
		.senders = o->active,
		.takers = o->active,
		.copies = 1,
	};

	if (o->test == SWITCH_BROADCAST)
		pattern = (struct switch_pattern){
			.next = next_broadcast,
			.senders = 1,
			.takers = o->guests,
			.copies = o->guests - 1,
		};
	return measure(load, &pattern, ret_result);
}

/* --- RFC 2889, 5.7 and 5.8 ---------------------------------------------------- */

/* Guest 0 asks, the stations are behind guest 1, guest 2 hears what is flooded. */
enum {
	ASKER,
	LEARNED,
	MONITOR,
	LEARNING_GUESTS,
	TRIALS = 8,
};

struct learning {
	struct switch_load *load;
	uint32_t first, count; /* stations, of which none is new to us */
	uint64_t pace_ns;      /* between two of them; 0: as fast as may be */
	uint64_t began_ns;
};

static bool next_to_learn(void *arg, unsigned from,
			  struct switch_target *ret_target)
{
	const struct learning *learning = arg;
	const uint32_t n = learning->load->next[LEARNED];

	*ret_target = (struct switch_target){
		.from_station = learning->first + n,
		.guest = ASKER,
	};
	return from == LEARNED && n < learning->count &&
	       clock_ns() - learning->began_ns >= n * learning->pace_ns;
}

static bool next_to_ask(void *arg, unsigned from,
			struct switch_target *ret_target)
{
	const struct learning *learning = arg;
	const uint32_t n = learning->load->next[ASKER];

	*ret_target = (struct switch_target){
		.guest = LEARNED,
		.station = learning->first + n,
	};
	return from == ASKER && n < learning->count;
}

/* What is still to come counts, too: a frame of a pace is not sent yet. */
static int learn(struct learning *learning, struct switch_result *ret_result)
{
	const struct switch_pattern pattern = {
		.next = next_to_learn,
		.arg = learning,
		.senders = LEARNED + 1,
		.takers = LEARNING_GUESTS,
		.copies = 1,
	};
	struct switch_load *load = learning->load;
	int err = 0;

	switch_load_reset(load);
	learning->began_ns = clock_ns();
	while (err == 0 && load->next[LEARNED] < learning->count)
		err = switch_load_run(load, &pattern, NS_PER_SECOND / 1000);
	if (err == 0)
		err = switch_load_finish(load, &pattern);
	ret_result->elapsed_ns = clock_ns() - learning->began_ns;
	ret_result->learned_per_s = (double)learning->count * NS_PER_SECOND /
				    MAX(ret_result->elapsed_ns, UINT64_C(1));
	return err;
}

/* Frames to stations that are not known come to the monitor, too. */
static int ask(struct learning *learning, struct switch_result *ret_result)
{
	const struct switch_pattern pattern = {
		.next = next_to_ask,
		.arg = learning,
		.senders = ASKER + 1,
		.takers = LEARNING_GUESTS,
		.copies = 1,
	};
	struct switch_load *load = learning->load;
	uint64_t strays;
	int err;

	switch_load_reset(load);
	err = switch_load_finish(load, &pattern);
	sum_up(load, ret_result);
	strays = load->counts[MONITOR].strays;
	/* What is flooded comes to one port after the other. */
	if (err == 0)
		err = switch_load_introduce(load, ASKER);
	strays += load->counts[MONITOR].strays;
	ret_result->stations = learning->count;
	ret_result->learned =
		learning->count - MIN(strays, (uint64_t)learning->count);
	return err;
}

static int try_to_learn(struct learning *learning,
			struct switch_result *ret_result)
{
	int err = learn(learning, ret_result);

	return err < 0 ? err : ask(learning, ret_result);
}

/* 5.7: no frame hurries, and the table says itself how much it holds. */
static int run_capacity(struct switch_load *load,
			struct switch_result *ret_result)
{
	struct learning learning = {
		.load = load,
		.first = 1,
		.count = load->options->stations,
	};

	return try_to_learn(&learning, ret_result);
}

/* 5.8: half as fast each time, with other stations, until all are learned. */
static int run_learning(struct switch_load *load,
			struct switch_result *ret_result)
{
	struct learning learning = {
		.load = load,
		.first = 1,
		.count = load->options->stations,
	};
	int err = 0;

	for (unsigned i = 0; i < TRIALS; i++) {
		err = try_to_learn(&learning, ret_result);
		if (err < 0 || ret_result->learned == ret_result->stations)
			break;
		learning.pace_ns =
			2 * NS_PER_SECOND / ret_result->learned_per_s;
		learning.first += learning.count;
	}
	return err;
}

/* --- RFC 2889, 5.5 ------------------------------------------------------------ */

/* The first sends to both takers in turn, the second to the last only. */
enum {
	TO_BOTH,
	TO_LAST,
	FREE,
	HELD,
	LINE_GUESTS,
};

static bool next_in_line(void *arg, unsigned from,
			 struct switch_target *ret_target)
{
	const struct switch_load *load = arg;

	*ret_target = (struct switch_target){
		.guest = from == TO_BOTH && load->next[from] % 2 == 0 ? FREE
								      : HELD,
	};
	return true;
}

static double free_rate(const struct switch_load *load,
			const struct switch_result *result)
{
	return (double)load->counts[FREE].taken * NS_PER_SECOND /
	       result->elapsed_ns;
}

/* Frames to the one that takes them, of all that the first sent. */
static uint64_t lost_on_the_free(const struct switch_load *load)
{
	const uint64_t meant = (load->counts[TO_BOTH].sent + 1) / 2;
	const uint64_t taken = load->counts[FREE].taken;
	/* What was under way when the time began or ended. */
	const uint64_t margin = load->options->depth;

	return meant > taken + margin ? meant - taken : 0;
}

static int run_head_of_line(struct switch_load *load,
			    struct switch_result *ret_result)
{
	struct switch_pattern pattern = {
		.next = next_in_line,
		.arg = load,
		.senders = TO_LAST + 1,
		.takers = LINE_GUESTS,
		.copies = 1,
		.hurries = true,
	};
	int err = measure(load, &pattern, ret_result);

	if (err < 0)
		return err;
	ret_result->free_per_s = free_rate(load, ret_result);
	pattern.takers = HELD;
	err = measure(load, &pattern, ret_result);
	ret_result->held_per_s = free_rate(load, ret_result);
	ret_result->held_lost = lost_on_the_free(load);
	return err;
}

int switch_test_run(struct switch_load *load, struct switch_result *ret_result)
{
	*ret_result = (struct switch_result){0};
	switch (load->options->test) {
	case SWITCH_CAPACITY:
		return run_capacity(load, ret_result);
	case SWITCH_LEARNING:
		return run_learning(load, ret_result);
	case SWITCH_HEAD_OF_LINE:
		return run_head_of_line(load, ret_result);
	default:
		return run_traffic(load, ret_result);
	}
}
