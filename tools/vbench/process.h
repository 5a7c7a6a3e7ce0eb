/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says of the back-end that is being measured. */
#ifndef TOOLS_VBENCH_PROCESS_H
#define TOOLS_VBENCH_PROCESS_H

#include <stdint.h>

/*
 * CPU time of all threads of @pid, user and system, in nanoseconds (in steps
 * of a clock tick). A negative errno if it cannot be read.
 */
int process_cpu_ns(int pid, uint64_t *ret_ns);

/* Resident memory that is the process's own: RssAnon, in KiB. */
int process_anon_kib(int pid, uint64_t *ret_kib);

#endif
