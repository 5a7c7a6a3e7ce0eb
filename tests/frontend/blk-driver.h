/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-blk driver (virtio 1.2, 5.2) over a front-end and its rings.
 *
 * A request is two streams of bytes in guest memory: what the device reads
 * (the header, then data) and what it writes (data, then the status byte).
 * How they are cut into descriptors is the caller's choice, since a device may
 * assume nothing about it (2.7.4.1, VIRTIO_F_ANY_LAYOUT).
 *
 * One thread for each queue.
 */
#ifndef TESTS_FRONTEND_BLK_DRIVER_H
#define TESTS_FRONTEND_BLK_DRIVER_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/frontend/frontend.h"
#include "tests/frontend/profile.h"

enum {
	BLK_SECTOR_BYTES = 512,
	BLK_HEADER_BYTES = 16,
	BLK_MAX_QUEUES = 64,
	/* Data of one call of blk_read, blk_write, …; more is -EINVAL. */
	BLK_BOUNCE_BYTES = 2 << 20,
	/* Descriptors of one request; more is -EINVAL. */
	BLK_MAX_CUTS = 1024,
	/* What blk_prepare leaves where the device is to write its status. */
	BLK_STATUS_UNWRITTEN = 0xee,
};

struct blk_options {
	const struct frontend_profile *profile; /* NULL: everything */
	unsigned queues;			/* 0: 1 */
	uint16_t queue_size;			/* 0: 128 */
	uint64_t ram_bytes;			/* 0: 16 MiB */
	uint64_t without; /* virtio features not to take */
	bool poll;	  /* never ask for interrupts */
	/* Not to be taken either; the bits of protocol features. */
	uint64_t protocol_without;
	uint16_t indirect_max; /* see driver_ring_config */
	bool pages_apart;      /* likewise */
};

struct blk_driver {
	struct frontend *fe;
	const struct frontend_profile *profile;
	struct ram *ram;
	struct driver_ring *rings[BLK_MAX_QUEUES];
	unsigned queues;
	bool poll;
	int timeout_ms; /* for one request; 10000 */
	uint64_t bounce_out_gpa;
	uint64_t bounce_in_gpa;
};

struct blk_request {
	uint64_t out_gpa; /* header and data for the device */
	uint32_t out_bytes;
	uint64_t in_gpa; /* data from the device and status */
	uint32_t in_bytes;
	/*
	 * Sizes of the descriptors, ending in 0; the last but that is
	 * repeated to the end of the stream. NULL: header, data, status.
	 */
	const uint32_t *out_cuts;
	const uint32_t *in_cuts;

	/* Set when it comes back. */
	unsigned completions; /* more than 1 is a fault of the device */
	uint8_t status;
	uint32_t written;
};

/* Connects, negotiates, makes memory and rings, starts. */
int blk_driver_open(const char *socket_path, const struct blk_options *options,
		    struct blk_driver **ret_driver);

/* The same on a front-end that is connected. Takes @fe on success only. */
int blk_driver_new(struct frontend *fe, const struct blk_options *options,
		   struct blk_driver **ret_driver);

/*
 * Goes on with another connection, to a back-end started anew: memory, rings
 * and what is in flight stay, and so does the in-flight region. Takes @fe in
 * any case; after a failure it may be tried again with another.
 */
int blk_driver_reconnect(struct blk_driver *driver, struct frontend *fe);

/* Hangs up and frees all. Accepts NULL. */
void blk_driver_free(struct blk_driver *driver);

/* --- requests of any shape --- */

/* Takes guest memory for a request and writes its header. 0 or -ENOMEM. */
int blk_prepare(struct blk_driver *driver, struct blk_request *request,
		uint32_t type, uint64_t sector, uint32_t out_data_bytes,
		uint32_t in_data_bytes);

static inline void *blk_out_data(const struct blk_driver *driver,
				 const struct blk_request *request)
{
	return ram_at(driver->ram, request->out_gpa + BLK_HEADER_BYTES);
}

static inline void *blk_in_data(const struct blk_driver *driver,
				const struct blk_request *request)
{
	return ram_at(driver->ram, request->in_gpa);
}

/* Adds the request; visible to the device with the next blk_kick. */
int blk_add(struct blk_driver *driver, unsigned queue,
	    struct blk_request *request);
void blk_kick(struct blk_driver *driver, unsigned queue);

/* Takes back what is used: how many, or -EPROTO. Never waits. */
int blk_reap(struct blk_driver *driver, unsigned queue);

/* Waits for @request. 0, -ETIMEDOUT or -EPROTO. */
int blk_wait(struct blk_driver *driver, unsigned queue,
	     struct blk_request *request);

/* Adds, kicks and waits: the status byte, or a negative errno. */
int blk_run(struct blk_driver *driver, unsigned queue,
	    struct blk_request *request);

/* --- whole operations, one at a time: the status byte or an errno --- */

int blk_read(struct blk_driver *driver, unsigned queue, uint64_t sector,
	     void *ret_data, uint32_t bytes);
int blk_write(struct blk_driver *driver, unsigned queue, uint64_t sector,
	      const void *data, uint32_t bytes);
int blk_flush(struct blk_driver *driver, unsigned queue);
int blk_get_id(struct blk_driver *driver, unsigned queue,
	       char ret_id[VIRTIO_BLK_ID_BYTES + 1]);
/* VIRTIO_BLK_T_DISCARD or _WRITE_ZEROES. */
int blk_ranges(struct blk_driver *driver, unsigned queue, uint32_t type,
	       const struct virtio_blk_discard_write_zeroes *ranges,
	       unsigned count);

/* The configuration space, as far as the device has it. */
int blk_config(struct blk_driver *driver, struct virtio_blk_config *ret_config);

#endif
