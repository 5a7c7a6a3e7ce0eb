/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ethdev-tx.h"

#include "base/bytes.h"
#include "vhost-net/net-deliver.h"

enum {
	/* Of the largest frame in the smallest buffers. */
	MAX_SEGMENTS = NET_MAX_FRAME_BYTES / 1024 + 1,
	/* Buffers that wait: a few large frames are as good as a burst. */
	MAX_WAITING = ETHDEV_BURST,
};

/* Buffers for @bytes as one frame, and where they are; NULL: there are none. */
static struct rte_mbuf *make_mbuf(const struct ethdev_tx *tx, uint32_t bytes,
				  struct iovec *iov, unsigned *ret_count)
{
	struct rte_mbuf *first = NULL, **next = &first;
	unsigned count = 0;

	for (uint32_t left = bytes; left > 0; count++) {
		struct rte_mbuf *m = count < MAX_SEGMENTS
					     ? rte_pktmbuf_alloc(tx->pool)
					     : NULL;

		if (!m) {
			rte_pktmbuf_free(first);
			return NULL;
		}
		*next = m;
		next = &m->next;
		m->data_len = MIN(left, rte_pktmbuf_tailroom(m));
		iov[count] = (struct iovec){rte_pktmbuf_mtod(m, void *),
					    m->data_len};
		left -= m->data_len;
		/* What is freed half-way has to be whole, too. */
		first->nb_segs = count + 1;
	}
	first->pkt_len = bytes;
	*ret_count = count;
	return first;
}

/* The whole frame as an mbuf; NULL: there are no buffers. */
static struct rte_mbuf *copy_out(const struct ethdev_tx *tx,
				 const struct net_delivery *delivery)
{
	const uint32_t bytes = net_delivery_padded_bytes(delivery);
	struct iovec iov[MAX_SEGMENTS];
	unsigned count;
	struct rte_mbuf *mbuf = make_mbuf(tx, bytes, iov, &count);

	if (mbuf)
		net_delivery_write_padded(delivery, iov_cursor(iov, count));
	return mbuf;
}

static void add(struct ethdev_tx *tx, struct rte_mbuf *mbuf)
{
	tx->mbufs[tx->count++] = mbuf;
	tx->buffers += mbuf->nb_segs;
	if (tx->count == ETHDEV_BURST || tx->buffers >= MAX_WAITING)
		ethdev_tx_flush(tx);
}

static enum net_fault put_delivery(void *to,
				   const struct net_delivery *delivery)
{
	struct ethdev_tx *tx = to;
	struct rte_mbuf *mbuf;

	if (delivery->bytes > tx->max_frame_bytes)
		return NET_FAULT_OVERSIZE;
	mbuf = copy_out(tx, delivery);
	if (!mbuf)
		return NET_FAULT_NO_BUFFER;
	add(tx, mbuf);
	return NET_FAULT_NONE;
}

/* --- what the device does ------------------------------------------------------ */

struct offloading {
	struct ethdev_tx *tx;
	const struct ethdev_task *task;
};

/* NET_FAULT_OFFLOAD: the driver, which is asked at once, while the frame can still
 * be copied in another way, does not want it. */
static enum net_fault put_task(void *to, const struct net_delivery *delivery)
{
	const struct offloading *offloading = to;
	struct ethdev_tx *tx = offloading->tx;
	struct rte_mbuf *mbuf = copy_out(tx, delivery);

	if (!mbuf)
		return NET_FAULT_NO_BUFFER;
	ethdev_offload_mark(offloading->task, mbuf);
	if (rte_eth_tx_prepare(tx->id, tx->queue, &mbuf, 1) != 1) {
		rte_pktmbuf_free(mbuf);
		return NET_FAULT_OFFLOAD;
	}
	add(tx, mbuf);
	return NET_FAULT_NONE;
}

/* Says in *@made who makes it. */
static enum net_fault put_offloaded(struct ethdev_tx *tx,
				    const struct net_rx_frame *frame,
				    enum net_work work, enum offload *made)
{
	const uint32_t buffer_bytes =
		rte_pktmbuf_data_room_size(tx->pool) - RTE_PKTMBUF_HEADROOM;
	struct ethdev_task task;
	enum net_fault fault;

	*made = OFFLOAD_COPIED;
	if (!ethdev_offload_out(&tx->offloads, frame, work, buffer_bytes,
				tx->max_frame_bytes, &task))
		return NET_FAULT_OFFLOAD;
	fault = net_deliver(frame, NET_WORK_NONE, put_task,
			    &(struct offloading){tx, &task});
	*made = fault == NET_FAULT_OFFLOAD ? OFFLOAD_REFUSED
		: task.segment_bytes	   ? OFFLOAD_TSO
					   : OFFLOAD_CHECKSUM;
	return fault;
}

void ethdev_tx_put(struct ethdev_tx *tx, const struct net_rx_frame *frame)
{
	const enum net_work work =
		net_header_work(&frame->header, &frame->layout, 0);
	enum offload made;
	enum net_fault fault = put_offloaded(tx, frame, work, &made);

	if (fault == NET_FAULT_OFFLOAD)
		fault = net_deliver(frame, work, put_delivery, tx);
	if (fault != NET_FAULT_NONE)
		tx->faults[fault]++;
	else if (work == NET_WORK_CHECKSUM || work == NET_WORK_SEGMENT)
		tx->made[made]++;
}

void ethdev_tx_flush(struct ethdev_tx *tx)
{
	uint64_t bytes[ETHDEV_BURST];
	unsigned sent;

	if (tx->count == 0)
		return;
	/* The device may have freed them by the time it says so. */
	for (unsigned i = 0; i < tx->count; i++)
		bytes[i] = tx->mbufs[i]->pkt_len;
	sent = rte_eth_tx_burst(tx->id, tx->queue, tx->mbufs, tx->count);
	for (unsigned i = 0; i < sent; i++)
		tx->bytes_total += bytes[i];
	tx->frames_total += sent;
	tx->faults[NET_FAULT_NO_BUFFER] += tx->count - sent;
	rte_pktmbuf_free_bulk(tx->mbufs + sent, tx->count - sent);
	tx->count = tx->buffers = 0;
}
