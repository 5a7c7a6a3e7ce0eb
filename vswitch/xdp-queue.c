/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/xdp-queue.h"

#include <string.h>

#include "base/bytes.h"
#include "vhost-net/net-xdp-send.h"

/* --- in --------------------------------------------------------------------- */

static struct xdp_queue *from_source(struct source *source)
{
	return container_of(source, struct xdp_queue, source);
}

/* As the network made it: with nothing to be done. False: it is no frame. */
static bool describe(const struct iovec *bytes, struct iovec *rest,
		     struct net_rx_frame *ret_frame)
{
	if (bytes->iov_len < NET_ETHERNET_BYTES)
		return false;
	ret_frame->header = (struct virtio_net_hdr_v1){0};
	ret_frame->bytes = bytes->iov_len;
	ret_frame->head_bytes = MIN(bytes->iov_len, (size_t)NET_COPY_BYTES);
	memcpy(ret_frame->head, bytes->iov_base, ret_frame->head_bytes);
	*rest = (struct iovec){
		(uint8_t *)bytes->iov_base + ret_frame->head_bytes,
		bytes->iov_len - ret_frame->head_bytes,
	};
	ret_frame->rest = iov_cursor(rest, 1);
	net_frame_parse(ret_frame->head, ret_frame->head_bytes,
			&ret_frame->layout);
	return true;
}

static unsigned receive(struct source *source, struct net_rx_frame **ret_frames)
{
	struct xdp_queue *queue = from_source(source);
	unsigned count = 0;

	queue->held =
		net_xdp_socket_peek(queue->socket, NET_BURST, &queue->first);
	for (unsigned i = 0; i < queue->held; i++) {
		const struct iovec bytes =
			net_xdp_socket_frame(queue->socket, queue->first + i);

		if (!describe(&bytes, &queue->rest[count],
			      &queue->frames[count])) {
			queue->runts++;
			continue;
		}
		queue->bytes_total += bytes.iov_len;
		count++;
	}
	queue->frames_total += count;
	*ret_frames = queue->frames;
	return count;
}

static void done(struct source *source)
{
	struct xdp_queue *queue = from_source(source);

	net_xdp_socket_release(queue->socket, queue->first, queue->held,
			       queue->held);
}

/* The descriptor wakes a thread that sleeps, which looks then. */
static bool look(struct source *source)
{
	return net_xdp_socket_look(from_source(source)->socket);
}

static const struct source_ops source_ops = {
	.look = look,
	.receive = receive,
	.done = done,
};

void xdp_queue_init(struct xdp_queue *queue, struct net_xdp_socket *socket,
		    struct forward_port *port, uint32_t max_frame_bytes)
{
	queue->source.ops = &source_ops;
	queue->source.port = port;
	queue->source.fd = socket->fd;
	queue->socket = socket;
	queue->max_frame_bytes = max_frame_bytes;
	rte_spinlock_init(&queue->lock);
}

/* --- out, with the lock -------------------------------------------------------- */

static void push(struct xdp_queue *queue)
{
	struct net_xdp_socket *socket = queue->socket;
	const uint64_t dropped = socket->dropped;

	net_xdp_socket_push(socket);
	queue->faults[NET_FAULT_DEVICE] += socket->dropped - dropped;
}

/* A kernel that copies has done with what it was pushed, mostly. */
static void put(struct xdp_queue *queue, const struct net_rx_frame *frame)
{
	const unsigned wanted = net_xdp_places(frame);
	enum net_fault fault;

	if (net_xdp_socket_room(queue->socket, wanted) < wanted)
		push(queue);
	fault = net_xdp_send(queue->socket, frame, queue->max_frame_bytes);
	queue->faults[fault] += fault != NET_FAULT_NONE;
}

/* What is sent while the interface is down would come out late. */
static bool is_down(struct xdp_queue *queue)
{
	if (!queue->socket->is_down)
		return false;
	queue->socket->unsent = true;
	push(queue);
	return queue->socket->is_down;
}

/* --- out ---------------------------------------------------------------------- */

bool xdp_queue_send(struct xdp_queue *queue, unsigned number,
		    const struct net_rx_frame *const *frames,
		    const uint8_t *choice, unsigned count)
{
	bool drops, unsent;

	rte_spinlock_lock(&queue->lock);
	drops = is_down(queue);
	for (unsigned i = 0; i < count; i++) {
		if (choice[i] != number)
			continue;
		if (drops)
			queue->faults[NET_FAULT_DEVICE]++;
		else
			put(queue, frames[i]);
	}
	push(queue);
	unsent = queue->socket->unsent;
	rte_spinlock_unlock(&queue->lock);
	return unsent;
}

bool xdp_queue_push(struct xdp_queue *queue)
{
	bool unsent;

	rte_spinlock_lock(&queue->lock);
	push(queue);
	unsent = queue->socket->unsent;
	rte_spinlock_unlock(&queue->lock);
	return unsent;
}

/* --- counters ----------------------------------------------------------------- */

void xdp_queue_count_in(const struct xdp_queue *queue,
			struct netdev_counters *to)
{
	to->tx_frames += queue->frames_total;
	to->tx_bytes += queue->bytes_total;
	to->tx_faults[NET_FAULT_RUNT] += queue->runts;
}

void xdp_queue_count_out(struct xdp_queue *queue, struct netdev_counters *to)
{
	rte_spinlock_lock(&queue->lock);
	to->rx_frames += queue->socket->put_frames;
	to->rx_bytes += queue->socket->put_bytes;
	for (unsigned i = 0; i < NET_FAULTS; i++)
		to->rx_faults[i] += queue->faults[i];
	rte_spinlock_unlock(&queue->lock);
}
