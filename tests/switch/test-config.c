/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration while the switch runs: shown, saved, read again. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 300,
	YAML_BYTES = 4096,
};

static const char *const three[] = {"", "", "", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void pass(struct fixture *f, unsigned to, unsigned from)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	fixture_send(f, from, frame, BYTES);
	fixture_expect(f, to, frame, BYTES);
}

static void blocks(struct fixture *f, unsigned to, unsigned from)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	fixture_send(f, from, frame, BYTES);
}

/* Another file in the place of the first: @ports[i] as fixture_start has it;
 * NULL: no port p<i>. */
static void write_config(const struct fixture *f, const char *head,
			 const char *const *ports, unsigned count)
{
	char beside[128], path[128];
	FILE *file;

	snprintf(beside, sizeof(beside), "%s.new", f->config);
	file = fopen(beside, "we");
	assert_non_null(file);
	fprintf(file, "%s\nports:\n", head);
	for (unsigned i = 0; i < count; i++) {
		if (!ports[i])
			continue;
		fixture_socket(f, i, path);
		fprintf(file,
			"  - {name: p%u, kind: vhost-user, socket-path: "
			"%s%s%s}\n",
			i, path, ports[i][0] ? ", " : "", ports[i]);
	}
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(beside, f->config), 0);
}

static void what_is_shown_reads_in_again_to_the_same(void **state)
{
	static const char *const ports[] = {
		"vlan-mode: trunk, vlans: [10-20, 30], vlan: 9, "
		"service-tags: yes, frames: {rate: 10000, burst: 7}",
		"group: \"a: 'b # c\", queues: 3, mtu: 1400, "
		"mac: 02:00:00:00:00:07, guard: {addresses: [10.0.0.1, "
		"fe80::/10], router: yes}",
		"vlan: 7, locked: yes, stations: [\"02:00:00:00:00:02\", "
		"02:00:00:00:00:22], max-stations: 3",
		NULL};
	struct fixture *f = *state;
	char shown[FIXTURE_SAID_BYTES], arguments[256], path[128];
	char saved[128];

	fixture_start_controlled(f, "fdb-age: 77", ports);
	fixture_socket(f, 3, path);
	snprintf(arguments, sizeof(arguments),
		 "port add name=p3 kind=vhost-user socket-path=%s vlan=12",
		 path);
	assert_int_equal(fixture_ctl(f, arguments), 0);
	assert_int_equal(fixture_ctl(f, "port del p0"), 0);
	assert_int_equal(fixture_ctl(f, "guard set p2 mac=first"), 0);
	fixture_ctl_says(f, "config show", "fdb-age: 77\n");
	assert_non_null(strstr(f->said, "- name: p3\n"));
	assert_non_null(strstr(f->said, "    mac: first\n"));
	assert_null(strstr(f->said, "- name: p0\n"));
	/* What nobody said: no guest fills the table. */
	assert_non_null(strstr(f->said, "\nfdb-capacity: 65536\n"));
	assert_non_null(strstr(f->said, "  max-stations: 1024\n"));
	strcpy(shown, f->said);

	snprintf(saved, sizeof(saved), "%s/saved", f->process.folder);
	snprintf(arguments, sizeof(arguments), "save %s", saved);
	assert_int_equal(fixture_ctl(f, arguments), 0);
	process_stop(&f->process, SIGTERM);
	assert_int_equal(rename(saved, f->config), 0);
	f->process.pid = fixture_spawn_again(f);
	fixture_wait_control(f);
	assert_int_equal(fixture_ctl(f, "config show"), 0);
	assert_string_equal(f->said, shown);
	assert_int_equal(fixture_ctl(f, "save /nowhere/at/all"), 1);
}

static void file_that_changed_is_applied_while_frames_pass(void **state)
{
	static const char *const after[] = {"", NULL, "", "group: x", ""};
	static const char *const apart[] = {"vlan: 7", NULL, "", "group: x",
					    "group: x"};
	struct fixture *f = *state;
	char path[128];

	fixture_start_controlled(f, "lcores: 2", three);
	fixture_join_all(f, 3);
	pass(f, 2, 0);
	pass(f, 0, 2);
	pass(f, 0, 1);
	write_config(f, "lcores: 2", after, 5);
	fixture_ctl_says(f, "reload",
			 "added=2 removed=1 changed=0 replaced=0\n");
	fixture_socket(f, 1, path);
	assert_int_equal(access(path, F_OK), -1);
	fixture_join(f, 3, NULL);
	fixture_join(f, 4, NULL);
	pass(f, 0, 3);
	pass(f, 0, 4);
	pass(f, 3, 0);
	pass(f, 4, 3);
	/* Guests that were there are there still: they never reconnected. */
	pass(f, 2, 0);

	/* A VLAN and a group more: the same guests, another way. */
	write_config(f, "lcores: 2\nfdb-age: 9", apart, 5);
	assert_int_equal(kill(f->process.pid, SIGHUP), 0);
	process_wait_log(&f->process, "reloaded: 0 ports added, 0 removed, 2 "
				      "changed, 0 replaced");
	blocks(f, 2, 0);
	blocks(f, 4, 3);
	fixture_expect_nothing(f, 2, 4);
	fixture_expect_nothing(f, 4, 2);
	fixture_ctl_says(f, "config show", "fdb-age: 9\n");
	fixture_ctl_says(f, "reload",
			 "added=0 removed=0 changed=0 replaced=0\n");
}

/* Whichever of the two changes first. */
static void station_goes_from_port_to_port(void **state)
{
	static const char *const first[] = {"stations: [\"02:00:00:00:00:07\"]",
					    "", "", NULL};
	static const char *const second[] = {
		"", "stations: [\"02:00:00:00:00:07\"]", "", NULL};
	struct fixture *f = *state;

	fixture_start_controlled(f, "", first);
	for (unsigned i = 0; i < 4; i++) {
		write_config(f, "", i % 2 ? first : second, 3);
		fixture_ctl_says(f, "reload", "changed=2");
		fixture_ctl_says(f, "fdb show",
				 i % 2 ? "02:00:00:00:00:07  1     p0"
				       : "02:00:00:00:00:07  1     p1");
	}
}

static void device_that_differs_is_made_anew(void **state)
{
	static const char *const after[] = {"queues: 2", "", "", NULL};
	struct fixture *f = *state;

	fixture_start_controlled(f, "", three);
	fixture_join_all(f, 3);
	pass(f, 2, 1);
	write_config(f, "", after, 3);
	fixture_ctl_says(f, "reload",
			 "added=0 removed=0 changed=0 replaced=1\n");
	fixture_leave(f, 0);
	fixture_join(f, 0, NULL);
	pass(f, 2, 0);
	pass(f, 0, 2);
	pass(f, 2, 1);
}

static void port_of_the_control_socket_stays(void **state)
{
	struct fixture *f = *state;
	char arguments[256], path[128];

	fixture_start_controlled(f, "", three);
	fixture_join(f, 0, NULL);
	fixture_socket(f, 3, path);
	snprintf(arguments, sizeof(arguments),
		 "port add name=p3 kind=vhost-user socket-path=%s", path);
	assert_int_equal(fixture_ctl(f, arguments), 0);
	assert_int_equal(fixture_ctl(f, "port del p2"), 0);
	fixture_join(f, 3, NULL);
	/* What the file has is there again. */
	fixture_ctl_says(f, "reload",
			 "added=1 removed=0 changed=0 replaced=0\n");
	pass(f, 3, 0);
	fixture_join(f, 2, NULL);
	pass(f, 2, 0);
}

static void reload_that_fails_changes_nothing(void **state)
{
	static const char *const changed[] = {"vlan: 7", "queues: 2", NULL,
					      "group: x"};
	/* p1 is to make room. */
	static const char *const moved[] = {"vlan: 7", NULL, NULL, "group: x"};
	static const struct {
		const char *const *ports;
		const char *head, *more, *words;
	} cases[] = {
		{changed, "fdb-age: 9", "  - {name: x, kind: vhost-user}\n",
		 "socket-path: a vhost-user port needs"},
		{changed, "lcores: 2", "", "lcores: only a restart"},
		{changed, "cpus: [0]", "", "cpus: only a restart"},
		{changed, "hugepages: yes", "", "hugepages: only a restart"},
		{changed, "fdb-capacity: 100", "",
		 "fdb-capacity: only a restart"},
		{changed, "fdb-age: 9",
		 "  - {name: x, kind: vhost-user, socket-path: /nowhere/x}\n",
		 "/nowhere/x: "},
		{moved, "fdb-age: 9",
		 "  - {name: p1, kind: vhost-user, socket-path: "
		 "/nowhere/p1}\n",
		 "/nowhere/p1: "},
		{changed, "quees: 9", "", "quees: there is no such key"},
	};
	struct fixture *f = *state;
	char before[FIXTURE_SAID_BYTES];

	fixture_start_controlled(f, "", three);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	assert_int_equal(fixture_ctl(f, "config show"), 0);
	strcpy(before, f->said);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		FILE *file;

		print_message("# %s\n", cases[i].words);
		write_config(f, cases[i].head, cases[i].ports, 4);
		file = fopen(f->config, "ae");
		assert_non_null(file);
		fputs(cases[i].more, file);
		fclose(file);
		assert_int_equal(fixture_ctl(f, "reload"), 1);
		assert_non_null(strstr(f->said, cases[i].words));
		assert_int_equal(fixture_ctl(f, "config show"), 0);
		assert_string_equal(f->said, before);
		pass(f, 2, 0);
		pass(f, 0, 2);
		pass(f, 1, 0);
		pass(f, 0, 1);
	}
	assert_int_equal(unlink(f->config), 0);
	assert_int_equal(fixture_ctl(f, "reload"), 1);
	assert_non_null(strstr(f->said, "No such file"));
	assert_int_equal(kill(f->process.pid, SIGHUP), 0);
	process_wait_log(&f->process, "not reloaded: ");
	pass(f, 2, 0);
}

/* Each of two sockets is one port's: of those in the file, and of those that came
 * over the control socket. */
static void file_takes_nothing_from_a_port_that_was_added(void **state)
{
	struct fixture *f = *state;
	char arguments[256], path[128];
	FILE *file;

	fixture_start_controlled(f, "", three);
	fixture_join(f, 0, NULL);
	fixture_socket(f, 3, path);
	snprintf(arguments, sizeof(arguments),
		 "port add name=added kind=vhost-user socket-path=%s", path);
	assert_int_equal(fixture_ctl(f, arguments), 0);
	fixture_join(f, 3, NULL);
	write_config(f, "", three, 3);
	file = fopen(f->config, "ae");
	assert_non_null(file);
	fprintf(file, "  - {name: x, kind: vhost-user, socket-path: %s}\n",
		path);
	fclose(file);
	assert_int_equal(fixture_ctl(f, "reload"), 1);
	assert_non_null(strstr(f->said, "another port's, which was added"));
	pass(f, 3, 0);
	pass(f, 0, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(what_is_shown_reads_in_again_to_the_same),
		SWITCH_TEST(file_that_changed_is_applied_while_frames_pass),
		SWITCH_TEST(station_goes_from_port_to_port),
		SWITCH_TEST(device_that_differs_is_made_anew),
		SWITCH_TEST(port_of_the_control_socket_stays),
		SWITCH_TEST(reload_that_fails_changes_nothing),
		SWITCH_TEST(file_takes_nothing_from_a_port_that_was_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
