/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/eal.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <stdio.h>

#include "base/bytes.h"

enum {
	BASE_MIB = 24,
	ACL_MIB = 104, /* untouched, it costs nothing */
	/* Of rte_hash: the key, its buckets, and what is waiting for readers. */
	STATION_BYTES = 160,
};

/* EAL wants a core for its first thread, and ties it to it. */
static unsigned any_core(const cpu_set_t *allowed)
{
	for (unsigned i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, allowed))
			return i;
	return 0;
}

int eal_start(uint32_t stations)
{
	char memory[16], core[16];
	const char *arguments[] = {
		"vswitch",
		"--no-huge",
		"--no-pci",
		"--no-shconf",
		"--no-telemetry",
		"--log-level=error",
		"-m",
		memory,
		"--lcores",
		core,
		NULL,
	};
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return -errno;
	snprintf(memory, sizeof(memory), "%u",
		 BASE_MIB + ACL_MIB +
			 (unsigned)((uint64_t)stations * STATION_BYTES >> 20));
	snprintf(core, sizeof(core), "0@%u", any_core(&allowed));
	/* They are permuted, and not written to. */
	if (rte_eal_init(ARRAY_SIZE(arguments) - 1, (char **)arguments) < 0)
		return rte_errno ? -rte_errno : -EINVAL;
	sched_setaffinity(0, sizeof(allowed), &allowed);
	return 0;
}
