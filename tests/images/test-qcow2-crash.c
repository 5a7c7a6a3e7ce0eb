/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crashes of all kinds of images, at every instant (see crash-run.h).
 *
 *	test-qcow2-crash			what an ordinary run does
 *	test-qcow2-crash STATES [SEED]		until so many states were seen
 *	test-qcow2-crash SCENARIO SEED		one run again
 *	test-qcow2-crash SCENARIO SEED LOSS	the same with barriers lost:
 *						it has to fail
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "tests/images/crash-run.h"
#include "tests/images/scratch.h"

enum {
	USUAL_SEED = 20260,
	/* Looked at by an ordinary run, in all and of each scenario. */
	ORDINARY_STATES = 20000 / CRASH_STRIDE,
	FEWEST_STATES = 500 / CRASH_STRIDE,
	MAX_TESTS = 64,
};

/* By enum crash_loss. */
static const char *const losses[] = {"nothing", "mapping", "refcounts",
				     "header", "data"};

/* Of each kind, one that is enough to notice it. */
static const struct lossy_run {
	const char *scenario;
	const char *loss;
} lossy_runs[] = {
	{"small_clusters", "mapping"},
	{"small_clusters", "refcounts"},
	{"small_clusters", "data"},
	{"snapshots", "header"},
};

static struct crash_run run;
static enum crash_loss wanted_loss;
static unsigned long all_states;
static unsigned long wanted_states;
static uint64_t first_seed = USUAL_SEED;
static const struct crash_scenario *wanted_scenario;

static void run_once(const struct crash_scenario *scenario, uint64_t seed)
{
	run = (struct crash_run){
		.scenario = scenario,
		.seed = seed,
		.loses = wanted_loss,
	};
	crash_run(&run);
	run.scenario = NULL;
}

/* A run that did not come to its end can be had again. */
static int say_which(void **state)
{
	if (run.scenario)
		print_error("again: test-qcow2-crash %s %llu\n",
			    run.scenario->name, (unsigned long long)run.seed);
	return 0;
}

static void any_crash_leaves_it_whole(void **state)
{
	run_once(*state, first_seed);
	print_message("# %zu crash states, %zu dirty, %zu of %zu bitmaps "
		      "inconsistent\n",
		      run.states, run.dirty, run.inconsistent, run.bitmaps);
	assert_true(run.states > FEWEST_STATES);
	all_states += run.states;
}

static void there_were_many(void **state)
{
	print_message("# %lu crash states\n", all_states);
	assert_true(all_states > ORDINARY_STATES);
}

static void any_of_so_many_crashes_leaves_it_whole(void **state)
{
	unsigned long states = 0;
	time_t began = time(NULL), said = began;

	for (uint64_t i = 0; states < wanted_states; i++) {
		run_once(&crash_scenarios[i % crash_scenario_count],
			 first_seed + i);
		states += run.states;
		if (time(NULL) - said < 15 && states < wanted_states)
			continue;
		said = time(NULL);
		print_message("# %lu crash states in %ld s, seeds %llu to "
			      "%llu\n",
			      states, (long)(said - began),
			      (unsigned long long)first_seed,
			      (unsigned long long)(first_seed + i));
		fflush(stdout);
	}
}

/* Runs this program again, for what has to go wrong there. */
static void a_lost_barrier_is_noticed(void **state)
{
	const struct lossy_run *lossy = *state;
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(length > 0);
	self[length] = 0;
	if (scratch_run("%s %s %llu %s", self, lossy->scenario,
			(unsigned long long)first_seed, lossy->loss) != 1)
		fail_msg("%s, %s lost: %s", lossy->scenario, lossy->loss,
			 scratch_output());
	if (!strstr(scratch_output(), "Failure!"))
		fail_msg("%s, %s lost, but: %s", lossy->scenario, lossy->loss,
			 scratch_output());
}

static int run_ordinary(void)
{
	struct CMUnitTest tests[MAX_TESTS];
	size_t count = 0;

	assert_true(crash_scenario_count + 1 + ARRAY_SIZE(lossy_runs) <=
		    MAX_TESTS);
	for (size_t i = 0; i < crash_scenario_count; i++)
		tests[count++] = (struct CMUnitTest){
			.name = crash_scenarios[i].name,
			.test_func = any_crash_leaves_it_whole,
			.teardown_func = say_which,
			.initial_state = (void *)&crash_scenarios[i],
		};
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(there_were_many);
	for (size_t i = 0; i < ARRAY_SIZE(lossy_runs); i++)
		tests[count++] = (struct CMUnitTest)cmocka_unit_test_prestate(
			a_lost_barrier_is_noticed, (void *)&lossy_runs[i]);
	return _cmocka_run_group_tests("any_crash_leaves_it_whole", tests,
				       count, NULL, NULL);
}

static int run_long(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(
			any_of_so_many_crashes_leaves_it_whole, say_which),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

static int run_again(void)
{
	const struct CMUnitTest tests[] = {
		{.name = wanted_scenario->name,
		 .test_func = any_crash_leaves_it_whole,
		 .initial_state = (void *)wanted_scenario},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	/* Thousands of images are opened: keep their memory at hand. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	for (size_t i = 0; argc > 1 && i < crash_scenario_count; i++)
		if (strcmp(argv[1], crash_scenarios[i].name) == 0)
			wanted_scenario = &crash_scenarios[i];
	if (argc > 1 && !wanted_scenario)
		wanted_states = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		first_seed = strtoull(argv[2], NULL, 10);
	for (size_t i = 0; argc > 3 && i < ARRAY_SIZE(losses); i++)
		if (strcmp(argv[3], losses[i]) == 0)
			wanted_loss = i;
	if (argc > 4 || (argc > 3 && !wanted_loss) ||
	    (argc > 1 && !wanted_scenario && !wanted_states)) {
		fprintf(stderr, "usage: %s [STATES|SCENARIO [SEED [LOSS]]]\n",
			argv[0]);
		return 2;
	}
	if (wanted_scenario)
		return run_again();
	return wanted_states ? run_long() : run_ordinary();
}
