/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ethdev-rx.h"

#include "base/bytes.h"

/* How many pieces; 0: they are none that belong together. */
static unsigned list_pieces(const struct rte_mbuf *mbuf, struct iovec *iov)
{
	uint64_t bytes = 0;
	unsigned count = 0;

	for (const struct rte_mbuf *m = mbuf; m; m = m->next) {
		if (count == ETHDEV_MAX_SEGMENTS)
			return 0;
		iov[count++] = (struct iovec){rte_pktmbuf_mtod(m, void *),
					      m->data_len};
		bytes += m->data_len;
	}
	return bytes == mbuf->pkt_len ? count : 0;
}

enum net_fault ethdev_rx_describe(const struct rte_mbuf *mbuf,
				  struct iovec *iov,
				  struct net_rx_frame *ret_frame)
{
	const unsigned count = list_pieces(mbuf, iov);

	if (count == 0)
		return NET_FAULT_LAYOUT;
	if (mbuf->pkt_len < NET_ETHERNET_BYTES)
		return NET_FAULT_RUNT;
	if (mbuf->pkt_len > NET_MAX_FRAME_BYTES)
		return NET_FAULT_OVERSIZE;
	ret_frame->header = (struct virtio_net_hdr_v1){0};
	ret_frame->bytes = mbuf->pkt_len;
	ret_frame->head_bytes = MIN(mbuf->pkt_len, (uint32_t)NET_COPY_BYTES);
	ret_frame->rest = iov_cursor(iov, count);
	iov_read(&ret_frame->rest, ret_frame->head, ret_frame->head_bytes);
	net_frame_parse(ret_frame->head, ret_frame->head_bytes,
			&ret_frame->layout);
	return NET_FAULT_NONE;
}

unsigned ethdev_rx_burst(struct ethdev_rx *rx)
{
	unsigned count = 0;

	rx->held = rte_eth_rx_burst(rx->id, rx->queue, rx->mbufs, ETHDEV_BURST);
	for (unsigned i = 0; i < rx->held; i++) {
		const enum net_fault fault = ethdev_rx_describe(
			rx->mbufs[i], rx->iov + count * ETHDEV_MAX_SEGMENTS,
			&rx->frames[count]);

		rx->faults[fault] += fault != NET_FAULT_NONE;
		if (fault)
			continue;
		rx->bytes_total += rx->frames[count].bytes;
		count++;
	}
	rx->frames_total += count;
	return count;
}

void ethdev_rx_done(struct ethdev_rx *rx)
{
	rte_pktmbuf_free_bulk(rx->mbufs, rx->held);
	rx->held = 0;
}
