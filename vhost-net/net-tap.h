/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TAP device of the host, with one descriptor for each pair of queues
 * (IFF_MULTI_QUEUE) and a virtio-net header of 12 bytes in front of each frame
 * (IFF_VNET_HDR), so that guest and kernel exchange frames and what is still
 * to be done to them as they are. Linux, Documentation/networking/tuntap.rst.
 *
 * Control thread, but for reads and writes of the descriptors. Opening needs
 * CAP_NET_ADMIN unless the device is there and ours; nothing else does.
 */
#ifndef VHOST_NET_NET_TAP_H
#define VHOST_NET_NET_TAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/capture.h"

enum {
	NET_TAP_MAX_QUEUES = 128,
	NET_TAP_ERROR_BYTES = 256,
};

struct net_tap {
	char name[IFNAMSIZ];
	unsigned count;		     /* of descriptors */
	int fds[NET_TAP_MAX_QUEUES]; /* owned; they do not block */
	bool attached[NET_TAP_MAX_QUEUES];
	bool has_queues; /* they can be attached and detached */
	bool has_uso;	 /* the kernel takes and gives UDP segments */
	uint32_t mtu;
};

struct net_tap_config {
	const char *name;   /* made if it is not there; or NULL, and: */
	const int *fds;	    /* taken, on success only */
	unsigned count;	    /* of queues, or fds */
	uint32_t mtu;	    /* to be set; 0: as it is */
	const char *bridge; /* to be joined; or NULL */
	bool napi;	    /* by name: frames of the guest go through GRO */
};

/*
 * A negative errno, with a sentence in @ret_error that names the device, what
 * is wrong with it, and what to do.
 */
int net_tap_open(const struct net_tap_config *config, struct net_tap *ret_tap,
		 char ret_error[static NET_TAP_ERROR_BYTES]);
void net_tap_close(struct net_tap *tap);

/* What a driver with @features takes, the kernel no longer does. */
int net_tap_offload(struct net_tap *tap, uint64_t features);

/* Whether the kernel is to put frames into queue @index. */
int net_tap_attach(struct net_tap *tap, unsigned index, bool on);

/* Tells the network where @mac is now: a RARP request. @lane: this thread's, as
 * if the guest had sent it; or NULL. */
int net_tap_announce(struct net_tap *tap, const uint8_t mac[6],
		     struct capture_lane *lane);

/* The requests of ioctl(2) that are made after opening. */
extern const unsigned long net_tap_ioctls[];
extern const unsigned net_tap_ioctl_count;

#endif
