/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cylinders, heads and sectors that a BIOS tells of a disk, which VMware
 * computes of its size and controller and keeps in the descriptor.
 */
#ifndef VMDK_GEOMETRY_H
#define VMDK_GEOMETRY_H

#include <stdbool.h>
#include <stdint.h>

struct vmdk_geometry {
	uint64_t cylinders;
	uint32_t heads;
	uint32_t sectors;
};

/* Of a disk of @sectors at an @ide controller, or a SCSI one. */
struct vmdk_geometry vmdk_geometry(uint64_t sectors, bool ide);

#endif
