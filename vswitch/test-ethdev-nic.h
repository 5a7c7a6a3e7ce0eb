/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A NIC by the book, for tests: of an mbuf that a driver is given it sends what that
 * says and nothing else, checksums and segments made. DPDK's rte_mbuf.h, "TX packet
 * flags".
 */
#ifndef VSWITCH_TEST_ETHDEV_NIC_H
#define VSWITCH_TEST_ETHDEV_NIC_H

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	TEST_NIC_FRAMES = 300,
};

/* What went out, in order; short frames filled up. */
struct test_frames {
	unsigned count;
	uint32_t bytes[TEST_NIC_FRAMES];
	uint8_t data[TEST_NIC_FRAMES][2048];
};

/* Sixteen bits added to a sum of ones' complement. */
uint32_t test_nic_add(uint32_t sum, uint32_t value);

/*
 * Sends @m, which stays the caller's: the frames are added to @made. @is_strict: all
 * of DPDK's own rules are asked for; it wants a flag with IPv4 that is cut which some
 * of its drivers do not want. Fails the test for what no NIC can know.
 */
void test_nic_send(struct test_frames *made, const struct rte_mbuf *m,
		   bool is_strict);

#endif
