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
	/* Without hugepages it cannot grow; untouched, it costs nothing. */
	ACL_MIB = 104,
	DEVICES_MIB = 128,
	/* Of rte_hash: the key, its buckets, and what is waiting for readers. */
	STATION_BYTES = 160,
};

/* Whatever is on the bus, this is not. */
#define NO_DEVICE "ffff:ff:1f.7"

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

int eal_start(uint32_t stations, bool hugepages, bool pci)
{
	const unsigned mib =
		BASE_MIB + (unsigned)((uint64_t)stations * STATION_BYTES >> 20);
	const bool is_huge = hugepages && has_hugepages(mib);
	char memory[16], core[16];
	const char *arguments[] = {
		"vswitch",
		/* Kept, and looked for, nowhere in a file system. */
		is_huge ? "--in-memory" : "--no-huge",
		/* A list of what may be taken keeps all else where it is. */
		pci ? "--allow=" NO_DEVICE : "--no-pci",
		"--no-shconf",
		/* Whoever shares it (net_virtio_user) gets few pieces. */
		"--single-file-segments",
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
		 is_huge ? mib : mib + ACL_MIB + DEVICES_MIB);
	snprintf(core, sizeof(core), "0@%u", any_core(&allowed));
	/* They are permuted, and not written to. */
	if (rte_eal_init(ARRAY_SIZE(arguments) - 1, (char **)arguments) < 0)
		return rte_errno ? -rte_errno : -EINVAL;
	sched_setaffinity(0, sizeof(allowed), &allowed);
	return 0;
}
