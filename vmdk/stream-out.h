/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a streamOptimized disk, written from its beginning to its end as
 * the "Virtual Disk Format 5.0" has it, and as ESXi insists on:
 *
 *	header, which leaves the directory's place to the footer | descriptor
 *	grain marker and grain, …, table marker and table; and so on
 *	directory marker and directory | footer marker and footer | end of stream
 *
 * A table comes when no more grains of it will; one without grains is left out.
 */
#ifndef VMDK_STREAM_OUT_H
#define VMDK_STREAM_OUT_H

#include "vmdk/create.h"

struct vmdk_stream_out {
	struct store *store; /* borrowed; written in ascending order */
	uint64_t at;	     /* bytes of it */
	uint64_t sectors;    /* of the disk */
	uint8_t *directory;  /* heap, in whole sectors */
	uint64_t directory_sectors;
	uint8_t table[VMDK_MAX_GTES * 4];
	uint64_t table_index; /* in the directory */
	bool has_table;	      /* some grain is in it */
};

/* All return 0 or a negative errno; -EFBIG past what 32 bits can name. */

/* Header and descriptor. To be deinitialised whether it succeeds or not. */
int vmdk_stream_out_begin(struct vmdk_stream_out *out, struct store *store,
			  uint64_t sectors, const char *descriptor,
			  size_t descriptor_bytes);

/*
 * Grain number @grain, after all that have lower numbers: @packed has room for
 * the marker, @bytes of zlib's stream, and room up to the next sector.
 */
int vmdk_stream_out_grain(struct vmdk_stream_out *out, uint64_t grain,
			  uint8_t *packed, uint32_t bytes);

int vmdk_stream_out_end(struct vmdk_stream_out *out);
void vmdk_stream_out_deinit(struct vmdk_stream_out *out);

#endif
