/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames that a guest receives: its receive queue, seen from the device.
 * virtio 1.2, 5.1.6.3 and 5.1.6.4.
 *
 * A frame goes straight from where it lies (another guest's memory) into the
 * buffers that this driver offers: one chain, or with MRG_RXBUF as many as it
 * takes. What this driver did not negotiate is done on the way: the checksum
 * while copying, or one frame for each segment. The header that it gets is made
 * here, from a judged one.
 *
 * No allocation, no lock, no call into the system. The thread that serves the
 * queue.
 */
#ifndef VHOST_NET_NET_TX_H
#define VHOST_NET_NET_TX_H

#include "vhost-net/net-rx.h"

enum {
	/* Buffers that are merged for one frame. */
	NET_MAX_MERGED = 1024,
	NET_TX_SEGMENTS = 4096,
};

/*
 * Buffers taken from the ring that no frame has filled yet: those of chains
 * [first, first + chains), whose segments begin at iov[segment].
 */
struct net_tx_room {
	unsigned first, chains;
	unsigned segment, segments;
	uint64_t bytes;
};

struct net_tx {
	struct virtq *vq;  /* borrowed */
	uint64_t features; /* negotiated */
	uint16_t header_bytes;
	uint64_t frames_total, bytes_total; /* as the driver sees them */
	uint64_t faults[NET_FAULTS];
	uint64_t single_bytes; /* of the buffer that came last */
	unsigned single_run;   /* how many like it are expected */
	struct net_tx_room room;
	struct virtq_single singles[NET_BURST];
	struct virtq_chain chains[NET_MAX_MERGED];
	struct iovec iov[NET_TX_SEGMENTS];
};

/* As net_rx_start. */
void net_tx_start(struct net_tx *tx, struct virtq *vq, uint64_t features,
		  uint16_t header_bytes);

/*
 * Copies @frame into the driver's next buffers. NET_FAULT_NONE, or why it was
 * dropped, which is counted: NO_BUFFER leaves the ring as it was, as does
 * SMALL_BUFFER. Of a frame that had to be cut, what fitted was delivered. The
 * driver sees nothing before net_tx_done.
 *
 * @frame is not changed, and may be sent to several queues.
 */
enum net_fault net_tx_put(struct net_tx *tx, const struct net_rx_frame *frame);

/*
 * The same for @count frames, at most NET_BURST, in turn; how many arrived. Those
 * that need nothing done, and have room in a buffer of the size that the driver
 * offered last, are put with little ado.
 */
unsigned net_tx_put_burst(struct net_tx *tx,
			  const struct net_rx_frame *const *frames,
			  unsigned count);

/*
 * Room for a frame of up to @frame_bytes that the caller has somebody write
 * into the driver's buffers (a TAP): *@ret_count segments in @ret_iov, which
 * has space for @max, behind where the virtio-net header goes; they hold
 * *@ret_bytes. What a frame does not use stays taken for the next, and a call
 * for more bytes has the same room, and more of it.
 *
 * Less than wanted, or none, with NO_BUFFER (the ring ends), SMALL_BUFFER (one
 * frame may have no more) or LAYOUT (more than @max): they are not counted.
 * After net_tx_release net_tx_put may still find a place for the frame.
 */
enum net_fault net_tx_reserve(struct net_tx *tx, uint32_t frame_bytes,
			      struct iovec *ret_iov, unsigned max,
			      unsigned *ret_count, uint32_t *ret_bytes);

/*
 * The same for one of several frames that are written at the same time, each
 * into a chain of its own, with or without merged buffers: the room of chain
 * @index of those that are held, or one more of the ring. SMALL_BUFFER if it
 * has less than @least_bytes, LAYOUT if its segments are more than @max,
 * NO_BUFFER if there is none. Frames are committed in the order of their chains
 * and without a gap; or all is released, and they are put.
 */
enum net_fault net_tx_reserve_chain(struct net_tx *tx, unsigned index,
				    uint32_t least_bytes, uint32_t frame_bytes,
				    struct iovec *ret_iov, unsigned max,
				    unsigned *ret_count, uint32_t *ret_bytes);

/* The frame is there, and has @frame_bytes, no more than reserved. @header is
 * one that this driver takes; num_buffers is filled in. */
void net_tx_commit(struct net_tx *tx, const struct virtio_net_hdr_v1 *header,
		   uint32_t frame_bytes);

/* Gives back what was reserved, as if it had never been taken; before
 * net_tx_put, and before the queue stops. */
void net_tx_release(struct net_tx *tx);

/* Publishes what was put. Notify afterwards. */
void net_tx_done(struct net_tx *tx);

#endif
