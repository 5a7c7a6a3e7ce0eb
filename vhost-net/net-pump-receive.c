/* SPDX-License-Identifier: Apache-2.0 */
/* What all pumps do alike with frames for the guest. */
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "vhost-net/net-pump-internal.h"

void net_pump_set_receive(struct net_pump *pump, struct netdev_queue *queue,
			  uint32_t mtu)
{
	if (pump->receive)
		net_tx_release(netdev_queue_tx(pump->receive));
	pump->receive = queue;
	pump->wait_ns[NET_RECEIVE] = 0;
	if (!queue)
		return;
	virtq_kicks_off(netdev_queue_virtq(queue));
	if (pump->ops->expect)
		pump->ops->expect(pump, mtu);
	pump->readable = true;
}

/* A guest that has no more buffers to give shall not stop all that follows. */
static bool has_waited_enough(struct net_pump *pump)
{
	uint64_t now = clock_ns();

	if (pump->waits_since == 0)
		pump->waits_since = now;
	return now - pump->waits_since >= WAIT_NS;
}

/*
 * The frame that waits. While there is not enough for it, what there is stays
 * taken: so the next look at the ring, and the next kick, is about new buffers.
 */
bool net_pump_put_bounced(struct net_pump *pump, struct net_tx *tx)
{
	unsigned segments;
	uint32_t room_bytes;
	enum net_fault fault =
		net_tx_reserve(tx, pump->bounced.bytes, pump->into + 1,
			       MAX_SEGMENTS - 1, &segments, &room_bytes);

	/* Without any buffer nothing could pass it. */
	if (fault == NET_FAULT_NO_BUFFER &&
	    (tx->room.chains == 0 || !has_waited_enough(pump))) {
		pump->starved = true;
		return false;
	}
	net_tx_release(tx);
	/* Counts, if it is dropped. */
	if (net_tx_put(tx, &pump->bounced) == NET_FAULT_NONE)
		net_pump_capture_bounced(pump);
	pump->has_bounced = false;
	pump->waits_since = 0;
	return true;
}

void net_pump_describe_bounced(struct net_pump *pump, uint8_t *memory,
			       unsigned bytes)
{
	struct net_rx_frame *frame = &pump->bounced;

	frame->bytes = bytes;
	frame->head_bytes = MIN(bytes, (unsigned)NET_COPY_BYTES);
	memcpy(frame->head, memory, frame->head_bytes);
	pump->bounced_rest = (struct iovec){memory + frame->head_bytes,
					    bytes - frame->head_bytes};
	frame->rest = iov_cursor(&pump->bounced_rest, 1);
	net_frame_parse(frame->head, frame->head_bytes, &frame->layout);
}

static bool may_receive(struct net_pump *pump)
{
	pump->wait_ns[NET_RECEIVE] =
		net_limits_wait_ns(pump->config.limits, NET_RECEIVE);
	return pump->wait_ns[NET_RECEIVE] == 0;
}

/* What is dropped does not count against the limit. */
static bool receive_counted(struct net_pump *pump, struct net_tx *tx)
{
	const uint64_t frames = tx->frames_total, bytes = tx->bytes_total;
	const bool more = pump->ops->receive_one(pump, tx);

	net_limits_passed(pump->config.limits, NET_RECEIVE,
			  tx->frames_total - frames, tx->bytes_total - bytes);
	return more;
}

unsigned net_pump_receive_burst(struct net_pump *pump, struct net_tx *tx)
{
	unsigned count = 0;

	while (count < NET_BURST && may_receive(pump) &&
	       receive_counted(pump, tx))
		count++;
	if (count > 0) {
		net_tx_done(tx);
		virtq_notify(netdev_queue_virtq(pump->receive));
	}
	return count;
}

bool net_pump_run_receive(struct net_pump *pump)
{
	struct net_tx *tx;

	pump->starved = false;
	pump->wait_ns[NET_RECEIVE] = 0;
	if (!pump->receive)
		return false;
	tx = netdev_queue_tx(pump->receive);
	if (netdev_queue_is_enabled(pump->receive))
		return pump->ops->receive(pump, tx);
	return pump->ops->discard && pump->ops->discard(pump, tx);
}
