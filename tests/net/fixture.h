/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real vhost-net (named by VHOST_NET) and its TAP in a network namespace of
 * the test's own, and the host's side of that TAP: a packet socket on it.
 *
 * Everything is checked with cmocka's asserts: a function that returns has
 * succeeded.
 */
#ifndef TESTS_NET_FIXTURE_H
#define TESTS_NET_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/frame.h"
#include "tests/frontend/net-driver.h"
#include "tests/namespace.h"
#include "tests/process.h"

enum {
	/* A frame with all that may be in front of it. */
	FIXTURE_FRAME_BYTES = 68 << 10,
};

#define FIXTURE_TAP "rl0"

struct fixture {
	struct process process;
	int wire_fd; /* -1: fixture_plug was not called */
};

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
/* The same with @wire ("--xdp=…") instead of the TAP. */
void fixture_start_on(struct fixture *f, const char *wire,
		      const char *const *options);

/* With exactly these options the daemon does not start, and says @words. */
void fixture_refused(struct fixture *f, const char *const *options,
		     const char *words);

struct net_driver *fixture_open(const struct fixture *f,
				const struct net_options *options);

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

#define DAEMON_TEST(name)                                            \
	cmocka_unit_test_setup_teardown(name, fixture_setup_running, \
					fixture_teardown)
#define FIXTURE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
