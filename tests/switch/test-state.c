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
#include "tests/switch/fixture.h"

enum {
	BYTES = 300,
	PATIENCE_MS = 10000,
	KILLS = 3,
	TOLD = 100, /* fewer than a receive ring has buffers */
	UNTOLD = 12,
	SECOND_PLACE = 1 << 27,
	HEADER_BYTES = 40, /* vswitch/state-format.h */
	AT_SEQUENCE = 8,
	SAVED_BYTES = 4096,
	LITTLE_BYTES = 400, /* less than a port takes up */
};

static const char *const three[] = {"", "", "vlan: 7", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void state_path(const struct fixture *f, char ret_path[static 128])
{
	snprintf(ret_path, 128, "%s/state", f->process.folder);
}

static int setup(void **state)
{
	return fixture_setup(state);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[128];

	state_path(f, path);
	unlink(path);
	return fixture_teardown(state);
}

static void start(struct fixture *f)
{
	char option[160], path[128];
	const char *const options[] = {option, NULL};

	state_path(f, path);
	snprintf(option, sizeof(option), "--state=%s", path);
	fixture_start_controlled_with(f, "", three, options);
}

static void start_again(struct fixture *f)
{
	char path[128];

	for (unsigned i = 0; i < 5; i++) {
		fixture_socket(f, i, path);
		unlink(path);
	}
	fixture_control_path(f, path);
	unlink(path);
	f->process.pid = fixture_spawn_again(f);
	fixture_wait_control(f);
}

/* With @keys beside name, kind and socket. */
static void add_port_with(struct fixture *f, unsigned number, const char *keys)
{
	char arguments[256], path[128];

	fixture_socket(f, number, path);
	snprintf(arguments, sizeof(arguments),
		 "port add name=p%u kind=vhost-user socket-path=%s %s", number,
		 path, keys);
	assert_int_equal(fixture_ctl(f, arguments), 0);
}

static void add_port(struct fixture *f)
{
	add_port_with(f, 3, "'stations=[\"02:00:00:00:00:33\"]'");
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

	start(f);
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

	start_again(f);
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
	start_again(f);
	assert_int_equal(fixture_ctl(f, "port show"), 0);
	assert_null(strstr(f->said, "p3"));
}

/* The file has the port that it listens to. */
static void added_mirror_comes_back_and_listens(void **state)
{
	struct fixture *f = *state;

	start(f);
	add_port_with(f, 4, "'mirror={\"ports\":[\"p0\"]}'");
	add_port(f);
	process_stop(&f->process, SIGTERM);
	start_again(f);
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

	start(f);
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
	start_again(f);
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

	start(f);
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
		start_again(f);
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

	start(f);
	state_path(f, path);
	add_port(f);
	for (unsigned ms = 0; st.st_size == 0 && ms < PATIENCE_MS; ms++) {
		assert_int_equal(stat(path, &st), 0);
		usleep(1000);
	}
	assert_true(st.st_size > 0);
	process_stop(&f->process, SIGKILL);
	start_again(f);
	fixture_ctl_says(f, "port show", "p3");
}

/* --- files that are not what they should be ------------------------------------ */

/* What two saves left: at each place the later and the earlier. */
struct saved {
	uint8_t bytes[2][SAVED_BYTES];
	ssize_t length[2];
};

static void read_saved(const char *path, struct saved *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	for (unsigned i = 0; i < 2; i++) {
		ret->length[i] = pread(fd, ret->bytes[i], SAVED_BYTES,
				       i * (off_t)SECOND_PLACE);
		assert_true(ret->length[i] > HEADER_BYTES);
	}
	close(fd);
}

/* Its bytes are those, but that the one at @flip of both is another, and what is
 * behind @end is not there. */
static void write_spoilt(const char *path, struct saved saved, unsigned flip,
			 off_t end)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0);
	for (unsigned i = 0; i < 2; i++) {
		saved.bytes[i][flip] ^= flip ? 0x40 : 0;
		assert_int_equal(pwrite(fd, saved.bytes[i], saved.length[i],
					i * (off_t)SECOND_PLACE),
				 saved.length[i]);
	}
	if (end > 0)
		assert_int_equal(ftruncate(fd, end), 0);
	close(fd);
}

static uint64_t sequence_at(const char *path, unsigned place)
{
	uint64_t sequence;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &sequence, sizeof(sequence),
			       place * (off_t)SECOND_PLACE + AT_SEQUENCE),
			 sizeof(sequence));
	close(fd);
	return sequence;
}

/* At its own place; the next, too, goes there, and not over the last whole one. */
static void save_that_fails_leaves_the_last_one(void **state)
{
	const struct rlimit little = {LITTLE_BYTES, LITTLE_BYTES};
	struct fixture *f = *state;
	char path[128];

	/* So that the writes fail, and kill nobody. */
	signal(SIGXFSZ, SIG_IGN);
	state_path(f, path);
	start(f);
	process_stop(&f->process, SIGTERM);
	assert_int_equal(sequence_at(path, 1), 1);
	start_again(f);
	add_port(f);
	while (sequence_at(path, 0) != 2) {
		process_assert_alive(&f->process);
		usleep(1000);
	}
	assert_int_equal(truncate(f->process.log, 0), 0);
	assert_int_equal(prlimit(f->process.pid, RLIMIT_FSIZE, &little, NULL),
			 0);
	add_port_with(f, 4, "");
	process_wait_log(&f->process, "state: File too large");
	process_stop(&f->process, SIGTERM);
	start_again(f);
	assert_int_equal(fixture_ctl(f, "port show"), 0);
	assert_non_null(strstr(f->said, "p3"));
	assert_null(strstr(f->said, "p4"));
	signal(SIGXFSZ, SIG_DFL);
}

static void spoilt_file_is_named_and_left_out(void **state)
{
	static const struct {
		unsigned flip;
		off_t end;
		const char *words; /* NULL: the other place serves */
	} cases[] = {
		{0, SECOND_PLACE + 50, NULL},
		{24, 0, "nothing is restored: "},
		{HEADER_BYTES + 4, 0,
		 "nothing is restored: its checksum is wrong"},
		{0, HEADER_BYTES + 9, "nothing is restored: it is cut off"},
		{0, 3, "it is no state of a switch"},
	};
	struct fixture *f = *state;
	static struct saved saved;
	char path[128];

	state_path(f, path);
	start(f);
	add_port(f);
	process_stop(&f->process, SIGTERM);
	start_again(f);
	process_stop(&f->process, SIGTERM);
	read_saved(path, &saved);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		write_spoilt(path, saved, cases[i].flip, cases[i].end);
		assert_int_equal(truncate(f->process.log, 0), 0);
		start_again(f);
		if (cases[i].words) {
			process_wait_log(&f->process, path);
			process_wait_log(&f->process, cases[i].words);
		}
		assert_int_equal(fixture_ctl(f, "port show"), 0);
		assert_int_equal(!strstr(f->said, "p3"),
				 cases[i].words != NULL);
		process_stop(&f->process, SIGKILL);
	}
}

static void file_of_somebody_else_is_not_written_to(void **state)
{
	static const char text[] = "a letter, not a state";
	struct fixture *f = *state;
	char path[128], after[64] = "";
	FILE *file;

	start(f);
	process_stop(&f->process, SIGTERM);
	state_path(f, path);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	start_again(f);
	process_wait_log(&f->process, "it is no state of a switch");
	process_stop(&f->process, SIGTERM);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(after, sizeof(after), file));
	fclose(file);
	assert_string_equal(after, text);
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
		start_again(f);
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

	start(f);
	kill_under_traffic(f, false);
	kill_under_traffic(f, true);
}

#define STATE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STATE_TEST(stations_and_added_ports_outlive_the_switch),
		STATE_TEST(added_mirror_comes_back_and_listens),
		STATE_TEST(what_does_not_fit_any_more_is_left_out),
		STATE_TEST(port_that_is_another_now_has_no_station_back),
		STATE_TEST(killed_switch_has_what_was_added),
		STATE_TEST(save_that_fails_leaves_the_last_one),
		STATE_TEST(spoilt_file_is_named_and_left_out),
		STATE_TEST(file_of_somebody_else_is_not_written_to),
		STATE_TEST(
			killed_switch_loses_no_frame_it_told_of_and_sends_none_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
