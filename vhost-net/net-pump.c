/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Towards the TAP: a burst of frames is borrowed from the ring, each becomes
 * one writev of three parts (the judged header, the copied head, the rest in
 * guest memory), and all are submitted together. The TAP does not block, so
 * they are usually complete when loop_submit returns; the burst goes back to
 * the driver when the last one is.
 *
 * Towards the guest: net_tx_reserve holds receive buffers for the largest frame
 * that may come, and a frame is read right into them. The virtio-net header is
 * read into memory of ours, so that what we decide by is not the guest's to
 * change.
 */
#include "vhost-net/net-pump.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

enum {
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	/* Of one call; and those of it that are ours. */
	MAX_SEGMENTS = IOV_MAX,
	OUR_SEGMENTS = 2,
	/* Two tags, which a TAP's MTU does not count, and Ethernet. */
	LINK_BYTES = NET_ETHERNET_BYTES + NET_MAX_TAGS * NET_TAG_BYTES,
	BOUNCE_BYTES = NET_MAX_FRAME_BYTES,
	/* For how long a frame waits for buffers; see has_waited_enough. */
	WAIT_NS = 10 * 1000 * 1000,
};

struct sending {
	struct loop_op op;
	struct net_pump *pump;
};

struct net_pump {
	struct loop *loop;
	int tap_fd;
	int tap_slot; /* registered with the loop, or -1 */
	int error;
	uint64_t refused;

	/* What the guest sends. */
	struct netdev_queue *send;
	unsigned in_flight;
	bool lent; /* the burst is not given back yet */
	struct sending sendings[NET_BURST];
	struct iovec iov[NET_BURST_SEGMENTS + NET_BURST * OUR_SEGMENTS];

	/* What it receives. */
	struct netdev_queue *receive;
	uint32_t max_frame;   /* that the TAP may give */
	bool readable;	      /* the TAP, as far as we know */
	bool starved;	      /* frames are there, but no buffers */
	bool has_bounced;     /* a frame is in bounce, and waits, … */
	uint64_t waits_since; /* … for buffers since then; ns; 0: it does not */
	struct net_rx_frame bounced;
	struct iovec bounced_rest;
	struct iovec into[MAX_SEGMENTS];
	uint8_t bounce[BOUNCE_BYTES];
};

int net_pump_new(struct loop *loop, int tap_fd, struct net_pump **ret_pump)
{
	struct net_pump *pump = calloc(1, sizeof(*pump));

	if (!pump)
		return -ENOMEM;
	pump->loop = loop;
	pump->tap_fd = tap_fd;
	pump->tap_slot = loop_register_file(loop, tap_fd);
	pump->readable = true;
	*ret_pump = pump;
	return 0;
}

void net_pump_free(struct net_pump *pump)
{
	if (!pump)
		return;
	if (pump->tap_slot >= 0)
		loop_unregister_file(pump->loop, pump->tap_fd);
	free(pump);
}

void net_pump_set_send(struct net_pump *pump, struct netdev_queue *queue)
{
	pump->send = queue;
	if (queue)
		virtq_kicks_off(netdev_queue_virtq(queue));
}

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
	if (!queue)
		return;
	virtq_kicks_off(netdev_queue_virtq(queue));
	pump->max_frame =
		takes_gso(netdev_queue_tx(queue)->features)
			? NET_MAX_FRAME_BYTES
			: MIN(mtu + LINK_BYTES, (uint32_t)NET_MAX_FRAME_BYTES);
	pump->readable = true;
}

bool net_pump_is_idle(const struct net_pump *pump)
{
	return !pump->lent;
}

/* Of a TAP that is deleted nothing comes back. */
static void note(struct net_pump *pump, int err)
{
	if (err == -EBADFD && pump->error == 0)
		pump->error = err;
}

/* --- towards the TAP --- */

static void sent(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct net_pump *pump = container_of(op, struct sending, op)->pump;

	pump->in_flight--;
	if (result >= 0)
		return;
	pump->refused++;
	note(pump, result);
}

/* The frame in segments, of which @room may be used; 0: it has more. */
static unsigned lay_out(struct net_rx_frame *frame, struct iovec *iov,
			unsigned room)
{
	struct iov_cursor rest = frame->rest;
	size_t rest_bytes = frame->bytes - frame->head_bytes, bytes;
	unsigned count = OUR_SEGMENTS;

	iov[0] = (struct iovec){&frame->header, HEADER_BYTES};
	iov[1] = (struct iovec){frame->head, frame->head_bytes};
	count +=
		iov_slice(&rest, rest_bytes, iov + count, room - count, &bytes);
	return bytes == rest_bytes ? count : 0;
}

/* A frame in more pieces than the kernel takes at once. */
static void send_bounced(struct net_pump *pump, struct net_rx_frame *frame)
{
	uint8_t *bytes = pump->bounce;
	struct iov_cursor rest = frame->rest;
	const struct iovec iov[] = {
		{&frame->header, HEADER_BYTES},
		{bytes, frame->bytes},
	};

	memcpy(bytes, frame->head, frame->head_bytes);
	iov_read(&rest, bytes + frame->head_bytes,
		 frame->bytes - frame->head_bytes);
	/* Those before it are to come before it. */
	loop_submit(pump->loop);
	if (writev(pump->tap_fd, iov, ARRAY_SIZE(iov)) < 0) {
		pump->refused++;
		note(pump, -errno);
	}
}

static void prepare(struct net_pump *pump, unsigned index,
		    const struct iovec *iov, unsigned count)
{
	struct io_uring_sqe *sqe = loop_sqe(pump->loop);
	struct sending *sending = &pump->sendings[index];

	io_uring_prep_writev(
		sqe, pump->tap_slot >= 0 ? pump->tap_slot : pump->tap_fd, iov,
		count, 0);
	if (pump->tap_slot >= 0)
		sqe->flags |= IOSQE_FIXED_FILE;
	sending->op.done = sent;
	sending->pump = pump;
	loop_bind(sqe, &sending->op);
	pump->in_flight++;
}

static bool run_send(struct net_pump *pump)
{
	struct net_rx_frame *frames;
	unsigned at = 0, count;

	if (!pump->send || pump->lent)
		return false;
	count = netdev_rx_burst(pump->send, NET_BURST, &frames);
	for (unsigned i = 0; i < count; i++) {
		unsigned segments =
			lay_out(&frames[i], pump->iov + at, MAX_SEGMENTS);

		/* While a received frame waits there, bounce is taken. */
		if (segments > 0)
			prepare(pump, i, pump->iov + at, segments);
		else if (!pump->has_bounced)
			send_bounced(pump, &frames[i]);
		else
			pump->refused++;
		at += segments;
	}
	pump->lent = true;
	return count > 0;
}

void net_pump_finish(struct net_pump *pump)
{
	if (!pump->lent || pump->in_flight > 0)
		return;
	pump->lent = false;
	netdev_rx_done(pump->send);
}

/* --- towards the guest --- */

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
static uint32_t most_bytes(const struct net_pump *pump)
{
	return MIN(pump->max_frame + 1, (uint32_t)NET_MAX_FRAME_BYTES);
}

static bool is_too_long(const struct net_pump *pump, int bytes)
{
	return (uint32_t)bytes > pump->max_frame;
}

/* One read: bytes of the frame, 0 for none, or a negative errno. */
static int read_frame(struct net_pump *pump, const struct iovec *iov,
		      unsigned count)
{
	ssize_t got = readv(pump->tap_fd, iov, count);

	if (got < 0) {
		int err = -errno;

		/* Others end when the TAP is ready again. */
		if (err != -EFAULT && err != -EINTR)
			pump->readable = false;
		note(pump, err);
		return err == -EAGAIN ? 0 : err;
	}
	return got < HEADER_BYTES + NET_ETHERNET_BYTES
		       ? -EBADMSG
		       : (int)(got - HEADER_BYTES);
}

static bool read_direct(struct net_pump *pump, struct net_tx *tx,
			unsigned segments)
{
	struct virtio_net_hdr_v1 header;
	int bytes;

	pump->into[0] = (struct iovec){&header, HEADER_BYTES};
	bytes = read_frame(pump, pump->into, segments + 1);
	if (bytes == 0)
		return false;
	if (bytes < 0) {
		tx->faults[NET_FAULT_LOST_MEMORY] += bytes == -EFAULT;
		tx->faults[NET_FAULT_RUNT] += bytes == -EBADMSG;
		return pump->readable;
	}
	if (is_too_long(pump, bytes)) {
		tx->faults[NET_FAULT_OVERSIZE]++;
		return true;
	}
	if (!is_taken(&header, tx->features)) {
		tx->faults[NET_FAULT_OFFLOAD]++;
		return true;
	}
	clean_header(&header, tx->features);
	net_tx_commit(tx, &header, bytes);
	return true;
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
	enum net_fault fault =
		net_tx_reserve(tx, pump->bounced.bytes, pump->into + 1,
			       MAX_SEGMENTS - 1, &segments);

	if (fault == NET_FAULT_NO_BUFFER && !has_waited_enough(pump)) {
		pump->starved = true;
		return false;
	}
	net_tx_release(tx);
	net_tx_put(tx, &pump->bounced); /* counts, if it is dropped */
	pump->has_bounced = false;
	pump->waits_since = 0;
	return true;
}

static void describe_bounced(struct net_pump *pump, unsigned bytes)
{
	struct net_rx_frame *frame = &pump->bounced;

	frame->bytes = bytes;
	frame->head_bytes = MIN(bytes, (unsigned)NET_COPY_BYTES);
	memcpy(frame->head, pump->bounce, frame->head_bytes);
	pump->bounced_rest = (struct iovec){pump->bounce + frame->head_bytes,
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

static bool read_bounced(struct net_pump *pump, struct net_tx *tx)
{
	const struct iovec iov[] = {
		{&pump->bounced.header, HEADER_BYTES},
		{pump->bounce, BOUNCE_BYTES},
	};
	int bytes = read_frame(pump, iov, ARRAY_SIZE(iov));

	if (bytes <= 0)
		return bytes < 0 && pump->readable;
	if (is_too_long(pump, bytes)) {
		tx->faults[NET_FAULT_OVERSIZE]++;
		return true;
	}
	describe_bounced(pump, bytes);
	if (!header_is_good(&pump->bounced)) {
		tx->faults[NET_FAULT_OFFLOAD]++;
		return true;
	}
	clean_header(&pump->bounced.header, tx->features);
	pump->has_bounced = true;
	return put_bounced(pump, tx);
}

/* One frame. False: there is none, or no place for it. */
static bool receive_one(struct net_pump *pump, struct net_tx *tx)
{
	unsigned segments;
	enum net_fault fault;

	if (pump->has_bounced)
		return put_bounced(pump, tx);
	fault = net_tx_reserve(tx, most_bytes(pump), pump->into + 1,
			       MAX_SEGMENTS - 1, &segments);
	if (fault == NET_FAULT_NONE)
		return read_direct(pump, tx, segments);
	if (fault == NET_FAULT_NO_BUFFER && tx->room.chains == 0) {
		pump->starved = true;
		return false;
	}
	return read_bounced(pump, tx);
}

static bool run_receive(struct net_pump *pump)
{
	struct net_tx *tx;
	unsigned count = 0;

	pump->starved = false;
	if (!pump->receive || (!pump->readable && !pump->has_bounced) ||
	    !netdev_queue_is_enabled(pump->receive))
		return false;
	tx = netdev_queue_tx(pump->receive);
	while (count < NET_BURST && receive_one(pump, tx))
		count++;
	if (count == 0)
		return false;
	net_tx_done(tx);
	virtq_notify(netdev_queue_virtq(pump->receive));
	return true;
}

bool net_pump_run(struct net_pump *pump)
{
	bool worked = run_receive(pump);

	return run_send(pump) || worked;
}

void net_pump_wake(struct net_pump *pump)
{
	pump->readable = true;
}

uint64_t net_pump_timeout_ns(const struct net_pump *pump)
{
	return pump->starved && pump->has_bounced ? WAIT_NS : UINT64_MAX;
}

bool net_pump_sleep(struct net_pump *pump)
{
	bool again = false;

	if (pump->send && !pump->lent)
		again |= virtq_kicks_on(netdev_queue_virtq(pump->send));
	if (pump->receive && pump->starved)
		again |= virtq_kicks_on(netdev_queue_virtq(pump->receive));
	return again;
}

void net_pump_awake(struct net_pump *pump)
{
	if (pump->send)
		virtq_kicks_off(netdev_queue_virtq(pump->send));
	if (pump->receive)
		virtq_kicks_off(netdev_queue_virtq(pump->receive));
}

int net_pump_error(const struct net_pump *pump)
{
	return pump->error;
}

uint64_t net_pump_refused(const struct net_pump *pump)
{
	return pump->refused;
}
