/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMDK's binary files as they lie on disk, as libyal's libvmdk documents them
 * (KDMV, COWD, markers) and QEMU reads them (seSparse). Everything is
 * little-endian, and places are counted in sectors of 512 bytes.
 *
 * Limits that the documents leave open are those that QEMU keeps, so that an
 * image either of us makes opens with the other.
 */
#ifndef VMDK_FORMAT_H
#define VMDK_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VMDK_SECTOR_BITS = 9,
	VMDK_SECTOR_BYTES = 1 << VMDK_SECTOR_BITS,
};

#define VMDK_SPARSE_MAGIC   UINT32_C(0x564d444b) /* "KDMV" */
#define VMDK_COWD_MAGIC	    UINT32_C(0x44574f43) /* "COWD" */
#define VMDK_SE_MAGIC	    UINT64_C(0xcafebabe)
#define VMDK_SE_STATE_MAGIC UINT64_C(0xcafecafe)
#define VMDK_SE_VERSION	    UINT64_C(0x0000000200000001)

/* "VMDK sparse extent data file", its first sector. */
struct vmdk_wire_sparse {
	uint32_t magic;
	uint32_t version;
	uint32_t flags; /* VMDK_FLAG_* */
	uint64_t capacity;
	uint64_t grain_size;
	uint64_t descriptor_offset;
	uint64_t descriptor_size;
	uint32_t gtes_per_gt;
	uint64_t rgd_offset; /* the redundant grain directory */
	uint64_t gd_offset;  /* or VMDK_GD_AT_END */
	uint64_t overhead;   /* before the first grain */
	uint8_t unclean;
	uint8_t line_ends[4]; /* VMDK_LINE_ENDS */
	uint16_t compression;
	uint8_t padding[433];
} __attribute__((packed));

static_assert(sizeof(struct vmdk_wire_sparse) == 512, "sparse header");
static_assert(offsetof(struct vmdk_wire_sparse, gtes_per_gt) == 44, "");
static_assert(offsetof(struct vmdk_wire_sparse, overhead) == 64, "");
static_assert(offsetof(struct vmdk_wire_sparse, compression) == 77, "");

enum {
	VMDK_FLAG_LINE_ENDS = 1 << 0,
	VMDK_FLAG_REDUNDANT = 1 << 1,
	VMDK_FLAG_ZERO_GRAINS = 1 << 2,
	VMDK_FLAG_COMPRESSED = 1 << 16,
	VMDK_FLAG_MARKERS = 1 << 17,
	/* From bit 16 on, who does not know one must not go on. */
	VMDK_FLAGS_KNOWN_INCOMPATIBLE =
		VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS,
	VMDK_COMPRESSION_NONE = 0,
	VMDK_COMPRESSION_DEFLATE = 1, /* with zlib's wrapper */
	VMDK_MAX_VERSION = 3,
};

#define VMDK_FLAGS_INCOMPATIBLE UINT32_C(0xffff0000)

/* In a header: the footer, at the file's end, has the grain directory. */
#define VMDK_GD_AT_END UINT64_MAX

/* What a transfer as text would not leave as it is. */
#define VMDK_LINE_ENDS "\n \r\n"

/* "The marker". @size is not 0: a compressed grain's, which follows it. */
struct vmdk_wire_marker {
	uint64_t value; /* of a grain: its first sector in the disk */
	uint32_t size;
	uint32_t type; /* enum vmdk_marker; a grain's data begins here */
	uint8_t padding[496];
} __attribute__((packed));

static_assert(sizeof(struct vmdk_wire_marker) == 512, "marker");

enum {
	VMDK_GRAIN_MARKER_BYTES = offsetof(struct vmdk_wire_marker, type),
};

enum vmdk_marker {
	VMDK_MARKER_END,
	VMDK_MARKER_GRAIN_TABLE,
	VMDK_MARKER_GRAIN_DIRECTORY,
	VMDK_MARKER_FOOTER,
};

/* The end of a stream: a footer is a header. */
struct vmdk_wire_footer {
	struct vmdk_wire_marker marker;
	struct vmdk_wire_sparse header;
	struct vmdk_wire_marker end;
};

static_assert(sizeof(struct vmdk_wire_footer) == 1536, "footer");

/* "The COWD sparse extent data file", its first four sectors. */
struct vmdk_wire_cowd {
	uint32_t magic;
	uint32_t version;
	uint32_t flags; /* VMDK_COWD_FLAGS */
	uint32_t capacity;
	uint32_t grain_size;
	uint32_t gd_offset;
	uint32_t gd_entries;
	uint32_t next_free; /* the sector that VMware takes next */
	uint32_t cylinders; /* these three only where there is no parent */
	uint32_t heads;
	uint32_t sectors;
	uint8_t names[1604]; /* parent, generations, description */
	uint32_t unclean;
	uint8_t padding[396];
};

static_assert(sizeof(struct vmdk_wire_cowd) == 2048, "COWD header");
static_assert(offsetof(struct vmdk_wire_cowd, next_free) == 28, "");
static_assert(offsetof(struct vmdk_wire_cowd, unclean) == 1648, "");

enum {
	VMDK_COWD_VERSION = 1,
	VMDK_COWD_FLAGS = 3, /* always, and nobody says what they mean */
};

/* seSparse: where a part of the file lies. */
struct vmdk_wire_se_part {
	uint64_t offset;
	uint64_t size;
};

/* The first sector: what never changes. */
struct vmdk_wire_se {
	uint64_t magic;
	uint64_t version;
	uint64_t capacity;
	uint64_t grain_size;
	uint64_t grain_table_size;
	uint64_t flags;
	uint64_t reserved[4];
	struct vmdk_wire_se_part state;
	struct vmdk_wire_se_part journal_header;
	struct vmdk_wire_se_part journal;
	struct vmdk_wire_se_part grain_directory;
	struct vmdk_wire_se_part grain_tables;
	struct vmdk_wire_se_part free_bitmap;
	struct vmdk_wire_se_part back_map;
	struct vmdk_wire_se_part grains;
	uint8_t padding[304];
};

static_assert(sizeof(struct vmdk_wire_se) == 512, "seSparse header");
static_assert(offsetof(struct vmdk_wire_se, state) == 80, "");
static_assert(offsetof(struct vmdk_wire_se, grains) == 192, "");

/* The sector that does. */
struct vmdk_wire_se_state {
	uint64_t magic;
	uint64_t free_gt;
	uint64_t next_transaction;
	uint64_t replay_journal; /* bool: the last change was cut off */
	uint8_t padding[480];
};

static_assert(sizeof(struct vmdk_wire_se_state) == 512, "seSparse state");

/* Grain table entries of KDMV that are no place. */
enum {
	VMDK_GTE_ABSENT = 0,
	VMDK_GTE_ZEROES = 1, /* with VMDK_FLAG_ZERO_GRAINS */
};

/* seSparse: the kind in the top four bits of an entry, and its number. */
#define VMDK_SE_KIND_SHIFT 60

enum {
	VMDK_SE_ABSENT = 0, /* and the whole entry is 0 */
	VMDK_SE_TABLE = 1,  /* in the grain directory */
	VMDK_SE_UNMAPPED = 1,
	VMDK_SE_ZEROES = 2,
	VMDK_SE_DATA = 3,
};

/*
 * A line of a descriptor: this room made the seSparse extents, so that even where
 * they are empty it is known how they account for their room. A comment to others.
 */
#define VMDK_SE_MARK "# seSparse extents as Ringline makes them"

/* What is known of a file of changed blocks; the rest of it is left alone. */
#define VMDK_TRACK_MAGIC UINT32_C(0xf61972a2)

struct vmdk_wire_track {
	uint32_t magic;
	uint32_t version;
	uint32_t unknown;      /* 0 */
	uint32_t table_offset; /* inferred */
	uint64_t unknown_sizes[2];
	uint32_t unknown_numbers[3];
	uint8_t uuid[16]; /* inferred */
	uint8_t padding[452];
} __attribute__((packed));

static_assert(sizeof(struct vmdk_wire_track) == 512, "tracking header");
static_assert(offsetof(struct vmdk_wire_track, uuid) == 44, "");

enum {
	VMDK_TRACK_VERSION = 1,
	VMDK_TRACK_MIN_BLOCK_BYTES = 64 << 10,
	/* Past that a block is twice as large, and so on. */
	VMDK_TRACK_MAX_BLOCKS = 1 << 21,
	/* Of a descriptor that names such a file. */
	VMDK_TRACKED_VERSION = 3,
};

/* As a bitmap has it: of a disk that no product can make. */
#define VMDK_TRACK_MAX_BLOCK_BYTES (UINT64_C(1) << 31)

/* Limits. */
enum {
	VMDK_MAX_GRAIN_SECTORS = 32768, /* 16 MiB */
	VMDK_MAX_GTES = 512,		/* in a table of KDMV */
	VMDK_COWD_GTES = 4096,
	VMDK_SE_GTES = 4096,
	VMDK_SE_GRAIN_SECTORS = 8,
	VMDK_SE_TABLE_SECTORS = 64,
	VMDK_SE_TABLE_BYTES = VMDK_SE_TABLE_SECTORS * VMDK_SECTOR_BYTES,
	VMDK_MAX_GD_ENTRIES = 32 << 20,
};

#endif
