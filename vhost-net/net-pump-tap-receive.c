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

#include "vhost-net/net-pump-tap-internal.h"

static bool takes_gso(uint64_t features)
{
	return features & (NET_FEATURE(GUEST_TSO4) | NET_FEATURE(GUEST_TSO6) |
			   NET_FEATURE(GUEST_USO4) | NET_FEATURE(GUEST_USO6));
}

void tap_pump_expect(struct net_pump *pump, uint32_t mtu)
{
	const uint64_t features = netdev_queue_tx(pump->receive)->features;
	struct tap_pump *tap = to_tap(pump);

	tap->usual_frame =
		MIN(mtu + NET_LINK_BYTES, (uint32_t)NET_MAX_FRAME_BYTES);
	tap->max_frame =
		takes_gso(features) ? NET_MAX_FRAME_BYTES : tap->usual_frame;
	tap->expected = tap->usual_frame;
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
uint32_t tap_pump_most_bytes(const struct tap_pump *tap)
{
	return MIN(tap->max_frame + 1, (uint32_t)NET_MAX_FRAME_BYTES);
}

static bool is_too_long(const struct tap_pump *tap, int bytes)
{
	return (uint32_t)bytes > tap->max_frame;
}

void tap_pump_look_at_result(struct tap_pump *tap, ssize_t result)
{
	if (result >= 0)
		return;
	/* Others end when the TAP is ready again. */
	if (result != -EFAULT && result != -EINTR)
		tap->pump.readable = false;
	tap_pump_note(tap, result);
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

bool tap_pump_bounce(struct tap_pump *tap, struct net_tx *tx,
		     const struct virtio_net_hdr_v1 *header, uint8_t *bounce,
		     uint32_t bytes)
{
	tap->pump.bounced.header = *header;
	net_pump_describe_bounced(&tap->pump, bounce, bytes);
	tap->pump.has_bounced = header_is_good(&tap->pump.bounced);
	tx->faults[NET_FAULT_OFFLOAD] += !tap->pump.has_bounced;
	return tap->pump.has_bounced;
}

/* Longer than usual once, longer than usual again. */
static void expect_next(struct tap_pump *tap, uint32_t bytes)
{
	if (bytes > tap->usual_frame) {
		tap->expected = tap->max_frame;
		tap->short_run = 0;
	} else if (++tap->short_run == SHORT_RUN) {
		tap->expected = tap->usual_frame;
	}
}

/* What was read into the guest's buffers, and what into ours behind it. */
struct reading {
	unsigned segments; /* of tap->pump.into, behind the header's */
	uint32_t room_bytes;
	uint32_t bytes; /* of the frame */
};

/*
 * The frame is longer than the room was. With more room the rest is copied
 * behind what is there; without, all of it waits in bounce.
 */
static bool go_on_bounced(struct tap_pump *tap, struct net_tx *tx,
			  const struct virtio_net_hdr_v1 *header,
			  const struct reading *r)
{
	unsigned segments;
	uint32_t room_bytes;
	enum net_fault fault =
		net_tx_reserve(tx, r->bytes, tap->pump.into + 1,
			       MAX_SEGMENTS - 1, &segments, &room_bytes);
	struct iov_cursor at = iov_cursor(tap->pump.into + 1, segments);

	if (fault == NET_FAULT_NONE) {
		iov_skip(&at, r->room_bytes);
		iov_write(&at, tap->bounce + r->room_bytes,
			  r->bytes - r->room_bytes);
		net_pump_capture_received(&tap->pump, tap->pump.into + 1,
					  segments, r->bytes);
		net_tx_commit(tx, header, r->bytes);
		return true;
	}
	iov_read(&at, tap->bounce, r->room_bytes);
	return tap_pump_bounce(tap, tx, header, tap->bounce, r->bytes)
		       ? net_pump_put_bounced(&tap->pump, tx)
		       : true;
}

/* Why the frame that was read is none for this guest. */
static enum net_fault judge(const struct tap_pump *tap, const struct net_tx *tx,
			    const struct virtio_net_hdr_v1 *header,
			    uint32_t bytes)
{
	if (is_too_long(tap, bytes))
		return NET_FAULT_OVERSIZE;
	return is_taken(header, tx->features) ? NET_FAULT_NONE
					      : NET_FAULT_OFFLOAD;
}

int tap_pump_judge_read(struct tap_pump *tap, struct net_tx *tx,
			struct virtio_net_hdr_v1 *header, ssize_t result)
{
	const int bytes = frame_bytes(result);
	enum net_fault fault;

	if (bytes <= 0) {
		tx->faults[NET_FAULT_LOST_MEMORY] += bytes == -EFAULT;
		tx->faults[NET_FAULT_RUNT] += bytes == -EBADMSG;
		return bytes;
	}
	expect_next(tap, bytes);
	fault = judge(tap, tx, header, bytes);
	if (fault) {
		tx->faults[fault]++;
		return 0;
	}
	clean_header(header, tx->features);
	return bytes;
}

/* Reads a frame: false if there is none, or reading has to wait. */
static bool read_into(struct tap_pump *tap, struct net_tx *tx,
		      struct reading *r)
{
	struct virtio_net_hdr_v1 header;
	ssize_t result;
	int bytes;

	tap->pump.into[0] = (struct iovec){&header, HEADER_BYTES};
	tap->pump.into[r->segments + 1] =
		(struct iovec){tap->bounce + r->room_bytes,
			       tap_pump_most_bytes(tap) - r->room_bytes};
	result =
		readv(tap->pump.fd, tap->pump.into, r->segments + OUR_SEGMENTS);
	if (result < 0)
		result = -errno;
	tap_pump_look_at_result(tap, result);
	bytes = tap_pump_judge_read(tap, tx, &header, result);
	if (bytes <= 0)
		return tap->pump.readable;
	r->bytes = bytes;
	if (r->bytes > r->room_bytes)
		return go_on_bounced(tap, tx, &header, r);
	net_pump_capture_received(&tap->pump, tap->pump.into + 1, r->segments,
				  r->bytes);
	net_tx_commit(tx, &header, r->bytes);
	return true;
}

bool tap_pump_receive_one(struct net_pump *pump, struct net_tx *tx)
{
	struct tap_pump *tap = to_tap(pump);
	struct reading reading;
	enum net_fault fault;

	if (tap->pump.has_bounced || tap_pump_next_waiting(tap, tx))
		return net_pump_put_bounced(&tap->pump, tx);
	if (!tap->pump.readable)
		return false;
	fault = net_tx_reserve(tx, MIN(tap->expected, tap_pump_most_bytes(tap)),
			       tap->pump.into + 1, MAX_SEGMENTS - OUR_SEGMENTS,
			       &reading.segments, &reading.room_bytes);
	if (fault == NET_FAULT_NO_BUFFER && tx->room.chains == 0) {
		tap->pump.starved = true;
		return false;
	}
	return read_into(tap, tx, &reading);
}

static bool has_to_receive(const struct tap_pump *tap)
{
	return tap->reads == 0 &&
	       (tap->pump.readable || tap->pump.has_bounced ||
		tap->waiting < tap->waiting_end);
}

bool tap_pump_receive(struct net_pump *pump, struct net_tx *tx)
{
	struct tap_pump *tap = to_tap(pump);
	unsigned count;

	if (!has_to_receive(tap))
		return false;
	if (tap_pump_start_reads(tap, tx))
		return true;
	count = net_pump_receive_burst(pump, tx);
	tap->next_reads = MIN(count + 1, (unsigned)MAX_READS);
	return count > 0;
}
