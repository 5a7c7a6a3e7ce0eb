/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/eal.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"

enum {
	BASE_MIB = 24,
	HUGEPAGE_MIB = 2,
	/* It does not grow; untouched, and not in hugepages, it costs nothing. */
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

/*
 * MiB of them, up to @most; 0, if there are no @least. All that EAL will have is
 * taken at once: in the sandbox it can get no more, and while it does it has SIGBUS
 * its own way, by which we learn that a guest's memory is gone.
 */
static unsigned hugepage_mib(unsigned least, unsigned most)
{
	const unsigned long free = free_hugepages();

	if (free > least / HUGEPAGE_MIB)
		return MIN((unsigned long)most, (free - 1) * HUGEPAGE_MIB);
	log_info("there are no %u MiB of free hugepages: other memory is used",
		 least);
	return 0;
}

/* The node of memory that is near @core; 0, where nodes are not known. */
static unsigned node_of(unsigned core)
{
	char path[64];

	for (unsigned node = 0; node < RTE_MAX_NUMA_NODES; node++) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%u/node%u", core, node);
		if (access(path, F_OK) == 0)
			return node;
	}
	return 0;
}

/* "--socket-limit=": @mib near @core, and nothing, which is less than a page,
 * elsewhere. */
static void print_limit(char *ret, size_t bytes, unsigned core, unsigned mib)
{
	const unsigned node = node_of(core);
	int at = snprintf(ret, bytes, "--socket-limit=");

	for (unsigned i = 0; i < RTE_MAX_NUMA_NODES; i++)
		at += snprintf(ret + at, bytes - at, "%s%u", i > 0 ? "," : "",
			       i == node ? mib : 1);
}

int eal_start(uint32_t stations, bool hugepages, bool pci)
{
	const unsigned least =
		BASE_MIB + (unsigned)((uint64_t)stations * STATION_BYTES >> 20);
	const unsigned most = least + ACL_MIB + DEVICES_MIB;
	const unsigned huge = hugepages ? hugepage_mib(least, most) : 0;
	char memory[16], core[16], limit[128];
	const char *arguments[] = {
		"vswitch",
		/* Kept, and looked for, nowhere in a file system. */
		huge ? "--in-memory" : "--no-huge",
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
		huge ? limit : NULL,
		NULL,
	};
	/* What is limited is memory in hugepages. */
	const unsigned count = ARRAY_SIZE(arguments) - (huge ? 1 : 2);
	unsigned first_core;
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return -errno;
	snprintf(memory, sizeof(memory), "%u", huge ? huge : most);
	first_core = any_core(&allowed);
	snprintf(core, sizeof(core), "0@%u", first_core);
	print_limit(limit, sizeof(limit), first_core, huge);
	/* They are permuted, and not written to. */
	if (rte_eal_init(count, (char **)arguments) < 0)
		return rte_errno ? -rte_errno : -EINVAL;
	sched_setaffinity(0, sizeof(allowed), &allowed);
	return 0;
}
