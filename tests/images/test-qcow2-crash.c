/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crashes of all kinds of images, at every instant (see crash-run.h).
 *
 *	test-qcow2-crash			what an ordinary run does
 *	test-qcow2-crash STATES [SEED]		until so many states were seen
 *	test-qcow2-crash SCENARIO SEED		one run again
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "tests/images/crash-run.h"

enum {
	KIB = 1 << 10,
	USUAL_SEED = 20260,
	/* Looked at by an ordinary run, in all and of each scenario. */
	ORDINARY_STATES = 20000 / CRASH_STRIDE,
	FEWEST_STATES = 500 / CRASH_STRIDE,
};

static const struct crash_scenario scenarios[] = {
	{.name = "small_clusters",
	 .options = {.size_bytes = 128 * KIB, .cluster_bytes = 512},
	 .work = CRASH_REOPENS,
	 .phases = 3,
	 .requests = 70,
	 .torn = 2},
	{.name = "default_clusters",
	 .options = {.size_bytes = 1024 * KIB},
	 .work = CRASH_REOPENS,
	 .phases = 2,
	 .requests = 100,
	 .torn = 2},
	{.name = "1_bit_refcounts",
	 .options = {.size_bytes = 256 * KIB,
		     .cluster_bytes = 4 * KIB,
		     .refcount_bits = 1},
	 .work = CRASH_REOPENS,
	 .phases = 3,
	 .requests = 100,
	 .torn = 3},
	{.name = "sizes",
	 .options = {.size_bytes = 96 * KIB, .cluster_bytes = 512},
	 .work = CRASH_RESIZES,
	 .phases = 5,
	 .requests = 20,
	 .torn = 2},
	{.name = "snapshots_of_version_2",
	 .options = {.size_bytes = 64 * KIB,
		     .cluster_bytes = 1 * KIB,
		     .version = 2},
	 .work = CRASH_SNAPSHOTS,
	 .thirds = true,
	 .phases = 6,
	 .requests = 20,
	 .torn = 2},
	{.name = "version_2",
	 .options = {.size_bytes = 128 * KIB,
		     .cluster_bytes = 1 * KIB,
		     .version = 2},
	 .work = CRASH_REOPENS,
	 .phases = 3,
	 .requests = 80,
	 .torn = 3},
	{.name = "sub_clusters",
	 .options = {.size_bytes = 256 * KIB,
		     .cluster_bytes = 16 * KIB,
		     .extended_l2 = true},
	 .work = CRASH_REOPENS,
	 .phases = 3,
	 .requests = 80,
	 .torn = 3},
	{.name = "snapshots",
	 .options = {.size_bytes = 64 * KIB, .cluster_bytes = 1 * KIB},
	 .work = CRASH_SNAPSHOTS | CRASH_REOPENS,
	 .thirds = true,
	 .phases = 10,
	 .requests = 10,
	 .torn = 1},
	{.name = "snapshots_and_sizes",
	 .options = {.size_bytes = 64 * KIB, .cluster_bytes = 512},
	 .work = CRASH_SNAPSHOTS | CRASH_RESIZES,
	 .phases = 8,
	 .requests = 10,
	 .torn = 1},
	{.name = "compressed",
	 .options = {.size_bytes = 128 * KIB, .cluster_bytes = 4 * KIB},
	 .work = CRASH_COMPRESSES | CRASH_SNAPSHOTS | CRASH_REOPENS,
	 .phases = 6,
	 .requests = 30,
	 .torn = 1},
	{.name = "headers",
	 .options = {.size_bytes = 64 * KIB, .cluster_bytes = 1 * KIB},
	 .work = CRASH_HEADERS | CRASH_AMENDS,
	 .phases = 10,
	 .requests = 10,
	 .torn = 1},
	{.name = "emptied",
	 .options = {.size_bytes = 64 * KIB, .cluster_bytes = 512},
	 .work = CRASH_EMPTIES | CRASH_REOPENS,
	 .thirds = true,
	 .phases = 6,
	 .requests = 20,
	 .torn = 1},
	{.name = "bitmaps",
	 .options = {.size_bytes = 64 * KIB, .cluster_bytes = 512},
	 .work = CRASH_BITMAPS | CRASH_REOPENS,
	 .phases = 12,
	 .requests = 8,
	 .torn = 1},
	{.name = "lazy_refcounts",
	 .options = {.size_bytes = 64 * KIB,
		     .cluster_bytes = 512,
		     .lazy_refcounts = true},
	 .work = CRASH_REOPENS,
	 .phases = 4,
	 .requests = 40,
	 .torn = 1},
	/* 64 refcounts a block, 64 blocks a cluster of the table. */
	{.name = "moving_refcount_table",
	 .options = {.size_bytes = 3072 * KIB,
		     .cluster_bytes = 512,
		     .refcount_bits = 64},
	 .work = CRASH_REOPENS,
	 .phases = 1,
	 .requests = 260,
	 .torn = 1},
};

static struct crash_run run;
static unsigned long all_states;
static unsigned long wanted_states;
static uint64_t first_seed = USUAL_SEED;
static const struct crash_scenario *wanted_scenario;

static void run_once(const struct crash_scenario *scenario, uint64_t seed)
{
	run = (struct crash_run){.scenario = scenario, .seed = seed};
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
		run_once(&scenarios[i % ARRAY_SIZE(scenarios)], first_seed + i);
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

static int run_ordinary(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(scenarios) + 1] = {
		[ARRAY_SIZE(scenarios)] = cmocka_unit_test(there_were_many),
	};

	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		tests[i] = (struct CMUnitTest){
			.name = scenarios[i].name,
			.test_func = any_crash_leaves_it_whole,
			.teardown_func = say_which,
			.initial_state = (void *)&scenarios[i],
		};
	return cmocka_run_group_tests_name("any_crash_leaves_it_whole", tests,
					   NULL, NULL);
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
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(scenarios); i++)
		if (strcmp(argv[1], scenarios[i].name) == 0)
			wanted_scenario = &scenarios[i];
	if (argc > 1 && !wanted_scenario)
		wanted_states = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		first_seed = strtoull(argv[2], NULL, 10);
	if (argc > 3 || (argc > 1 && !wanted_scenario && !wanted_states)) {
		fprintf(stderr, "usage: %s [STATES|SCENARIO [SEED]]\n",
			argv[0]);
		return 2;
	}
	if (wanted_scenario)
		return run_again();
	return wanted_states ? run_long() : run_ordinary();
}
