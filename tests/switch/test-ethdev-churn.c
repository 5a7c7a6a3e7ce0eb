/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports on devices of DPDK's come and go, hundreds of times, while guests on other
 * ports send: these lose nothing, and the switch holds in the end what it held in
 * the beginning. Over one connection to the control socket: a process for each
 * call would take most of the time.
 *
 * Memory of EAL's stays the process's once it was used, and each device that went
 * leaves its place to the next.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/sanitized.h"
#include "tests/switch/fixture.h"

enum {
	ROUNDS = 300, /* with RINGLINE_ALL … */
	ALL_ROUNDS = 2000,
	WARM = 4,	   /* of those: every device was there, and went */
	WARM_FRAMES = 600, /* each buffer of the guests has been used */
	FRAMES_EACH = 10,
	FRAME_BYTES = 300,
	ANSWER_BYTES = 1024,
	MORE_KIB = 1024,
};

static const char *const two[] = {"", "", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void ask(int fd, const char *method, const char *params)
{
	char line[512], answer[ANSWER_BYTES];
	size_t length = 0;

	snprintf(line, sizeof(line),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\","
		 "\"params\":%s}\n",
		 method, params);
	assert_int_equal(send(fd, line, strlen(line), MSG_NOSIGNAL),
			 strlen(line));
	do {
		ssize_t n = recv(fd, answer + length,
				 sizeof(answer) - 1 - length, 0);

		assert_true(n > 0);
		length += n;
		answer[length] = '\0';
	} while (!strchr(answer, '\n'));
	if (!strstr(answer, "\"result\""))
		fail_msg("%s%s", line, answer);
}

/* What the process made itself: of files it maps, programs and libraries, pages come
 * and go as the system has room. */
static unsigned long count_kib(pid_t pid)
{
	unsigned long anonymous = 0, shared = 0;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "RssAnon: %lu", &anonymous) != 1)
			sscanf(line, "RssShmem: %lu", &shared);
	fclose(file);
	return anonymous + shared;
}

/* To everybody, so that a device gets it, too. */
static void send_many(struct fixture *f, unsigned count)
{
	for (unsigned n = 0; n < count; n++) {
		fixture_frame(frame, FIXTURE_BROADCAST, n % 2, FRAME_BYTES,
			      ++seed);
		assert_int_equal(net_send(f->guests[n % 2], 0, NULL, frame,
					  FRAME_BYTES, NULL),
				 0);
		fixture_expect(f, 1 - n % 2, frame, FRAME_BYTES);
	}
}

/* A ring gives back what it got, so that frames are in it when it goes. */
static const char *const devices[] = {
	"{\"port\":{\"name\":\"w\",\"kind\":\"dpdk\","
	"\"devargs\":\"net_ring0\","
	"\"acl-in\":[{\"name\":\"a\",\"action\":\"deny\"}]}}",
	"{\"port\":{\"name\":\"w\",\"kind\":\"dpdk\","
	"\"devargs\":\"net_null0,no-rx=1\"}}",
};

static void devices_come_and_go_under_traffic(void **state)
{
	struct fixture *f = *state;
	const unsigned rounds =
		(getenv("RINGLINE_ALL") ? ALL_ROUNDS : ROUNDS) / SAMPLED(10);
	unsigned fds = 0;
	unsigned long kib = 0;
	int control;

	fixture_start_controlled(f, "", two);
	fixture_join_all(f, 2);
	control = fixture_connect_control(f);
	send_many(f, WARM_FRAMES);
	for (unsigned i = 0; i < rounds; i++) {
		if (i == WARM) {
			fds = process_count_fds(&f->process);
			kib = count_kib(f->process.pid);
		}
		/* One is under way as the port comes, and as it goes. */
		fixture_frame(frame, 1, 0, FRAME_BYTES, ++seed);
		assert_int_equal(net_send(f->guests[0], 0, NULL, frame,
					  FRAME_BYTES, NULL),
				 0);
		ask(control, "port.add", devices[i % ARRAY_SIZE(devices)]);
		fixture_expect(f, 1, frame, FRAME_BYTES);
		send_many(f, FRAMES_EACH);
		fixture_frame(frame, 1, 0, FRAME_BYTES, ++seed);
		assert_int_equal(net_send(f->guests[0], 0, NULL, frame,
					  FRAME_BYTES, NULL),
				 0);
		ask(control, "port.remove", "{\"name\":\"w\"}");
		fixture_expect(f, 1, frame, FRAME_BYTES);
	}
	process_assert_fds(&f->process, fds);
	if (!TEST_SANITIZED)
		assert_in_range(count_kib(f->process.pid), 0, kib + MORE_KIB);
	close(control);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(devices_come_and_go_under_traffic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
