/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device as the vhost-user session sees it: feature bits,
 * configuration space, queues shared out among I/O threads.
 *
 * Control thread only.
 */
#ifndef VHOST_BLK_BLK_DEVICE_H
#define VHOST_BLK_BLK_DEVICE_H

#include "base/loop.h"
#include "image/image.h"
#include "vhost-blk/blk-options.h"
#include "vhost/device.h"

struct blk_device;

struct blk_device_config {
	const struct blk_options *options; /* borrowed during the call */
	const char *name;		   /* for messages; borrowed */
	struct image *image;		   /* borrowed */
	struct loop *control;		   /* borrowed */
	/* Queue @index broke: have the session stop it. Control thread. */
	void (*queue_broke)(void *arg, unsigned index);
	void *arg;
};

/* Makes the threads. A negative errno, io_uring's among them. */
int blk_device_new(const struct blk_device_config *config,
		   struct blk_device **ret_device);

/* All queues are stopped. Accepts NULL. */
void blk_device_free(struct blk_device *device);

struct vhost_device *blk_device_vhost(struct blk_device *device);

#endif
