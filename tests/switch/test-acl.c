/* SPDX-License-Identifier: Apache-2.0 */
/* Rules on what passes the ports of a real switch, and others in their place
 * while frames pass. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 100,
	IPV4 = 0x0800,
	UDP = 17,
	DNS = 53,
	CHANGES = 25,
	FRAMES = 64, /* in each round between two changes */
};

#define NO_DNS                                                      \
	"[{name: dns, action: deny, protocol: udp, to-ports: 53}, " \
	"{name: rest, action: allow}]"

static uint8_t frame[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void make_udp(unsigned to, unsigned from, uint16_t port)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	put_be16(frame + 12, IPV4);
	frame[14] = 0x45;
	put_be16(frame + 20, 0);
	frame[23] = UDP;
	memcpy(frame + 26, (uint8_t[]){10, 0, 0, from, 10, 0, 0, to}, 8);
	put_be16(frame + 34, 40000);
	put_be16(frame + 36, port);
}

static void passes(struct fixture *f, unsigned to, unsigned from)
{
	fixture_send(f, from, frame, BYTES);
	fixture_expect(f, to, frame, BYTES);
}

static void is_dropped(struct fixture *f, unsigned from, const char *reason)
{
	fixture_send_dropped(f, from, frame, BYTES, reason);
}

static void rules_of_both_directions_decide(void **state)
{
	static const char *const ports[] = {"acl-in: " NO_DNS,
					    "acl-out: " NO_DNS, "", NULL};
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	make_udp(2, 0, DNS);
	is_dropped(f, 0, "acl-in");
	make_udp(2, 0, DNS + 1);
	passes(f, 2, 0);
	/* What port 1 sends nobody judges, only what it is sent. */
	make_udp(2, 1, DNS);
	passes(f, 2, 1);
	make_udp(1, 2, DNS);
	is_dropped(f, 2, "acl-out");
	make_udp(1, 2, DNS + 1);
	passes(f, 1, 2);
	/* Of a flood only that port goes without. */
	make_udp(FIXTURE_BROADCAST, 2, DNS);
	passes(f, 0, 2);
	fixture_expect_nothing(f, 1, 2);
	/* What hides its ports. */
	make_udp(2, 0, DNS);
	frame[14] = 0x4f;
	put_be16(frame + 12 + 2 + 2, BYTES);
	fixture_send(f, 0, frame, 14 + 60 + 4);
	assert_int_equal(
		fixture_counted(f, "p0: not forwarded: acl-unreadable "), 1);
}

static void write_rules(const struct fixture *f, const char *text,
			char ret_path[static 128])
{
	FILE *file;

	snprintf(ret_path, 128, "%s/rules", f->process.folder);
	file = fopen(ret_path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int set_rules(struct fixture *f, const char *port, const char *text)
{
	char path[128], arguments[256];
	int status;

	write_rules(f, text, path);
	snprintf(arguments, sizeof(arguments), "acl set %s %s", port, path);
	status = fixture_ctl(f, arguments);
	unlink(path);
	return status;
}

static const char *const three[] = {"", "", "", NULL};

static void rules_are_shown_with_what_they_decided(void **state)
{
	struct fixture *f = *state;

	fixture_start_controlled(f, "", three);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	assert_int_equal(set_rules(f, "p0",
				   "acl-in:\n"
				   "  - name: dns\n"
				   "    action: deny\n"
				   "    protocol: udp\n"
				   "    to: 10.0.0.0/8\n"
				   "    to-ports: 53\n"),
			 0);
	make_udp(2, 0, DNS);
	is_dropped(f, 0, "acl-in");
	make_udp(2, 0, DNS + 1);
	passes(f, 2, 0);
	assert_int_equal(fixture_ctl(f, "--json acl show p0"), 0);
	assert_non_null(strstr(
		f->said,
		"\"match\": \"ipv4 to 10.0.0.0/8 protocol 17 to-ports 53\""));
	assert_non_null(strstr(f->said, "\"hits\": 1"));
	assert_int_equal(fixture_ctl(f, "acl del p0"), 0);
	make_udp(2, 0, DNS);
	passes(f, 2, 0);
	assert_int_equal(fixture_ctl(f, "--json acl show"), 0);
	assert_string_equal(f->said, "[]\n");
}

static void wrong_rules_are_named_and_change_nothing(void **state)
{
	static const struct {
		const char *rule, *words;
	} cases[] = {
		{"protocol: upd", "acl:4: protocol: upd: give tcp, udp"},
		{"to-ports: 53", "acl:4: to-ports: protocol tcp or udp"},
		{"protocol: udp\n    to-ports: 70-60", "acl:5: to-ports: 70"},
		{"from: 10.0.0.1/8", "acl:4: from: 10.0.0.1/8: give an IP"},
		{"from: 10.0.0.0/8\n    to: fe80::/10",
		 "acl:5: to: this is of"},
		{"ethertype: arp\n    to: fe80::/10", "acl:5: to: this is of"},
		{"from-mac: 2:0", "acl:4: from-mac: 2:0: give an address"},
		{"vlan: 4095", "acl:4: vlan: 4095: give a VLAN"},
		{"opens: yes", "acl:4: opens: protocol tcp"},
		{"to-port: 3", "acl:4: to-port: there is no such key"},
		{"action: deny\n  - name: a\n    action: deny", "acl:"},
		{"protocol: tcp\n  - name: a\n    action: deny",
		 "acl:5: name: a: rule 1 has it already"},
	};
	struct fixture *f = *state;
	char text[512];

	fixture_start_controlled(f, "", three);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	assert_int_equal(set_rules(f, "p0", "acl-in: " NO_DNS "\n"), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# %s\n", cases[i].words);
		snprintf(text, sizeof(text),
			 "acl-out:\n  - name: a\n    action: allow\n    %s\n",
			 cases[i].rule);
		assert_int_equal(set_rules(f, "p0", text), 1);
		assert_non_null(strstr(f->said, cases[i].words));
	}
	assert_int_equal(set_rules(f, "p9", "{}"), 1);
	assert_non_null(strstr(f->said, "p9: no port has this name"));
	assert_int_equal(fixture_ctl(f, "acl set p0 /nowhere/at/all"), 2);
	assert_non_null(strstr(f->said, "/nowhere/at/all: No such file"));
	make_udp(2, 0, DNS);
	is_dropped(f, 0, "acl-in");
}

/* Frames that both lists let pass, all of them, in order; of the others none. */
static void rules_change_under_traffic_and_nothing_is_lost(void **state)
{
	static const char *const lists[] = {
		"acl-in: " NO_DNS "\nacl-out: " NO_DNS "\n",
		"acl-in: [{name: a, action: deny, protocol: udp, "
		"to-ports: 50-53}]\n",
	};
	struct fixture *f = *state;
	char path[2][128], command[1024];
	FILE *changes;

	fixture_start_controlled(f, "lcores: 2", three);
	fixture_join_all(f, 3);
	fixture_introduce(f, 3);
	assert_int_equal(set_rules(f, "p0", lists[0]), 0);
	for (unsigned i = 0; i < 2; i++) {
		write_rules(f, lists[i], path[i]);
		snprintf(command, sizeof(command), "%s%u", path[i], i);
		assert_int_equal(rename(path[i], command), 0);
		strcpy(path[i], command);
	}
	snprintf(command, sizeof(command),
		 "for i in $(seq %u); do for r in %s %s; do %s ctl "
		 "--control=%s/control acl set p0 $r || exit 1; done; done; "
		 "echo all were set",
		 CHANGES, path[0], path[1], getenv("VSWITCH"),
		 f->process.folder);
	changes = popen(command, "re");
	assert_non_null(changes);
	for (unsigned n = 0; n < CHANGES * FRAMES; n++) {
		if (n % 8 == 0) {
			make_udp(2, 0, DNS);
			fixture_send(f, 0, frame, BYTES);
		}
		make_udp(2, 0, DNS + 1);
		passes(f, 2, 0);
	}
	assert_non_null(fgets(command, sizeof(command), changes));
	assert_string_equal(command, "all were set\n");
	assert_int_equal(pclose(changes), 0);
	for (unsigned i = 0; i < 2; i++)
		unlink(path[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(rules_of_both_directions_decide),
		SWITCH_TEST(rules_are_shown_with_what_they_decided),
		SWITCH_TEST(wrong_rules_are_named_and_change_nothing),
		SWITCH_TEST(rules_change_under_traffic_and_nothing_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
