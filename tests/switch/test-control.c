/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket, as `vswitch ctl` and others speak to it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/sanitized.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 300,
	CHURN = 40, /* with RINGLINE_ALL … */
	ALL_CHURN = 1000,
	SETTLED = 20,	   /* times, after which memory is what it is */
	LEAK_BYTES = 1024, /* a time */
	ASKED = 1000,	   /* times */
	ASKED_BYTES = 40,  /* of each; fewer than any leak */
	ENDLESS_BYTES = 1 << 16,
	CLIENTS = 40,
};

static const char *const three[] = {"", "vlan: 5", "", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES];
static char endless_line[ENDLESS_BYTES];
static uint32_t seed;

static void control_path(const struct fixture *f, char ret_path[static 128])
{
	snprintf(ret_path, 128, "%s/control", f->process.folder);
}

static void start(struct fixture *f)
{
	fixture_start_controlled(f, "", three);
}

static void pass(struct fixture *f, unsigned to, unsigned from)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	fixture_send(f, from, frame, BYTES);
	fixture_expect(f, to, frame, BYTES);
}

static void ports_stations_and_counters_are_shown(void **state)
{
	struct fixture *f = *state;

	start(f);
	fixture_join(f, 0, NULL);
	fixture_join(f, 2, NULL);
	pass(f, 2, 0);
	assert_int_equal(fixture_ctl(f, "port show"), 0);
	assert_non_null(strstr(f->said, "p0"));
	assert_non_null(strstr(f->said, "vhost-user"));
	assert_int_equal(fixture_ctl(f, "fdb show"), 0);
	assert_non_null(strstr(f->said, "02:00:00:00:00:00  1     p0"));
	assert_null(strstr(f->said, "02:00:00:00:00:02"));
	assert_int_equal(fixture_ctl(f, "--json stats"), 0);
	assert_non_null(strstr(f->said, "\"sent-frames\": 1"));
	assert_int_equal(fixture_ctl(f, "metrics"), 0);
	assert_non_null(strstr(f->said, "vswitch_frames_total{port=\"p2\","
					"direction=\"received\"} 1\n"));
	assert_non_null(strstr(f->said, "\n# EOF\n"));
	assert_int_equal(fixture_ctl(f, "fdb flush"), 0);
	assert_string_equal(f->said, "1\n");
	assert_int_equal(fixture_ctl(f, "fdb show"), 0);
	assert_null(strstr(f->said, "02:00:00"));
}

/* Of the switch. */
static uint64_t resident_bytes(const struct fixture *f)
{
	unsigned long pages = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)f->process.pid);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*u %lu", &pages), 1);
	fclose(file);
	return pages * sysconf(_SC_PAGESIZE);
}

static void ports_come_and_go_while_frames_pass(void **state)
{
	struct fixture *f = *state;
	char arguments[256], path[128];
	const unsigned churn = getenv("RINGLINE_ALL") ? ALL_CHURN : CHURN;
	uint64_t resident = 0;
	unsigned fds = 0;

	start(f);
	fixture_join(f, 0, NULL);
	fixture_join(f, 2, NULL);
	pass(f, 2, 0);
	pass(f, 0, 2);
	fixture_socket(f, 3, path);
	snprintf(arguments, sizeof(arguments),
		 "port add name=new kind=vhost-user socket-path=%s "
		 "connect=no 'stations=[\"02:00:00:00:00:03\"]'",
		 path);
	for (unsigned i = 0; i < churn; i++) {
		/* One is under way as the port comes. */
		fixture_frame(frame, 2, 0, BYTES, ++seed);
		assert_int_equal(
			net_send(f->guests[0], 0, NULL, frame, BYTES, NULL), 0);
		assert_int_equal(fixture_ctl(f, arguments), 0);
		fixture_expect(f, 2, frame, BYTES);
		assert_int_equal(net_send_wait(f->guests[0], 0), 0);
		fixture_join(f, 3, NULL);
		pass(f, 3, 0);
		pass(f, 0, 3);
		pass(f, 2, 0);
		/* With its guest, or without. */
		if (i % 2)
			fixture_leave(f, 3);
		assert_int_equal(fixture_ctl(f, "port del new"), 0);
		if (i % 2 == 0)
			fixture_leave(f, 3);
		assert_int_equal(access(path, F_OK), -1);
		if (i == 2)
			fds = process_count_fds(&f->process);
		if (i > 2)
			process_assert_fds(&f->process, fds);
		pass(f, 0, 2);
		if (i == SETTLED)
			resident = resident_bytes(f);
	}
	if (!TEST_SANITIZED)
		assert_true(resident_bytes(f) <
			    resident + (churn - SETTLED) * LEAK_BYTES +
				    (1 << 20));
	assert_int_equal(fixture_ctl(f, "fdb show"), 0);
	assert_null(strstr(f->said, "02:00:00:00:00:03"));
}

/* One request and its answer, so many times; the method's name and parameters. */
static void ask_often(int fd, const char *call, unsigned times)
{
	static char answer[FIXTURE_SAID_BYTES];
	char request[512];
	int length = snprintf(request, sizeof(request),
			      "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":%s}\n",
			      call);

	for (unsigned i = 0; i < times; i++) {
		ssize_t got;

		assert_int_equal(send(fd, request, length, MSG_NOSIGNAL),
				 length);
		do {
			got = recv(fd, answer, sizeof(answer), 0);
			assert_true(got > 0);
		} while (answer[got - 1] != '\n');
	}
}

#define OF_P0(method, more) \
	"\"" method "\",\"params\":{\"port\":\"p0\"" more "}"
#define ADD(port) "\"port.add\",\"params\":{\"port\":{" port "}}"

/* Whoever asks may do so all day, for what there is and for what cannot be. */
static void what_is_asked_often_costs_no_memory(void **state)
{
	static const char *const calls[] = {
		"\"port.list\"",
		"\"fdb.list\"",
		"\"stats\"",
		"\"metrics\"",
		"\"config.show\"",
		"\"guard.list\"",
		"\"acl.list\"",
		"\"mirror.list\"",
		"\"lcore.list\"",
		"\"lcore.queues\"",
		ADD("\"name\":\"x\""),
		ADD("\"name\":\"p0\",\"kind\":\"vhost-user\","
		    "\"socket-path\":\"/tmp/none\""),
		OF_P0("guard.set", ",\"guard\":{\"addresses\":[\"10.0.0.1\"]}"),
		OF_P0("guard.set", ",\"guard\":{\"addresses\":[\"1\"]}"),
		OF_P0("acl.set", ",\"acl\":\"acl-in: [{name: a, action: deny, "
				 "protocol: udp}]\""),
		OF_P0("acl.set", ",\"acl\":\"acl-in: 7\""),
		OF_P0("port.set", ",\"keys\":{\"vlan\":9}"),
		OF_P0("port.set", ",\"keys\":{\"queues\":2}"),
		OF_P0("port.set", ",\"keys\":{\"mirror\":{\"ports\":[\"x\"]}}"),
		OF_P0("trace",
		      ",\"frame\":\"02000000000102000000000088b50000\""),
		OF_P0("trace", ",\"to\":\"x\""),
		OF_P0("capture", ",\"filter\":[[6,0,0]]"),
	};
	struct fixture *f = *state;
	int fd;

	start(f);
	fixture_join(f, 0, NULL);
	fd = fixture_connect_control(f);
	/* What the first answers take for good, the others need no more. */
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(calls); i++) {
		const char *call = calls[i % ARRAY_SIZE(calls)];
		const uint64_t before = resident_bytes(f);

		print_message("# %s\n", call);
		ask_often(fd, call, ASKED / SAMPLED(10));
		if (!TEST_SANITIZED && i >= ARRAY_SIZE(calls))
			assert_true(resident_bytes(f) <
				    before + ASKED * ASKED_BYTES);
	}
	close(fd);
}

static void what_cannot_be_is_named_and_changes_nothing(void **state)
{
	static const struct {
		const char *arguments, *words;
	} cases[] = {
		{"port add name=x kind=vhost-user",
		 "socket-path: a vhost-user"},
		{"port add name=p0 kind=vhost-user socket-path=/tmp/none",
		 "name: the port p0 has it already"},
		{"port add name=x kind=nic", "kind: "},
		{"port add name=x kind=vhost-user socket-path=/tmp/none "
		 "vlan=4095",
		 "vlan: VLANs are 1 to 4094"},
		{"port add name=x kind=vhost-user socket-path=/tmp/none "
		 "quees=4",
		 "quees: there is no such key"},
		{"port add name", "name: give KEY=VALUE"},
		{"port del x", "x: no port has this name"},
		{"fdb flush x", "x: no port has this name"},
		{"port", "Usage: "},
		{"port del", "Usage: "},
		{"--nothing", "Usage: "},
	};
	struct fixture *f = *state;
	char before[FIXTURE_SAID_BYTES];

	start(f);
	assert_int_equal(fixture_ctl(f, "--json port show"), 0);
	strcpy(before, f->said);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# %s\n", cases[i].words);
		assert_int_not_equal(fixture_ctl(f, cases[i].arguments), 0);
		assert_non_null(strstr(f->said, cases[i].words));
	}
	assert_int_equal(fixture_ctl(f, "--json port show"), 0);
	assert_string_equal(f->said, before);
}

/* Values of many lines, and words that look like keys, among them. */
static void changed_key_leaves_all_others_as_they_are(void **state)
{
	struct fixture *f = *state;
	char arguments[512], path[128], wanted[FIXTURE_SAID_BYTES];
	char *vlan;

	start(f);
	fixture_socket(f, 3, path);
	snprintf(arguments, sizeof(arguments),
		 "port add name=new kind=vhost-user socket-path=%s vlan=7 "
		 "'group=\"a\\n\\nvlan: 8\\n- b\"' "
		 "'stations=[\"02:00:00:00:00:03\"]' "
		 "'guard={\"addresses\":[\"10.0.0.1\"]}' "
		 "'frames={\"rate\":10,\"burst\":3}' "
		 "'acl-out=[{\"name\":\"vlan: 6\",\"action\":\"deny\"}]'",
		 path);
	assert_int_equal(fixture_ctl(f, arguments), 0);
	assert_int_equal(fixture_ctl(f, "config show"), 0);
	strcpy(wanted, f->said);
	vlan = strstr(wanted, "\n  vlan: 7\n");
	assert_non_null(vlan);
	vlan[9] = '9';
	assert_int_equal(fixture_ctl(f, "port set new vlan=9"), 0);
	assert_int_equal(fixture_ctl(f, "config show"), 0);
	assert_string_equal(f->said, wanted);
	/* One that is taken away is not there, or has its default. */
	assert_int_equal(fixture_ctl(f, "port set new vlan=7 guard=null"), 0);
	assert_int_equal(fixture_ctl(f, "port set new vlan=null"), 0);
	assert_int_equal(fixture_ctl(f, "config show"), 0);
	assert_null(strstr(f->said, "guard:"));
	assert_null(strstr(f->said, "\n  vlan: 7\n"));
	assert_non_null(strstr(f->said, "- name: 'vlan: 6'\n"));
}

/* A line without end, half a line, nothing, and many at once: others are
 * served. */
static void client_that_misbehaves_holds_up_nobody(void **state)
{
	struct fixture *f = *state;
	static const char half[] = "{\"jsonrpc\":\"2.0\",";
	int fds[CLIENTS], endless;
	ssize_t n;

	start(f);
	endless = fixture_connect_control(f);
	memset(endless_line, 'x', sizeof(endless_line));
	do
		n = send(endless, endless_line, sizeof(endless_line),
			 MSG_NOSIGNAL);
	while (n > 0);
	assert_true(errno == EPIPE || errno == ECONNRESET);
	close(endless);
	for (unsigned i = 0; i < CLIENTS; i++) {
		fds[i] = fixture_connect_control(f);
		send(fds[i], half, sizeof(half) - 1, MSG_NOSIGNAL);
		if (i >= CLIENTS / 4)
			close(fds[i]);
	}
	assert_int_equal(fixture_ctl(f, "port show"), 0);
	for (unsigned i = 0; i < CLIENTS / 4; i++)
		close(fds[i]);
	assert_int_equal(fixture_ctl(f, "port show"), 0);
}

/* For scripts; the rates are those of a second in which nothing was sent. */
static void top_shows_rates_and_ends(void **state)
{
	struct fixture *f = *state;
	const char *second;

	start(f);
	fixture_join(f, 0, NULL);
	fixture_join(f, 2, NULL);
	pass(f, 2, 0);
	fixture_ctl_says(f, "top --count 2", "received Mbit/s");
	assert_non_null(strstr(f->said, "\np0    0       0 "));
	assert_non_null(strstr(f->said, "\nlcore  queues  frames  busy\n0      "
					"2       1 "));
	second = strstr(f->said + 1, "port  sent/s");
	assert_non_null(second);
	assert_null(strstr(second + 1, "port  sent/s"));
	assert_null(strchr(f->said, '\033'));
	fixture_ctl_says(f, "top --count=1", "received Mbit/s");
	assert_int_equal(fixture_ctl(f, "top --count 0"), 2);
	assert_int_equal(fixture_ctl(f, "top --count=x"), 2);
	assert_int_equal(fixture_ctl(f, "top --counter=1"), 2);
	assert_int_equal(fixture_ctl(f, "top --count"), 2);
}

static void socket_is_its_owners_alone(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char path[128];

	start(f);
	control_path(f, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(ports_stations_and_counters_are_shown),
		SWITCH_TEST(ports_come_and_go_while_frames_pass),
		SWITCH_TEST(what_is_asked_often_costs_no_memory),
		SWITCH_TEST(what_cannot_be_is_named_and_changes_nothing),
		SWITCH_TEST(changed_key_leaves_all_others_as_they_are),
		SWITCH_TEST(client_that_misbehaves_holds_up_nobody),
		SWITCH_TEST(top_shows_rates_and_ends),
		SWITCH_TEST(socket_is_its_owners_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
