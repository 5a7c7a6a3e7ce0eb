/* SPDX-License-Identifier: Apache-2.0 */
/* Serving threads: queues that move between them, and where they run. */
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 200,
	MOVES = 24,
	FLIGHT = 14, /* frames that are under way meanwhile */
};

static const char *const two[] = {"", "", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void send_flight(struct fixture *f)
{
	for (unsigned i = 0; i < FLIGHT; i++) {
		fixture_frame(frame, 1, 0, BYTES, ++seed);
		assert_int_equal(
			net_send(f->guests[0], 0, NULL, frame, BYTES, NULL), 0);
	}
}

/* All of it, in order. */
static void expect_flight(struct fixture *f, uint32_t first)
{
	for (uint32_t i = first; i < first + FLIGHT; i++) {
		fixture_frame(frame, 1, 0, BYTES, i);
		fixture_expect(f, 1, frame, BYTES);
	}
	assert_int_equal(net_send_wait(f->guests[0], 0), 0);
}

static void queue_moves_without_loss_and_in_order(void **state)
{
	struct fixture *f = *state;

	fixture_start_controlled(f, "lcores: 3\nbalance: off", two);
	fixture_join_all(f, 2);
	for (unsigned i = 0; i < MOVES; i++) {
		const uint32_t first = seed + 1;
		char arguments[64], words[64];

		snprintf(arguments, sizeof(arguments), "lcore move p%u 0 %u",
			 i % 4 == 3, (i + 1) % 3);
		send_flight(f);
		assert_int_equal(fixture_ctl(f, arguments), 0);
		expect_flight(f, first);
		snprintf(words, sizeof(words), "p%u    0     %u ", i % 4 == 3,
			 (i + 1) % 3);
		fixture_ctl_says(f, "lcore queues", words);
		/* The other way, and after sleep. */
		fixture_frame(frame, 0, 1, BYTES, ++seed);
		fixture_send(f, 1, frame, BYTES);
		fixture_expect(f, 0, frame, BYTES);
	}
	/* A guest that comes again is served where it was, and stays there. */
	assert_int_equal(fixture_ctl(f, "lcore move p0 0 2"), 0);
	assert_int_equal(fixture_ctl(f, "--json lcore queues"), 0);
	assert_null(strstr(f->said, "\"placed\": false"));
	fixture_leave(f, 0);
	fixture_join(f, 0, NULL);
	fixture_frame(frame, 1, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	fixture_expect(f, 1, frame, BYTES);
	fixture_ctl_says(f, "lcore queues", "p0    0     2 ");
	fixture_ctl_says(f, "lcore show", "2      1 ");
}

static void what_cannot_move_is_named(void **state)
{
	static const struct {
		const char *arguments, *words;
	} cases[] = {
		{"lcore move x 0 0", "x: no port has this name"},
		{"lcore move p0 0 2", "lcore: give 0 to 1"},
		{"lcore move p0 0 -1", "lcore: give 0 to 1"},
		{"lcore move p0 1 0", "p0: pair 1: nobody serves it now"},
		{"lcore move p0 999999 0", "nobody serves it now"},
		{"lcore move p0 -1 0", "p0: pair -1: nobody serves it now"},
		{"lcore move p0 64 0", "p0: pair 64: nobody serves it now"},
		{"lcore move p1 0 0", "p1: pair 0: nobody serves it now"},
		{"lcore move p0 a 0", "give two numbers"},
	};
	struct fixture *f = *state;

	fixture_start_controlled(f, "lcores: 2", two);
	fixture_join(f, 0, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# %s\n", cases[i].words);
		assert_int_not_equal(fixture_ctl(f, cases[i].arguments), 0);
		assert_non_null(strstr(f->said, cases[i].words));
	}
}

static int first_cpu(void)
{
	cpu_set_t allowed;
	int cpu = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	while (!CPU_ISSET(cpu, &allowed))
		cpu++;
	return cpu;
}

/* How many threads of the switch may run on that processor and no other. */
static unsigned count_tied(const struct fixture *f, int cpu)
{
	char path[64];
	unsigned count = 0;
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)f->process.pid);
	folder = opendir(path);
	assert_non_null(folder);
	while ((entry = readdir(folder))) {
		cpu_set_t cpus;

		if (entry->d_name[0] == '.' ||
		    sched_getaffinity(atoi(entry->d_name), sizeof(cpus),
				      &cpus) < 0)
			continue;
		count += CPU_COUNT(&cpus) == 1 && CPU_ISSET(cpu, &cpus);
	}
	closedir(folder);
	return count;
}

static void threads_run_where_they_are_told_to(void **state)
{
	struct fixture *f = *state;
	char head[64];
	pid_t pid;

	/* One processor would be all that there is: nothing is to be seen. */
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	snprintf(head, sizeof(head), "lcores: 2\ncpus: [%d]", first_cpu());
	fixture_start_controlled(f, head, two);
	assert_int_equal(count_tied(f, first_cpu()), 2);
	pid = fixture_spawn(f, "cpus: [1023]\nports: []\n", NULL);
	assert_int_equal(process_wait_exit(pid), 1);
	process_wait_log(&f->process, "cpus: 1023: the switch may not run");
}

/* There are some or none: either way it forwards. */
static void hugepages_are_no_condition(void **state)
{
	struct fixture *f = *state;

	fixture_start_controlled(f, "hugepages: yes", two);
	fixture_join_all(f, 2);
	fixture_frame(frame, 1, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	fixture_expect(f, 1, frame, BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(queue_moves_without_loss_and_in_order),
		SWITCH_TEST(what_cannot_move_is_named),
		SWITCH_TEST(threads_run_where_they_are_told_to),
		SWITCH_TEST(hugepages_are_no_condition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
