/* SPDX-License-Identifier: Apache-2.0 */
/* What `vswitch ctl trace` says of a frame, what becomes of the same frame then,
 * and that asking changed nothing. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 60,
	GUESTS = 5,
	MOST_BYTES = 2048,
};

static const char *const ports[] = {
	"broadcast: {rate: 1, burst: 1}",
	"group: x",
	"group: x",
	"vlan-mode: trunk, vlan: 1, vlans: [9]",
	"guard: {mac: first}, acl-in: [{name: no-dns, action: deny, "
	"protocol: udp, to-ports: 53}]",
	NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES];
static uint32_t seed;

/* A line of the answer: port, result, and what stands anywhere behind. */
static bool says(const struct fixture *f, const char *port, const char *result,
		 const char *more)
{
	const char *line = f->said;
	char words[64];

	snprintf(words, sizeof(words), "%-4s  %s", port, result);
	while (*line) {
		const char *end = strchr(line, '\n');
		char text[256];

		snprintf(text, sizeof(text), "%.*s", (int)(end - line), line);
		if (strncmp(text, words, strlen(words)) == 0 &&
		    strstr(text, more))
			return true;
		line = end + 1;
	}
	return false;
}

static void trace(struct fixture *f, const char *arguments)
{
	char command[256];

	snprintf(command, sizeof(command), "trace %s", arguments);
	if (fixture_ctl(f, command) != 0)
		fail_msg("%s: %s", arguments, f->said);
}

static void pass(struct fixture *f, unsigned to, unsigned from)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	fixture_send(f, from, frame, BYTES);
	fixture_expect(f, to, frame, BYTES);
}

/* All that could change: stations (not their ages), counters, rules. */
static void snapshot(struct fixture *f, char *ret)
{
	static const char *const commands[] = {"stats", "acl show",
					       "guard show", "fdb show"};

	*ret = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		assert_int_equal(fixture_ctl(f, commands[i]), 0);
		for (char *line = strtok(f->said, "\n"); line;
		     line = strtok(NULL, "\n")) {
			/* The age stands last. */
			if (i == 3)
				line[strlen(line) - 3] = '\0';
			strcat(strcat(ret, line), "\n");
		}
	}
}

static void trace_says_what_happens_and_changes_nothing(void **state)
{
	struct fixture *f = *state;
	static char before[FIXTURE_SAID_BYTES], after[FIXTURE_SAID_BYTES];

	fixture_start_controlled(f, "fdb-age: 5000", ports);
	fixture_join_all(f, GUESTS);
	/* p4 hears it, and is known then. */
	fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	for (unsigned i = 1; i < GUESTS; i++)
		fixture_expect(f, i, frame, BYTES);
	pass(f, 0, 1);
	pass(f, 0, 3);
	snapshot(f, before);

	/* One that is known. */
	trace(f, "p0 to=02:00:00:00:00:01 from=02:00:00:00:00:00");
	assert_true(says(f, "p0", "to one", "known here"));
	assert_true(says(f, "p1", "gets it", "60"));
	assert_null(strstr(f->said, "p2"));
	/* From a stranger: it would be learned, and is not. */
	trace(f, "p2 to=02:00:00:00:00:00 from=02:00:00:00:00:02");
	assert_true(says(f, "p2", "to one", "would be learned"));
	assert_true(says(f, "p0", "gets it", ""));
	trace(f, "p2 to=02:00:00:00:00:00 from=02:00:00:00:00:01");
	assert_true(says(f, "p2", "to one", "would move here"));
	/* To its own group, known and unknown. */
	trace(f, "p2 to=02:00:00:00:00:01 from=02:00:00:00:00:02");
	assert_true(says(f, "p2", "dropped", "isolated"));
	assert_true(says(f, "p1", "does not", "isolated"));
	trace(f, "p2 to=ff:ff:ff:ff:ff:ff from=02:00:00:00:00:02");
	assert_true(says(f, "p2", "to all", ""));
	assert_true(says(f, "p1", "does not", "isolated"));
	assert_true(says(f, "p0", "gets it", ""));
	assert_true(says(f, "p3", "gets it", ""));
	/* VLANs: one that p3 alone has, and none. */
	trace(f, "p3 to=ff:ff:ff:ff:ff:ff from=02:00:00:00:00:03 vlan=9");
	assert_true(says(f, "p0", "does not", "vlan"));
	trace(f, "p3 to=ff:ff:ff:ff:ff:ff from=02:00:00:00:00:03 vlan=8");
	assert_true(says(f, "p3", "dropped", "vlan"));
	/* One broadcast a second: asking takes none of them. */
	usleep(1100 * 1000);
	for (unsigned i = 0; i < 3; i++) {
		trace(f, "p0 to=ff:ff:ff:ff:ff:ff from=02:00:00:00:00:00");
		assert_true(says(f, "p0", "to all", "known here"));
	}
	/* A rule, by its name; and the guard, which takes the first for good. */
	trace(f, "p4 to=02:00:00:00:00:00 from=02:00:00:00:00:44 "
		 "src=10.0.0.1 dst=10.0.0.2 dport=53");
	assert_true(says(f, "p4", "dropped", "acl-in"));
	assert_true(says(f, "p4", "dropped", "no-dns"));
	trace(f, "p4 to=02:00:00:00:00:00 from=02:00:00:00:00:45 "
		 "src=10.0.0.1 dst=10.0.0.2 dport=54");
	assert_true(says(f, "p0", "gets it", ""));
	/* The same in hexadecimal digits. */
	trace(f, "p0 02000000000102000000000088b50000");
	snapshot(f, after);
	assert_string_equal(after, before);

	/* And so it is. */
	fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	fixture_expect(f, 1, frame, BYTES);
	pass(f, 1, 0);
	fixture_frame(frame, 1, 2, BYTES, ++seed);
	fixture_send(f, 2, frame, BYTES);
	fixture_expect_nothing(f, 1, 0);
}

static void ask_hex(struct fixture *f, const char *hex, const char *words)
{
	char request[2 * MOST_BYTES + 128];

	snprintf(request, sizeof(request),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"trace\","
		 "\"params\":{\"port\":\"p0\",\"frame\":\"%s\"}}\n",
		 hex);
	fixture_ask(f, request);
	if (!strstr(f->said, words))
		fail_msg("%zu digits: %s", strlen(hex), f->said);
}

/* What is made of the keys, as rules judge it that tell fields apart. */
static void keys_are_fields_of_the_frame(void **state)
{
	static const char *const rules[] = {
		"acl-in: ["
		"{name: opens, action: deny, protocol: tcp, opens: yes, "
		"from: 10.0.0.1, to: 10.0.0.2, from-ports: 7, to-ports: 80}, "
		"{name: tcp, action: deny, protocol: tcp}, "
		"{name: seven, action: deny, protocol: 7}, "
		"{name: udp, action: deny, from: 10.0.0.3, to: 10.0.0.4, "
		"protocol: udp, from-ports: 7, to-ports: 53}, "
		"{name: ip, action: deny, ethertype: ipv4}, "
		"{name: arp, action: deny, ethertype: arp}], "
		"max-stations: 1",
		"vlan-mode: trunk, vlans: [9, 1], acl-out: "
		"[{name: nine, action: deny, ethertype: 0x9000}]",
		"mirror: {ports: [p1]}", "stations: [02:00:00:00:00:05]", NULL};
	static const struct {
		const char *keys, *port, *result, *more;
	} cases[] = {
		{"src=10.0.0.1 dst=10.0.0.2 protocol=6 sport=7 dport=80", "p0",
		 "dropped", "opens"},
		{"src=10.0.0.2 dst=10.0.0.1 protocol=6 sport=7 dport=80", "p0",
		 "dropped", "tcp"},
		{"src=10.0.0.1 protocol=7", "p0", "dropped", "seven"},
		{"dst=10.0.0.1 protocol=7", "p0", "dropped", "seven"},
		{"src=10.0.0.3 dst=10.0.0.4 sport=7 dport=53", "p0", "dropped",
		 "udp"},
		{"src=10.0.0.3 dst=10.0.0.4 sport=53 dport=7", "p0", "dropped",
		 "ip"},
		{"type=2054", "p0", "dropped", "arp"},
		{"type=36864", "p1", "does not", "nine"},
		{"", "p0", "to all", "would be learned"},
		{"", "p1", "gets it", "1    64"},
		{"", "p2", "mirrored", ""},
		{"", "p3", "gets it", "60"},
	};
	struct fixture *f = *state;

	fixture_start_controlled(f, "", rules);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		char keys[256];

		snprintf(keys, sizeof(keys),
			 "p0 to=ff:ff:ff:ff:ff:ff from=02:00:00:00:00:01 %s",
			 cases[i].keys);
		trace(f, keys);
		if (!says(f, cases[i].port, cases[i].result, cases[i].more))
			fail_msg("%s: %s", cases[i].keys, f->said);
	}
	/* Of whom it cannot learn, and why. */
	trace(f, "p0 to=ff:ff:ff:ff:ff:ff from=02:00:00:00:00:05");
	assert_true(says(f, "p0", "dropped", "spoofed"));
	fixture_join(f, 0, NULL);
	fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	trace(f, "p0 to=ff:ff:ff:ff:ff:ff from=02:00:00:00:00:01");
	assert_true(says(f, "p0", "to all", "one too many, not learned"));
	/* A tag is in the way of nothing, and 4 bytes. */
	trace(f, "p1 to=ff:ff:ff:ff:ff:ff from=02:00:00:00:00:01 vlan=1 "
		 "type=36864");
	assert_true(says(f, "p1", "to all", "1"));
	assert_true(says(f, "p3", "gets it", "60"));
}

static void trace_json(struct fixture *f, const char *arguments)
{
	char command[256];

	snprintf(command, sizeof(command), "--json trace %s", arguments);
	if (fixture_ctl(f, command) != 0)
		fail_msg("%s: %s", arguments, f->said);
}

/* What of @port is the result, and all that stands behind. */
static void tells(const struct fixture *f, const char *port, const char *rest)
{
	char words[256];

	snprintf(words, sizeof(words),
		 "\"port\": \"%s\",\n    \"result\": %s  }", port, rest);
	if (!strstr(f->said, words))
		fail_msg("not %s but %s", words, f->said);
}

/* With nobody at any port: what would leave, as it would, and who decides. */
static void tags_mirrors_and_rules_are_told(void **state)
{
	static const char *const kinds[] = {
		"vlan: 9",
		"vlan-mode: trunk, vlans: [\"9\"]",
		"vlan-mode: trunk, vlans: [\"9\"], service-tags: yes",
		"vlan: 9, acl-out: [{name: web, action: deny, protocol: udp, "
		"to-ports: 80}, {name: no-dns, action: deny, protocol: udp, "
		"to-ports: 53}]",
		"mirror: {ports: [p0]}",
		"vlan: 8",
		NULL};
	struct fixture *f = *state;

	fixture_start_controlled(f, "", kinds);
	trace_json(f, "p0 to=ff:ff:ff:ff:ff:ff from=02:00:00:00:00:00 "
		      "src=10.0.0.1 dst=10.0.0.2 dport=53");
	tells(f, "p0",
	      "\"to all\",\n    \"why\": \"would be learned\",\n"
	      "    \"vlan\": 9\n");
	tells(f, "p1", "\"gets it\",\n    \"bytes\": 64,\n    \"tag\": 9\n");
	tells(f, "p2", "\"gets it\",\n    \"bytes\": 64,\n    \"tag\": 9\n");
	tells(f, "p3",
	      "\"does not\",\n    \"why\": \"acl-out\",\n"
	      "    \"rule\": \"no-dns\"\n");
	tells(f, "p4", "\"mirrored\",\n    \"bytes\": 60\n");
	tells(f, "p5", "\"does not\",\n    \"why\": \"vlan\"\n");
	/* A priority is no part of a VLAN. */
	trace_json(f, "p1 ffffffffffff0200000000018100a00988b50000");
	tells(f, "p0", "\"gets it\",\n    \"bytes\": 16\n");
	tells(f, "p2", "\"gets it\",\n    \"bytes\": 20,\n    \"tag\": 9\n");
	tells(f, "p3", "\"gets it\",\n    \"bytes\": 16\n");
	/* Who does not hear it was not asked. */
	trace_json(f, "p5 to=ff:ff:ff:ff:ff:ff from=02:00:00:00:00:05");
	tells(f, "p5",
	      "\"to all\",\n    \"why\": \"would be learned\",\n"
	      "    \"vlan\": 8\n");
	assert_null(strstr(f->said, "p4"));
}

static void what_is_no_frame_is_named(void **state)
{
	static const struct {
		const char *arguments, *words;
	} cases[] = {
		{"x 00", "x: no port has this name"},
		{"p0 0200", "frame: it has no Ethernet header"},
		{"p0 020", "hexadecimal digits"},
		{"p0 zz", "hexadecimal digits"},
		{"p0 02000000000102000000000088", "it has no Ethernet header"},
		{"p0 to=02:00:00:00:00:01x from=02:00:00:00:00:02",
		 "give frame=HEX"},
		{"p0 to=02:00:00:00:00:01 from=02:00:00:00:00:02 dst=x",
		 "src, dst: give IPv4"},
		{"p0 to=a from=b", "give frame=HEX, or to and from"},
		{"p0 to=02:00:00:00:00:01", "give frame=HEX"},
		{"p0 to=02:00:00:00:00:01 from=02:00:00:00:00:02 vlan=4095",
		 "vlan: "},
		{"p0 to=02:00:00:00:00:01 from=02:00:00:00:00:02 src=x",
		 "src, dst: give IPv4"},
		{"p0 to=02:00:00:00:00:01 from=02:00:00:00:00:02 vlan=x",
		 "vlan"},
	};
	struct fixture *f = *state;
	char hex[2 * MOST_BYTES + 3];

	fixture_start_controlled(f, "", ports);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		char command[128];

		print_message("# %s\n", cases[i].words);
		snprintf(command, sizeof(command), "trace %s",
			 cases[i].arguments);
		assert_int_not_equal(fixture_ctl(f, command), 0);
		if (!strstr(f->said, cases[i].words))
			fail_msg("%s", f->said);
	}
	/* As many bytes as can be, and one more. */
	memset(hex, '0', sizeof(hex));
	hex[2 * MOST_BYTES] = '\0';
	ask_hex(f, hex, "\"result\":[");
	hex[2 * MOST_BYTES] = '0';
	hex[2 * MOST_BYTES + 2] = '\0';
	ask_hex(f, hex, "frame: give at most 2048 bytes");
	hex[2 * FIXTURE_HEAD_BYTES] = '\0';
	ask_hex(f, hex, "\"result\":[");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(trace_says_what_happens_and_changes_nothing),
		SWITCH_TEST(keys_are_fields_of_the_frame),
		SWITCH_TEST(tags_mirrors_and_rules_are_told),
		SWITCH_TEST(what_is_no_frame_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
