/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a pump. What all have in common is in net-pump.c and
 * net-pump-receive.c; each kind embeds struct net_pump first and brings the
 * functions of net_pump_ops.
 */
#ifndef VHOST_NET_NET_PUMP_INTERNAL_H
#define VHOST_NET_NET_PUMP_INTERNAL_H

#include <limits.h>
#include <sys/uio.h>

#include "vhost-net/net-pump.h"

enum {
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	/* Of one call. */
	MAX_SEGMENTS = IOV_MAX,
	/* For how long a frame waits for buffers; see has_waited_enough. */
	WAIT_NS = 10 * 1000 * 1000,
};

struct net_pump_ops {
	void (*free)(struct net_pump *pump);
	/* The receive queue is there: what to expect of a wire with @mtu. NULL:
	 * that is of no matter. */
	void (*expect)(struct net_pump *pump, uint32_t mtu);
	/* Moves a burst to the guest, or begins to: whether there was one. By
	 * net_pump_receive_burst, mostly, which calls receive_one. */
	bool (*receive)(struct net_pump *pump, struct net_tx *tx);
	/* One frame. False: there is none, or no place for it. */
	bool (*receive_one)(struct net_pump *pump, struct net_tx *tx);
	/* The queue is switched off: drops what came for it. NULL: that waits. */
	bool (*discard)(struct net_pump *pump, struct net_tx *tx);
	/* Nothing of the receive queue is in use. */
	bool (*is_idle)(const struct net_pump *pump);
	/* Frames that the guest sent: lent until finish says so. */
	void (*send)(struct net_pump *pump, struct net_rx_frame *frames,
		     unsigned count);
	/* Frames that were lent and wait for room are dropped; NULL: none do. */
	void (*stop_sending)(struct net_pump *pump);
	/* What loop_submit has brought. True: what was lent can go back. */
	bool (*finish)(struct net_pump *pump);
};

struct net_pump {
	const struct net_pump_ops *ops;
	struct net_pump_config config;
	int fd; /* readable when frames come; borrowed */
	int error;
	uint64_t refused;
	bool captures;			  /* now, as last looked */
	uint64_t wait_ns[NET_DIRECTIONS]; /* by a limit; as last looked */
	uint64_t
		retry_ns; /* after so long look again in any case; 0: need not */

	/* What the guest sends. */
	struct netdev_queue *send;
	bool lent; /* the burst is not given back yet */

	/* What it receives. */
	struct netdev_queue *receive;
	bool readable;	  /* the wire, as far as we know */
	bool starved;	  /* frames are there, but no buffers */
	bool has_bounced; /* a frame lies in memory of ours, and waits, … */
	uint64_t waits_since; /* … for buffers since then; ns; 0: it does not */
	struct net_rx_frame bounced;
	struct iovec bounced_rest;
	struct iovec into[MAX_SEGMENTS];
};

/* --- net-pump.c --- */

void net_pump_init(struct net_pump *pump, const struct net_pump_ops *ops,
		   const struct net_pump_config *config, int fd);

/* --- net-pump-receive.c --- */

/* Looks for a burst. */
bool net_pump_run_receive(struct net_pump *pump);

/* As many frames as a burst and the limits allow, published: how many. */
unsigned net_pump_receive_burst(struct net_pump *pump, struct net_tx *tx);

/* The frame of @bytes in @memory, which is borrowed until it is put, is the one
 * that waits; its header is still to be made and judged. */
void net_pump_describe_bounced(struct net_pump *pump, uint8_t *memory,
			       unsigned bytes);

/* Puts the frame that waits. False: it still does. */
bool net_pump_put_bounced(struct net_pump *pump, struct net_tx *tx);

/* --- net-pump-capture.c --- */

/* Before a burst. */
void net_pump_look_at_capture(struct net_pump *pump);
void net_pump_capture_sent(const struct net_pump *pump,
			   const struct net_rx_frame *frame);
/* What is in @segments of the guest's; or in pump->bounced. */
void net_pump_capture_received(const struct net_pump *pump,
			       const struct iovec *iov, unsigned segments,
			       uint32_t bytes);
void net_pump_capture_bounced(const struct net_pump *pump);

#endif
