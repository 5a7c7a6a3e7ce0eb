/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A serving thread of the daemon: one loop, and the pairs of queues that were
 * attached, each with its pump (vhost-net/net-pump.h).
 *
 * It goes round its pairs. When a round finds nothing to do it looks for a
 * while longer (base/spin.h), asks for the kicks that would bring work, looks
 * once more, and sleeps in the loop until a kick, a frame or a message comes.
 *
 * Everything here is called on the control thread.
 */
#ifndef VHOST_NET_NET_THREAD_H
#define VHOST_NET_NET_THREAD_H

#include "base/capture.h"
#include "base/spin.h"
#include "vhost-net/net-limits.h"
#include "vhost-net/net-wire.h"
#include "vhost-net/netdev.h"

struct net_thread;

struct net_thread_config {
	enum spin_mode poll;
	struct capture_lane *lane; /* its own; borrowed; NULL: no capture */
	unsigned number;	   /* of the thread, for its name */
	struct net_wire *wire;	   /* borrowed */
	struct net_limits *limits; /* borrowed */
	/* On the serving thread: @queue's ring is broken. Once. */
	void (*queue_broke)(void *arg, struct netdev_queue *queue);
	/* On the serving thread: the wire is no more. Once. */
	void (*wire_gone)(void *arg);
	void *arg;
};

/* Returns when the thread runs. A negative errno, io_uring's among them. */
int net_thread_new(const struct net_thread_config *config,
		   struct net_thread **ret_thread);

/* No queue may be attached. Accepts NULL. */
void net_thread_free(struct net_thread *thread);

/*
 * Serves @queue from now on. @kick_fd is borrowed until net_thread_detach; -1
 * makes the thread look at the ring now and then.
 */
int net_thread_attach(struct net_thread *thread, struct netdev_queue *queue,
		      int kick_fd);

/* Takes nothing more, waits for what the kernel still reads, lets go. What waits
 * for room at the wire is dropped. */
void net_thread_detach(struct net_thread *thread, struct netdev_queue *queue);

/* VRING_ENABLE has changed: look again. */
void net_thread_wake(struct net_thread *thread);

/*
 * Has @run(arg) called on the serving thread, between two rounds, and waits
 * for it: to read what queues have counted.
 */
void net_thread_run(struct net_thread *thread, void (*run)(void *arg),
		    void *arg);

/* Frames that the kernel did not take, of this thread's pairs; for @run. */
uint64_t net_thread_refused(const struct net_thread *thread);

#endif
