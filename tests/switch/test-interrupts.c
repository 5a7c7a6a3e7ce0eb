/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receive interrupts of a DPDK port, which is joined to another switch: a thread
 * with nothing to do sleeps and is woken by frames, all of them.
 *
 * What was slept over is found by a look that comes within 256 ms. On a busy
 * machine single frames take long, too: only shares of them tell.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/clock.h"
#include "tests/random.h"
#include "tests/switch/uplink.h"

enum {
	BYTES = 200,
	IDLE_MS = 1500,
	IDLE_TRIES = 4,
	/* Of the whole process, a second; one queue that is looked at: 125. */
	MOST_WAKES = 60,
	WARM = 30,
	WARM_US = 20000,
	TRIES = 20,
	LEAST_PAUSE_US = 70000,
	MORE_PAUSE_US = 80000,
	SOON_NS = 2000 * 1000,
	PAIRS = 600,
	MOVE_EACH = 50,
	APART_NS = 30 * 1000,
	SLOW_NS = 100 * 1000 * 1000,
	REMOVALS = 6,
};

static uint8_t frame[FIXTURE_FRAME_BYTES];
static uint32_t seed;
static uint64_t dice = 7;

static void send_behind(struct uplink *u, uint32_t number)
{
	fixture_frame(frame, FIXTURE_BROADCAST, UPLINK_BACK_GUEST, BYTES,
		      number);
	/* Another flow each, so that all queues get some. */
	frame[11] = 16 + number % 64;
	assert_int_equal(net_send(u->back->guests[UPLINK_BACK_GUEST], 0, NULL,
				  frame, BYTES, NULL),
			 0);
}

static void expect_in_front(struct uplink *u, uint32_t number)
{
	fixture_frame(frame, FIXTURE_BROADCAST, UPLINK_BACK_GUEST, BYTES,
		      number);
	frame[11] = 16 + number % 64;
	fixture_expect(u->front, UPLINK_FRONT_GUEST, frame, BYTES);
}

/* Its interrupts have been seen. */
static void warm_up(struct uplink *u)
{
	for (unsigned i = 0; i < WARM; i++) {
		usleep(WARM_US);
		send_behind(u, ++seed);
		expect_in_front(u, seed);
	}
}

/* --- sleep --------------------------------------------------------------------- */

static uint64_t count_switches(pid_t pid, const char *thread)
{
	char path[320], line[256];
	uint64_t count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid,
		 thread);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		sscanf(line, "voluntary_ctxt_switches: %lu", &count);
	fclose(file);
	return count;
}

/* How often its threads have gone to sleep. */
static uint64_t count_sleeps(const struct process *p)
{
	char path[64];
	uint64_t count = 0;
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)p->pid);
	folder = opendir(path);
	assert_non_null(folder);
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			count += count_switches(p->pid, entry->d_name);
	closedir(folder);
	return count;
}

/* To the nanosecond: what is counted in ticks is too much for who wakes at them. */
static uint64_t cpu_ns(const struct process *p)
{
	struct timespec time;
	clockid_t clock;

	assert_int_equal(clock_getcpuclockid(p->pid, &clock), 0);
	assert_int_equal(clock_gettime(clock, &time), 0);
	return time.tv_sec * NS_PER_SECOND + time.tv_nsec;
}

/* 1 % of a CPU at most. A virtual machine may be charged for what its host did: of
 * several tries one tells. */
static void sleeps_while_idle(struct uplink *u)
{
	const struct process *p = &u->front->process;
	const uint64_t most_ns = IDLE_MS * UINT64_C(1000000) / 100;
	uint64_t spent_ns = UINT64_MAX;

	for (unsigned i = 0; i < IDLE_TRIES && spent_ns > most_ns; i++) {
		const uint64_t cpu = cpu_ns(p), sleeps = count_sleeps(p);

		usleep(IDLE_MS * 1000);
		spent_ns = cpu_ns(p) - cpu;
		print_message("# idle: %lu us and %lu sleeps in %u ms\n",
			      spent_ns / 1000, count_sleeps(p) - sleeps,
			      IDLE_MS);
		assert_in_range(count_sleeps(p) - sleeps, 0,
				MOST_WAKES * IDLE_MS / 1000);
	}
	assert_in_range(spent_ns, 0, most_ns);
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Who did not look, and was not woken, would be as soon for few. */
static void wakes_soon(struct uplink *u)
{
	uint64_t waited_ns[TRIES];

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t began;

		usleep(LEAST_PAUSE_US + random_below(&dice, MORE_PAUSE_US));
		began = clock_ns();
		send_behind(u, ++seed);
		expect_in_front(u, seed);
		waited_ns[i] = clock_ns() - began;
	}
	qsort(waited_ns, TRIES, sizeof(*waited_ns), compare);
	print_message("# after a pause: median %lu us, most %lu us\n",
		      waited_ns[TRIES / 2] / 1000, waited_ns[TRIES - 1] / 1000);
	assert_in_range(waited_ns[TRIES / 4], 0, SOON_NS);
}

static void a_sleeper_is_woken_by_frames(void **state)
{
	struct uplink *u = *state;

	uplink_start(u, "", "", "");
	warm_up(u);
	sleeps_while_idle(u);
	wakes_soon(u);
	fixture_ctl_says(u->front, "--json port show", "\"interrupts\": true");
}

static void each_queue_has_its_interrupt(void **state)
{
	struct uplink *u = *state;

	uplink_start(u, "lcores: 2", ",queues=2,packed_vq=1,in_order=0",
		     ", queues: 2");
	warm_up(u);
	sleeps_while_idle(u);
	wakes_soon(u);
}

/* A driver without them. */
static void a_device_may_have_none(void **state)
{
	struct uplink *u = *state;

	uplink_start(u, "", "", "");
	fixture_ctl_says(u->front, "port del w", "");
	fixture_ctl_says(u->front,
			 "port add name=n kind=dpdk devargs=net_ring0", "");
	fixture_ctl_says(u->front, "--json port show", "\"interrupts\": false");
}

/* --- nothing is slept over ------------------------------------------------------- */

static void pause_ns(uint64_t ns)
{
	const uint64_t end = clock_ns() + ns;

	while (clock_ns() < end)
		cpu_relax();
}

static void move(struct uplink *u, unsigned to)
{
	char arguments[64];

	snprintf(arguments, sizeof(arguments), "lcore move w 0 %u", to);
	fixture_ctl_says(u->front, arguments, "");
}

/*
 * The second frame of a pair comes when the thread is about to sleep after the
 * first. No other source is on its thread, which would wake it.
 */
static void none_is_slept_over(void **state)
{
	struct uplink *u = *state;
	unsigned slow = 0;

	u->option = "--poll=never";
	uplink_start(u, "lcores: 3", "", "");
	warm_up(u);
	for (unsigned i = 0; i < PAIRS; i++) {
		const uint64_t began = clock_ns();

		send_behind(u, ++seed);
		pause_ns(random_below(&dice, APART_NS));
		send_behind(u, ++seed);
		/* While they are under way, to a thread with nothing else. */
		if (i % MOVE_EACH == MOVE_EACH - 1)
			move(u, i / MOVE_EACH % 2 * 2);
		expect_in_front(u, seed - 1);
		expect_in_front(u, seed);
		slow += i % MOVE_EACH != MOVE_EACH - 1 &&
			clock_ns() - began > SLOW_NS;
	}
	print_message("# %u of %u were slow\n", slow, PAIRS);
	assert_in_range(slow, 0, PAIRS / 100);
}

/* --- a port that goes ------------------------------------------------------------ */

static void a_port_goes_while_its_interrupt_is_pending(void **state)
{
	struct uplink *u = *state;
	unsigned before = 0;
	char add[256];

	uplink_start(u, "lcores: 2", "", "");
	snprintf(add, sizeof(add), "port add name=w kind=dpdk devargs=%s",
		 u->devargs);
	for (unsigned i = 0; i < REMOVALS; i++) {
		uint8_t last[BYTES];

		for (unsigned n = 0; n < 20; n++)
			send_behind(u, ++seed);
		fixture_ctl_says(u->front, "port del w", "");
		fixture_ctl_says(u->front, add, "");
		/* Those that came by before it went, and a last one. */
		fixture_frame(last, UPLINK_FRONT_GUEST, UPLINK_BACK_GUEST,
			      BYTES, ++seed);
		fixture_send(u->back, UPLINK_BACK_GUEST, last, BYTES);
		do
			assert_int_equal(
				net_receive(
					u->front->guests[UPLINK_FRONT_GUEST], 0,
					NULL, frame, sizeof(frame)),
				BYTES);
		while (fixture_seed(frame) != seed);
		if (i == 0)
			before = process_count_fds(&u->front->process);
	}
	process_assert_fds(&u->front->process, before);
	warm_up(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UPLINK_TEST(a_sleeper_is_woken_by_frames),
		UPLINK_TEST(each_queue_has_its_interrupt),
		UPLINK_TEST(a_device_may_have_none),
		UPLINK_TEST(none_is_slept_over),
		UPLINK_TEST(a_port_goes_while_its_interrupt_is_pending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
