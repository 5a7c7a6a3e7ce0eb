/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small sparse VMDK disks for crash tests: empty ones, byte by byte, and a walk
 * over what lies in one's file that nobody may use twice. Nothing of the driver but
 * the structures on disk.
 */
#ifndef TESTS_IMAGES_VMDK_CRASH_IMAGE_H
#define TESTS_IMAGES_VMDK_CRASH_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VMDK_CRASH_CID = 0x1badcafe,
	VMDK_CRASH_BYTES = 65536, /* no file of an empty disk is longer */
};

struct vmdk_crash_kind {
	const char *name;
	bool cowd;   /* and none of the following */
	bool se;     /* the same */
	bool tables; /* there from the beginning */
	bool second; /* directory */
	bool zeroes; /* grains may be marked as such */
};

/* The disk's length. The last table and the last grain are not full. */
uint64_t vmdk_crash_sectors(const struct vmdk_crash_kind *kind);
uint64_t vmdk_crash_grain_sectors(const struct vmdk_crash_kind *kind);

/*
 * An empty disk: its first file, and the one that is named by it, if COWD or SE.
 * Returns how many files there are, with their lengths.
 */
unsigned vmdk_crash_build(const struct vmdk_crash_kind *kind,
			  uint8_t (*ret_files)[VMDK_CRASH_BYTES],
			  size_t *ret_bytes);

/*
 * Fails if two things lie in one place of the extent's file of @bytes, or
 * something where nothing can be; @position is for the message.
 */
void vmdk_crash_walk(const struct vmdk_crash_kind *kind, const uint8_t *data,
		     uint64_t bytes, size_t position);

#endif
