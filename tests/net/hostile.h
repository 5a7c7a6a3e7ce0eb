/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests with guests that mean harm look for. After each attack the
 * daemon is alive, the other pair of queues goes on where only a ring was
 * broken, no frame that makes no sense has reached the wire, and the next guest
 * is served.
 *
 * Everything is checked with cmocka's asserts: a function that returns has
 * succeeded.
 */
#ifndef TESTS_NET_HOSTILE_H
#define TESTS_NET_HOSTILE_H

#include "tests/net/fixture.h"

#define BIT(n)	      (UINT64_C(1) << (n))
#define NET_BIT(name) BIT(VIRTIO_NET_F_##name)

enum {
	HOSTILE_PATIENCE_MS = 10000,
	HOSTILE_RING = 256,
};

/* A daemon with two pairs of queues, and its wire. */
void hostile_start_two_pairs(struct fixture *f);

/* Frames of guests that were dropped so far because of @fault. */
uint64_t hostile_count_fault(const struct fixture *f, const char *fault);

/* @pair still serves: the next frame on the wire is the one sent now. */
void hostile_expect_frame(const struct fixture *f, struct net_driver *d,
			  unsigned pair);

/* The ring's error descriptor says that it was stopped. */
void hostile_expect_broken(struct net_driver *d, unsigned ring);

#endif
