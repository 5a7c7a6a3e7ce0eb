/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DPDK's environment, as small as it can be: memory for the stations, and for
 * devices that ports name; no threads of its own that work, nothing on disk.
 */
#ifndef VSWITCH_EAL_H
#define VSWITCH_EAL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Starts it, once for a process, with room for @stations, in hugepages if that is
 * wanted and there are enough of them; it has its memory then, and gets no more.
 * With @pci devices of that bus can be opened later; none is before. Threads that
 * are made later run where those of before might. A negative errno.
 */
int eal_start(uint32_t stations, bool hugepages, bool pci);

#endif
