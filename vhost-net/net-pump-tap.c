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

#include "vhost-net/net-pump-tap-internal.h"

static void sent(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct tap_pump *tap = container_of(op, struct sending, op)->tap;

	tap->in_flight--;
	if (result >= 0)
		return;
	tap->pump.refused++;
	tap_pump_note(tap, result);
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
static void send_bounced(struct tap_pump *tap, struct net_rx_frame *frame)
{
	uint8_t *bytes = tap->bounce;
	struct iov_cursor rest = frame->rest;
	const struct iovec iov[] = {
		{&frame->header, HEADER_BYTES},
		{bytes, frame->bytes},
	};

	memcpy(bytes, frame->head, frame->head_bytes);
	iov_read(&rest, bytes + frame->head_bytes,
		 frame->bytes - frame->head_bytes);
	/* Those before it are to come before it. */
	loop_submit(tap->pump.config.loop);
	if (writev(tap->pump.fd, iov, ARRAY_SIZE(iov)) < 0) {
		tap->pump.refused++;
		tap_pump_note(tap, -errno);
	}
}

static void prepare(struct tap_pump *tap, unsigned index,
		    const struct iovec *iov, unsigned count)
{
	struct io_uring_sqe *sqe = loop_sqe(tap->pump.config.loop);
	struct sending *sending = &tap->sendings[index];

	io_uring_prep_writev(sqe, tap->slot >= 0 ? tap->slot : tap->pump.fd,
			     iov, count, 0);
	if (tap->slot >= 0)
		sqe->flags |= IOSQE_FIXED_FILE;
	sending->op.done = sent;
	sending->tap = tap;
	loop_bind(sqe, &sending->op);
	tap->in_flight++;
}

static void send_frames(struct net_pump *pump, struct net_rx_frame *frames,
			unsigned count)
{
	struct tap_pump *tap = to_tap(pump);
	unsigned at = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned segments =
			lay_out(&frames[i], tap->iov + at, MAX_SEGMENTS);

		/* While a received frame waits there, bounce is taken. */
		if (segments > 0)
			prepare(tap, i, tap->iov + at, segments);
		else if (!pump->has_bounced)
			send_bounced(tap, &frames[i]);
		else
			pump->refused++;
		at += segments;
	}
}

static bool finish(struct net_pump *pump)
{
	struct tap_pump *tap = to_tap(pump);

	tap_pump_finish_reads(tap);
	return tap->in_flight == 0;
}

static bool is_idle(const struct net_pump *pump)
{
	return container_of(pump, struct tap_pump, pump)->reads == 0;
}

static void tap_pump_free(struct net_pump *pump)
{
	struct tap_pump *tap = to_tap(pump);

	if (tap->slot >= 0)
		loop_unregister_file(pump->config.loop, pump->fd);
	free(tap);
}

static const struct net_pump_ops ops = {
	.free = tap_pump_free,
	.expect = tap_pump_expect,
	.receive = tap_pump_receive,
	.receive_one = tap_pump_receive_one,
	.is_idle = is_idle,
	.send = send_frames,
	.finish = finish,
};

int net_pump_tap_new(const struct net_pump_config *config, int fd,
		     struct net_pump **ret_pump)
{
	struct tap_pump *tap = calloc(1, sizeof(*tap));

	if (!tap)
		return -ENOMEM;
	net_pump_init(&tap->pump, &ops, config, fd);
	tap->slot = loop_register_file(config->loop, fd);
	*ret_pump = &tap->pump;
	return 0;
}
