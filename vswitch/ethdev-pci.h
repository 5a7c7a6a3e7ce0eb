/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices of the PCI bus, which DPDK drives through VFIO: what must be right
 * about one before it opens, and what is still asked of VFIO afterwards.
 */
#ifndef VSWITCH_ETHDEV_PCI_H
#define VSWITCH_ETHDEV_PCI_H

#include <stdbool.h>
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

/* What that depends on. */
struct ethdev_pci_view {
	const char *root; /* before the names of sysfs's and VFIO's files */
	bool has_bus, has_hugepages; /* EAL's */
};

/* The same of any such tree. */
void ethdev_pci_judge(const struct ethdev_pci_view *view, const char *address,
		      char ret_reason[static ETHDEV_PCI_REASON_BYTES]);

/* Requests of ioctl(2) that drivers make after such a device was opened: its
 * interrupts, memory that comes and goes, its end. */
extern const unsigned long ethdev_pci_ioctls[];
extern const size_t ethdev_pci_ioctl_count;

#endif
