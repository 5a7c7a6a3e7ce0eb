/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a thread that found nothing to do goes on looking before it sleeps.
 *
 * Work tends to follow work, and a sleep costs more than a short look. But
 * where requests come one by one, each long after the other, looking is wasted:
 * every long sleep halves the time, down to none, and one sleep that a look
 * would have saved brings it back.
 *
 * One thread.
 */
#ifndef BASE_SPIN_H
#define BASE_SPIN_H

#include <stdbool.h>
#include <stdint.h>

enum spin_mode {
	SPIN_ADAPTIVE,
	SPIN_ALWAYS,
	SPIN_NEVER,
};

struct spin {
	enum spin_mode mode;
	uint64_t idle_since; /* ns; 0: the last round had work */
	uint64_t limit_ns;   /* what adaptive spinning has come to */
};

void spin_init(struct spin *spin, enum spin_mode mode);

/* A round had work, or something else that makes the next one worth while. */
static inline void spin_worked(struct spin *spin)
{
	spin->idle_since = 0;
}

/*
 * A round had none: whether to look again at once. @now_ns as of clock_ns.
 * With SPIN_ALWAYS it is for the caller to know whether there is anything to
 * look at.
 */
bool spin_again(struct spin *spin, uint64_t now_ns);

/* The thread slept for @slept_ns until something came. */
void spin_slept(struct spin *spin, uint64_t slept_ns);

#endif
