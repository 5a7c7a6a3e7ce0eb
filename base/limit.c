/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limit.h"

#include <errno.h>

#include "base/clock.h"

enum {
	/* A byte at 400 Gbit/s takes 0.02 ns: that must not be rounded much. */
	COST_SHIFT = 20,
	TIME_SHIFT = 8,
};

/* Further ahead than any burst: nobody took anything for half the clock. */
static const int64_t stale = INT64_C(1) << 62;

__extension__ typedef unsigned __int128 wide;

/* What @units cost, in 2^-8 ns, to the nearest. */
static uint64_t price(uint64_t units, uint64_t cost)
{
	const unsigned shift = COST_SHIFT - TIME_SHIFT;

	return ((wide)units * cost + (1u << (shift - 1))) >> shift;
}

int limit_set(struct limit *limit, uint64_t rate, uint64_t burst)
{
	uint64_t cost;

	if (rate > LIMIT_MAX_RATE || (rate && burst == 0) ||
	    burst > LIMIT_MAX_BURST)
		return -EINVAL;
	cost = rate ? (NS_PER_SECOND << COST_SHIFT) / rate : 0;
	if ((wide)burst * cost >> (COST_SHIFT - TIME_SHIFT) >= (wide)stale / 2)
		return -EINVAL;
	__atomic_store_n(&limit->burst, price(burst, cost), __ATOMIC_RELAXED);
	__atomic_store_n(&limit->cost, cost, __ATOMIC_RELAXED);
	return 0;
}

/* How far ahead of @now, in 2^-8 ns, the limit is; 0: nothing is owed. */
static uint64_t ahead_of(uint64_t next, uint64_t now)
{
	const int64_t ahead = (int64_t)(next - now);

	/* 0: nobody took anything yet. */
	return next == 0 || ahead < 0 || ahead > stale ? 0 : (uint64_t)ahead;
}

/* False, and nothing is taken, if it would go beyond @burst. */
static bool take(struct limit *limit, uint64_t needed, uint64_t burst,
		 uint64_t now)
{
	uint64_t before = __atomic_load_n(&limit->next, __ATOMIC_RELAXED);
	uint64_t after;

	do {
		const uint64_t ahead = ahead_of(before, now);

		if (ahead > 0 && ahead + needed > burst)
			return false;
		after = now + ahead + needed;
	} while (!__atomic_compare_exchange_n(&limit->next, &before, after,
					      true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return true;
}

bool limit_take(struct limit *limit, uint32_t units, uint64_t now_ns)
{
	const uint64_t cost = __atomic_load_n(&limit->cost, __ATOMIC_RELAXED);

	return cost == 0 ||
	       take(limit, price(units, cost),
		    __atomic_load_n(&limit->burst, __ATOMIC_RELAXED),
		    now_ns << TIME_SHIFT);
}

void limit_owe(struct limit *limit, uint32_t units, uint64_t now_ns)
{
	const uint64_t cost = __atomic_load_n(&limit->cost, __ATOMIC_RELAXED);

	if (cost != 0)
		take(limit, price(units, cost), UINT64_MAX,
		     now_ns << TIME_SHIFT);
}

uint64_t limit_wait_ns(const struct limit *limit, uint64_t now_ns)
{
	const uint64_t cost = __atomic_load_n(&limit->cost, __ATOMIC_RELAXED);
	const uint64_t burst = __atomic_load_n(&limit->burst, __ATOMIC_RELAXED);
	uint64_t ahead;

	if (cost == 0)
		return 0;
	ahead = ahead_of(__atomic_load_n(&limit->next, __ATOMIC_RELAXED),
			 now_ns << TIME_SHIFT);
	return ahead < burst ? 0 : ((ahead - burst) >> TIME_SHIFT) + 1;
}
