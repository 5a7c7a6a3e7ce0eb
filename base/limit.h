/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much may pass in a second: of a port's frames or bytes, of broadcasts, of
 * frames to unknown stations. The generic cell rate algorithm (ITU-T I.371,
 * A.1 "virtual scheduling"): what passed is kept as the time at which the rate
 * would have let the next one through, and a burst is how far that time may
 * lie ahead of now.
 *
 * One number, changed by compare-and-swap: the queues of a port are served by
 * several threads and have one limit together, which rte_meter's state, made
 * for one thread, cannot give them.
 *
 * limit_set: one thread at a time, beside those that take.
 */
#ifndef BASE_LIMIT_H
#define BASE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define LIMIT_MAX_RATE	(UINT64_C(1) << 36) /* of anything, in a second */
#define LIMIT_MAX_BURST (UINT64_C(1) << 32)

struct limit {
	uint64_t cost;	/* of one unit, in 2^-20 ns; 0: no limit */
	uint64_t burst; /* how far ahead, in 2^-8 ns */
	uint64_t next;	/* when the rate would let one more through; modulo
			 * 2^64, so that 800 days are told apart */
};

/*
 * At most @rate units a second, of which @burst may come at once. @rate 0: no
 * limit. -EINVAL beyond LIMIT_MAX_RATE and LIMIT_MAX_BURST, or for a burst of 0.
 */
int limit_set(struct limit *limit, uint64_t rate, uint64_t burst);

/* False: all passes, and nobody needs to ask. Any thread. */
static inline bool limit_is_set(const struct limit *limit)
{
	return __atomic_load_n(&limit->cost, __ATOMIC_RELAXED) != 0;
}

/*
 * Whether @units pass at @now_ns (any clock that does not go back by much).
 * All or none. What is larger than the burst passes when nothing else did for
 * a burst's time, and is paid for afterwards.
 */
bool limit_take(struct limit *limit, uint32_t units, uint64_t now_ns);

/*
 * The other way to use a limit, for who can make others wait (shaping): takes
 * @units in any case, and what goes beyond the burst is owed. Until
 * limit_wait_ns have gone by (0: now) nothing more should be let through. Debts
 * are to stay below 2^54 ns, some 200 days.
 */
void limit_owe(struct limit *limit, uint32_t units, uint64_t now_ns);
uint64_t limit_wait_ns(const struct limit *limit, uint64_t now_ns);

#endif
