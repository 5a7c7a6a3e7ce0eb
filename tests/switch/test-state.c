/* SPDX-License-Identifier: Apache-2.0 */
/* A switch that ends, in one way or another, and the next one. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/switch/restart.h"

enum {
	BYTES = 300,
	PATIENCE_MS = 10000,
	KILLS = 3,
	TOLD = 100, /* fewer than a receive ring has buffers */
	UNTOLD = 12,
	SECOND_PLACE = 1 << 27, /* vswitch/state-format.h */
	AT_SEQUENCE = 8,
	LITTLE_BYTES = 400, /* less than a port takes up */
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void add_port(struct fixture *f)
{
	restart_add_port(f, 3, "'stations=[\"02:00:00:00:00:33\"]'");
}

static void pass(struct fixture *f, unsigned to, unsigned from)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	fixture_send(f, from, frame, BYTES);
	fixture_expect(f, to, frame, BYTES);
}

static int age_of(struct fixture *f, const char *station)
{
	const char *line;
	char is_static[8];
	int age = -1;

	assert_int_equal(fixture_ctl(f, "fdb show"), 0);
	line = strstr(f->said, station);
	assert_non_null(line);
	assert_int_equal(sscanf(line, "%*s %*s %*s %7s %d", is_static, &age),
			 2);
	assert_string_equal(is_static, "no");
	return age;
}

static void stations_and_added_ports_outlive_the_switch(void **state)
{
	struct fixture *f = *state;
	int age;

	restart_start(f);
	fixture_join_all(f, 3);
	pass(f, 1, 0);
	pass(f, 0, 1);
	add_port(f);
	fixture_join(f, 3, NULL);
	pass(f, 0, 3);
	usleep(1100 * 1000);
	age = age_of(f, "02:00:00:00:00:01");
	assert_true(age >= 1);
	process_stop(&f->process, SIGTERM);
	for (unsigned i = 0; i < 4; i++)
		fixture_leave(f, i);

	restart_start_again(f);
	assert_true(age_of(f, "02:00:00:00:00:01") >= age);
	assert_true(age_of(f, "02:00:00:00:00:03") >= 1);
	assert_non_null(strstr(f->said, "02:00:00:00:00:33  1     p3"));
	/* Known, so nobody else sees it. */
	fixture_join(f, 0, NULL);
	fixture_join(f, 1, NULL);
	fixture_join(f, 3, NULL);
	pass(f, 3, 0);
	fixture_expect_nothing(f, 1, 0);
	/* What was taken away stays away. */
	assert_int_equal(fixture_ctl(f, "port del p3"), 0);
	process_stop(&f->process, SIGTERM);
	restart_start_again(f);
	assert_int_equal(fixture_ctl(f, "port show"), 0);
	assert_null(strstr(f->said, "p3"));
	assert_false(restart_logged(f, "restored"));
}

/* Of three that were added the file has one by now, and the socket of another. */
static void port_that_cannot_come_back_is_named(void **state)
{
	struct fixture *f = *state;
	char path[2][128];
	FILE *file;

	restart_start(f);
	for (unsigned i = 3; i < 6; i++)
		restart_add_port(f, i, "");
	process_stop(&f->process, SIGTERM);
	fixture_socket(f, 3, path[0]);
	fixture_socket(f, 4, path[1]);
	file = fopen(f->config, "we");
	assert_non_null(file);
	fprintf(file,
		"ports:\n  - {name: p3, kind: vhost-user, socket-path: %s}\n"
		"  - {name: x, kind: vhost-user, socket-path: %s}\n",
		path[0], path[1]);
	assert_int_equal(fclose(file), 0);
	restart_start_again(f);
	fixture_ctl_says(f, "port show", "p5");
	assert_true(restart_logged(f, "state: the port p4 is not restored: "));
	assert_false(restart_logged(f, "the port p3"));
}

/* The file has the port that it listens to. */
static void added_mirror_comes_back_and_listens(void **state)
{
	struct fixture *f = *state;

	restart_start(f);
	restart_add_port(f, 4, "'mirror={\"ports\":[\"p0\"]}'");
	add_port(f);
	process_stop(&f->process, SIGTERM);
	restart_start_again(f);
	fixture_ctl_says(f, "port show", "p3");
	fixture_join_all(f, 5);
	fixture_frame(frame, 1, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	fixture_expect(f, 1, frame, BYTES);
	fixture_expect(f, 4, frame, BYTES);
}

/* Stations of a port that is gone, or is in another VLAN now. */
static void what_does_not_fit_any_more_is_left_out(void **state)
{
	struct fixture *f = *state;
	char yaml[1024], path[3][128];
	FILE *file;

	restart_start(f);
	fixture_join_all(f, 3);
	for (unsigned i = 0; i < 3; i++) {
		fixture_socket(f, i, path[i]);
		fixture_frame(frame, FIXTURE_BROADCAST, i, BYTES, ++seed);
		fixture_send(f, i, frame, BYTES);
	}
	process_stop(&f->process, SIGTERM);
	snprintf(yaml, sizeof(yaml),
		 "ports:\n"
		 "  - {name: p1, kind: vhost-user, socket-path: %s}\n"
		 "  - {name: p2, kind: vhost-user, socket-path: %s, vlan: 8}\n",
		 path[1], path[2]);
	file = fopen(f->config, "we");
	assert_non_null(file);
	fputs(yaml, file);
	assert_int_equal(fclose(file), 0);
	restart_start_again(f);
	assert_int_equal(fixture_ctl(f, "fdb show"), 0);
	assert_non_null(strstr(f->said, "02:00:00:00:00:01  1     p1"));
	assert_null(strstr(f->said, "02:00:00:00:00:00"));
	assert_null(strstr(f->said, "02:00:00:00:00:02"));
}

/* The last state again and again, and each time another p1, on which its guest
 * cannot be heard now. */
static void port_that_is_another_now_has_no_station_back(void **state)
{
	static const char *const kinds[] = {
		"vlan: 8", "locked: yes, stations: [\"02:00:00:00:00:77\"]",
		"mirror: {vlans: [\"9\"]}", "vlan-mode: trunk, vlans: [9]"};
	struct fixture *f = *state;
	char path[128];

	restart_start(f);
	fixture_join_all(f, 3);
	fixture_frame(frame, FIXTURE_BROADCAST, 1, BYTES, ++seed);
	fixture_send(f, 1, frame, BYTES);
	process_stop(&f->process, SIGTERM);
	fixture_socket(f, 1, path);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		FILE *file = fopen(f->config, "we");

		print_message("# %s\n", kinds[i]);
		assert_non_null(file);
		fprintf(file,
			"ports:\n  - {name: p1, kind: vhost-user, socket-path: "
			"%s, %s}\n",
			path, kinds[i]);
		assert_int_equal(fclose(file), 0);
		restart_start_again(f);
		assert_int_equal(fixture_ctl(f, "fdb show"), 0);
		assert_null(strstr(f->said, "02:00:00:00:00:01"));
		process_stop(&f->process, SIGKILL);
	}
}

static void killed_switch_has_what_was_added(void **state)
{
	struct fixture *f = *state;
	struct stat st = {0};
	char path[128];

	restart_start(f);
	restart_path(f, path);
	add_port(f);
	for (unsigned ms = 0; st.st_size == 0 && ms < PATIENCE_MS; ms++) {
		assert_int_equal(stat(path, &st), 0);
		usleep(1000);
	}
	assert_true(st.st_size > 0);
	process_stop(&f->process, SIGKILL);
	restart_start_again(f);
	fixture_ctl_says(f, "port show", "p3");
}

/* --- writing ------------------------------------------------------------------- */

static uint64_t sequence_at(const char *path, unsigned place)
{
	uint64_t sequence = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(pread(fd, &sequence, sizeof(sequence),
			  place * (off_t)SECOND_PLACE + AT_SEQUENCE) >= 0);
	close(fd);
	return sequence;
}

static void wait_saved(const struct fixture *f, const char *path,
		       unsigned place, uint64_t sequence)
{
	while (sequence_at(path, place) != sequence) {
		process_assert_alive(&f->process);
		usleep(1000);
	}
}

/* From now on no file of the switch becomes longer, which its log is told of. */
static void limit_files(const struct fixture *f)
{
	const struct rlimit little = {LITTLE_BYTES, LITTLE_BYTES};

	assert_int_equal(truncate(f->process.log, 0), 0);
	assert_int_equal(prlimit(f->process.pid, RLIMIT_FSIZE, &little, NULL),
			 0);
}

/* At its own place; the next, too, goes there, and not over the last whole one. */
static void save_that_fails_leaves_the_last_one(void **state)
{
	struct fixture *f = *state;
	char path[128];

	/* So that the writes fail, and kill nobody. */
	signal(SIGXFSZ, SIG_IGN);
	restart_path(f, path);
	restart_start(f);
	process_stop(&f->process, SIGTERM);
	assert_int_equal(sequence_at(path, 1), 1);
	restart_start_again(f);
	add_port(f);
	wait_saved(f, path, 0, 2);
	/* The second place is beyond the limit. */
	limit_files(f);
	restart_add_port(f, 4, "");
	process_wait_log(&f->process, "state: File too large");
	process_stop(&f->process, SIGTERM);
	restart_start_again(f);
	assert_int_equal(fixture_ctl(f, "port show"), 0);
	assert_non_null(strstr(f->said, "p3"));
	assert_null(strstr(f->said, "p4"));

	/* Of the first there is room for the beginning. */
	restart_add_port(f, 4, "");
	wait_saved(f, path, 1, 3);
	limit_files(f);
	restart_add_port(f, 5, "");
	process_wait_log(&f->process, "state: No space left on device");
	process_stop(&f->process, SIGTERM);
	restart_start_again(f);
	assert_int_equal(fixture_ctl(f, "port show"), 0);
	assert_non_null(strstr(f->said, "p4"));
	assert_null(strstr(f->said, "p5"));
	signal(SIGXFSZ, SIG_DFL);
}

/* --- frames -------------------------------------------------------------------- */

struct flow {
	uint32_t last;
	bool arrived[KILLS * (TOLD + UNTOLD) + 1];
};

/* None comes twice, and all are in order. */
static void drain(struct fixture *f, struct flow *flow)
{
	int timeout_ms = f->guests[1]->timeout_ms;

	f->guests[1]->timeout_ms = 1;
	while (net_receive(f->guests[1], 0, NULL, got, sizeof(got)) > 0) {
		assert_true(fixture_seed(got) > flow->last);
		flow->last = fixture_seed(got);
		flow->arrived[flow->last] = true;
	}
	f->guests[1]->timeout_ms = timeout_ms;
}

static void send_some(struct fixture *f, uint32_t *number, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const size_t bytes = 64 + ++*number % 900;

		fixture_frame(frame, 1, 0, bytes, *number);
		assert_int_equal(
			net_send(f->guests[0], 0, NULL, frame, bytes, NULL), 0);
	}
}

static void reconnect(struct fixture *f, unsigned port)
{
	struct frontend *fe;
	char path[128];

	fixture_socket(f, port, path);
	assert_int_equal(frontend_connect(path, &fe), 0);
	assert_int_equal(net_driver_reconnect(f->guests[port], fe), 0);
}

static void kill_under_traffic(struct fixture *f, bool packed)
{
	const struct net_options o = {
		.without = packed ? 0 : UINT64_C(1) << VIRTIO_F_RING_PACKED};
	struct flow flow = {0};
	uint32_t number = 0;

	fixture_join(f, 0, &o);
	fixture_join(f, 1, &o);
	for (unsigned kill = 0; kill < KILLS; kill++) {
		uint32_t told;

		send_some(f, &number, TOLD);
		assert_int_equal(net_send_wait(f->guests[0], 0), 0);
		told = number;
		/* Sometimes nothing is under way as it dies, mostly some is. */
		send_some(f, &number, UNTOLD * (kill > 0));
		process_stop(&f->process, SIGKILL);
		drain(f, &flow);
		for (uint32_t i = told - TOLD + 1; i <= told; i++)
			assert_true(flow.arrived[i]);
		restart_start_again(f);
		reconnect(f, 0);
		reconnect(f, 1);
		assert_int_equal(net_send_wait(f->guests[0], 0), 0);
		drain(f, &flow);
	}
	fixture_leave(f, 0);
	fixture_leave(f, 1);
}

static void
killed_switch_loses_no_frame_it_told_of_and_sends_none_twice(void **state)
{
	struct fixture *f = *state;

	restart_start(f);
	kill_under_traffic(f, false);
	kill_under_traffic(f, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RESTART_TEST(stations_and_added_ports_outlive_the_switch),
		RESTART_TEST(port_that_cannot_come_back_is_named),
		RESTART_TEST(added_mirror_comes_back_and_listens),
		RESTART_TEST(what_does_not_fit_any_more_is_left_out),
		RESTART_TEST(port_that_is_another_now_has_no_station_back),
		RESTART_TEST(killed_switch_has_what_was_added),
		RESTART_TEST(save_that_fails_leaves_the_last_one),
		RESTART_TEST(
			killed_switch_loses_no_frame_it_told_of_and_sends_none_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
