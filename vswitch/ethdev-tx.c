/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ethdev-tx.h"

#include "base/bytes.h"
#include "vhost-net/net-deliver.h"

enum {
	/* Of the largest frame in the smallest buffers. */
	MAX_SEGMENTS = NET_MAX_FRAME_BYTES / 1024 + 1,
	/* IEEE 802.3, 4.2.3.3, without the checksum. */
	MIN_FRAME_BYTES = 60,
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

/* What a guest sends may be shorter than what a network takes, and there are
 * devices that stop at a frame of 14 bytes. Nobody else's bytes fill it up. */
static void write_padded(const struct net_delivery *delivery,
			 struct iov_cursor to, uint32_t bytes)
{
	struct iov_cursor behind = to;

	net_delivery_write(delivery, to);
	iov_skip(&behind, delivery->bytes);
	iov_fill(&behind, 0, bytes - delivery->bytes);
}

static enum net_fault put_delivery(void *to,
				   const struct net_delivery *delivery)
{
	const uint32_t bytes = MAX(delivery->bytes, (uint32_t)MIN_FRAME_BYTES);
	struct ethdev_tx *tx = to;
	struct iovec iov[MAX_SEGMENTS];
	struct rte_mbuf *mbuf;
	unsigned count;

	if (delivery->bytes > tx->max_frame_bytes)
		return NET_FAULT_OVERSIZE;
	mbuf = make_mbuf(tx, bytes, iov, &count);
	if (!mbuf)
		return NET_FAULT_NO_BUFFER;
	write_padded(delivery, iov_cursor(iov, count), bytes);
	tx->mbufs[tx->count++] = mbuf;
	if (tx->count == ETHDEV_BURST)
		ethdev_tx_flush(tx);
	return NET_FAULT_NONE;
}

void ethdev_tx_put(struct ethdev_tx *tx, const struct net_rx_frame *frame)
{
	const enum net_work work =
		net_header_work(&frame->header, &frame->layout, 0);
	const enum net_fault fault = net_deliver(frame, work, put_delivery, tx);

	tx->faults[fault] += fault != NET_FAULT_NONE;
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
	tx->unsent_total += tx->count - sent;
	tx->faults[NET_FAULT_NO_BUFFER] += tx->count - sent;
	rte_pktmbuf_free_bulk(tx->mbufs + sent, tx->count - sent);
	tx->count = 0;
}
