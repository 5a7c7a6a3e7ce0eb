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
	rx->single_count = 0;
	rx->chain_count = 0;
}

/* The header and the head may lie in pieces. */
static __attribute__((noinline)) void
copy_out_pieces(const struct net_rx *rx, const struct iovec *iov,
		unsigned segments, struct net_rx_frame *frame)
{
	frame->rest = iov_cursor(iov, segments);
	iov_read(&frame->rest, &frame->header, sizeof(frame->header));
	iov_skip(&frame->rest, rx->header_bytes - sizeof(frame->header));
	iov_read(&frame->rest, frame->head, frame->head_bytes);
}

/* Copies out what is judged, and leaves @frame->rest behind it. */
static inline void copy_out(const struct net_rx *rx, const struct iovec *iov,
			    unsigned segments, struct net_rx_frame *frame)
{
	const uint8_t *from = iov->iov_base;
	unsigned skip;

	frame->head_bytes = MIN(frame->bytes, (uint32_t)NET_COPY_BYTES);
	skip = rx->header_bytes + frame->head_bytes;
	if (iov->iov_len < skip) {
		copy_out_pieces(rx, iov, segments, frame);
		return;
	}
	memcpy(&frame->header, from, sizeof(frame->header));
	net_copy_head(frame->head, from + rx->header_bytes, frame->head_bytes);
	frame->rest.iov = iov;
	frame->rest.count = segments;
	frame->rest.skip = skip;
}

static __attribute__((noinline)) enum net_fault
judge_size(const struct net_rx *rx, uint64_t bytes)
{
	if (bytes < rx->header_bytes)
		return NET_FAULT_LAYOUT;
	return bytes - rx->header_bytes < NET_ETHERNET_BYTES
		       ? NET_FAULT_RUNT
		       : NET_FAULT_OVERSIZE;
}

/* The frame with its header that is in @bytes. */
static inline __attribute__((always_inline)) enum net_fault
take_frame(const struct net_rx *rx, const struct iovec *iov, unsigned segments,
	   uint64_t bytes, struct net_rx_frame *frame)
{
	const uint64_t least = rx->header_bytes + NET_ETHERNET_BYTES;

	if (bytes < least ||
	    bytes > rx->header_bytes + (unsigned)NET_MAX_FRAME_BYTES)
		return judge_size(rx, bytes);
	frame->bytes = bytes - rx->header_bytes;
	copy_out(rx, iov, segments, frame);
	net_frame_parse(frame->head, frame->head_bytes, &frame->layout);
	if (!net_header_is_plain(&frame->header))
		return net_header_judge(&frame->header, &frame->layout,
					frame->bytes, rx->features);
	frame->header = (struct virtio_net_hdr_v1){0};
	return NET_FAULT_NONE;
}

static enum net_fault take_chain(const struct net_rx *rx,
				 const struct virtq_chain *chain,
				 struct net_rx_frame *frame)
{
	/* What is in the in-flight region was under way when we were killed:
	 * a frame may be lost, but not come twice. */
	if (chain->recovered)
		return NET_FAULT_RECOVERED;
	/* 5.1.6.2: the driver offers nothing to write to. */
	if (chain->in_count > 0)
		return NET_FAULT_LAYOUT;
	return take_frame(rx, chain->iov, chain->out_count, chain->out_bytes,
			  frame);
}

/* @frame is one, or a fault; where the next one goes. */
static inline struct net_rx_frame *
add_frame(struct net_rx *rx, enum net_fault fault, struct net_rx_frame *frame)
{
	if (fault) {
		rx->faults[fault]++;
		return frame;
	}
	rx->bytes_total += frame->bytes;
	return frame + 1;
}

/* Chains of one buffer. */
static struct net_rx_frame *take_singles(struct net_rx *rx, unsigned max)
{
	const unsigned count =
		virtq_get_singles(rx->vq, rx->singles, max, false);
	struct net_rx_frame *frame = rx->frames;

	for (unsigned i = 0; i < count; i++) {
		const struct virtq_single *single = &rx->singles[i];
		struct iovec *iov = &rx->iov[i];

		iov->iov_base = single->host;
		iov->iov_len = single->len;
		frame = add_frame(
			rx, take_frame(rx, iov, 1, single->len, frame), frame);
	}
	rx->single_count = count;
	return frame;
}

/* Chains of more than one buffer, and what comes again after a crash. */
static __attribute__((noinline)) struct net_rx_frame *
take_any(struct net_rx *rx, unsigned max, struct net_rx_frame *frame)
{
	unsigned segments = rx->single_count;

	virtq_prefetch(rx->vq, max, false);
	while (rx->chain_count < max &&
	       segments + NET_MAX_SEGMENTS <= NET_BURST_SEGMENTS) {
		struct virtq_chain *chain = &rx->chains[rx->chain_count];
		enum net_fault fault = NET_FAULT_LAYOUT;
		int err;

		chain->iov = rx->iov + segments;
		chain->iov_max = NET_MAX_SEGMENTS;
		err = virtq_get(rx->vq, chain);
		if (err && err != VIRTQ_E_TOO_LONG)
			break;
		if (!err)
			fault = take_chain(rx, chain, frame);
		frame = add_frame(rx, fault, frame);
		segments += chain->out_count + chain->in_count;
		rx->chain_count++;
	}
	return frame;
}

/* Faulty ones are held, too: a burst ends, whatever is in the ring. */
unsigned net_rx_burst(struct net_rx *rx, unsigned max)
{
	struct net_rx_frame *end = take_singles(rx, max);
	unsigned count;

	if (rx->single_count < max)
		end = take_any(rx, max - rx->single_count, end);
	count = end - rx->frames;
	rx->frames_total += count;
	return count;
}

void net_rx_done(struct net_rx *rx)
{
	virtq_put_singles(rx->vq, rx->singles, NULL, rx->single_count);
	for (unsigned i = 0; i < rx->chain_count; i++)
		virtq_put(rx->vq, &rx->chains[i], 0);
	rx->single_count = 0;
	rx->chain_count = 0;
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
