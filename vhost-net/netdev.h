/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-net device (virtio 1.2, 5.1) as a library: what a vhost-user session
 * needs of it, and for whoever moves frames two calls on queues.
 *
 *	netdev_rx_burst	lends the frames that the guest sent
 *	netdev_rx_done	gives their buffers back
 *	netdev_tx_burst	puts frames into the buffers that the guest offers
 *
 * The device owns no thread. Its owner is told when a queue starts and stops,
 * and serves it in between on a thread of its own choice; the burst calls on
 * one queue are made by one thread at a time. They take no lock, allocate
 * nothing, and call the system only to interrupt the driver.
 *
 * Queue 2n is what the guest receives of pair n, queue 2n+1 what it sends. The
 * control queue is the front-end's: what it decides about pairs arrives as
 * VRING_ENABLE, and what it decides about addresses and filters stays there.
 *
 * All functions but those on queues: control thread.
 */
#ifndef VHOST_NET_NETDEV_H
#define VHOST_NET_NETDEV_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost-net/net-mac.h"
#include "vhost-net/net-rx.h"
#include "vhost-net/net-tx.h"
#include "vhost/device.h"

enum {
	NETDEV_MAX_PAIRS = 128, /* SESSION_MAX_QUEUES / 2 */
	/* RFC 791, and what an IPv4 length field can say. */
	NETDEV_MIN_MTU = 68,
	NETDEV_MAX_MTU = 65535,
};

struct netdev;
struct netdev_queue;

/* What a device tells its owner. All on the control thread. */
struct netdev_owner {
	/*
	 * Serve @queue from now on: look at it at once, and when @kick_fd
	 * (borrowed until queue_stop; -1: poll) becomes readable. A negative
	 * errno if that cannot be.
	 */
	int (*queue_start)(void *arg, struct netdev_queue *queue, int kick_fd);
	/* No call on @queue is under way when this returns, nor comes later. */
	void (*queue_stop)(void *arg, struct netdev_queue *queue);
	/* netdev_queue_is_enabled has changed; may be NULL. */
	void (*queue_enabled)(void *arg, struct netdev_queue *queue);
	/* The driver's choice, while no queue runs; may be NULL. */
	void (*features_set)(void *arg, uint64_t features);
	/* NET_SET_MTU, already within NETDEV_MIN_MTU and the device's; a
	 * negative errno refuses it. May be NULL. */
	int (*mtu_set)(void *arg, uint16_t mtu);
	/* The guest has moved here: tell the network; may be NULL. */
	int (*announce)(void *arg, const uint8_t mac[NET_MAC_BYTES]);
};

struct netdev_config {
	const char *name; /* for messages; borrowed */
	uint16_t pairs;	  /* of queues; 1 to NETDEV_MAX_PAIRS */
	/* Largest packet that the network takes; 0: the driver is not told. */
	uint16_t mtu;
	bool has_mac;
	uint8_t mac[NET_MAC_BYTES];
	/* Features not to be offered, such as offloads that a TAP lacks. */
	uint64_t without;
	const struct netdev_owner *owner; /* borrowed */
	void *arg;			  /* of the owner's functions */
};

/* -EINVAL for pairs or an mtu out of range, -ENOMEM. The link is up. */
int netdev_new(const struct netdev_config *config, struct netdev **ret_netdev);

/* All queues are stopped: its session has ended. Accepts NULL. */
void netdev_free(struct netdev *netdev);

/* For the session, or an endpoint. */
struct vhost_device *netdev_vhost(struct netdev *netdev);

/*
 * What the driver reads as the link's state. True if that changed, for the
 * caller to tell the front-end (session_config_changed).
 */
bool netdev_set_link(struct netdev *netdev, bool up);

/* Of the driver that runs; 0: none. */
uint64_t netdev_features(const struct netdev *netdev);

/* Of both directions as the guest sees them: rx is what it received. */
struct netdev_counters {
	uint64_t rx_frames, rx_bytes;
	uint64_t tx_frames, tx_bytes;
	uint64_t rx_faults[NET_FAULTS];
	uint64_t tx_faults[NET_FAULTS];
};

/* --- queues: the thread that serves them --- */

/* Takes up to @max frames that the guest sent, at most NET_BURST; the burst
 * before must be done. A queue that is switched off has none: what is in it is
 * given back. The frames are rx->frames[0 … n-1]. */
unsigned netdev_rx_burst(struct netdev_queue *queue, unsigned max,
			 struct net_rx_frame **ret_frames);

/* Gives the buffers of the burst back, and interrupts the driver if it wants
 * to be. */
void netdev_rx_done(struct netdev_queue *queue);

/*
 * Copies @count frames into the guest's buffers, makes what this guest did not
 * negotiate (checksums, segments), publishes and interrupts once. How many
 * arrived; the others are dropped, and counted by reason. The frames are lent
 * by netdev_rx_burst, of this device or another, or made by the caller.
 */
unsigned netdev_tx_burst(struct netdev_queue *queue,
			 const struct net_rx_frame *const *frames,
			 unsigned count);

/* --- queues: any thread between queue_start and queue_stop --- */

unsigned netdev_queue_index(const struct netdev_queue *queue);

static inline bool netdev_index_sends(unsigned index)
{
	return index % 2 == 1;
}

static inline unsigned netdev_index_pair(unsigned index)
{
	return index / 2;
}

/* Whether frames may pass: VRING_ENABLE. */
bool netdev_queue_is_enabled(const struct netdev_queue *queue);

/* The ring, for kicks and errors (virtq_kicks_on, virtq_error); and the two
 * ways to go on frame by frame instead of in bursts. NULL in the queue of the
 * other direction. */
struct virtq *netdev_queue_virtq(const struct netdev_queue *queue);
struct net_rx *netdev_queue_rx(const struct netdev_queue *queue);
struct net_tx *netdev_queue_tx(const struct netdev_queue *queue);

/* Adds what the queue has counted, in this and earlier sessions. */
void netdev_queue_count(const struct netdev_queue *queue,
			struct netdev_counters *counters);

/* Of any queue, running or not, by index; NULL if it never ran. */
struct netdev_queue *netdev_queue(struct netdev *netdev, unsigned index);

#endif
