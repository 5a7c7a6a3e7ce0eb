/* SPDX-License-Identifier: Apache-2.0 */
/* EAL for unit tests: no hugepages, no devices, nothing left behind. */
#ifndef VSWITCH_TEST_EAL_H
#define VSWITCH_TEST_EAL_H

#include <rte_eal.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

/* Ends the program where EAL does not start. Threads may still run anywhere. */
static inline void test_eal_init(void)
{
	static const char *const words[] = {
		"test",
		"--no-huge",
		"--no-pci",
		"--no-shconf",
		"-m",
		"64",
		"-l",
		"0",
		"--no-telemetry",
		"--log-level=error",
	};
	char *arguments[sizeof(words) / sizeof(*words) + 1] = {NULL};
	cpu_set_t allowed;

	/* They are permuted, and not written to. */
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		arguments[i] = (char *)words[i];
	sched_getaffinity(0, sizeof(allowed), &allowed);
	if (rte_eal_init(sizeof(words) / sizeof(*words), arguments) < 0) {
		printf("Bail out! EAL does not start\n");
		exit(1);
	}
	sched_setaffinity(0, sizeof(allowed), &allowed);
}

#endif
