/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ends of a virtual cable: the daemon has one by AF_XDP, and the other has the
 * name of the fixture's TAP, so that wire_send and wire_receive are there.
 */
#ifndef TESTS_NET_XDP_H
#define TESTS_NET_XDP_H

#include "tests/net/fixture.h"

#define XDP_INTERFACE "rlx0"
#define XDP_WIRE      "--xdp=" XDP_INTERFACE

enum {
	/* As the manual has it. */
	XDP_MAX_MTU = 3818,
};

/* A new cable instead of the one before. */
void xdp_lay_cable(unsigned mtu, unsigned queues);

/* fixture_setup, and a cable with the largest MTU and one queue. */
int xdp_setup(void **state);
/* A daemon with no further options, too, and its wire. */
int xdp_setup_running(void **state);

/* Starts the daemon, with the wire plugged in. */
void xdp_start(struct fixture *f, const char *const *options);

void xdp_run(const char *command);

/* Until the far end has its carrier, and lets frames through. */
void xdp_wait_carrier(void);

#define XDP_TEST(name) \
	cmocka_unit_test_setup_teardown(name, xdp_setup, fixture_teardown)
#define XDP_DAEMON_TEST(name)                                    \
	cmocka_unit_test_setup_teardown(name, xdp_setup_running, \
					fixture_teardown)

#endif
