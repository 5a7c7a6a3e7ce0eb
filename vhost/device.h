/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device type gives to the vhost-user session, and when it is called.
 *
 * The session (vhost/session.h) speaks the protocol and owns the virtqueues'
 * configuration; the device owns the threads that serve them. A queue that the
 * session has started belongs to the device's serving thread until
 * queue_stop returns. To change memory, the log, or anything a running ring
 * uses, the session stops the rings, changes it, and starts them again: a
 * device needs to know nothing but start and stop.
 *
 * All functions are called on the control thread. They may block for as long
 * as requests in flight take.
 */
#ifndef VHOST_DEVICE_H
#define VHOST_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vhost/virtq.h"

struct vhost_device;

struct vhost_device_ops {
	/*
	 * The driver's choice of virtio features (bits offered only). Called
	 * while no ring runs, or with no other change than VHOST_F_LOG_ALL.
	 */
	void (*set_features)(struct vhost_device *device, uint64_t features);

	/*
	 * Serve @vq, queue @index. @kick_fd (borrowed until queue_stop, -1:
	 * poll) becomes readable when the driver kicks; look at the ring at
	 * once all the same. @enabled as in queue_enable.
	 */
	int (*queue_start)(struct vhost_device *device, unsigned index,
			   struct virtq *vq, int kick_fd, bool enabled);

	/*
	 * Let go of queue @index: take no further chain, complete and put what
	 * was taken, flush, and return when the serving thread no longer
	 * touches it.
	 */
	void (*queue_stop)(struct vhost_device *device, unsigned index);

	/*
	 * VRING_ENABLE of a started queue. A disabled queue is served without
	 * side effects (net: transmit is drained and discarded; block: left
	 * alone).
	 */
	void (*queue_enable)(struct vhost_device *device, unsigned index,
			     bool enabled);

	/* Device configuration space; -EINVAL outside of it. */
	int (*get_config)(struct vhost_device *device, uint32_t offset,
			  void *ret_data, uint32_t size);
	/* @flags: VHOST_SET_CONFIG_TYPE_*. */
	int (*set_config)(struct vhost_device *device, uint32_t offset,
			  const void *data, uint32_t size, uint32_t flags);

	/*
	 * NET_SET_MTU: what the front-end will tell the driver. A negative
	 * errno if the network behind the device has less. With NET_MTU among
	 * the protocol features.
	 */
	int (*set_mtu)(struct vhost_device *device, uint64_t mtu);

	/*
	 * SEND_RARP: the guest has moved here, and its driver will not say so
	 * itself. With RARP among the protocol features.
	 */
	int (*send_rarp)(struct vhost_device *device, const uint8_t mac[6]);

	/* SET_STATUS; may be NULL. */
	void (*set_status)(struct vhost_device *device, uint8_t status);

	/*
	 * The part of the in-flight region that is the device's own, of @bytes,
	 * 8-byte aligned: zeroes at first, or what an earlier process left
	 * there. Guarded against SIGBUS, and never to be trusted. Called before
	 * rings start; with NULL when it goes away, before that happens. If it
	 * cannot be used, a result other than 0 closes the session. May be
	 * NULL.
	 */
	int (*inflight_area)(struct vhost_device *device, void *area,
			     size_t bytes);

	/* RESET_DEVICE or a session's end: all queues are stopped already. */
	void (*reset)(struct vhost_device *device);
};

struct vhost_device {
	const struct vhost_device_ops *ops;
	const char *name;  /* for messages: "vda", a socket path, … */
	uint64_t features; /* virtio bits and VHOST_F_LOG_ALL */
	uint64_t protocol_features; /* see vhost/protocol.h; the session adds
				     * and removes nothing */
	uint16_t num_queues;	    /* virtqueues */
	/* Of which so many make one of what GET_QUEUE_NUM counts: a network
	 * device has pairs. 0: 1. */
	uint16_t queues_per_unit;
	uint32_t config_size;	    /* bytes of configuration space */
	size_t inflight_area_bytes; /* wanted; 0: none */
};

#endif
