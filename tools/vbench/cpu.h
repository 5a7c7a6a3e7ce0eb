/* SPDX-License-Identifier: Apache-2.0 */
/* Where the load runs. */
#ifndef TOOLS_VBENCH_CPU_H
#define TOOLS_VBENCH_CPU_H

/* On @cpu alone; -1: anywhere. A negative errno, with a line on stderr. */
int cpu_pin(int cpu);

#endif
