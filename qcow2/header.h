/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of an image: read, judged and taken apart, before anything else
 * of the image is looked at. What comes out satisfies every limit of
 * qcow2/format.h, and all its tables lie aligned and inside the file.
 */
#ifndef QCOW2_HEADER_H
#define QCOW2_HEADER_H

#include <stdbool.h>

#include "image/store.h"
#include "qcow2/format.h"

struct qcow2_header {
	uint32_t version;
	unsigned cluster_bits;
	unsigned refcount_order;
	enum qcow2_compression compression;
	uint64_t size_bytes;
	uint64_t l1_offset;
	uint32_t l1_entries;
	uint32_t l1_used; /* entries that the guest's size needs */
	uint64_t reftable_offset;
	uint32_t reftable_clusters;
	uint64_t snapshots_offset;
	uint32_t snapshot_count;
	uint64_t incompatible;
	uint64_t compatible;
	uint64_t autoclear;
	enum qcow2_crypt_method crypt_method;
	char *backing_name;   /* heap, or NULL */
	char *backing_format; /* heap, or NULL */
	char *data_name;      /* of the external data file; heap, or NULL */
	/* "Full disk encryption header pointer"; 0, 0: none. */
	uint64_t crypt_offset;
	uint64_t crypt_bytes;
	/* "Bitmaps extension"; all 0: none. */
	uint32_t bitmap_count;
	uint64_t bitmap_directory_bytes;
	uint64_t bitmap_directory_offset;
	/* "Feature name table", as it is on disk; heap. */
	uint8_t *feature_names;
	size_t feature_names_bytes;
	/* Extensions that are not known here, as they are on disk; heap. */
	uint8_t *unknown;
	size_t unknown_bytes;
	/* The header itself from "Additional fields" on, the same way. */
	uint8_t *additional;
	size_t additional_bytes;
};

enum qcow2_header_use {
	QCOW2_HEADER_READ,
	QCOW2_HEADER_WRITE, /* what is marked corrupt is refused */
	QCOW2_HEADER_CHECK, /* what a check can mend is let through */
};

/*
 * Reads and checks the header in @store. 0, a negative errno, IMAGE_E_CORRUPT
 * or IMAGE_E_UNSUPPORTED; *@ret_error says why, to be freed.
 */
int qcow2_header_read(struct store *store, enum qcow2_header_use use,
		      struct qcow2_header *ret_header, char **ret_error);

void qcow2_header_deinit(struct qcow2_header *header);

/*
 * How many L1 entries an image of @size_bytes needs, with L2 entries of 16
 * bytes if they are @extended.
 */
uint64_t qcow2_l1_entries_for(uint64_t size_bytes, unsigned cluster_bits,
			      bool extended);

#endif
