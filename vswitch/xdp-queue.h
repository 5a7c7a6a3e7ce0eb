/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue of an interface by AF_XDP (vhost-net/net-xdp-socket.h). It is a source,
 * whose frames are looked at where the kernel put them: heads are copied, the rest is
 * lent until the burst is done. What goes may come from any thread, and has a lock.
 */
#ifndef VSWITCH_XDP_QUEUE_H
#define VSWITCH_XDP_QUEUE_H

#include <rte_spinlock.h>

#include "vhost-net/net-xdp-socket.h"
#include "vhost-net/netdev.h"
#include "vswitch/source.h"

struct xdp_queue {
	struct source source;
	struct net_xdp_socket *socket; /* borrowed */

	/* The serving thread's. */
	uint32_t first; /* of those that are lent */
	unsigned held;
	uint64_t frames_total, bytes_total, runts;
	struct net_rx_frame frames[NET_BURST];
	struct iovec rest[NET_BURST];

	/* The lock's, with what goes by the socket. */
	rte_spinlock_t lock;
	uint32_t max_frame_bytes;
	uint64_t faults[NET_FAULTS];
};

/* What comes is the port's at @port. */
void xdp_queue_init(struct xdp_queue *queue, struct net_xdp_socket *socket,
		    struct forward_port *port, uint32_t max_frame_bytes);

/*
 * Sends those of @count frames that @choice gives to queue @number. True: the kernel
 * has to be asked again, by xdp_queue_push. Any thread.
 */
bool xdp_queue_send(struct xdp_queue *queue, unsigned number,
		    const struct net_rx_frame *const *frames,
		    const uint8_t *choice, unsigned count);
/* Has the kernel look at what it has not taken yet. True: as above. Any thread. */
bool xdp_queue_push(struct xdp_queue *queue);

/* Adds what has come; the thread that serves the queue. And what has gone; any. */
void xdp_queue_count_in(const struct xdp_queue *queue,
			struct netdev_counters *to);
void xdp_queue_count_out(struct xdp_queue *queue, struct netdev_counters *to);

#endif
