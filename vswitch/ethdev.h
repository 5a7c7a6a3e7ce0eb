/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device of DPDK's, by its devargs: found, opened, configured and started
 * while the switch runs, and taken away again. Its buffers are a pool of its
 * own, of as many as its rings and our bursts can hold.
 *
 * Control thread; EAL has been started.
 */
#ifndef VSWITCH_ETHDEV_H
#define VSWITCH_ETHDEV_H

#include <rte_ethdev.h>
#include <stdbool.h>
#include <stdint.h>

#include "vswitch/ethdev-offload.h"

enum {
	ETHDEV_BURST = 32,
	ETHDEV_ERROR_BYTES = 384,
	ETHDEV_NAME_BYTES = 64,
};

struct ethdev_config {
	const char *devargs; /* passed ethdev_check; borrowed */
	uint16_t queues;     /* of each direction */
	uint16_t mtu;	     /* 0: the device's own */
	bool offloads;	     /* those that it has */
};

/* What is peculiar to a driver. */
struct ethdev_traits {
	/* A frame that comes in with as many bytes, or more, may lack its end,
	 * of which the device says nothing. */
	uint32_t cut_bytes;
	bool keeps_queues, keeps_rings; /* when it goes */
	bool spoils_chains;		/* of buffers, that it is to send */
};

struct ethdev {
	struct ethdev_traits traits;
	uint16_t id; /* DPDK's */
	bool is_found, is_started;
	bool has_interrupts; /* of receive queues, if its driver has any */
	struct rte_device *device;
	struct rte_mempool *pool;
	struct ethdev_offloads offloads;
	uint32_t max_frame_bytes;
};

/* What is wrong with @devargs, whether or not there is such a device; NULL:
 * nothing. Needs no EAL. */
const char *ethdev_check(const char *devargs);
/* Whether they name a device of the PCI bus. */
bool ethdev_is_pci(const char *devargs);
/* The device's name in them. */
void ethdev_name(const char *devargs, char ret_name[static ETHDEV_NAME_BYTES]);

/* Of those that passed ethdev_check. */
struct ethdev_traits ethdev_traits(const char *devargs);

/* Frames may come and go. A negative errno with a sentence; then there is
 * nothing to be closed. */
int ethdev_open(const struct ethdev_config *config, struct ethdev *ret_dev,
		char ret_error[static ETHDEV_ERROR_BYTES]);

/* Nobody uses it any more. Also of one that is zeroed. */
void ethdev_close(struct ethdev *dev);

#endif
