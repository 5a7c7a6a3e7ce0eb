/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of `vbench net`: of a local experimental type, or TCP segments
 * that are to be cut. Each carries when it was sent, so that whoever takes it
 * on the same machine knows how long it was under way.
 */
#ifndef TOOLS_VBENCH_NET_FRAME_H
#define TOOLS_VBENCH_NET_FRAME_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which way a frame goes, and so its addresses. */
enum net_way {
	NET_FROM_GUEST,
	NET_TO_GUEST,
	NET_WAYS,
};

/* @frame of @bytes, all of it, and the header by which it asks for the rest of
 * its checksum and to be cut. */
void net_frame_make(uint8_t *frame, unsigned bytes, bool tso, enum net_way way,
		    struct virtio_net_hdr_v1 *ret_header);

/* Each end is any number of stations: frame @from one of them @to one of the
 * other end's, both 0 in a frame that was just made and less than 2^24. */
void net_frame_address(uint8_t *frame, uint32_t to, uint32_t from);

/* Writes @sent_ns, not 0, into a frame that was made so. */
void net_frame_stamp(uint8_t *frame, bool tso, uint64_t sent_ns);

/*
 * Whether the first @bytes of a frame begin one that goes @way, from any station
 * to any. *@ret_sent_ns:
 * its stamp; 0 in what was cut off behind the first segment.
 */
bool net_frame_read(const uint8_t *frame, size_t bytes, enum net_way way,
		    uint64_t *ret_sent_ns);

#endif
