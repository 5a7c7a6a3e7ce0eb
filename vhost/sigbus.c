/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of guarded ranges is read by a signal handler that may interrupt
 * any thread at any instruction, so it is a fixed array without a lock. A slot
 * is claimed by an atomic exchange, filled, and then made visible by a release
 * store of `active`; the handler looks at active slots only.
 *
 * A slot may be given up while a handler on another thread walks the table:
 * it can then match nothing, because an address that faults lies in a mapping
 * that somebody still uses, and that is not the one being unguarded.
 */
#include "vhost/sigbus.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/barrier.h"

struct guarded_range {
	bool claimed;
	bool active;
	uintptr_t base;
	size_t length;
	bool *broken;
};

static struct guarded_range ranges[SIGBUS_MAX_RANGES];

static unsigned replaced;

static struct guarded_range *range_find(uintptr_t address)
{
	for (int i = 0; i < SIGBUS_MAX_RANGES; i++) {
		struct guarded_range *range = &ranges[i];

		if (load_acquire(&range->active) &&
		    address - range->base < range->length)
			return range;
	}
	return NULL;
}

/* MAP_NORESERVE: a range may be larger than what can be promised. */
static bool range_replace(struct guarded_range *range)
{
	void *fresh = mmap(
		(void *)range->base, range->length, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);

	if (fresh == MAP_FAILED)
		return false;
	store_release(range->broken, true);
	/* Pairs with sigbus_count: who sees the number sees the flag. */
	release_barrier();
	fetch_add_relaxed(&replaced, 1);
	return true;
}

/* Only async-signal-safe calls: mmap(2) is a plain system call in glibc. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
	int saved_errno = errno;
	struct guarded_range *range = NULL;

	/* A signal that was sent has no address. */
	if (info->si_code > 0)
		range = range_find((uintptr_t)info->si_addr);
	if (!range || !range_replace(range)) {
		signal(SIGBUS, SIG_DFL);
		raise(SIGBUS);
	}
	errno = saved_errno;
}

int sigbus_install(void)
{
	struct sigaction action = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_RESTART,
	};

	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

int sigbus_guard(void *base, size_t length, bool *broken)
{
	for (int i = 0; i < SIGBUS_MAX_RANGES; i++) {
		struct guarded_range *range = &ranges[i];

		if (exchange_acq_rel(&range->claimed, true))
			continue;
		range->base = (uintptr_t)base;
		range->length = length;
		range->broken = broken;
		store_release(&range->active, true);
		return i;
	}
	return -ENOSPC;
}

void sigbus_unguard(int handle)
{
	if (handle < 0 || handle >= SIGBUS_MAX_RANGES)
		return;
	store_release(&ranges[handle].active, false);
	store_release(&ranges[handle].claimed, false);
}

unsigned sigbus_count(void)
{
	return load_acquire(&replaced);
}
