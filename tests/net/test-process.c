/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as a process: its socket, its privileges, its time, its end. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/net/fixture.h"

enum {
	PATIENCE_MS = 10000,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

static void socket_in_use_is_named(void **state)
{
	struct fixture *f = *state;
	char socket[128];

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	fixture_refused(f, (const char *const[]){socket, "--tap=other0", NULL},
			"Address already in use");
}

static void capabilities_are_printed(void **state)
{
	struct fixture *f = *state;
	const char *const options[] = {"--print-capabilities", NULL};

	assert_int_equal(process_wait_exit(process_spawn(&f->process, options)),
			 0);
	process_wait_log(&f->process, "\"type\": \"net\"");
}

static void front_end_that_listens_is_served(void **state)
{
	struct fixture *f = *state;
	char socket[128];
	const char *const options[] = {socket, "--tap=" FIXTURE_TAP,
				       "--connect", NULL};
	const struct net_options none = {0};
	int listener;

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	assert_int_equal(frontend_listen(f->process.socket, &listener), 0);
	f->process.pid = process_spawn(&f->process, options);
	for (unsigned i = 0; i < 2; i++) {
		struct net_driver *d;
		struct frontend *fe;

		assert_int_equal(frontend_accept(listener, PATIENCE_MS, &fe),
				 0);
		assert_int_equal(net_driver_new(fe, &none, &d), 0);
		if (f->wire_fd < 0)
			fixture_plug(f);
		frame_make(frame, 500, i);
		assert_int_equal(net_send(d, 0, NULL, frame, 500, NULL), 0);
		assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), 500);
		net_driver_free(d);
	}
	close(listener);
}

static void tap_that_is_deleted_ends_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);

	assert_int_equal(system("ip link del " FIXTURE_TAP), 0);
	frame_make(frame, 100, 1);
	net_send(d, 0, NULL, frame, 100, NULL);
	assert_int_equal(process_wait_exit(f->process.pid), 1);
	f->process.pid = 0;
	process_wait_log(&f->process, FIXTURE_TAP ": the TAP was deleted");
	net_driver_free(d);
}

static void privileges_are_given_up(void **state)
{
	struct fixture *f = *state;

	/* Not in a build with the address sanitizer. */
	if (!getenv("RINGLINE_NO_SANDBOX")) {
		process_wait_status(&f->process, "NoNewPrivs:", 1);
		process_wait_status(&f->process, "Seccomp:", 2);
	}

	/* CAP_DAC_OVERRIDE at most. */
	assert_int_equal(process_status(&f->process, "CapPrm:") & ~UINT64_C(2),
			 0);
	assert_int_equal(process_status(&f->process, "CapEff:") & ~UINT64_C(2),
			 0);
}

static void idle_daemon_sleeps(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	uint64_t before, spent;

	frame_make(frame, 500, 1);
	assert_int_equal(net_send(d, 0, NULL, frame, 500, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), 500);
	before = process_cpu_ms(&f->process);
	/* No event to wait for: over these seconds it is to do nothing. */
	sleep(2);
	spent = process_cpu_ms(&f->process) - before;
	assert_true(spent <= 20);
	net_driver_free(d);
}

/* How long @frames took that the guest sent, or received. */
static double seconds_for(const struct fixture *f, struct net_driver *d,
			  unsigned frames, size_t bytes, bool sends)
{
	uint64_t began = clock_ns();

	for (unsigned i = 0; i < frames; i++) {
		frame_make(frame, bytes, i);
		if (sends) {
			assert_int_equal(
				net_send(d, 0, NULL, frame, bytes, NULL), 0);
		} else {
			wire_send(f, NULL, frame, bytes);
			assert_int_equal(
				net_receive(d, 0, NULL, got, sizeof(got)),
				bytes);
		}
	}
	if (sends)
		assert_int_equal(net_send_wait(d, 0), 0);
	for (unsigned i = 0; i < frames && sends; i++)
		assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got),
				 bytes);
	return (double)(clock_ns() - began) / NS_PER_SECOND;
}

/* A busy machine takes longer, but never less; nothing is lost. */
static void limits_are_kept_and_lose_nothing(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {
		"--send-bps=1000000", "--send-fps=4000",
		"--receive-bps=1000000", "--receive-fps=4000", NULL};
	struct net_driver *d;
	uint64_t before;

	fixture_start(f, options);
	fixture_plug(f);
	d = fixture_open(f, NULL);
	before = process_cpu_ms(&f->process);
	for (int sends = 0; sends < 2; sends++) {
		/* 600,000 bytes, less a burst of some 66,000 and of eight. */
		assert_true(seconds_for(f, d, 500, 1200, sends) > 0.5);
		/* 2000 frames, less forty and eight. */
		assert_true(seconds_for(f, d, 2000, 60, sends) > 0.48);
	}
	/* It sleeps meanwhile. */
	assert_true(process_cpu_ms(&f->process) - before < 1500);
	net_driver_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(socket_in_use_is_named),
		FIXTURE_TEST(capabilities_are_printed),
		FIXTURE_TEST(front_end_that_listens_is_served),
		DAEMON_TEST(tap_that_is_deleted_ends_the_daemon),
		DAEMON_TEST(privileges_are_given_up),
		DAEMON_TEST(idle_daemon_sleeps),
		FIXTURE_TEST(limits_are_kept_and_lose_nothing),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
