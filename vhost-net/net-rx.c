/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-rx.h"

#include <string.h>

#include "base/bytes.h"
#include "vhost-net/net-copy.h"

void net_rx_start(struct net_rx *rx, struct virtq *vq, uint64_t features,
		  uint16_t header_bytes)
{
	rx->vq = vq;
	rx->features = features;
	rx->header_bytes = header_bytes;
	rx->held = 0;
}

/* The header and the head may lie in pieces. */
static __attribute__((noinline)) void
copy_out_pieces(const struct net_rx *rx, const struct virtq_chain *chain,
		struct net_rx_frame *frame)
{
	frame->rest = iov_cursor(chain->iov, chain->out_count);
	iov_read(&frame->rest, &frame->header, sizeof(frame->header));
	iov_skip(&frame->rest, rx->header_bytes - sizeof(frame->header));
	iov_read(&frame->rest, frame->head, frame->head_bytes);
}

/* Copies out what is judged, and leaves @frame->rest behind it. */
static void copy_out(const struct net_rx *rx, const struct virtq_chain *chain,
		     struct net_rx_frame *frame)
{
	const uint8_t *from = chain->iov->iov_base;
	unsigned skip;

	frame->bytes = chain->out_bytes - rx->header_bytes;
	frame->head_bytes = MIN(frame->bytes, (uint32_t)NET_COPY_BYTES);
	skip = rx->header_bytes + frame->head_bytes;
	if (chain->iov->iov_len < skip) {
		copy_out_pieces(rx, chain, frame);
		return;
	}
	memcpy(&frame->header, from, sizeof(frame->header));
	net_copy_head(frame->head, from + rx->header_bytes, frame->head_bytes);
	frame->rest.iov = chain->iov;
	frame->rest.count = chain->out_count;
	frame->rest.skip = skip;
}

static enum net_fault take_frame(const struct net_rx *rx,
				 const struct virtq_chain *chain,
				 struct net_rx_frame *frame)
{
	/* What is in the in-flight region was under way when we were killed:
	 * a frame may be lost, but not come twice. */
	if (chain->recovered)
		return NET_FAULT_RECOVERED;
	/* 5.1.6.2: the driver offers nothing to write to. */
	if (chain->in_count > 0 || chain->out_bytes < rx->header_bytes)
		return NET_FAULT_LAYOUT;
	if (chain->out_bytes - rx->header_bytes < NET_ETHERNET_BYTES)
		return NET_FAULT_RUNT;
	if (chain->out_bytes - rx->header_bytes > NET_MAX_FRAME_BYTES)
		return NET_FAULT_OVERSIZE;
	copy_out(rx, chain, frame);
	net_frame_parse(frame->head, frame->head_bytes, &frame->layout);
	return net_header_judge(&frame->header, &frame->layout, frame->bytes,
				rx->features);
}

/* Chain @i is a frame, the burst's @count-th, or a fault; 1 or 0 more frames. */
static inline unsigned add_frame(struct net_rx *rx, unsigned i, unsigned count)
{
	struct net_rx_frame *frame = &rx->frames[count];
	enum net_fault fault = take_frame(rx, &rx->chains[i], frame);

	if (fault) {
		rx->faults[fault]++;
		return 0;
	}
	rx->bytes_total += frame->bytes;
	return 1;
}

/* Chains of more than one buffer, and what comes again after a crash. */
static __attribute__((noinline)) unsigned take_any(struct net_rx *rx,
						   unsigned max, unsigned count)
{
	unsigned segments = rx->held;

	virtq_prefetch(rx->vq, max - rx->held, false);
	while (rx->held < max &&
	       segments + NET_MAX_SEGMENTS <= NET_BURST_SEGMENTS) {
		struct virtq_chain *chain = &rx->chains[rx->held];
		int err;

		chain->iov = rx->iov + segments;
		chain->iov_max = NET_MAX_SEGMENTS;
		err = virtq_get(rx->vq, chain);
		if (err && err != VIRTQ_E_TOO_LONG)
			break;
		if (err)
			rx->faults[NET_FAULT_LAYOUT]++;
		else
			count += add_frame(rx, rx->held, count);
		segments += chain->out_count + chain->in_count;
		rx->held++;
	}
	return count;
}

/* Faulty ones are held, too: a burst ends, whatever is in the ring. */
unsigned net_rx_burst(struct net_rx *rx, unsigned max)
{
	unsigned count = 0;

	rx->held = virtq_get_singles(rx->vq, rx->chains, rx->iov, max);
	for (unsigned i = 0; i < rx->held; i++)
		count += add_frame(rx, i, count);
	if (rx->held < max)
		count = take_any(rx, max, count);
	rx->frames_total += count;
	return count;
}

void net_rx_done(struct net_rx *rx)
{
	virtq_put_unwritten(rx->vq, rx->chains, rx->held);
	rx->held = 0;
	virtq_flush(rx->vq);
}

void net_rx_discard(struct net_rx *rx, unsigned max)
{
	struct virtq_chain *chain = &rx->chains[0];

	while (max-- > 0) {
		int err;

		chain->iov = rx->iov;
		chain->iov_max = NET_MAX_SEGMENTS;
		err = virtq_get(rx->vq, chain);
		if (err && err != VIRTQ_E_TOO_LONG)
			break;
		rx->faults[chain->recovered ? NET_FAULT_RECOVERED
					    : NET_FAULT_DISABLED]++;
		virtq_put(rx->vq, chain, 0);
	}
	virtq_flush(rx->vq);
}
