/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ethdev-rx.h"

#include <fcntl.h>
#include <rte_ether.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* A device may have taken the tag off and say so, asked or not: without it the
 * frame would be another VLAN's. */
static unsigned lost_bytes(const struct rte_mbuf *mbuf)
{
	return mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED ? NET_TAG_BYTES : 0;
}

/* The frame's first bytes, as they came in by the wire. */
static void copy_head(const struct rte_mbuf *mbuf, struct net_rx_frame *frame)
{
	const unsigned lost = lost_bytes(mbuf);
	uint8_t *tag = frame->head + 2 * RTE_ETHER_ADDR_LEN;
	uint8_t *behind = tag + lost;

	frame->bytes = mbuf->pkt_len + lost;
	frame->head_bytes = MIN(frame->bytes, (uint32_t)NET_COPY_BYTES);
	iov_read(&frame->rest, frame->head, tag - frame->head);
	if (lost > 0) {
		put_be16(tag, RTE_ETHER_TYPE_VLAN);
		put_be16(tag + 2, mbuf->vlan_tci);
	}
	iov_read(&frame->rest, behind,
		 frame->head_bytes - (behind - frame->head));
}

enum net_fault ethdev_rx_describe(const struct ethdev_offloads *offloads,
				  const struct rte_mbuf *mbuf,
				  struct iovec *iov,
				  struct net_rx_frame *ret_frame)
{
	const unsigned count = list_pieces(mbuf, iov);

	if (count == 0)
		return NET_FAULT_LAYOUT;
	if (mbuf->pkt_len < NET_ETHERNET_BYTES)
		return NET_FAULT_RUNT;
	if (mbuf->pkt_len > NET_MAX_FRAME_BYTES - lost_bytes(mbuf))
		return NET_FAULT_OVERSIZE;
	/* Of two tags one is not told. */
	if (mbuf->ol_flags & RTE_MBUF_F_RX_QINQ_STRIPPED)
		return NET_FAULT_OFFLOAD;
	ret_frame->rest = iov_cursor(iov, count);
	copy_head(mbuf, ret_frame);
	net_frame_parse(ret_frame->head, ret_frame->head_bytes,
			&ret_frame->layout);
	return ethdev_offload_in(offloads, mbuf, ret_frame);
}

static enum net_fault describe(const struct ethdev_rx *rx,
			       const struct rte_mbuf *mbuf, struct iovec *iov,
			       struct net_rx_frame *frame)
{
	const enum net_fault fault =
		ethdev_rx_describe(&rx->offloads, mbuf, iov, frame);

	return fault == NET_FAULT_NONE && frame->bytes > rx->most_bytes
		       ? NET_FAULT_OVERSIZE
		       : fault;
}

/* What else a driver may have there has frames in it, or messages that are for
 * the driver; or is no descriptor, where there are more queues than of them. */
static bool is_eventfd(int fd)
{
	static const char wanted[] = "anon_inode:[eventfd]";
	char path[32], target[sizeof(wanted)];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target)) == sizeof(wanted) - 1 &&
	       memcmp(target, wanted, sizeof(wanted) - 1) == 0 &&
	       fcntl(fd, F_GETFL) & O_NONBLOCK;
}

int ethdev_rx_fd(const struct ethdev_rx *rx)
{
	int fd;

	/* Of a driver that has no interrupts the second would complain. */
	if (rte_eth_dev_rx_intr_disable(rx->id, rx->queue) < 0)
		return -1;
	fd = rte_eth_dev_rx_intr_ctl_q_get_fd(rx->id, rx->queue);
	return is_eventfd(fd) ? fd : -1;
}

bool ethdev_rx_look(struct ethdev_rx *rx)
{
	if (rx->held == 0)
		rx->held = rte_eth_rx_burst(rx->id, rx->queue, rx->mbufs,
					    ETHDEV_BURST);
	return rx->held > 0;
}

unsigned ethdev_rx_burst(struct ethdev_rx *rx)
{
	unsigned count = 0;

	ethdev_rx_look(rx);
	for (unsigned i = 0; i < rx->held; i++) {
		const enum net_fault fault = describe(
			rx, rx->mbufs[i], rx->iov + count * ETHDEV_MAX_SEGMENTS,
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
