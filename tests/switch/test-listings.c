/* SPDX-License-Identifier: Apache-2.0 */
/* What the control socket shows of ports, stations, guards and rules, to the
 * letter; and what it forgets of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 300,
};

static const char *const ports[] = {
	"group: x, queues: 2, guard: {mac: 12:34:56:78:9a:bc, router: yes, "
	"addresses: [10.0.0.1, fe80::/10]}",
	"vlan: 7, stations: [12:34:56:78:9a:bc], acl-in: "
	"[{name: other, action: deny}]",
	"acl-in: [{name: a, action: allow, from-mac: 12:34:56:78:9a:bc, "
	"to-mac: 12:34:56:00:00:00/24, vlan: 9, ethertype: 0x9000}], "
	"acl-out: [{name: b, action: allow, protocol: icmp, icmp-type: 0}, "
	"{name: c, action: deny, protocol: tcp, from-ports: 1024-65535, "
	"to-ports: 0-22, opens: yes}, {name: d, action: deny, "
	"ethertype: 0x88b5}]",
	"vlan-mode: trunk, vlan: 1, vlans: [7]", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES];

static void start(struct fixture *f)
{
	fixture_start_controlled(f, "", ports);
	fixture_join(f, 2, NULL);
	fixture_join(f, 3, NULL);
}

/* Both are heard; p2's last rule drops what the other has for it. */
static void is_heard(struct fixture *f)
{
	fixture_frame(frame, FIXTURE_BROADCAST, 2, BYTES, 0);
	fixture_send(f, 2, frame, BYTES);
	fixture_frame(frame, 2, 3, BYTES, 0);
	fixture_send(f, 3, frame, BYTES);
}

static void shows(struct fixture *f, const char *what, const char *wanted)
{
	char arguments[64];

	snprintf(arguments, sizeof(arguments), "--json %s show", what);
	assert_int_equal(fixture_ctl(f, arguments), 0);
	assert_string_equal(f->said, wanted);
}

#define PORT(name, number, up, mode, vlan, queues)                    \
	"  {\n    \"name\": \"" name                                  \
	"\",\n    \"kind\": \"vhost-user\",\n    \"number\": " number \
	",\n    \"up\": " up ",\n    \"vlan-mode\": \"" mode          \
	"\",\n    \"vlan\": " vlan ",\n    \"queues\": " queues       \
	",\n    \"socket-path\": \"%s/" name "\""

static void ports_are_shown(void **state)
{
	struct fixture *f = *state;
	const char *folder = f->process.folder;
	char wanted[4096];

	start(f);
	assert_int_equal(fixture_ctl(f, "port del p1"), 0);
	snprintf(wanted, sizeof(wanted),
		 "[\n" PORT("p0", "0", "false", "access", "1",
			    "2") ",\n    "
				 "\"group\": \"x\"\n  },\n" PORT(
					 "p2", "2", "true", "access", "1",
					 "1") "\n  },\n" PORT("p3", "3", "true",
							      "trunk", "1",
							      "1") "\n  }\n]\n",
		 folder, folder, folder);
	shows(f, "port", wanted);
}

static void guards_are_shown(void **state)
{
	struct fixture *f = *state;

	start(f);
	shows(f, "guard",
	      "[\n  {\n    \"port\": \"p0\",\n    \"mac\": "
	      "\"12:34:56:78:9a:bc\",\n    \"addresses\": [\n      "
	      "\"10.0.0.1\",\n      \"fe80::/10\"\n    ],\n    \"router\": "
	      "true\n  }\n]\n");
}

#define RULE(direction, number, name, action, match, hits)              \
	"  {\n    \"port\": \"p2\",\n    \"direction\": \"" direction   \
	"\",\n    \"number\": " number ",\n    \"name\": \"" name       \
	"\",\n    \"action\": \"" action "\",\n    \"match\": \"" match \
	"\",\n    \"hits\": " hits "\n  }"

static void rules_of_a_port_are_shown(void **state)
{
	static const char wanted[] = "[\n" RULE(
		"in", "1", "a", "allow",
		"from-mac 12:34:56:78:9a:bc to-mac "
		"12:34:56:00:00:00/24 ethertype 0x9000 vlan 9",
		"0") ",\n" RULE("out", "1", "b", "allow",
				"ipv4 protocol 1 icmp-type 0",
				"0") ",\n" RULE("out", "2", "c", "deny",
						"protocol 6 from-ports 1024-65535 to-ports 0-22 opens",
						"0") ",\n" RULE("out", "3", "d",
								"deny",
								"ethertype 0x88b5",
								"1") "\n]\n";
	struct fixture *f = *state;

	start(f);
	is_heard(f);
	assert_int_equal(fixture_ctl(f, "--json acl show p2"), 0);
	assert_string_equal(f->said, wanted);
}

static void stations_are_shown(void **state)
{
	struct fixture *f = *state;
	const char *line;
	int age = -1;

	start(f);
	is_heard(f);
	assert_int_equal(fixture_ctl(f, "--json fdb show"), 0);
	assert_non_null(strstr(f->said, "\"mac\": \"12:34:56:78:9a:bc\",\n    "
					"\"vlan\": 7,\n    \"port\": \"p1\",\n"
					"    \"static\": true\n  }"));
	line = strstr(f->said, "\"mac\": \"02:00:00:00:00:03\",\n    "
			       "\"vlan\": 1,\n    \"port\": \"p3\",\n    "
			       "\"static\": false,\n    \"age\": ");
	assert_non_null(line);
	assert_int_equal(sscanf(strstr(line, "\"age\": "), "\"age\": %d", &age),
			 1);
	assert_in_range(age, 0, 60);
}

#define LIMIT(port, what, rate, burst)                            \
	"  {\n    \"port\": \"" port "\",\n    \"what\": \"" what \
	"\",\n    \"rate\": " rate ",\n    \"burst\": " burst

/* Bursts that are not given are a tenth of a second's, or a frame. */
static void limits_are_shown(void **state)
{
	static const char *const limited[] = {
		"frames: {rate: 1000}, bytes: {rate: 100}, "
		"shape: {rate: 5000000, burst: 70000, queue: 300000}",
		"",
		"broadcast: {rate: 5}, multicast: {rate: 6, burst: 2}, "
		"unknown: {rate: 70}, shape: {rate: 8000000}",
		NULL};
	struct fixture *f = *state;

	fixture_start_controlled(f, "", limited);
	shows(f, "limit",
	      "[\n" LIMIT("p0", "frames", "1000", "100") "\n  },\n" LIMIT("p0", "bytes", "100", "65597") "\n  },\n" LIMIT(
		      "p0", "shape", "5000000",
		      "70000") ",\n    \"queue\": "
			       "300000\n  },\n" LIMIT("p2", "broadcast", "5", "1") "\n  },\n" LIMIT(
				       "p2", "multicast", "6",
				       "2") "\n  },\n" LIMIT("p2", "unknown",
							     "70",
							     "7") "\n  },\n" LIMIT("p2",
										   "shape",
										   "8000000",
										   "800000") ",\n    \"queue\": 262144\n  }\n]\n");
	fixture_ctl_says(f, "port set p2 shape=null", "");
	fixture_ctl_says(f, "limit show", "p2    unknown    70");
	assert_null(strstr(f->said, "8000000"));
}

static void tunnels_are_shown(void **state)
{
	static const char *const tunnels[] = {
		"vlan: 5", "vlan-mode: tunnel, vlan: 100, vlans: [0, 7-9]",
		"vlan-mode: trunk, vlans: [100]", NULL};
	struct fixture *f = *state;

	fixture_start_controlled(f, "", tunnels);
	shows(f, "tunnel",
	      "[\n  {\n    \"port\": \"p1\",\n    \"vlan\": 100,\n    "
	      "\"vlans\": [\n      \"0\",\n      \"7-9\"\n    ]\n  }\n]\n");
}

/* The answer to a request that `vswitch ctl` would not make. */
static void flush(struct fixture *f, const char *params, const char *words)
{
	char request[256];

	snprintf(request, sizeof(request),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fdb.flush\","
		 "\"params\":{%s}}\n",
		 params);
	fixture_ask(f, request);
	if (!strstr(f->said, words))
		fail_msg("%s: %s", params, f->said);
}

/* Four of them: one is there for good, two are in VLAN 1. */
static void stations_are_forgotten_by_port_and_vlan(void **state)
{
	struct fixture *f = *state;

	start(f);
	is_heard(f);
	fixture_tag(frame, BYTES, 0x8100, 7);
	fixture_send(f, 3, frame, BYTES + 4);
	flush(f, "\"vlan\":4095", "vlan: give a VLAN from 1 to 4094");
	flush(f, "\"vlan\":-1", "vlan: give a VLAN from 1 to 4094");
	flush(f, "\"port\":\"x\"", "x: no port has this name");
	flush(f, "\"vlan\":4094", "\"result\":0");
	flush(f, "\"port\":\"p0\"", "\"result\":0");
	flush(f, "\"port\":\"p3\",\"vlan\":7", "\"result\":1");
	flush(f, "\"port\":\"p2\",\"vlan\":7", "\"result\":0");
	flush(f, "\"port\":\"p3\"", "\"result\":1");
	fixture_ctl_says(f, "fdb show", "02:00:00:00:00:02  1     p2");
	assert_null(strstr(f->said, "p3"));
	flush(f, "", "\"result\":1");
	fixture_ctl_says(f, "fdb show", "12:34:56:78:9a:bc  7     p1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(ports_are_shown),
		SWITCH_TEST(guards_are_shown),
		SWITCH_TEST(rules_of_a_port_are_shown),
		SWITCH_TEST(stations_are_shown),
		SWITCH_TEST(limits_are_shown),
		SWITCH_TEST(tunnels_are_shown),
		SWITCH_TEST(stations_are_forgotten_by_port_and_vlan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
