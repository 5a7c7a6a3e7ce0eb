/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of whole pcapng blocks with one thread at either end. head and tail
 * only grow; head's store_release pairs with the writer's load_acquire (the
 * block is there), tail's with ours (its place is free).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/capture-internal.h"

int capture_lane_init(struct capture_lane *lane, struct capture *capture)
{
	const struct capture_config *config = &capture->config;

	*lane = (struct capture_lane){.on = &capture->on};
	lane->snap_bytes = config->snap_bytes;
	lane->ring_bytes = config->lane_bytes;
	lane->ring = malloc(config->lane_bytes);
	lane->tallies = calloc(config->max_interfaces, sizeof(*lane->tallies));
	return lane->ring && lane->tallies ? 0 : -ENOMEM;
}

void capture_lane_deinit(struct capture_lane *lane)
{
	free(lane->ring);
	free(lane->tallies);
}

static uint32_t position(const struct capture_lane *lane, uint64_t at)
{
	return at & (lane->ring_bytes - 1);
}

static bool has_room(struct capture_lane *lane, uint32_t bytes)
{
	if (lane->ring_bytes - (lane->head - lane->tail_seen) >= bytes)
		return true;
	lane->tail_seen = load_acquire(&lane->tail);
	return lane->ring_bytes - (lane->head - lane->tail_seen) >= bytes;
}

/* Where @bytes may be put, in one piece; the head is to grow by *@ret_grow. */
static uint8_t *find_room(struct capture_lane *lane, uint32_t bytes,
			  uint32_t *ret_grow)
{
	static const uint32_t wrap = CAPTURE_WRAP;
	uint32_t at = position(lane, lane->head);
	uint32_t left = lane->ring_bytes - at;
	bool wraps = left < bytes;

	*ret_grow = wraps ? left + bytes : bytes;
	if (!has_room(lane, *ret_grow))
		return NULL;
	if (!wraps)
		return lane->ring + at;
	memcpy(lane->ring + at, &wrap, sizeof(wrap));
	return lane->ring;
}

/* Of a frame that has less than it says, the rest is zeroes. */
static void copy_frame(uint8_t *to, uint32_t bytes,
		       const struct capture_frame *frame)
{
	uint32_t head_bytes = MIN(frame->head_bytes, bytes);
	struct iov_cursor rest = frame->rest;
	size_t got;

	if (head_bytes > 0)
		memcpy(to, frame->head, head_bytes);
	got = head_bytes + iov_read(&rest, to + head_bytes, bytes - head_bytes);
	memset(to + got, 0, bytes - got);
}

void capture_frame(struct capture_lane *lane, const struct capture_frame *frame)
{
	const struct pcapng_packet packet = {
		.interface = frame->interface,
		.time_ns = capture_date_ns(),
		.captured_bytes = MIN(frame->bytes, lane->snap_bytes),
		.bytes = frame->bytes,
		.direction = frame->direction,
	};
	struct capture_tally *tally = &lane->tallies[frame->interface];
	uint32_t grow;
	uint8_t *block = find_room(
		lane, pcapng_packet_bytes(packet.captured_bytes), &grow);

	if (!block) {
		store_once(&tally->dropped, tally->dropped + 1);
		return;
	}
	copy_frame(block + PCAPNG_PACKET_HEAD_BYTES, packet.captured_bytes,
		   frame);
	pcapng_put_packet(block, &packet);
	store_once(&tally->taken, tally->taken + 1);
	store_release(&lane->head, lane->head + grow);
}

const void *capture_lane_peek(struct capture_lane *lane, uint64_t end)
{
	uint32_t type, at = position(lane, lane->tail);

	if (lane->tail == end)
		return NULL;
	memcpy(&type, lane->ring + at, sizeof(type));
	if (type != CAPTURE_WRAP)
		return lane->ring + at;
	/* A block follows: the head was moved past both. */
	capture_lane_pass(lane, lane->ring_bytes - at);
	return lane->ring;
}

void capture_lane_pass(struct capture_lane *lane, uint32_t bytes)
{
	store_release(&lane->tail, lane->tail + bytes);
}
