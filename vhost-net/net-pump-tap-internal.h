/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a TAP's pump: net-pump-tap.c has what is sent,
 * net-pump-tap-receive.c what is received frame by frame, net-pump-tap-batch.c
 * what is received in batches. */
#ifndef VHOST_NET_NET_PUMP_TAP_INTERNAL_H
#define VHOST_NET_NET_PUMP_TAP_INTERNAL_H

#include <errno.h>

#include "base/bytes.h"
#include "vhost-net/net-pump-internal.h"
#include "vhost-net/net-pump-tap.h"

enum {
	/* Segments of one call that are ours. */
	OUR_SEGMENTS = 2, /* header and head; or header and what is too long */
	BOUNCE_BYTES = NET_MAX_FRAME_BYTES,
	/* Short frames in a row, until a long one is no longer expected. */
	SHORT_RUN = 16,
	/* Frames of one batch, and the segments of all their buffers. */
	MAX_READS = 32,
	READ_SEGMENTS = MAX_READS * 8,
	/* So many frames in a row call for a batch. */
	FEW_READS = 2,
};

struct sending {
	struct loop_op op;
	struct tap_pump *tap;
};

/* One frame of a batch: header, buffers of the guest, and ours behind them. */
struct receiving {
	struct loop_op op;
	struct tap_pump *tap;
	struct virtio_net_hdr_v1 header;
	struct iovec *room; /* of the guest's */
	unsigned segments;
	uint32_t room_bytes;
	int32_t result;	    /* once it is read */
	uint32_t in_bounce; /* bytes of a frame that waits in bounce; 0: none */
	uint8_t *bounce;    /* BOUNCE_BYTES of its own */
};

struct tap_pump {
	struct net_pump pump; /* first */
	int slot;	      /* of its descriptor in the loop, or -1 */

	/* What the guest sends. */
	unsigned in_flight;
	struct sending sendings[NET_BURST];
	struct iovec iov[NET_BURST_SEGMENTS + NET_BURST * OUR_SEGMENTS];

	/* What it receives. */
	uint32_t max_frame;   /* that the TAP may give */
	uint32_t usual_frame; /* the same, but for segmentation */
	uint32_t expected;    /* the larger or the smaller of the two */
	unsigned short_run;   /* frames that were no longer than usual */

	/* Frames that are read at the same time. */
	unsigned reads, reads_in_flight; /* of this batch */
	unsigned next_reads;		 /* as many as the last brought */
	bool reads_would_wait;		 /* without a frame: none is made */
	/* Those of the batch that may wait in their bounce. */
	unsigned waiting, waiting_end;
	struct receiving receivings[MAX_READS];
	struct iovec read_iov[READ_SEGMENTS];

	uint8_t bounce[BOUNCE_BYTES];
	/* Touched only by what is longer than expected. */
	uint8_t read_bounces[MAX_READS][BOUNCE_BYTES];
};

static inline struct tap_pump *to_tap(struct net_pump *pump)
{
	return container_of(pump, struct tap_pump, pump);
}

/* Of a TAP that is deleted nothing comes back. */
static inline void tap_pump_note(struct tap_pump *tap, int err)
{
	if (err == -EBADFD && tap->pump.error == 0)
		tap->pump.error = err;
}

/* As net_pump_ops has them. */
void tap_pump_expect(struct net_pump *pump, uint32_t mtu);
bool tap_pump_receive(struct net_pump *pump, struct net_tx *tx);
bool tap_pump_receive_one(struct net_pump *pump, struct net_tx *tx);

/* The longest frame that a read shall be able to bring. */
uint32_t tap_pump_most_bytes(const struct tap_pump *tap);

/* Whether there may be more, and the TAP at all, after a read. */
void tap_pump_look_at_result(struct tap_pump *tap, ssize_t result);

/*
 * What a read brought: bytes of a frame that is one for this guest, its header
 * made as this driver knows it; 0: none, or a frame that was dropped and counted;
 * or a negative errno, counted too.
 */
int tap_pump_judge_read(struct tap_pump *tap, struct net_tx *tx,
			struct virtio_net_hdr_v1 *header, ssize_t result);

/* The frame in @bounce, which is borrowed, is the one that waits. False: it was
 * dropped, and counted. */
bool tap_pump_bounce(struct tap_pump *tap, struct net_tx *tx,
		     const struct virtio_net_hdr_v1 *header, uint8_t *bounce,
		     uint32_t bytes);

/* Prepares as many reads as are worth it, and for which there are buffers:
 * whether any. They end in tap_pump_finish_reads. */
bool tap_pump_start_reads(struct tap_pump *tap, struct net_tx *tx);
void tap_pump_finish_reads(struct tap_pump *tap);

/* Hands the next frame that waits from a batch to tap_pump_bounce: whether
 * there was one. */
bool tap_pump_next_waiting(struct tap_pump *tap, struct net_tx *tx);

#endif
