/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/geometry.h"

#include "base/bytes.h"

enum {
	IDE_CYLINDERS = 16383, /* at most: ATA's limit */
	SECTORS_PER_GIB = 1 << 21,
};

struct vmdk_geometry vmdk_geometry(uint64_t sectors, bool ide)
{
	struct vmdk_geometry g = {.heads = 255, .sectors = 63};

	if (ide)
		g.heads = 16;
	else if (sectors < SECTORS_PER_GIB)
		g = (struct vmdk_geometry){.heads = 64, .sectors = 32};
	else if (sectors < 2 * SECTORS_PER_GIB)
		g = (struct vmdk_geometry){.heads = 128, .sectors = 32};
	g.cylinders = sectors / g.heads / g.sectors;
	if (ide)
		g.cylinders = MIN(g.cylinders, (uint64_t)IDE_CYLINDERS);
	return g;
}
