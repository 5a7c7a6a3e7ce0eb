/* SPDX-License-Identifier: Apache-2.0 */
/* The page of --metrics, as a collector gets it, and as others ask for it. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"
#include "tests/switch/openmetrics.h"

enum {
	BYTES = 300,
	ANSWER_BYTES = 1 << 20,
	PATIENCE_MS = 10000,
	CLIENTS = 50,
};

static const char *const ports[] = {"", "vlan: 5", "", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES];
static char answer[ANSWER_BYTES];
static uint32_t seed;

static void metrics_path(const struct fixture *f, char ret_path[static 128])
{
	snprintf(ret_path, 128, "%s/metrics", f->process.folder);
}

static void start_at(struct fixture *f, const char *address)
{
	char option[160];
	const char *const options[] = {option, NULL};

	snprintf(option, sizeof(option), "--metrics=%s", address);
	fixture_start_controlled_with(f, "lcores: 2", ports, options);
}

static void start(struct fixture *f)
{
	char path[128];

	metrics_path(f, path);
	start_at(f, path);
	process_wait_listening(&f->process, path);
}

static int connect_to(const struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char path[128];

	metrics_path(f, path);
	assert_true(strlen(path) < sizeof(address.sun_path));
	strcpy(address.sun_path, path);
	assert_int_equal(
		connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* All that comes, to the end. */
static void read_answer(int fd)
{
	size_t length = 0;

	for (;;) {
		struct pollfd end = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&end, 1, PATIENCE_MS), 1);
		n = recv(fd, answer + length, sizeof(answer) - 1 - length, 0);
		assert_true(n >= 0);
		if (n == 0)
			break;
		length += n;
	}
	answer[length] = '\0';
	close(fd);
}

static void ask(int fd, const char *request)
{
	send(fd, request, strlen(request), MSG_NOSIGNAL);
	read_answer(fd);
}

/* The page, after it has been judged. */
static const char *page_at(int fd)
{
	char error[OPENMETRICS_ERROR_BYTES];
	const char *page, *length;

	ask(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_int_equal(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0);
	assert_non_null(strstr(answer, "\r\nContent-Type: application/"
				       "openmetrics-text; version=1.0.0; "
				       "charset=utf-8\r\n"));
	page = strstr(answer, "\r\n\r\n");
	assert_non_null(page);
	page += 4;
	length = strstr(answer, "\r\nContent-Length: ");
	assert_non_null(length);
	assert_int_equal(strtoul(length + 18, NULL, 10), strlen(page));
	if (openmetrics_read(page, error) < 0)
		fail_msg("%s", error);
	return page;
}

static uint64_t value_of(const char *page, const char *sample)
{
	const char *at = strstr(page, sample);

	assert_non_null(at);
	return strtoull(at + strlen(sample), NULL, 10);
}

static void page_has_what_was_counted(void **state)
{
	struct fixture *f = *state;
	const char *page;

	start(f);
	fixture_join_all(f, 3);
	for (unsigned i = 0; i < 3; i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, ++seed);
		fixture_send(f, 0, frame, BYTES);
		fixture_expect(f, 2, frame, BYTES);
	}
	fixture_tag(frame, BYTES, 0x8100, 9);
	fixture_send(f, 1, frame, BYTES);
	page = page_at(connect_to(f));
	assert_int_equal(value_of(page, "vswitch_frames_total{port=\"p0\","
					"direction=\"sent\"} "),
			 3);
	assert_int_equal(value_of(page, "vswitch_bytes_total{port=\"p2\","
					"direction=\"received\"} "),
			 3 * BYTES);
	assert_int_equal(value_of(page, "vswitch_not_forwarded_total{port="
					"\"p1\",reason=\"tagged\"} "),
			 1);
	assert_int_equal(value_of(page, "vswitch_queue_bytes_total{port=\"p2\","
					"pair=\"0\",direction=\"received\"} "),
			 3 * BYTES);
	assert_int_equal(value_of(page,
				  "vswitch_queue_dropped_total{port=\"p1\","
				  "pair=\"0\",direction=\"sent\"} "),
			 1);
	/* Port n's only queue is thread n % 2's. */
	assert_int_equal(value_of(page,
				  "vswitch_burst_frames_bucket{lcore=\"0\","
				  "le=\"1\"} "),
			 3);
	assert_int_equal(
		value_of(page, "vswitch_burst_seconds_count{lcore=\"1\"} "), 1);
	assert_int_equal(value_of(page, "vswitch_lcore_queues{lcore=\"0\"} "),
			 2);
	assert_non_null(
		strstr(page, "vswitch_lcore_busy_seconds_total{lcore=\"0\"} "));
}

static void tcp_is_listened_at(void **state)
{
	static const char *const wrong[] = {"9100", "127.0.0.1:", "host:9100",
					    "[::1:9100"};
	struct fixture *f = *state;
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);
	char text[32];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* A port that nobody has; it may be taken in between, by bad luck. */
	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length),
			 0);
	close(fd);
	snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(address.sin_port));
	start_at(f, text);
	process_wait_status(&f->process,
			    "NoNewPrivs:", !getenv("RINGLINE_NO_SANDBOX"));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		process_assert_alive(&f->process);
		usleep(1000);
	}
	page_at(fd);
	process_stop(&f->process, SIGTERM);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		char option[64];
		const char *const options[] = {option, NULL};
		pid_t pid;

		snprintf(option, sizeof(option), "--metrics=%s", wrong[i]);
		pid = fixture_spawn(f, "ports: []\n", options);
		assert_int_equal(process_wait_exit(pid), 1);
		process_wait_log(&f->process, option);
	}
}

static void what_is_no_request_for_the_page_is_told_so(void **state)
{
	static const struct {
		const char *request, *answer;
	} cases[] = {
		{"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 "},
		{"GET /metrics?x=1 HTTP/1.1\n\n", "HTTP/1.1 200 "},
		{"HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 "},
		{"GET /metric HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
		{"POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "},
		{"GET /metrics\r\n\r\n", "HTTP/1.1 400 "},
		{"\r\n\r\n", "HTTP/1.1 400 "},
		{"\n\n", "HTTP/1.1 400 "},
		{"GET  /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		{"GET /metrics HTTP/1.1 x\r\n\r\n", "HTTP/1.1 400 "},
		{"GET /metrics HTTP/2\r\n\r\n", "HTTP/1.1 400 "},
	};
	struct fixture *f = *state;

	start(f);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# case %u\n", i);
		ask(connect_to(f), cases[i].request);
		assert_int_equal(strncmp(answer, cases[i].answer,
					 strlen(cases[i].answer)),
				 0);
	}
	ask(connect_to(f), "HEAD / HTTP/1.1\r\n\r\n");
	assert_null(strstr(answer, "# TYPE"));
}

/* Some never ask, some never read, one never ends. */
static void clients_hold_up_nobody(void **state)
{
	struct fixture *f = *state;
	int fds[CLIENTS];
	ssize_t n;

	start(f);
	fixture_join(f, 0, NULL);
	fixture_join(f, 2, NULL);
	for (unsigned i = 0; i < CLIENTS; i++) {
		static const char get[] = "GET / HTTP/1.1\r\n\r\n";

		fds[i] = connect_to(f);
		if (i % 2)
			send(fds[i], get, sizeof(get) - 1, MSG_NOSIGNAL);
	}
	page_at(connect_to(f));
	memset(answer, 'x', sizeof(answer));
	fds[0] = (close(fds[0]), connect_to(f));
	do
		n = send(fds[0], answer, sizeof(answer), MSG_NOSIGNAL);
	while (n > 0);
	assert_true(errno == EPIPE || errno == ECONNRESET);
	page_at(connect_to(f));
	fixture_frame(frame, 2, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	fixture_expect(f, 2, frame, BYTES);
	for (unsigned i = 0; i < CLIENTS; i++)
		close(fds[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(page_has_what_was_counted),
		SWITCH_TEST(tcp_is_listened_at),
		SWITCH_TEST(what_is_no_request_for_the_page_is_told_so),
		SWITCH_TEST(clients_hold_up_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
