/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of one pair of queues, between the guest's memory and one descriptor
 * of a TAP. Mostly nothing is copied by us but headers: the kernel reads from
 * the guest's transmit buffers and writes into its receive buffers. Frames that
 * were sent are written in one batch of the loop; those that come are read by one
 * call each while they are few, and in a batch while they are many.
 *
 * Where that cannot be (buffers too many, a ring that is nearly empty, a frame
 * longer than was to be expected) it goes through a buffer of ours.
 *
 * The serving thread, but for init and deinit.
 */
#ifndef VHOST_NET_NET_PUMP_H
#define VHOST_NET_NET_PUMP_H

#include "base/capture.h"
#include "base/loop.h"
#include "vhost-net/net-limits.h"
#include "vhost-net/netdev.h"

struct net_pump;

/* Borrows all that is given. @lane: this thread's, if there is a capture; or
 * NULL. -ENOMEM. */
int net_pump_new(struct loop *loop, int tap_fd, struct net_limits *limits,
		 struct capture_lane *lane, struct net_pump **ret_pump);
/* Both queues are let go. Accepts NULL. */
void net_pump_free(struct net_pump *pump);

/* The guest's queues; NULL: let go, which wants net_pump_is_idle. */
void net_pump_set_send(struct net_pump *pump, struct netdev_queue *queue);
void net_pump_set_receive(struct net_pump *pump, struct netdev_queue *queue,
			  uint32_t mtu);

/* Nothing of the guest's transmit, or receive, queue is under way. */
bool net_pump_is_idle(const struct net_pump *pump, bool sends);

/*
 * Moves a burst each way: whether there was anything to do. What the guest
 * sends is with the kernel when loop_submit has run; net_pump_finish gives the
 * buffers back once the kernel has read them.
 */
bool net_pump_run(struct net_pump *pump);
void net_pump_finish(struct net_pump *pump);

/* The TAP may have frames. */
void net_pump_wake(struct net_pump *pump);

/*
 * Before sleep: asks for the kicks that would bring work. True if there is work
 * already. After it: net_pump_awake.
 */
bool net_pump_sleep(struct net_pump *pump);
void net_pump_awake(struct net_pump *pump);
/* After how long it should be run even if nothing wakes it. */
uint64_t net_pump_timeout_ns(const struct net_pump *pump);

/* A negative errno once the TAP itself is gone. */
int net_pump_error(const struct net_pump *pump);

/* Frames that the kernel did not take. */
uint64_t net_pump_refused(const struct net_pump *pump);

#endif
