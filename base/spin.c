/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spin.h"

enum {
	SPIN_NS = 50 * 1000,
	/* After such a sleep a thread thinks less of looking. */
	LONG_SLEEP_NS = 4 * SPIN_NS,
};

void spin_init(struct spin *spin, enum spin_mode mode)
{
	*spin = (struct spin){.mode = mode, .limit_ns = SPIN_NS};
}

bool spin_again(struct spin *spin, uint64_t now_ns)
{
	if (spin->idle_since == 0)
		spin->idle_since = now_ns;
	switch (spin->mode) {
	case SPIN_ALWAYS:
		return true;
	case SPIN_NEVER:
		return false;
	default:
		return now_ns - spin->idle_since < spin->limit_ns;
	}
}

void spin_slept(struct spin *spin, uint64_t slept_ns)
{
	spin->idle_since = 0;
	if (slept_ns < SPIN_NS)
		spin->limit_ns = SPIN_NS;
	else if (slept_ns > LONG_SLEEP_NS)
		spin->limit_ns /= 2;
}
