/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a capture: capture.c has what its maker calls, capture-lane.c
 * what the lanes' threads do, capture-writer.c what carries it to the file. */
#ifndef BASE_CAPTURE_INTERNAL_H
#define BASE_CAPTURE_INTERNAL_H

#include <pthread.h>
#include <time.h>

#include "base/capture.h"
#include "base/clock.h"

enum {
	/* Instead of a block: the next one is at the ring's beginning. No
	 * block has this type, and there is always place for it: positions are
	 * multiples of four. */
	CAPTURE_WRAP = 0,
	/* What is written at once: the longest block at least. */
	CAPTURE_OUT_BYTES = CAPTURE_MAX_SNAP_BYTES + PCAPNG_MAX_BLOCK_BYTES,
};

/* Of one interface on one lane. The lane's thread writes, any reads. */
struct capture_tally {
	uint64_t taken, dropped;
};

struct capture {
	struct capture_config config; /* with defaults filled in */
	struct capture_lane *lanes;
	pthread_t pthread;
	bool has_thread;
	bool on;

	pthread_mutex_t lock; /* of these: */
	pthread_cond_t told;
	bool is_told, quit;
	uint8_t *pending; /* descriptions, not in the file yet */
	size_t pending_bytes;
	unsigned interfaces;

	/* The writer's. Any thread reads what is counted. */
	uint64_t round_ns; /* when the last round began */
	uint64_t *ends;	   /* of the lanes, as it did */
	uint8_t *out;
	size_t out_bytes;
	unsigned stalls;   /* since it is to end */
	uint64_t reported; /* frames of the last statistics */
	uint64_t frames, file_bytes;
	uint64_t *lost; /* by interface: taken, but not written */
	int error;
	bool full;
};

/* What tells a frame's time to the world; clock_ns is no date. */
static inline uint64_t capture_date_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

int capture_lane_init(struct capture_lane *lane, struct capture *capture);
void capture_lane_deinit(struct capture_lane *lane);

/* The writer's: the next block before @end, a head it has seen; or NULL. */
const void *capture_lane_peek(struct capture_lane *lane, uint64_t end);
/* Past the block that was peeked at. */
void capture_lane_pass(struct capture_lane *lane, uint32_t bytes);

/* Of one interface: what its lanes' threads have seen, and what of that is not
 * in the file. Any thread. */
struct capture_tally capture_tally(const struct capture *capture,
				   unsigned interface);

/* The thread's function, with the capture. */
void *capture_writer(void *arg);

#endif
