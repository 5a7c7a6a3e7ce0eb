/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/eal.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/log.h"

enum {
	BASE_MIB = 24,
	HUGEPAGE_MIB = 2,
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

/* It cannot be tried twice: whether it would do is for us to know. */
static unsigned long free_hugepages(void)
{
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/"
			   "free_hugepages",
			   "re");
	unsigned long count = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%lu", &count) != 1)
		count = 0;
	fclose(file);
	return count;
}

static bool has_hugepages(unsigned mib)
{
	if (free_hugepages() >= mib / HUGEPAGE_MIB + 1)
		return true;
	log_info("there are no %u MiB of free hugepages: other memory is used",
		 mib);
	return false;
}

int eal_start(uint32_t stations, bool hugepages)
{
	const unsigned mib =
		BASE_MIB + (unsigned)((uint64_t)stations * STATION_BYTES >> 20);
	char memory[16], core[16];
	const char *arguments[] = {
		"vswitch",
		/* Kept, and looked for, nowhere in a file system. */
		hugepages && has_hugepages(mib) ? "--in-memory" : "--no-huge",
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
	snprintf(memory, sizeof(memory), "%u", mib);
	snprintf(core, sizeof(core), "0@%u", any_core(&allowed));
	/* They are permuted, and not written to. */
	if (rte_eal_init(ARRAY_SIZE(arguments) - 1, (char **)arguments) < 0)
		return rte_errno ? -rte_errno : -EINVAL;
	sched_setaffinity(0, sizeof(allowed), &allowed);
	return 0;
}
