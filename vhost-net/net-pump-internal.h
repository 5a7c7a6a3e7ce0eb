/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a pump: net-pump.c has what is sent, net-pump-receive.c what is
 * received frame by frame, net-pump-batch.c what is received in batches. */
#ifndef VHOST_NET_NET_PUMP_INTERNAL_H
#define VHOST_NET_NET_PUMP_INTERNAL_H

#include <errno.h>
#include <limits.h>
#include <sys/uio.h>

#include "vhost-net/net-pump.h"

enum {
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	/* Of one call; and those of it that are ours. */
	MAX_SEGMENTS = IOV_MAX,
	OUR_SEGMENTS = 2, /* header and head; or header and what is too long */
	/* Two tags, which a TAP's MTU does not count, and Ethernet. */
	LINK_BYTES = NET_ETHERNET_BYTES + NET_MAX_TAGS * NET_TAG_BYTES,
	BOUNCE_BYTES = NET_MAX_FRAME_BYTES,
	/* For how long a frame waits for buffers; see has_waited_enough. */
	WAIT_NS = 10 * 1000 * 1000,
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
	struct net_pump *pump;
};

/* One frame of a batch: header, buffers of the guest, and ours behind them. */
struct receiving {
	struct loop_op op;
	struct net_pump *pump;
	struct virtio_net_hdr_v1 header;
	struct iovec *room; /* of the guest's */
	unsigned segments;
	uint32_t room_bytes;
	int32_t result;	    /* once it is read */
	uint32_t in_bounce; /* bytes of a frame that waits in bounce; 0: none */
	uint8_t *bounce;    /* BOUNCE_BYTES of its own */
};

struct net_pump {
	struct loop *loop;
	int tap_fd;
	int tap_slot; /* registered with the loop, or -1 */
	int error;
	uint64_t refused;
	struct net_limits *limits;
	struct capture_lane *lane;	  /* NULL: none */
	bool captures;			  /* now, as last looked */
	uint64_t wait_ns[NET_DIRECTIONS]; /* by a limit; as last looked */

	/* What the guest sends. */
	struct netdev_queue *send;
	unsigned in_flight;
	bool lent; /* the burst is not given back yet */
	struct sending sendings[NET_BURST];
	struct iovec iov[NET_BURST_SEGMENTS + NET_BURST * OUR_SEGMENTS];

	/* What it receives. */
	struct netdev_queue *receive;
	uint32_t max_frame;   /* that the TAP may give */
	uint32_t usual_frame; /* the same, but for segmentation */
	uint32_t expected;    /* the larger or the smaller of the two */
	unsigned short_run;   /* frames that were no longer than usual */
	bool readable;	      /* the TAP, as far as we know */
	bool starved;	      /* frames are there, but no buffers */
	bool has_bounced;     /* a frame is in bounce, and waits, … */
	uint64_t waits_since; /* … for buffers since then; ns; 0: it does not */
	struct net_rx_frame bounced;
	struct iovec bounced_rest;

	/* Frames that are read at the same time. */
	unsigned reads, reads_in_flight; /* of this batch */
	unsigned next_reads;		 /* as many as the last brought */
	bool reads_would_wait;		 /* without a frame: none is made */
	/* Those of the batch that may wait in their bounce. */
	unsigned waiting, waiting_end;
	struct receiving receivings[MAX_READS];
	struct iovec read_iov[READ_SEGMENTS];

	struct iovec into[MAX_SEGMENTS];
	uint8_t bounce[BOUNCE_BYTES];
	/* Touched only by what is longer than expected. */
	uint8_t read_bounces[MAX_READS][BOUNCE_BYTES];
};

/* Of a TAP that is deleted nothing comes back. */
static inline void net_pump_note(struct net_pump *pump, int err)
{
	if (err == -EBADFD && pump->error == 0)
		pump->error = err;
}

/* Before a burst. */
void net_pump_look_at_capture(struct net_pump *pump);
void net_pump_capture_sent(const struct net_pump *pump,
			   const struct net_rx_frame *frame);
/* What is in @segments of the guest's; or in pump->bounced. */
void net_pump_capture_received(const struct net_pump *pump,
			       const struct iovec *iov, unsigned segments,
			       uint32_t bytes);
void net_pump_capture_bounced(const struct net_pump *pump);

/* Moves a burst to the guest: whether there was one. */
bool net_pump_run_receive(struct net_pump *pump);

/* The longest frame that a read shall be able to bring. */
uint32_t net_pump_most_bytes(const struct net_pump *pump);

/* Whether there may be more, and the TAP at all, after a read. */
void net_pump_look_at_result(struct net_pump *pump, ssize_t result);

/*
 * What a read brought: bytes of a frame that is one for this guest, its header
 * made as this driver knows it; 0: none, or a frame that was dropped and counted;
 * or a negative errno, counted too.
 */
int net_pump_judge_read(struct net_pump *pump, struct net_tx *tx,
			struct virtio_net_hdr_v1 *header, ssize_t result);

/* The frame in @bounce, which is borrowed, is the one that waits. False: it was
 * dropped, and counted. */
bool net_pump_bounce(struct net_pump *pump, struct net_tx *tx,
		     const struct virtio_net_hdr_v1 *header, uint8_t *bounce,
		     uint32_t bytes);

/* Prepares as many reads as are worth it, and for which there are buffers:
 * whether any. They end in net_pump_finish_reads. */
bool net_pump_start_reads(struct net_pump *pump, struct net_tx *tx);
void net_pump_finish_reads(struct net_pump *pump);

/* Hands the next frame that waits from a batch to net_pump_bounce: whether
 * there was one. */
bool net_pump_next_waiting(struct net_pump *pump, struct net_tx *tx);

#endif
