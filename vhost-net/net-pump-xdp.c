/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To the guest: frames are looked at where the kernel put them, each is copied
 * into the guest's buffers, and those that were are given back together. One
 * that the guest has no buffers for stays where it is, and all behind it: what
 * then comes and finds no room is dropped by the kernel.
 *
 * From the guest: a frame that becomes many needs room for them. Until what was
 * sent before has left, it waits in the guest's memory, with all behind it; no
 * descriptor says when that is, so it is looked at now and then.
 */
#include "vhost-net/net-pump-xdp.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "vhost-net/net-pump-internal.h"
#include "vhost-net/net-xdp-send.h"

enum {
	/* How often room is looked for, while two thousand frames leave. */
	RETRY_NS = 500 * 1000,
};

struct xdp_pump {
	struct net_pump pump; /* first */
	struct net_xdp_socket *socket;
	uint32_t max_frame_bytes;
	bool discards;

	/* What the guest sends: lent frames, of which those from next on wait. */
	struct net_rx_frame *frames;
	unsigned next, count;

	/* What it receives: frames that are looked at, and how far. */
	uint32_t first;
	unsigned used, peeked;
};

static struct xdp_pump *to_xdp(struct net_pump *pump)
{
	return container_of(pump, struct xdp_pump, pump);
}

/* --- from the guest --------------------------------------------------------- */

/* False: it waits for room. One that needs more than there can be has to do
 * with what there is. */
static bool send_one(struct xdp_pump *xdp, const struct net_rx_frame *frame)
{
	const unsigned wanted = net_xdp_places(frame);
	enum net_fault fault;

	if (net_xdp_socket_room(xdp->socket, wanted) < wanted)
		return false;
	fault = net_xdp_send(xdp->socket, frame, xdp->max_frame_bytes);
	if (fault == NET_FAULT_NO_BUFFER)
		xdp->pump.refused++;
	else if (fault)
		netdev_queue_rx(xdp->pump.send)->faults[fault]++;
	return true;
}

static void push(struct xdp_pump *xdp)
{
	const uint64_t dropped = xdp->socket->dropped;

	net_xdp_socket_push(xdp->socket);
	xdp->pump.refused += xdp->socket->dropped - dropped;
}

/* What is sent while the interface is down would come out late. */
static void drop_rest(struct xdp_pump *xdp)
{
	xdp->pump.refused += xdp->count - xdp->next;
	xdp->next = xdp->count;
}

static void go_on(struct xdp_pump *xdp)
{
	bool more = true;

	while (more && xdp->next < xdp->count) {
		more = send_one(xdp, &xdp->frames[xdp->next]);
		xdp->next += more;
	}
	push(xdp);
	if (xdp->socket->is_down)
		drop_rest(xdp);
	xdp->pump.retry_ns =
		xdp->next < xdp->count || xdp->socket->unsent ? RETRY_NS : 0;
}

static void send_frames(struct net_pump *pump, struct net_rx_frame *frames,
			unsigned count)
{
	struct xdp_pump *xdp = to_xdp(pump);

	xdp->frames = frames;
	xdp->next = 0;
	xdp->count = count;
	if (count == 0)
		return;
	if (xdp->socket->is_down) {
		xdp->socket->unsent = true;
		push(xdp);
	}
	if (xdp->socket->is_down)
		drop_rest(xdp);
	else
		go_on(xdp);
}

/* Room may never come, if whoever has the frames before does not let go. */
static void stop_sending(struct net_pump *pump)
{
	drop_rest(to_xdp(pump));
}

static bool finish(struct net_pump *pump)
{
	struct xdp_pump *xdp = to_xdp(pump);

	if (pump->retry_ns > 0)
		go_on(xdp);
	return xdp->next == xdp->count;
}

/* --- to the guest ----------------------------------------------------------- */

/* Where it lies the frame is as the network made it: with nothing to be done. */
static bool copy_frame(struct xdp_pump *xdp, struct net_tx *tx,
		       const struct iovec *frame)
{
	static const struct virtio_net_hdr_v1 plain;
	struct net_pump *pump = &xdp->pump;
	struct iov_cursor to;
	unsigned segments;
	uint32_t bytes;

	if (net_tx_reserve(tx, frame->iov_len, pump->into, MAX_SEGMENTS,
			   &segments, &bytes) != NET_FAULT_NONE)
		return false;
	to = iov_cursor(pump->into, segments);
	iov_write(&to, frame->iov_base, frame->iov_len);
	net_pump_capture_received(pump, frame, 1, frame->iov_len);
	net_tx_commit(tx, &plain, frame->iov_len);
	return true;
}

/* As receive_one; the frame stays if it has to wait. */
static bool put_frame(struct xdp_pump *xdp, struct net_tx *tx,
		      const struct iovec *frame)
{
	struct net_pump *pump = &xdp->pump;

	if (frame->iov_len < NET_ETHERNET_BYTES) {
		tx->faults[NET_FAULT_RUNT]++;
		return true;
	}
	if (!pump->has_bounced && copy_frame(xdp, tx, frame))
		return true;
	pump->bounced.header = (struct virtio_net_hdr_v1){0};
	net_pump_describe_bounced(pump, frame->iov_base, frame->iov_len);
	pump->has_bounced = true;
	return net_pump_put_bounced(pump, tx);
}

static bool receive_one(struct net_pump *pump, struct net_tx *tx)
{
	struct xdp_pump *xdp = to_xdp(pump);
	struct iovec frame;

	if (xdp->used == xdp->peeked)
		return false;
	frame = net_xdp_socket_frame(xdp->socket, xdp->first + xdp->used);
	if (!put_frame(xdp, tx, &frame))
		return false;
	xdp->used++;
	return true;
}

static bool peek(struct xdp_pump *xdp)
{
	xdp->used = 0;
	xdp->peeked = net_xdp_socket_peek(xdp->socket, NET_BURST, &xdp->first);
	return xdp->peeked > 0;
}

static void release(struct xdp_pump *xdp)
{
	net_xdp_socket_release(xdp->socket, xdp->first, xdp->used, xdp->peeked);
}

static bool receive(struct net_pump *pump, struct net_tx *tx)
{
	struct xdp_pump *xdp = to_xdp(pump);
	unsigned count;

	if (!peek(xdp))
		return false;
	count = net_pump_receive_burst(pump, tx);
	release(xdp);
	return count > 0;
}

/* The interface goes on to give frames to a queue that nobody reads. */
static bool discard(struct net_pump *pump, struct net_tx *tx)
{
	struct xdp_pump *xdp = to_xdp(pump);

	if (!xdp->discards || !peek(xdp))
		return false;
	pump->has_bounced = false;
	pump->waits_since = 0;
	tx->faults[NET_FAULT_DISABLED] += xdp->peeked;
	xdp->used = xdp->peeked;
	release(xdp);
	return true;
}

/* --- the pump --------------------------------------------------------------- */

static bool is_idle(const struct net_pump *pump)
{
	return true;
}

static void xdp_pump_free(struct net_pump *pump)
{
	free(to_xdp(pump));
}

static const struct net_pump_ops ops = {
	.free = xdp_pump_free,
	.receive = receive,
	.receive_one = receive_one,
	.discard = discard,
	.is_idle = is_idle,
	.send = send_frames,
	.stop_sending = stop_sending,
	.finish = finish,
};

int net_pump_xdp_new(const struct net_pump_config *config,
		     const struct net_pump_xdp_config *xdp_config,
		     struct net_pump **ret_pump)
{
	struct xdp_pump *xdp = calloc(1, sizeof(*xdp));

	if (!xdp)
		return -ENOMEM;
	net_pump_init(&xdp->pump, &ops, config, xdp_config->socket->fd);
	xdp->socket = xdp_config->socket;
	xdp->max_frame_bytes = xdp_config->mtu + NET_LINK_BYTES;
	xdp->discards = xdp_config->discards;
	*ret_pump = &xdp->pump;
	return 0;
}
