/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the TAP to the guest: net_tx_reserve holds receive buffers for the frame
 * that is to be expected, and it is read right into them. What is longer goes
 * on in a buffer of ours, and is copied behind the rest; after a long frame long
 * ones are expected. (To name buffers for the longest each time would cost a
 * short frame more than to read it.) The virtio-net header is read into memory
 * of ours, so that what we decide by is not the guest's to change.
 */
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "vhost-net/net-pump-internal.h"

static bool takes_gso(uint64_t features)
{
	return features & (NET_FEATURE(GUEST_TSO4) | NET_FEATURE(GUEST_TSO6) |
			   NET_FEATURE(GUEST_USO4) | NET_FEATURE(GUEST_USO6));
}

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
	pump->usual_frame =
		MIN(mtu + LINK_BYTES, (uint32_t)NET_MAX_FRAME_BYTES);
	pump->max_frame = takes_gso(netdev_queue_tx(queue)->features)
				  ? NET_MAX_FRAME_BYTES
				  : pump->usual_frame;
	pump->expected = pump->usual_frame;
	pump->readable = true;
}

/*
 * Whether the driver takes such a header. The TAP was told what it takes, but
 * may have kept frames from before.
 */
static bool is_taken(const struct virtio_net_hdr_v1 *header, uint64_t features)
{
	uint64_t needed = 0;

	if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		needed |= NET_FEATURE(GUEST_CSUM);
	switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		break;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		needed |= NET_FEATURE(GUEST_TSO4);
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		needed |= NET_FEATURE(GUEST_TSO6);
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		needed |= NET_FEATURE(GUEST_USO4) | NET_FEATURE(GUEST_USO6);
		break;
	default:
		return false;
	}
	if (header->gso_type & VIRTIO_NET_HDR_GSO_ECN)
		needed |= NET_FEATURE(GUEST_ECN);
	return (features & needed) == needed;
}

/* Flags of ours, for who knows what they mean. */
static void clean_header(struct virtio_net_hdr_v1 *header, uint64_t features)
{
	if (!(features & NET_FEATURE(GUEST_CSUM)))
		header->flags = 0;
	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		header->csum_start = header->csum_offset = 0;
}

/*
 * Somebody may have given the TAP a larger MTU than the one we know: a frame
 * that is longer than it may be is cut off by the read, or would be. With
 * segmentation there is no longer one.
 */
uint32_t net_pump_most_bytes(const struct net_pump *pump)
{
	return MIN(pump->max_frame + 1, (uint32_t)NET_MAX_FRAME_BYTES);
}

static bool is_too_long(const struct net_pump *pump, int bytes)
{
	return (uint32_t)bytes > pump->max_frame;
}

void net_pump_look_at_result(struct net_pump *pump, ssize_t result)
{
	if (result >= 0)
		return;
	/* Others end when the TAP is ready again. */
	if (result != -EFAULT && result != -EINTR)
		pump->readable = false;
	net_pump_note(pump, result);
}

/* What a read says: bytes of the frame, 0 for none, or a negative errno. */
static int frame_bytes(ssize_t result)
{
	if (result < 0)
		return result == -EAGAIN ? 0 : (int)result;
	return result < HEADER_BYTES + NET_ETHERNET_BYTES
		       ? -EBADMSG
		       : (int)(result - HEADER_BYTES);
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
static bool put_bounced(struct net_pump *pump, struct net_tx *tx)
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

static void describe_bounced(struct net_pump *pump, uint8_t *bounce,
			     unsigned bytes)
{
	struct net_rx_frame *frame = &pump->bounced;

	frame->bytes = bytes;
	frame->head_bytes = MIN(bytes, (unsigned)NET_COPY_BYTES);
	memcpy(frame->head, bounce, frame->head_bytes);
	pump->bounced_rest = (struct iovec){bounce + frame->head_bytes,
					    bytes - frame->head_bytes};
	frame->rest = iov_cursor(&pump->bounced_rest, 1);
	net_frame_parse(frame->head, frame->head_bytes, &frame->layout);
}

/* The kernel's own headers are judged, too: software offloads rely on it. */
static bool header_is_good(struct net_rx_frame *frame)
{
	const uint8_t flags = frame->header.flags;

	if (net_header_judge(&frame->header, &frame->layout, frame->bytes,
			     UINT64_MAX) != NET_FAULT_NONE)
		return false;
	frame->header.flags |= flags & VIRTIO_NET_HDR_F_DATA_VALID;
	return true;
}

bool net_pump_bounce(struct net_pump *pump, struct net_tx *tx,
		     const struct virtio_net_hdr_v1 *header, uint8_t *bounce,
		     uint32_t bytes)
{
	pump->bounced.header = *header;
	describe_bounced(pump, bounce, bytes);
	pump->has_bounced = header_is_good(&pump->bounced);
	tx->faults[NET_FAULT_OFFLOAD] += !pump->has_bounced;
	return pump->has_bounced;
}

/* Longer than usual once, longer than usual again. */
static void expect_next(struct net_pump *pump, uint32_t bytes)
{
	if (bytes > pump->usual_frame) {
		pump->expected = pump->max_frame;
		pump->short_run = 0;
	} else if (++pump->short_run == SHORT_RUN) {
		pump->expected = pump->usual_frame;
	}
}

/* What was read into the guest's buffers, and what into ours behind it. */
struct reading {
	unsigned segments; /* of pump->into, behind the header's */
	uint32_t room_bytes;
	uint32_t bytes; /* of the frame */
};

/*
 * The frame is longer than the room was. With more room the rest is copied
 * behind what is there; without, all of it waits in bounce.
 */
static bool go_on_bounced(struct net_pump *pump, struct net_tx *tx,
			  const struct virtio_net_hdr_v1 *header,
			  const struct reading *r)
{
	unsigned segments;
	uint32_t room_bytes;
	enum net_fault fault =
		net_tx_reserve(tx, r->bytes, pump->into + 1, MAX_SEGMENTS - 1,
			       &segments, &room_bytes);
	struct iov_cursor at = iov_cursor(pump->into + 1, segments);

	if (fault == NET_FAULT_NONE) {
		iov_skip(&at, r->room_bytes);
		iov_write(&at, pump->bounce + r->room_bytes,
			  r->bytes - r->room_bytes);
		net_pump_capture_received(pump, pump->into + 1, segments,
					  r->bytes);
		net_tx_commit(tx, header, r->bytes);
		return true;
	}
	iov_read(&at, pump->bounce, r->room_bytes);
	return net_pump_bounce(pump, tx, header, pump->bounce, r->bytes)
		       ? put_bounced(pump, tx)
		       : true;
}

/* Why the frame that was read is none for this guest. */
static enum net_fault judge(const struct net_pump *pump,
			    const struct net_tx *tx,
			    const struct virtio_net_hdr_v1 *header,
			    uint32_t bytes)
{
	if (is_too_long(pump, bytes))
		return NET_FAULT_OVERSIZE;
	return is_taken(header, tx->features) ? NET_FAULT_NONE
					      : NET_FAULT_OFFLOAD;
}

int net_pump_judge_read(struct net_pump *pump, struct net_tx *tx,
			struct virtio_net_hdr_v1 *header, ssize_t result)
{
	const int bytes = frame_bytes(result);
	enum net_fault fault;

	if (bytes <= 0) {
		tx->faults[NET_FAULT_LOST_MEMORY] += bytes == -EFAULT;
		tx->faults[NET_FAULT_RUNT] += bytes == -EBADMSG;
		return bytes;
	}
	expect_next(pump, bytes);
	fault = judge(pump, tx, header, bytes);
	if (fault) {
		tx->faults[fault]++;
		return 0;
	}
	clean_header(header, tx->features);
	return bytes;
}

/* Reads a frame: false if there is none, or reading has to wait. */
static bool read_into(struct net_pump *pump, struct net_tx *tx,
		      struct reading *r)
{
	struct virtio_net_hdr_v1 header;
	ssize_t result;
	int bytes;

	pump->into[0] = (struct iovec){&header, HEADER_BYTES};
	pump->into[r->segments + 1] =
		(struct iovec){pump->bounce + r->room_bytes,
			       net_pump_most_bytes(pump) - r->room_bytes};
	result = readv(pump->tap_fd, pump->into, r->segments + OUR_SEGMENTS);
	if (result < 0)
		result = -errno;
	net_pump_look_at_result(pump, result);
	bytes = net_pump_judge_read(pump, tx, &header, result);
	if (bytes <= 0)
		return pump->readable;
	r->bytes = bytes;
	if (r->bytes > r->room_bytes)
		return go_on_bounced(pump, tx, &header, r);
	net_pump_capture_received(pump, pump->into + 1, r->segments, r->bytes);
	net_tx_commit(tx, &header, r->bytes);
	return true;
}

/* One frame. False: there is none, or no place for it. */
static bool receive_one(struct net_pump *pump, struct net_tx *tx)
{
	struct reading reading;
	enum net_fault fault;

	if (pump->has_bounced || net_pump_next_waiting(pump, tx))
		return put_bounced(pump, tx);
	if (!pump->readable)
		return false;
	fault = net_tx_reserve(tx,
			       MIN(pump->expected, net_pump_most_bytes(pump)),
			       pump->into + 1, MAX_SEGMENTS - OUR_SEGMENTS,
			       &reading.segments, &reading.room_bytes);
	if (fault == NET_FAULT_NO_BUFFER && tx->room.chains == 0) {
		pump->starved = true;
		return false;
	}
	return read_into(pump, tx, &reading);
}

static bool may_receive(struct net_pump *pump)
{
	pump->wait_ns[NET_RECEIVE] =
		net_limits_wait_ns(pump->limits, NET_RECEIVE);
	return pump->wait_ns[NET_RECEIVE] == 0;
}

/* What is dropped does not count against the limit. */
static bool receive_counted(struct net_pump *pump, struct net_tx *tx)
{
	const uint64_t frames = tx->frames_total, bytes = tx->bytes_total;
	const bool more = receive_one(pump, tx);

	net_limits_passed(pump->limits, NET_RECEIVE, tx->frames_total - frames,
			  tx->bytes_total - bytes);
	return more;
}

static bool has_to_receive(const struct net_pump *pump)
{
	return pump->receive && pump->reads == 0 &&
	       (pump->readable || pump->has_bounced ||
		pump->waiting < pump->waiting_end) &&
	       netdev_queue_is_enabled(pump->receive);
}

bool net_pump_run_receive(struct net_pump *pump)
{
	struct net_tx *tx;
	unsigned count = 0;

	pump->starved = false;
	pump->wait_ns[NET_RECEIVE] = 0;
	if (!has_to_receive(pump))
		return false;
	tx = netdev_queue_tx(pump->receive);
	if (net_pump_start_reads(pump, tx))
		return true;
	while (count < NET_BURST && may_receive(pump) &&
	       receive_counted(pump, tx))
		count++;
	pump->next_reads = MIN(count + 1, (unsigned)MAX_READS);
	if (count == 0)
		return false;
	net_tx_done(tx);
	virtq_notify(netdev_queue_virtq(pump->receive));
	return true;
}
