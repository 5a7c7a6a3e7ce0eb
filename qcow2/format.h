/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QCOW2 format as it lies on disk: QEMU's docs/interop/qcow2.txt, whose
 * section titles are named beside what they define. Everything is big-endian.
 *
 * Limits that the text leaves open are those that QEMU keeps, so that an image
 * either of us makes opens with the other.
 */
#ifndef QCOW2_FORMAT_H
#define QCOW2_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* "Header": the first bytes of the first cluster. */
struct qcow2_wire_header {
	uint32_t magic;
	uint32_t version;
	uint64_t backing_file_offset;
	uint32_t backing_file_size;
	uint32_t cluster_bits;
	uint64_t size;
	uint32_t crypt_method;
	uint32_t l1_size;
	uint64_t l1_table_offset;
	uint64_t refcount_table_offset;
	uint32_t refcount_table_clusters;
	uint32_t nb_snapshots;
	uint64_t snapshots_offset;
	/* Version 2 ends here. */
	uint64_t incompatible_features;
	uint64_t compatible_features;
	uint64_t autoclear_features;
	uint32_t refcount_order;
	uint32_t header_length;
	/* "Additional fields": there if header_length says so. */
	uint8_t compression_type;
	uint8_t padding[7];
} __attribute__((packed));

static_assert(sizeof(struct qcow2_wire_header) == 112, "header");
static_assert(offsetof(struct qcow2_wire_header, l1_table_offset) == 40, "");
static_assert(offsetof(struct qcow2_wire_header, nb_snapshots) == 60, "");
static_assert(offsetof(struct qcow2_wire_header, incompatible_features) == 72,
	      "");
static_assert(offsetof(struct qcow2_wire_header, compression_type) == 104, "");

/* "Header extensions": this, then @length bytes, padded to 8. */
struct qcow2_wire_extension {
	uint32_t type;
	uint32_t length;
};

static_assert(sizeof(struct qcow2_wire_extension) == 8, "extension");

/* "Feature name table": the extension's data is an array of these. */
struct qcow2_wire_feature {
	uint8_t type; /* enum qcow2_feature_type */
	uint8_t bit;
	char name[46]; /* padded with zeroes, perhaps not terminated */
};

static_assert(sizeof(struct qcow2_wire_feature) == 48, "feature name");

/* "Bitmaps extension". */
struct qcow2_wire_bitmaps {
	uint32_t nb_bitmaps;
	uint32_t reserved;
	uint64_t directory_size;
	uint64_t directory_offset;
} __attribute__((packed));

static_assert(sizeof(struct qcow2_wire_bitmaps) == 24, "bitmaps extension");

/* "Full disk encryption header pointer". */
struct qcow2_wire_encryption {
	uint64_t offset;
	uint64_t length;
};

static_assert(sizeof(struct qcow2_wire_encryption) == 16, "encryption");

/* "Snapshots": the part of a table entry that each has. */
struct qcow2_wire_snapshot {
	uint64_t l1_offset;
	uint32_t l1_entries;
	uint16_t id_bytes;
	uint16_t name_bytes;
	uint32_t date_seconds;
	uint32_t date_nanoseconds;
	uint64_t clock;
	uint32_t state_bytes;
	uint32_t extra_bytes;
} __attribute__((packed));

static_assert(sizeof(struct qcow2_wire_snapshot) == 40, "snapshot");

enum {
	QCOW2_MAGIC = 0x514649fb,
	QCOW2_HEADER_BYTES_V2 = 72,
	QCOW2_HEADER_BYTES_V3 = 104,

	QCOW2_MIN_CLUSTER_BITS = 9,
	QCOW2_MAX_CLUSTER_BITS = 21,
	QCOW2_MAX_REFCOUNT_ORDER = 6,
	QCOW2_MAX_L1_BYTES = 32 << 20,
	QCOW2_MAX_REFTABLE_BYTES = 8 << 20,
	QCOW2_MAX_SNAPSHOTS = 65536,
	QCOW2_MAX_SNAPSHOTS_BYTES = 64 << 20,
	QCOW2_MAX_SNAPSHOT_EXTRA = 1024,
	QCOW2_MAX_BACKING_NAME = 1023,
	QCOW2_MAX_BACKING_FORMAT = 15,
	QCOW2_MAX_DATA_NAME = 1023,
	QCOW2_MAX_BITMAPS = 65535,
	QCOW2_MAX_BITMAP_DIRECTORY_BYTES = 1024 * QCOW2_MAX_BITMAPS,
	/* Eight key slots of LUKS take 2 MiB. */
	QCOW2_MAX_CRYPT_BYTES = 64 << 20,
	QCOW2_MIN_EXTENDED_L2_CLUSTER_BITS = 14,
};

enum qcow2_crypt_method {
	QCOW2_CRYPT_NONE,
	QCOW2_CRYPT_AES,
	QCOW2_CRYPT_LUKS,
};

enum qcow2_compression {
	QCOW2_COMPRESSION_ZLIB, /* raw deflate, 4 KiB window */
	QCOW2_COMPRESSION_ZSTD,
};

enum qcow2_feature_type {
	QCOW2_FEATURE_INCOMPATIBLE,
	QCOW2_FEATURE_COMPATIBLE,
	QCOW2_FEATURE_AUTOCLEAR,
};

/* Incompatible features. */
#define QCOW2_INCOMPAT_DIRTY	   (UINT64_C(1) << 0)
#define QCOW2_INCOMPAT_CORRUPT	   (UINT64_C(1) << 1)
#define QCOW2_INCOMPAT_DATA_FILE   (UINT64_C(1) << 2)
#define QCOW2_INCOMPAT_COMPRESSION (UINT64_C(1) << 3)
#define QCOW2_INCOMPAT_EXTENDED_L2 (UINT64_C(1) << 4)
/* Compatible and autoclear features. */
#define QCOW2_COMPAT_LAZY_REFCOUNTS (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_BITMAPS	    (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_RAW_DATA    (UINT64_C(1) << 1)

/* Extension types. */
#define QCOW2_EXT_END		 UINT32_C(0)
#define QCOW2_EXT_BACKING_FORMAT UINT32_C(0xe2792aca)
#define QCOW2_EXT_FEATURE_NAMES	 UINT32_C(0x6803f857)
#define QCOW2_EXT_BITMAPS	 UINT32_C(0x23852875)
#define QCOW2_EXT_ENCRYPTION	 UINT32_C(0x0537be77)
#define QCOW2_EXT_DATA_FILE	 UINT32_C(0x44415441)
/* Ours: nothing is in it. See qcow2/header-write.c. */
#define QCOW2_EXT_FILLER UINT32_C(0x726c6667)

/* "Cluster mapping": L1 and L2 entries. Bits 1-8 and 56-61 are reserved. */
#define QCOW2_COPIED	  (UINT64_C(1) << 63) /* refcount is exactly one */
#define QCOW2_COMPRESSED  (UINT64_C(1) << 62)
#define QCOW2_ZERO	  (UINT64_C(1) << 0)
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
/* "Extended L2 Entries": the second word, a bit per sub-cluster in each half. */
#define QCOW2_SUBS_ALLOCATED UINT64_C(0x00000000ffffffff)
#define QCOW2_SUBS_ZERO	     UINT64_C(0xffffffff00000000)
#define QCOW2_L1_RESERVED    UINT64_C(0x7f000000000001ff)
#define QCOW2_L2_RESERVED    UINT64_C(0x3f000000000001fe)
/* "Refcount table entry". */
#define QCOW2_REFTABLE_RESERVED UINT64_C(0x1ff)
/* No cluster lies at or past this offset: offsets have 56 bits. */
#define QCOW2_HOST_LIMIT (UINT64_C(1) << 56)

/* "Bitmap directory": an entry; extra data, the name and padding to 8 follow. */
struct qcow2_wire_bitmap {
	uint64_t table_offset;
	uint32_t table_entries;
	uint32_t flags;
	uint8_t type;
	uint8_t granularity_bits;
	uint16_t name_bytes;
	uint32_t extra_bytes;
};

static_assert(sizeof(struct qcow2_wire_bitmap) == 24, "bitmap");

enum {
	QCOW2_BITMAP_DIRTY_TRACKING = 1, /* the one type there is */

	QCOW2_MIN_BITMAP_GRANULARITY_BITS = 9,
	QCOW2_MAX_BITMAP_GRANULARITY_BITS = 31,
	QCOW2_MAX_BITMAP_NAME = 1023,
	QCOW2_MAX_BITMAP_BYTES = 512 << 20, /* of one, in whole clusters */
};

#define QCOW2_BITMAP_IN_USE	      (UINT32_C(1) << 0)
#define QCOW2_BITMAP_AUTO	      (UINT32_C(1) << 1)
#define QCOW2_BITMAP_EXTRA_COMPATIBLE (UINT32_C(1) << 2)
#define QCOW2_BITMAP_FLAGS_RESERVED   UINT32_C(0xfffffff8)
/* "Bitmap table": an entry. */
#define QCOW2_BITMAP_ALL_ONES	    UINT64_C(1)
#define QCOW2_BITMAP_ENTRY_RESERVED UINT64_C(0xff000000000001fe)

#endif
