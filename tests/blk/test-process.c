/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as a process: what it holds, what it costs, how it ends. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/blk/fixture.h"

enum {
	IDLE_SECONDS = 3,
	RANGE_BYTES = 4 << 20,
};

static void an_idle_daemon_costs_at_most_a_hundredth_of_a_core(void **state)
{
	struct fixture *f = *state;
	const struct blk_options options = {.queues = 4};
	struct blk_driver *d = fixture_open(f, &options);
	uint8_t data[512];
	uint64_t before;

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(blk_read(d, i, 0, data, sizeof(data)), 0);
	before = process_cpu_ms(&f->process);
	/* No event to wait for: over these seconds it is to do nothing. */
	sleep(IDLE_SECONDS);
	assert_in_range(process_cpu_ms(&f->process) - before, 0,
			IDLE_SECONDS * 10);
	assert_int_equal(blk_read(d, 0, 0, data, sizeof(data)), 0);
	blk_driver_free(d);
}

static pid_t spawn_range(const struct fixture *f, const char *name,
			 uint64_t offset, bool read_only)
{
	char socket[128], range[64];
	const char *const options[] = {range, read_only ? "--read-only" : NULL,
				       NULL};
	struct frontend *fe;
	pid_t pid;

	snprintf(socket, sizeof(socket), "%s-%s", f->process.socket, name);
	snprintf(range, sizeof(range), "--range=%llu:%u",
		 (unsigned long long)offset, RANGE_BYTES);
	pid = fixture_spawn(f, socket, options);
	if (frontend_connect(socket, &fe) == 0)
		frontend_free(fe);
	return pid;
}

static void end_all(const struct fixture *f, const pid_t *pids, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		kill(pids[i], SIGTERM);
		assert_int_equal(process_wait_exit(pids[i]), 0);
	}
}

static void overlapping_ranges_cannot_both_be_written(void **state)
{
	struct fixture *f = *state;
	pid_t pids[2];

	pids[0] = spawn_range(f, "a", 0, false);
	/* Overlaps by half, by all, by reading where another writes. */
	assert_int_not_equal(
		process_wait_exit(spawn_range(f, "b", RANGE_BYTES / 2, false)),
		0);
	assert_int_not_equal(process_wait_exit(spawn_range(f, "b", 0, false)),
			     0);
	assert_int_not_equal(
		process_wait_exit(spawn_range(f, "b", RANGE_BYTES - 512, true)),
		0);
	pids[1] = spawn_range(f, "c", RANGE_BYTES, false);
	end_all(f, pids, 2);
	/* What is no longer held may be taken. */
	pids[0] = spawn_range(f, "d", RANGE_BYTES / 2, false);
	end_all(f, pids, 1);
}

static void a_range_is_all_that_its_guest_can_reach(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--range=1048576:65536", NULL};
	uint8_t data[512], found[512];
	struct virtio_blk_config c;
	struct blk_driver *d;

	fixture_start(f, options);
	d = fixture_open(f, NULL);
	assert_int_equal(blk_config(d, &c), 0);
	assert_int_equal(le64toh(c.capacity), 128);
	assert_int_equal(blk_read(d, 0, 0, data, 512), 0);
	fixture_read_image(f, 1 << 20, found, 512);
	assert_memory_equal(data, found, 512);
	fixture_pattern(data, sizeof(data), 9);
	assert_int_equal(blk_write(d, 0, 127, data, 512), 0);
	fixture_read_image(f, (1 << 20) + 65536 - 512, found, 512);
	assert_memory_equal(data, found, 512);
	assert_int_equal(blk_write(d, 0, 128, data, 512), VIRTIO_BLK_S_IOERR);
	blk_driver_free(d);
}

static void sigterm_ends_it_cleanly_at_any_time(void **state)
{
	struct fixture *f = *state;
	pid_t pid = f->process.pid;
	struct blk_driver *d;

	kill(pid, SIGTERM);
	f->process.pid = 0;
	assert_int_equal(process_wait_exit(pid), 0);
	assert_int_equal(access(f->process.socket, F_OK), -1);
	fixture_start(f, NULL);
	d = fixture_open(f, NULL);
	pid = f->process.pid;
	f->process.pid = 0;
	kill(pid, SIGTERM);
	assert_int_equal(process_wait_exit(pid), 0);
	blk_driver_free(d);
}

/* A sanitizer build finds what is not freed; any build, a bad end. */
static void without_a_sandbox_it_serves_and_ends_as_well(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--sandbox=off", NULL};
	pid_t pid;

	fixture_start(f, options);
	for (unsigned i = 0; i < 5; i++)
		fixture_assert_serves(f);
	pid = f->process.pid;
	f->process.pid = 0;
	kill(pid, SIGTERM);
	assert_int_equal(process_wait_exit(pid), 0);
}

static void what_cannot_be_opened_ends_it_at_once(void **state)
{
	struct fixture *f = *state;
	static const char *const unknown[] = {"--no-such-option", NULL};
	static const char *const format[] = {"--format=nonsense", NULL};
	static const char *const range[] = {"--range=1:2:3", NULL};
	const char *const *const options[] = {unknown, format, range};

	for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
		assert_int_not_equal(process_wait_exit(fixture_spawn(
					     f, f->process.socket, options[i])),
				     0);
	strcat(f->image, "-absent");
	assert_int_not_equal(
		process_wait_exit(fixture_spawn(f, f->process.socket, NULL)),
		0);
	f->image[strlen(f->image) - strlen("-absent")] = '\0';
}

static void capabilities_are_printed(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--print-capabilities", NULL};
	char text[4096];
	FILE *log;
	size_t got;

	assert_int_equal(process_wait_exit(fixture_spawn(f, NULL, options)), 0);
	log = fopen(f->process.log, "re");
	assert_non_null(log);
	got = fread(text, 1, sizeof(text) - 1, log);
	fclose(log);
	text[got] = '\0';
	assert_non_null(strstr(text, "\"block\""));
	assert_non_null(strstr(text, "\"read-only\""));
}

/* A socket that a killed daemon left behind is no obstacle. */
static void a_left_over_socket_is_replaced(void **state)
{
	struct fixture *f = *state;

	process_stop(&f->process, SIGKILL);
	assert_int_equal(access(f->process.socket, F_OK), 0);
	fixture_start(f, NULL);
	fixture_assert_serves(f);
}

static void many_connections_leave_nothing_behind(void **state)
{
	struct fixture *f = *state;
	const unsigned before = process_count_fds(&f->process);

	for (unsigned i = 0; i < 50; i++)
		fixture_assert_serves(f);
	process_assert_fds(&f->process, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(an_idle_daemon_costs_at_most_a_hundredth_of_a_core),
		FIXTURE_TEST(overlapping_ranges_cannot_both_be_written),
		FIXTURE_TEST(a_range_is_all_that_its_guest_can_reach),
		DAEMON_TEST(sigterm_ends_it_cleanly_at_any_time),
		FIXTURE_TEST(without_a_sandbox_it_serves_and_ends_as_well),
		FIXTURE_TEST(what_cannot_be_opened_ends_it_at_once),
		FIXTURE_TEST(capabilities_are_printed),
		DAEMON_TEST(a_left_over_socket_is_replaced),
		DAEMON_TEST(many_connections_leave_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
