/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMDK files that qemu-img does not make, written as the documents say and with
 * nothing of the driver but the structures on disk.
 */
#ifndef TESTS_IMAGES_VMDK_BUILD_H
#define TESTS_IMAGES_VMDK_BUILD_H

#include <stdint.h>

enum {
	VMDK_BUILD_GRAIN = 65536, /* of a stream */
};

/*
 * All three hold the @bytes of @data, without those grains that are zero; the
 * size is a multiple of a sector.
 *
 * A streamOptimized file as VMware's tools write them: the directory at the end
 * and a footer.
 */
void vmdk_build_stream(const char *name, const uint8_t *data, uint64_t bytes);

/* A COWD file, grains of one sector, as a snapshot on VMFS. */
void vmdk_build_cowd(const char *name, const uint8_t *data, uint64_t bytes);

/*
 * A seSparse file. Grains whose first byte is 0xee are marked as zeroes, those
 * with 0xdd as unmapped.
 */
void vmdk_build_se(const char *name, const uint8_t *data, uint64_t bytes);

/* A descriptor of @lines of extents; @parent is its CID or "ffffffff". */
void vmdk_build_descriptor(const char *name, const char *create_type,
			   const char *parent, const char *lines);

#endif
