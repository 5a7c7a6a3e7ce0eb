/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An empty seSparse extent, with its parts in the order and at the places where ESXi
 * has them, each of whole MiB but the headers:
 *
 *	header | second header | journal's header | journal | grain directory |
 *	grain tables | free bitmap | back map | grains
 *
 * There is room for the table of each grain, none of which is in use. The file is a
 * hole but for two sectors, and ends where its grains begin.
 */
#include "base/bytes.h"
#include "image/store.h"
#include "vmdk/create.h"

enum {
	STEP = (1 << 20) / VMDK_SECTOR_BYTES,
};

/* @bytes at *@at, which moves on. */
static struct vmdk_wire_se_part place(uint64_t bytes, uint64_t *at)
{
	uint64_t sectors =
		align_up(div_round_up(bytes, VMDK_SECTOR_BYTES), STEP);
	struct vmdk_wire_se_part part = {
		.offset = htole64(*at),
		.size = htole64(sectors),
	};

	*at += sectors;
	return part;
}

static uint64_t lay_out(uint64_t sectors, struct vmdk_wire_se *header)
{
	uint64_t grains = div_round_up(sectors, VMDK_SE_GRAIN_SECTORS);
	uint64_t tables = div_round_up(grains, VMDK_SE_GTES);
	uint64_t at = STEP;

	*header = (struct vmdk_wire_se){
		.magic = htole64(VMDK_SE_MAGIC),
		.version = htole64(VMDK_SE_VERSION),
		.capacity = htole64(sectors),
		.grain_size = htole64(VMDK_SE_GRAIN_SECTORS),
		.grain_table_size = htole64(VMDK_SE_TABLE_SECTORS),
		.state = {htole64(1), htole64(1)},
		.journal_header = {htole64(2), htole64(2)},
	};
	header->journal = place(VMDK_SECTOR_BYTES, &at);
	header->grain_directory = place(tables * sizeof(uint64_t), &at);
	header->grain_tables = place(tables * VMDK_SE_TABLE_BYTES, &at);
	header->free_bitmap = place(div_round_up(grains, 8), &at);
	header->back_map = place(grains * sizeof(uint64_t), &at);
	header->grains = (struct vmdk_wire_se_part){
		.offset = htole64(at),
		.size = htole64(grains * VMDK_SE_GRAIN_SECTORS),
	};
	return at;
}

/* The header comes last: without it this is no extent. */
int vmdk_make_se(struct store *store,
		 const struct image_create_request *request)
{
	const struct vmdk_wire_se_state state = {
		.magic = htole64(VMDK_SE_STATE_MAGIC),
	};
	struct vmdk_wire_se header;
	uint64_t sectors =
		lay_out(request->size_bytes >> VMDK_SECTOR_BITS, &header);
	int err = store_resize(store, sectors << VMDK_SECTOR_BITS);

	if (err == 0)
		err = store_write(store, VMDK_SECTOR_BYTES, &state,
				  sizeof(state));
	if (err == 0)
		err = store_flush(store);
	if (err == 0)
		err = store_write(store, 0, &header, sizeof(header));
	return err ? err : store_flush(store);
}
