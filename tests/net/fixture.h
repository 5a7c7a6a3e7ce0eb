/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real vhost-net and its TAP in a network namespace of the test's own, and
 * the host's side of that TAP: a packet socket on it. The program is named by
 * the environment variable VHOST_NET; without it, or where no TAP can be made,
 * the tests are skipped.
 *
 * Everything is checked with cmocka's asserts: a function that returns has
 * succeeded.
 */
#ifndef TESTS_NET_FIXTURE_H
#define TESTS_NET_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/cmocka.h"
#include "tests/frontend/net-driver.h"

enum {
	FIXTURE_MAX_ARGS = 24,
	FIXTURE_LINE_BYTES = 256,
	/* A frame with all that may be in front of it. */
	FIXTURE_FRAME_BYTES = 68 << 10,
};

#define FIXTURE_TAP "rl0"

struct fixture {
	char folder[64];
	char socket[96];
	char log[96];
	pid_t pid;   /* 0: none runs */
	int wire_fd; /* -1: fixture_plug was not called */
};

/* Enters the namespace; once for a program. Exits with 77 if it cannot. */
void fixture_enter(void);

int fixture_setup(void **state);
/* fixture_setup, a daemon with no further options, and its wire. */
int fixture_setup_running(void **state);
/* Fails if the daemon died meanwhile. */
int fixture_teardown(void **state);

/*
 * Starts the daemon on the fixture's TAP with @options, NULL-terminated or
 * NULL, and waits until it takes connections.
 */
void fixture_start(struct fixture *f, const char *const *options);

/* Waits until the daemon takes connections; fails if it dies instead. */
void fixture_wait_socket(const struct fixture *f);

/* Any command line; returns the process. */
pid_t fixture_spawn(const struct fixture *f, const char *const *options);

/* The exit status of a process that ends within ten seconds. */
int fixture_wait_exit(pid_t pid);

/* Ends the daemon with @signal and waits for it. */
void fixture_stop(struct fixture *f, int signal);
void fixture_assert_alive(const struct fixture *f);

struct net_driver *fixture_open(const struct fixture *f,
				const struct net_options *options);

/* Waits until the log has a line with @words in it. */
void fixture_wait_log(const struct fixture *f, const char *words);
/* The number behind @words in the last line of the log that has them. */
uint64_t fixture_log_number(const struct fixture *f, const char *words);
/* Has the daemon log its counters, and waits for that. */
void fixture_count(const struct fixture *f);

/* --- the host's side of the TAP --- */

/* Opens the packet socket; frames have a virtio-net header of ten bytes. */
void fixture_plug(struct fixture *f);

/* @header may be NULL. */
void wire_send(const struct fixture *f, const struct virtio_net_hdr *header,
	       const void *frame, size_t bytes);
/*
 * The next frame that the guest sent, of test frames only: its bytes; 0 if
 * none comes within @timeout_ms. @ret_header may be NULL.
 */
size_t wire_receive(const struct fixture *f, int timeout_ms,
		    struct virtio_net_hdr *ret_header, void *ret_frame);

/* A frame of the local experimental type, whose bytes follow from @seed. */
void frame_make(uint8_t *frame, size_t bytes, uint32_t seed);
uint32_t frame_seed(const uint8_t *frame);

/* A TCP segment of @payload bytes with the sum of its pseudo header only, and
 * the header by which it asks for the rest. */
size_t frame_make_tso(uint8_t *frame, size_t payload,
		      struct virtio_net_hdr_v1 *ret_header);
/* Whether IPv4 and TCP checksums are whole; payload as of frame_make_tso. */
void frame_assert_tcp(const uint8_t *frame, size_t bytes, size_t payload_at);

enum {
	FRAME_TCP_HEADERS = 14 + 20 + 20,
};

uint64_t fixture_cpu_ms(const struct fixture *f);

#define DAEMON_TEST(name)                                            \
	cmocka_unit_test_setup_teardown(name, fixture_setup_running, \
					fixture_teardown)
#define FIXTURE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
