/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An empty COWD extent, as ESX lays out what a snapshot takes down:
 *
 *	header, 4 sectors | directory
 *
 * Grains are sectors. Tables come when they are wanted: for all of them the file
 * would be longer by a hundredth of the disk.
 */
#include "base/bytes.h"
#include "image/store.h"
#include "vmdk/create.h"

/* A child's parent is named by its descriptor alone, and has the geometry. */
static void put_geometry(const struct image_create_request *request,
			 struct vmdk_wire_cowd *header)
{
	struct vmdk_geometry g = vmdk_disk_geometry(request);

	if (request->backing_name)
		return;
	header->cylinders = htole32((uint32_t)g.cylinders);
	header->heads = htole32(g.heads);
	header->sectors = htole32(g.sectors);
}

/* The header comes last: without it this is no extent. */
int vmdk_make_cowd(struct store *store,
		   const struct image_create_request *request)
{
	uint32_t sectors = (uint32_t)(request->size_bytes >> VMDK_SECTOR_BITS);
	uint32_t tables = (uint32_t)div_round_up(sectors, VMDK_COWD_GTES);
	struct vmdk_wire_cowd header = {
		.magic = htole32(VMDK_COWD_MAGIC),
		.version = htole32(VMDK_COWD_VERSION),
		.flags = htole32(VMDK_COWD_FLAGS),
		.capacity = htole32(sectors),
		.grain_size = htole32(1),
		.gd_offset = htole32(sizeof(header) / VMDK_SECTOR_BYTES),
		.gd_entries = htole32(tables),
	};
	uint64_t end = sizeof(header) +
		       align_up((uint64_t)tables * 4, VMDK_SECTOR_BYTES);
	int err;

	put_geometry(request, &header);
	header.next_free = htole32((uint32_t)(end >> VMDK_SECTOR_BITS));
	err = store_resize(store, end);
	if (err == 0)
		err = store_flush(store);
	if (err == 0)
		err = store_write(store, 0, &header, sizeof(header));
	return err ? err : store_flush(store);
}
