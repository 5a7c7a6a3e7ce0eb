/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves the frames of one pair of queues between the guest's memory and its place
 * on the host's side (vhost-net/net-wire.h), which is what kinds of pumps differ
 * in: one descriptor of a TAP (vhost-net/net-pump-tap.h), or one AF_XDP socket
 * (vhost-net/net-pump-xdp.h).
 *
 * The serving thread, but for free.
 */
#ifndef VHOST_NET_NET_PUMP_H
#define VHOST_NET_NET_PUMP_H

#include "base/capture.h"
#include "base/loop.h"
#include "vhost-net/net-limits.h"
#include "vhost-net/netdev.h"

struct net_pump;

/* What a pump needs of its thread; all of it borrowed. */
struct net_pump_config {
	struct loop *loop;
	struct net_limits *limits;
	struct capture_lane *lane; /* the thread's; NULL: there is no capture */
};

/* Both queues are let go. Accepts NULL. */
void net_pump_free(struct net_pump *pump);

/* Readable when frames come: net_pump_wake. */
int net_pump_fd(const struct net_pump *pump);

/* The guest's queues; NULL: let go, which wants net_pump_is_idle. */
void net_pump_set_send(struct net_pump *pump, struct netdev_queue *queue);
void net_pump_set_receive(struct net_pump *pump, struct netdev_queue *queue,
			  uint32_t mtu);

/* The queue is to be let go: what waits for others than the kernel's own work
 * waits no longer. */
void net_pump_stop(struct net_pump *pump, bool sends);
/* Nothing of the guest's transmit, or receive, queue is under way. */
bool net_pump_is_idle(const struct net_pump *pump, bool sends);

/*
 * Moves a burst each way: whether there was anything to do. What the guest
 * sends is with the kernel when loop_submit has run; net_pump_finish gives the
 * buffers back once the kernel has read them.
 */
bool net_pump_run(struct net_pump *pump);
void net_pump_finish(struct net_pump *pump);

/* The wire may have frames. */
void net_pump_wake(struct net_pump *pump);

/*
 * Before sleep: asks for the kicks that would bring work. True if there is work
 * already. After it: net_pump_awake.
 */
bool net_pump_sleep(struct net_pump *pump);
void net_pump_awake(struct net_pump *pump);
/* After how long it should be run even if nothing wakes it. */
uint64_t net_pump_timeout_ns(const struct net_pump *pump);

/* A negative errno once the wire itself is gone. */
int net_pump_error(const struct net_pump *pump);

/* Frames that the kernel did not take. */
uint64_t net_pump_refused(const struct net_pump *pump);

#endif
