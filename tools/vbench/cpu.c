/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/cpu.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

int cpu_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) == 0)
		return 0;
	fprintf(stderr, "vbench: --cpu=%d: %s\n", cpu, strerror(errno));
	return -errno;
}
