/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ethdev-offload.h"

#include <rte_ip.h>
#include <string.h>

#include "base/bytes.h"

enum {
	IPV6_BYTES = 40,
	AT_TOTAL_LENGTH = 2,
	AT_PAYLOAD_LENGTH = 4,
	AT_IPV4_CHECKSUM = 10,
	AT_TCP_FLAGS = 13,
	TCP_CWR = 0x80,
	/* Of a segment's payload: some NICs stop for good at smaller ones, and
	 * others have no bits for larger ones (i40e has both limits). */
	LEAST_SEGMENT_BYTES = 256,
	MOST_SEGMENT_BYTES = 9216,
};

#define RX_CHECKSUMS \
	(RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM)
#define TX_CHECKSUMS \
	(RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM)

/* --- which are on ------------------------------------------------------------ */

/*
 * A NIC that merges what it receives loses where segments ended, so this is left
 * off. What virtio calls so merges nothing: the other side has not cut yet, and
 * its frames say into what they are to be.
 */
static bool merges_nothing(const struct rte_eth_dev_info *info)
{
	return strncmp(info->driver_name, "net_virtio", strlen("net_virtio")) ==
	       0;
}

struct ethdev_offloads ethdev_offloads_of(const struct rte_eth_dev_info *info,
					  bool wanted)
{
	struct ethdev_offloads offloads = {
		.rx = info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER,
		.tx = info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS,
		.most_buffers = info->tx_desc_lim.nb_seg_max,
		.most_packet_buffers = info->tx_desc_lim.nb_mtu_seg_max,
	};

	if (!wanted)
		return offloads;
	offloads.rx |= info->rx_offload_capa & RX_CHECKSUMS;
	offloads.tx |= info->tx_offload_capa & TX_CHECKSUMS;
	/* Of frames in many buffers, whose segments have checksums. */
	if (offloads.tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS &&
	    offloads.tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
		offloads.tx |=
			info->tx_offload_capa & (RTE_ETH_TX_OFFLOAD_TCP_TSO |
						 RTE_ETH_TX_OFFLOAD_IPV4_CKSUM);
	if (!(offloads.tx & RTE_ETH_TX_OFFLOAD_TCP_TSO))
		offloads.tx &= ~RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	if (offloads.rx & RTE_ETH_RX_OFFLOAD_SCATTER &&
	    offloads.rx & RTE_ETH_RX_OFFLOAD_TCP_CKSUM && merges_nothing(info))
		offloads.rx |=
			info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_LRO;
	return offloads;
}

unsigned
ethdev_offload_names(const struct ethdev_offloads *offloads,
		     const char *ret_names[static ETHDEV_OFFLOAD_NAMES])
{
	unsigned count = 0;

	if (offloads->tx & TX_CHECKSUMS)
		ret_names[count++] = "tx-checksum";
	if (offloads->tx & RTE_ETH_TX_OFFLOAD_TCP_TSO)
		ret_names[count++] = "tx-tso";
	if (offloads->rx & RX_CHECKSUMS)
		ret_names[count++] = "rx-checksum";
	if (offloads->rx & RTE_ETH_RX_OFFLOAD_TCP_LRO)
		ret_names[count++] = "rx-tso";
	return count;
}

/* --- frames ------------------------------------------------------------------ */

/* What every device reads as we do. */
static bool is_plain(const struct net_frame *layout)
{
	const unsigned ip_bytes = layout->l4_offset - layout->l3_offset;

	return layout->l4 != NET_L4_NONE && !layout->is_fragment &&
	       layout->tags <= 1 &&
	       ip_bytes == (layout->l3 == NET_L3_IPV4 ? NET_IPV4_BYTES
						      : IPV6_BYTES);
}

/* What the IP header of a plain frame says of the frame's bytes. */
static uint32_t stated_bytes(const struct net_rx_frame *frame)
{
	const struct net_frame *layout = &frame->layout;
	const uint8_t *ip = frame->head + layout->l3_offset;

	return layout->l3 == NET_L3_IPV4
		       ? layout->l3_offset + get_be16(ip + AT_TOTAL_LENGTH)
		       : layout->l4_offset + get_be16(ip + AT_PAYLOAD_LENGTH);
}

/* With the length that it states, or without: @flags of a frame to be cut. */
static uint16_t pseudo_sum(const struct net_rx_frame *frame, uint64_t flags)
{
	const void *ip = frame->head + frame->layout.l3_offset;

	return frame->layout.l3 == NET_L3_IPV4 ? rte_ipv4_phdr_cksum(ip, flags)
					       : rte_ipv6_phdr_cksum(ip, flags);
}

/* --- out --------------------------------------------------------------------- */

/* The checksum is asked for where the frame has it. */
static bool names_its_own(const struct net_rx_frame *frame)
{
	return le16toh(frame->header.csum_start) == frame->layout.l4_offset &&
	       le16toh(frame->header.csum_offset) ==
		       net_frame_checksum_at(&frame->layout);
}

static bool fits(uint32_t count, uint16_t most)
{
	return most == 0 || count <= most;
}

static bool can_sum(const struct ethdev_offloads *offloads,
		    const struct net_rx_frame *frame, uint32_t buffer_bytes,
		    uint32_t max_bytes)
{
	const uint64_t needed = frame->layout.l4 == NET_L4_TCP
					? RTE_ETH_TX_OFFLOAD_TCP_CKSUM
					: RTE_ETH_TX_OFFLOAD_UDP_CKSUM;

	return offloads->tx & needed && frame->bytes <= max_bytes &&
	       fits(div_round_up(frame->bytes, buffer_bytes),
		    offloads->most_packet_buffers);
}

static bool can_cut(const struct ethdev_offloads *offloads,
		    const struct net_rx_frame *frame, uint32_t buffer_bytes,
		    uint32_t max_bytes)
{
	const uint16_t segment = le16toh(frame->header.gso_size);

	/* Which flags of TCP a segment has with ECN, devices have different
	 * notions of. */
	return offloads->tx & RTE_ETH_TX_OFFLOAD_TCP_TSO &&
	       frame->layout.l4 == NET_L4_TCP &&
	       !(frame->header.gso_type & VIRTIO_NET_HDR_GSO_ECN) &&
	       segment >= LEAST_SEGMENT_BYTES &&
	       segment <= MOST_SEGMENT_BYTES &&
	       frame->layout.payload_offset + segment <= max_bytes &&
	       fits(div_round_up(frame->bytes, buffer_bytes),
		    offloads->most_buffers) &&
	       /* Headers, and a payload that begins anywhere in a buffer. */
	       fits(div_round_up(segment - 1, buffer_bytes) + 2,
		    offloads->most_packet_buffers);
}

/* Nothing but a checksum is to be made of it. */
static bool is_one_segment(const struct net_rx_frame *frame)
{
	return frame->bytes - frame->layout.payload_offset <=
	       le16toh(frame->header.gso_size);
}

static uint16_t ipv4_sum(const struct net_rx_frame *frame)
{
	struct rte_ipv4_hdr ip;

	memcpy(&ip, frame->head + frame->layout.l3_offset, sizeof(ip));
	ip.hdr_checksum = 0;
	return rte_ipv4_cksum(&ip);
}

/* Who makes it finds none there. A device that does not say whether it does,
 * does, or passes the frame on whole (virtio), which needs it. */
static void describe_ip(const struct ethdev_offloads *offloads,
			const struct net_rx_frame *frame,
			struct ethdev_task *task)
{
	task->has_ip_sum = true;
	if (offloads->tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
		task->flags |= RTE_MBUF_F_TX_IP_CKSUM;
	else
		task->ip_sum = ipv4_sum(frame);
}

static void describe(const struct ethdev_offloads *offloads,
		     const struct net_rx_frame *frame, bool cuts,
		     struct ethdev_task *task)
{
	const struct net_frame *layout = &frame->layout;

	*task = (struct ethdev_task){
		.flags = layout->l3 == NET_L3_IPV4 ? RTE_MBUF_F_TX_IPV4
						   : RTE_MBUF_F_TX_IPV6,
		.l2_bytes = layout->l3_offset,
		.l3_bytes = layout->l4_offset - layout->l3_offset,
		.l4_bytes = layout->payload_offset - layout->l4_offset,
		.checksum_at =
			layout->l4_offset + net_frame_checksum_at(layout),
	};
	task->flags |= layout->l4 == NET_L4_TCP ? RTE_MBUF_F_TX_TCP_CKSUM
						: RTE_MBUF_F_TX_UDP_CKSUM;
	if (cuts) {
		task->flags |= RTE_MBUF_F_TX_TCP_SEG;
		task->segment_bytes = le16toh(frame->header.gso_size);
	}
	if (layout->l3 == NET_L3_IPV4 &&
	    frame->header.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		describe_ip(offloads, frame, task);
	task->pseudo_sum = pseudo_sum(frame, task->flags);
}

bool ethdev_offload_out(const struct ethdev_offloads *offloads,
			const struct net_rx_frame *frame, enum net_work work,
			uint32_t buffer_bytes, uint32_t max_bytes,
			struct ethdev_task *ret_task)
{
	bool cuts = work == NET_WORK_SEGMENT;

	if ((!cuts && work != NET_WORK_CHECKSUM) || !is_plain(&frame->layout) ||
	    !names_its_own(frame) || stated_bytes(frame) != frame->bytes)
		return false;
	/* UDP's own length would have to be looked at, too. */
	if (cuts && frame->layout.l4 != NET_L4_TCP)
		return false;
	cuts &= !is_one_segment(frame);
	if (cuts ? !can_cut(offloads, frame, buffer_bytes, max_bytes)
		 : !can_sum(offloads, frame, buffer_bytes, max_bytes))
		return false;
	describe(offloads, frame, cuts, ret_task);
	return true;
}

void ethdev_offload_mark(const struct ethdev_task *task, struct rte_mbuf *mbuf)
{
	mbuf->ol_flags |= task->flags;
	mbuf->l2_len = task->l2_bytes;
	mbuf->l3_len = task->l3_bytes;
	mbuf->l4_len = task->l4_bytes;
	mbuf->tso_segsz = task->segment_bytes;
	memcpy(rte_pktmbuf_mtod_offset(mbuf, void *, task->checksum_at),
	       &task->pseudo_sum, sizeof(task->pseudo_sum));
	if (task->has_ip_sum)
		memcpy(rte_pktmbuf_mtod_offset(
			       mbuf, void *, task->l2_bytes + AT_IPV4_CHECKSUM),
		       &task->ip_sum, sizeof(task->ip_sum));
}

/* --- in ---------------------------------------------------------------------- */

/* Which checksum a device means, if there is a tunnel, who knows? */
static bool means_ours(const struct rte_mbuf *mbuf,
		       const struct net_frame *layout)
{
	return layout->l4 != NET_L4_NONE && !layout->is_fragment &&
	       !(mbuf->packet_type & RTE_PTYPE_TUNNEL_MASK);
}

static void ask_for_segments(const struct rte_mbuf *mbuf,
			     struct net_rx_frame *frame)
{
	struct virtio_net_hdr_v1 *header = &frame->header;
	const uint8_t *tcp = frame->head + frame->layout.l4_offset;

	header->gso_type = frame->layout.l3 == NET_L3_IPV4
				   ? VIRTIO_NET_HDR_GSO_TCPV4
				   : VIRTIO_NET_HDR_GSO_TCPV6;
	if (tcp[AT_TCP_FLAGS] & TCP_CWR)
		header->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	header->gso_size = htole16(mbuf->tso_segsz);
}

/* The pseudo header's sum is there, says virtio; another device may have left
 * anything. Where it takes more than the IP header it is left alone. */
static void ask_for_checksum(struct net_rx_frame *frame)
{
	const struct net_frame *layout = &frame->layout;
	const uint16_t offset = net_frame_checksum_at(layout);

	frame->header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	frame->header.csum_start = htole16(layout->l4_offset);
	frame->header.csum_offset = htole16(offset);
	if (is_plain(layout)) {
		const uint16_t sum = pseudo_sum(frame, 0);

		memcpy(frame->head + layout->l4_offset + offset, &sum,
		       sizeof(sum));
	}
}

enum net_fault ethdev_offload_in(const struct ethdev_offloads *offloads,
				 const struct rte_mbuf *mbuf,
				 struct net_rx_frame *frame)
{
	const uint64_t checked =
		offloads->rx & RX_CHECKSUMS
			? mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK
			: RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN;
	const bool is_large = offloads->rx & RTE_ETH_RX_OFFLOAD_TCP_LRO &&
			      mbuf->ol_flags & RTE_MBUF_F_RX_LRO;

	frame->header = (struct virtio_net_hdr_v1){0};
	if (!is_large && checked != RTE_MBUF_F_RX_L4_CKSUM_NONE) {
		if (checked == RTE_MBUF_F_RX_L4_CKSUM_GOOD &&
		    means_ours(mbuf, &frame->layout))
			frame->header.flags = VIRTIO_NET_HDR_F_DATA_VALID;
		return NET_FAULT_NONE;
	}
	if (frame->layout.l4 == NET_L4_NONE ||
	    (is_large && frame->layout.l4 != NET_L4_TCP))
		return NET_FAULT_OFFLOAD;
	ask_for_checksum(frame);
	if (is_large)
		ask_for_segments(mbuf, frame);
	return net_header_judge(&frame->header, &frame->layout, frame->bytes,
				UINT64_MAX);
}
