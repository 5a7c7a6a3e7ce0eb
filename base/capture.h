/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames on their way into a pcapng file. A thread that moves frames copies what
 * is captured into a ring of its own, a *lane*, and goes on: it takes no lock,
 * calls nobody and waits for nothing. What finds no room is counted instead. A
 * thread of the capture's own carries the lanes to the file, in the order of
 * time, as long as the disk takes.
 *
 * A capture is there, with its memory, before it is wanted: it is switched on
 * and off, and costs a look at a flag meanwhile.
 */
#ifndef BASE_CAPTURE_H
#define BASE_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/barrier.h"
#include "base/iov.h"
#include "base/pcapng.h"

enum {
	CAPTURE_MAX_LANES = 256,
	CAPTURE_MAX_INTERFACES = 4096,
	CAPTURE_MAX_SNAP_BYTES = 256 << 10,
	CAPTURE_LANE_BYTES = 4 << 20, /* by default */
};

struct capture;

struct capture_config {
	/* At the file's beginning, or of a socket that does not block; borrowed. */
	int fd;
	const char *program; /* who writes; borrowed during capture_new */
	unsigned lanes;
	unsigned max_interfaces;
	uint32_t snap_bytes; /* of a frame; 0: CAPTURE_MAX_SNAP_BYTES */
	uint32_t lane_bytes; /* 2^n, two frames at least; 0: the default */
	/* Where the file ends, and with it the capture; 0: nowhere. */
	uint64_t max_file_bytes;
};

struct capture_counters {
	uint64_t frames; /* in the file */
	uint64_t dropped;
	uint64_t file_bytes;
	int error; /* of the file, which ended the capture; or 0 */
	bool full; /* max_file_bytes ended it */
};

/* --- the thread that made it --- */

/* Switched off. -EINVAL for what is out of range, -ENOMEM, pthread_create's. */
int capture_new(const struct capture_config *config,
		struct capture **ret_capture);

/* When nobody uses a lane any more: writes what is in them, but waits for a
 * reader who does not read no more than about a second. Accepts NULL. */
void capture_free(struct capture *capture);

/*
 * Describes an interface in the file, whether the capture is on or not: its
 * number, for frames. They stay until the end. -ENOSPC: max_interfaces.
 */
int capture_add_interface(struct capture *capture, const char *name,
			  uint32_t *ret_interface);

/* Off: what is in the lanes is written, and what was counted. Waits for
 * neither. */
void capture_switch(struct capture *capture, bool on);
/* Also false once the file is full, or an error has ended it. */
bool capture_is_on(const struct capture *capture);

void capture_count(struct capture *capture,
		   struct capture_counters *ret_counters);

struct capture_lane *capture_lane(struct capture *capture, unsigned index);

/* --- a lane: one thread at a time --- */

struct capture_lane {
	const bool *on; /* the capture's */
	uint8_t *ring;	/* of blocks, none of which is cut by its end */
	uint32_t ring_bytes, snap_bytes;
	struct capture_tally *tallies; /* by interface */
	uint64_t tail_seen;
	/* Bytes since the beginning: put by us, taken by the writer. */
	uint64_t head __attribute__((aligned(64)));
	uint64_t tail __attribute__((aligned(64)));
};

struct capture_frame {
	uint32_t interface;
	enum pcapng_direction direction;
	uint32_t bytes; /* of the frame */
	/* Where it begins; @rest has what is behind that, and more of it is
	 * not looked at. */
	const void *head; /* may be NULL without bytes */
	uint32_t head_bytes;
	struct iov_cursor rest;
};

/* Ask first, before capture_frame is called. */
static inline bool capture_lane_is_on(const struct capture_lane *lane)
{
	return load_acquire(lane->on);
}

void capture_frame(struct capture_lane *lane,
		   const struct capture_frame *frame);

#endif
