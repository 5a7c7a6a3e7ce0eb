/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio-net driver (virtio 1.2, 5.1) over a front-end and its rings: pairs
 * of a receive and a transmit ring, and buffers for both.
 *
 * A frame to be sent is one stream of bytes, the virtio-net header first; how
 * it is cut into descriptors is the caller's choice (2.7.4.1). Receive buffers
 * are all of one size and are offered again as soon as a frame was taken out.
 *
 * Functions return 0 or a negative errno: -ETIMEDOUT, or -EPROTO for what a
 * device must not do. One thread for each pair.
 */
#ifndef TESTS_FRONTEND_NET_DRIVER_H
#define TESTS_FRONTEND_NET_DRIVER_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/frontend/frontend.h"
#include "tests/frontend/profile.h"

enum {
	NET_MAX_PAIRS = 16,
	NET_HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	/* Of a frame; room for a whole TSO frame with its headers. */
	NET_SEND_BYTES = 68 << 10,
	/* Frames that can be under way in one transmit ring. */
	NET_SEND_SLOTS = 16,
	/* Descriptors of one frame; more is -EINVAL. */
	NET_MAX_CUTS = 512,
};

struct net_options {
	const struct frontend_profile *profile; /* NULL: everything */
	unsigned pairs;				/* 0: 1 */
	uint16_t queue_size;			/* 0: 256 */
	uint64_t without;			/* virtio features not taken */
	uint64_t protocol_without;
	uint32_t buffer_bytes; /* of one receive buffer; 0: 2048 if they are
				* merged, NET_SEND_BYTES if not */
	unsigned buffers;      /* in each receive ring; 0: as many as it takes,
				* up to 64 large ones; UINT_MAX: none */
	bool poll;	       /* never ask for interrupts */
	uint16_t indirect_max; /* see driver_ring_config */
	bool pages_apart;      /* likewise */
};

struct net_slot {
	bool busy;
	uint64_t gpa;
};

struct net_pair {
	struct driver_ring *receive;
	struct driver_ring *transmit;
	uint64_t *buffer_gpa; /* by token - 1 */
	struct net_slot slots[NET_SEND_SLOTS];
	unsigned next_slot;
};

struct net_driver {
	struct frontend *fe;
	const struct frontend_profile *profile;
	struct ram *ram;
	struct driver_ring *rings[2 * NET_MAX_PAIRS]; /* receive, transmit, … */
	struct net_pair pairs[NET_MAX_PAIRS];
	unsigned pair_count;
	unsigned buffers;
	uint32_t buffer_bytes;
	bool poll;
	int timeout_ms; /* 10000 */
};

/* Connects, negotiates, makes memory and rings, offers buffers, starts. */
int net_driver_open(const char *socket_path, const struct net_options *options,
		    struct net_driver **ret_driver);

/* The same on a front-end that is connected. Takes @fe on success only. */
int net_driver_new(struct frontend *fe, const struct net_options *options,
		   struct net_driver **ret_driver);

/* As blk_driver_reconnect. */
int net_driver_reconnect(struct net_driver *driver, struct frontend *fe);

/* Hangs up and frees all. Accepts NULL. */
void net_driver_free(struct net_driver *driver);

/*
 * Sends a frame: copies it, adds its chain and kicks. @header may be NULL, for
 * one that asks for nothing. @cuts: sizes of the descriptors, ending in 0, the
 * last but that repeated; NULL: one for the header and one for the frame.
 * Waits for room.
 */
int net_send(struct net_driver *driver, unsigned pair,
	     const struct virtio_net_hdr_v1 *header, const void *frame,
	     uint32_t bytes, const uint32_t *cuts);

/* Waits until all that was sent has come back. */
int net_send_wait(struct net_driver *driver, unsigned pair);

/*
 * Waits for a frame: its bytes, without virtio-net header, or a negative
 * errno; -EMSGSIZE if it is more than @max. @ret_header may be NULL.
 */
int net_receive(struct net_driver *driver, unsigned pair,
		struct virtio_net_hdr_v1 *ret_header, void *ret_frame,
		uint32_t max);

#endif
