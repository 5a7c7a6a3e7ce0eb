/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the guest to the TAP: a burst of frames is borrowed from the ring, each
 * becomes one writev of three parts (the judged header, the copied head, the
 * rest in guest memory), and all are submitted together. The TAP does not
 * block, so they are usually complete when loop_submit returns; the burst goes
 * back to the driver when the last one is.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vhost-net/net-pump-internal.h"

int net_pump_new(struct loop *loop, int tap_fd, struct net_limits *limits,
		 struct capture_lane *lane, struct net_pump **ret_pump)
{
	struct net_pump *pump = calloc(1, sizeof(*pump));

	if (!pump)
		return -ENOMEM;
	pump->loop = loop;
	pump->tap_fd = tap_fd;
	pump->limits = limits;
	pump->lane = lane;
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
	pump->wait_ns[NET_SEND] = 0;
	if (queue)
		virtq_kicks_off(netdev_queue_virtq(queue));
}

bool net_pump_is_idle(const struct net_pump *pump, bool sends)
{
	return sends ? !pump->lent : pump->reads == 0;
}

static void sent(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct net_pump *pump = container_of(op, struct sending, op)->pump;

	pump->in_flight--;
	if (result >= 0)
		return;
	pump->refused++;
	net_pump_note(pump, result);
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
		net_pump_note(pump, -errno);
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

/* What waits for its limit stays in the ring. */
static unsigned take_burst(struct net_pump *pump, struct net_rx_frame **frames)
{
	const bool limited = pump->limits->limits[NET_SEND];
	uint32_t bytes = 0;
	unsigned count;

	pump->wait_ns[NET_SEND] = net_limits_wait_ns(pump->limits, NET_SEND);
	if (pump->wait_ns[NET_SEND] > 0 && netdev_queue_is_enabled(pump->send))
		return 0;
	count = netdev_rx_burst(
		pump->send, limited ? NET_LIMITED_BURST : NET_BURST, frames);
	for (unsigned i = 0; i < count && limited; i++)
		bytes += (*frames)[i].bytes;
	net_limits_passed(pump->limits, NET_SEND, count, bytes);
	return count;
}

static bool run_send(struct net_pump *pump)
{
	struct net_rx_frame *frames;
	unsigned at = 0, count;

	if (!pump->send || pump->lent)
		return false;
	count = take_burst(pump, &frames);
	if (pump->wait_ns[NET_SEND] > 0)
		return false;
	for (unsigned i = 0; i < count; i++) {
		unsigned segments =
			lay_out(&frames[i], pump->iov + at, MAX_SEGMENTS);

		net_pump_capture_sent(pump, &frames[i]);
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
	net_pump_finish_reads(pump);
	if (!pump->lent || pump->in_flight > 0)
		return;
	pump->lent = false;
	netdev_rx_done(pump->send);
}

bool net_pump_run(struct net_pump *pump)
{
	bool worked;

	net_pump_look_at_capture(pump);
	worked = net_pump_run_receive(pump);
	return run_send(pump) || worked;
}

void net_pump_wake(struct net_pump *pump)
{
	pump->readable = true;
}

uint64_t net_pump_timeout_ns(const struct net_pump *pump)
{
	uint64_t timeout =
		pump->starved && pump->has_bounced ? WAIT_NS : UINT64_MAX;

	for (unsigned i = 0; i < NET_DIRECTIONS; i++)
		if (pump->wait_ns[i] > 0)
			timeout = MIN(timeout, pump->wait_ns[i]);
	return timeout;
}

bool net_pump_sleep(struct net_pump *pump)
{
	bool again = false;

	if (pump->send && !pump->lent && pump->wait_ns[NET_SEND] == 0)
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
