/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices of the PCI bus, which DPDK drives through VFIO: what must be right
 * about one before it opens, and what is still asked of VFIO afterwards.
 */
#ifndef VSWITCH_ETHDEV_PCI_H
#define VSWITCH_ETHDEV_PCI_H

#include <stddef.h>

enum {
	ETHDEV_PCI_REASON_BYTES = 256,
};

/*
 * Why the device at @address (passed ethdev_is_pci) did not open: a part of a
 * sentence. Asks sysfs and VFIO; control thread, after EAL has been started.
 */
void ethdev_pci_reason(const char *address,
		       char ret_reason[static ETHDEV_PCI_REASON_BYTES]);

/* Requests of ioctl(2) that drivers make after such a device was opened: its
 * interrupts, memory that comes and goes, its end. */
extern const unsigned long ethdev_pci_ioctls[];
extern const size_t ethdev_pci_ioctl_count;

#endif
