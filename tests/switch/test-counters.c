/* SPDX-License-Identifier: Apache-2.0 */
/* All that a switch counts, of each port something else: it stands where it belongs,
 * in `stats` and on the page of metrics. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"
#include "tests/switch/openmetrics.h"

enum {
	BYTES = 300,
	BACK_BYTES = 200,
	FLOOD = 6,
	STRANGER = 0x77,
	SECOND_STATION = 0x10,
	PAIRS = 2,
};

static uint8_t frame[FIXTURE_FRAME_BYTES];

static void send_by(struct fixture *f, unsigned port, unsigned pair,
		    const struct virtio_net_hdr_v1 *header, size_t bytes)
{
	assert_int_equal(
		net_send(f->guests[port], pair, header, frame, bytes, NULL), 0);
	assert_int_equal(net_send_wait(f->guests[port], pair), 0);
}

/* The first passes p1's shaper, two more wait there, and the rest is too much. */
static void flood(struct fixture *f)
{
	for (unsigned i = 0; i < FLOOD; i++) {
		fixture_frame(frame, STRANGER, i == 0 ? 0 : SECOND_STATION,
			      BYTES, i);
		send_by(f, 0, i > 0, NULL, BYTES);
	}
}

static void make_no_sense(struct fixture *f)
{
	const struct virtio_net_hdr_v1 wrong = {.gso_type = 0x66};

	fixture_frame(frame, STRANGER, 0, BYTES, 0);
	send_by(f, 0, 1, &wrong, BYTES);
	send_by(f, 0, 1, NULL, FIXTURE_HEAD_BYTES - 1);
	fixture_tag(frame, BYTES, 0x8100, 9);
	send_by(f, 0, 0, NULL, BYTES + 4);
}

static void start(struct fixture *f)
{
	static const char *const ports[] = {
		"queues: 2",
		"shape: {rate: 1, burst: 1, queue: 900}",
		"mirror: {ports: [p3]}",
		"",
		"",
		NULL};
	const struct net_options two = {.pairs = PAIRS};
	const struct net_options deaf = {.buffers = UINT_MAX};

	fixture_start_controlled(f, "", ports);
	fixture_join(f, 0, &two);
	fixture_join(f, 1, NULL);
	fixture_join(f, 2, NULL);
	fixture_join(f, 3, &deaf);
	flood(f);
	make_no_sense(f);
	fixture_frame(frame, 0, 1, BACK_BYTES, 0);
	send_by(f, 1, 0, NULL, BACK_BYTES);
	fixture_frame(frame, 0, 2, BACK_BYTES, 0);
	send_by(f, 2, 0, NULL, BACK_BYTES);
}

/* What stands behind @key in the part of that port; 0: it is not there. */
static uint64_t stat_of(const struct fixture *f, const char *port,
			const char *part, const char *key)
{
	char words[64];
	const char *at, *end, *found;

	snprintf(words, sizeof(words), "\"port\": \"%s\"", port);
	at = strstr(f->said, words);
	assert_non_null(at);
	end = strstr(at, "\n  }");
	assert_non_null(end);
	if (part) {
		snprintf(words, sizeof(words), "\"%s\": {", part);
		at = strstr(at, words);
		assert_true(at && at < end);
		end = strchr(at, '}');
	}
	snprintf(words, sizeof(words), "\"%s\": ", key);
	found = strstr(at, words);
	return found && found < end ? strtoull(found + strlen(words), NULL, 10)
				    : 0;
}

static void numbers_of_stats_are_what_they_say(void **state)
{
	static const struct {
		const char *port, *part, *key;
		uint64_t value;
	} wanted[] = {
		{"p0", NULL, "sent-frames", FLOOD + 1},
		{"p0", NULL, "sent-bytes", FLOOD * BYTES + BYTES + 4},
		{"p0", NULL, "received-frames", 1},
		{"p0", NULL, "received-bytes", BACK_BYTES},
		{"p0", NULL, "stations", 2},
		{"p0", NULL, "unreachable", 0},
		{"p0", "sent-dropped", "runt", 1},
		{"p0", "sent-dropped", "gso-type", 1},
		{"p0", "not-forwarded", "tagged", 1},
		{"p1", NULL, "received-frames", 1},
		{"p1", NULL, "stations", 1},
		{"p1", NULL, "shaped-delayed", 2},
		{"p1", NULL, "shaped-dropped", FLOOD - 3},
		{"p2", NULL, "received-frames", FLOOD},
		{"p2", NULL, "stations", 0},
		{"p2", "not-forwarded", "mirror", 1},
		{"p3", "received-dropped", "no-buffer", FLOOD},
		{"p3", "sent-dropped", "no-buffer", 0},
		{"p4", NULL, "unreachable", FLOOD},
	};
	struct fixture *f = *state;

	start(f);
	assert_int_equal(fixture_ctl(f, "--json stats"), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
		print_message("# %s %s\n", wanted[i].port, wanted[i].key);
		assert_int_equal(stat_of(f, wanted[i].port, wanted[i].part,
					 wanted[i].key),
				 wanted[i].value);
	}
}

#define FRAMES	"vswitch_frames_total"
#define NEITHER "vswitch_not_forwarded_total"

static void samples_of_the_page_are_what_they_say(void **state)
{
	static const struct {
		const char *name, *labels;
		unsigned value;
	} wanted[] = {
		{FRAMES, "port=\"p0\",direction=\"sent\"", FLOOD + 1},
		{FRAMES, "port=\"p0\",direction=\"received\"", 1},
		{"vswitch_bytes_total", "port=\"p0\",direction=\"sent\"",
		 FLOOD * BYTES + BYTES + 4},
		{"vswitch_bytes_total", "port=\"p0\",direction=\"received\"",
		 BACK_BYTES},
		{"vswitch_sent_dropped_total", "port=\"p0\",reason=\"runt\"",
		 1},
		{"vswitch_sent_dropped_total",
		 "port=\"p3\",reason=\"no-buffer\"", 0},
		{"vswitch_received_dropped_total",
		 "port=\"p3\",reason=\"no-buffer\"", FLOOD},
		{NEITHER, "port=\"p0\",reason=\"tagged\"", 1},
		{NEITHER, "port=\"p2\",reason=\"mirror\"", 1},
		{"vswitch_unreachable_total", "port=\"p4\"", FLOOD},
		{"vswitch_unreachable_total", "port=\"p0\"", 0},
		{"vswitch_shaped_total", "port=\"p1\",outcome=\"delayed\"", 2},
		{"vswitch_shaped_total", "port=\"p1\",outcome=\"dropped\"",
		 FLOOD - 3},
		{"vswitch_stations", "port=\"p0\"", 2},
		{"vswitch_stations", "port=\"p1\"", 1},
		{"vswitch_port_up", "port=\"p3\"", 1},
		{"vswitch_port_up", "port=\"p4\"", 0},
		{"vswitch_queue_frames_total",
		 "port=\"p0\",pair=\"0\",direction=\"sent\"", 2},
		{"vswitch_queue_frames_total",
		 "port=\"p0\",pair=\"1\",direction=\"sent\"", FLOOD - 1},
		{"vswitch_queue_frames_total",
		 "port=\"p1\",pair=\"0\",direction=\"received\"", 1},
		{"vswitch_queue_bytes_total",
		 "port=\"p0\",pair=\"1\",direction=\"sent\"",
		 (FLOOD - 1) * BYTES},
		{"vswitch_queue_dropped_total",
		 "port=\"p0\",pair=\"0\",direction=\"sent\"", 1},
		{"vswitch_queue_dropped_total",
		 "port=\"p0\",pair=\"1\",direction=\"sent\"", 2},
		{"vswitch_queue_dropped_total",
		 "port=\"p3\",pair=\"0\",direction=\"received\"", FLOOD},
	};
	struct fixture *f = *state;
	char error[OPENMETRICS_ERROR_BYTES];

	start(f);
	assert_int_equal(fixture_ctl(f, "metrics"), 0);
	if (openmetrics_read(f->said, error) < 0)
		fail_msg("%s", error);
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
		char line[128];

		snprintf(line, sizeof(line), "\n%s{%s} %u\n", wanted[i].name,
			 wanted[i].labels, wanted[i].value);
		print_message("#%s", line);
		assert_non_null(strstr(f->said, line));
	}
}

/* OpenMetrics, "Escaping". */
static void name_of_any_characters_is_one_label(void **state)
{
	struct fixture *f = *state;
	char arguments[256], path[128], error[OPENMETRICS_ERROR_BYTES];

	start(f);
	fixture_socket(f, 5, path);
	snprintf(arguments, sizeof(arguments),
		 "port add 'name=\"a\\\"b\\\\c\\nd\"' kind=vhost-user "
		 "socket-path=%s",
		 path);
	assert_int_equal(fixture_ctl(f, arguments), 0);
	assert_int_equal(fixture_ctl(f, "metrics"), 0);
	if (openmetrics_read(f->said, error) < 0)
		fail_msg("%s", error);
	assert_non_null(strstr(f->said, "\nvswitch_stations{port="
					"\"a\\\"b\\\\c\\nd\"} 0\n"));
	assert_non_null(strstr(f->said, "\nvswitch_queue_frames_total{port="
					"\"a\\\"b\\\\c\\nd\",pair=\"0\","
					"direction=\"sent\"} 0\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(numbers_of_stats_are_what_they_say),
		SWITCH_TEST(samples_of_the_page_are_what_they_say),
		SWITCH_TEST(name_of_any_characters_is_one_label),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
