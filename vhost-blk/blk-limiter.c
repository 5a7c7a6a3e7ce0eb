/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-limiter.h"

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"

static uint64_t wait_ns(const uint64_t *paid_ns, uint64_t now_ns)
{
	uint64_t paid = load_once(paid_ns);
	uint64_t horizon = now_ns + BLK_LIMITER_BURST_NS;

	return paid > horizon ? paid - horizon : 0;
}

uint64_t blk_limiter_wait_ns(const struct blk_limiter *limiter, uint64_t now_ns)
{
	uint64_t ios = wait_ns(&limiter->ios_paid_ns, now_ns);
	uint64_t bytes = wait_ns(&limiter->bytes_paid_ns, now_ns);

	return MAX(ios, bytes);
}

/* Time that was not used is not saved up. */
static void charge(uint64_t *paid_ns, uint64_t now_ns, uint64_t cost_ns)
{
	uint64_t paid = load_once(paid_ns);
	uint64_t next;

	do {
		next = MAX(paid, now_ns) + cost_ns;
	} while (!compare_exchange_relaxed(paid_ns, &paid, next));
}

void blk_limiter_charge(struct blk_limiter *limiter, uint64_t now_ns,
			uint64_t bytes)
{
	/* A request is at most 2^29 bytes, so this does not overflow. */
	if (limiter->iops)
		charge(&limiter->ios_paid_ns, now_ns,
		       div_round_up(NS_PER_SECOND, limiter->iops));
	if (limiter->bps)
		charge(&limiter->bytes_paid_ns, now_ns,
		       div_round_up(bytes * NS_PER_SECOND, limiter->bps));
}
