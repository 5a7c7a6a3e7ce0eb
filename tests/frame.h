/* SPDX-License-Identifier: Apache-2.0 */
/* Frames for tests: from the guest 02:00:00:00:00:01 to 02:00:00:00:00:02. */
#ifndef TESTS_FRAME_H
#define TESTS_FRAME_H

#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdint.h>

/* A frame of the local experimental type, whose bytes follow from @seed. */
void frame_make(uint8_t *frame, size_t bytes, uint32_t seed);
uint32_t frame_seed(const uint8_t *frame);

/* A TCP segment of @payload bytes with the sum of its pseudo header only, and
 * the header by which it asks for the rest. */
size_t frame_make_tso(uint8_t *frame, size_t payload,
		      struct virtio_net_hdr_v1 *ret_header);
/* Makes the whole checksum of one that has the pseudo header's. */
void frame_finish_tcp(uint8_t *frame, size_t bytes);
/* Whether IPv4 and TCP checksums are whole; payload as of frame_make_tso. */
void frame_assert_tcp(const uint8_t *frame, size_t bytes, size_t payload_at);

enum {
	FRAME_TCP_HEADERS = 14 + 20 + 20,
};

#endif
