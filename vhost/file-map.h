/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A range of a file that the front-end gave us, mapped shared and guarded
 * against the file being truncated. Guest memory, the dirty log and the
 * in-flight region are such ranges. The range may begin at any byte: the
 * mapping is widened to whole pages, of the size that the file has.
 */
#ifndef VHOST_FILE_MAP_H
#define VHOST_FILE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_map {
	uint8_t *start; /* the range's first byte */
	bool broken;	/* raised by vhost/sigbus.h */
	int guard;
	void *base; /* the mapping */
	size_t length;
};

/*
 * Maps [offset, offset + size_bytes) of @fd, which is borrowed and not needed
 * afterwards. -EINVAL if the range is empty or the file does not reach so far;
 * -ENOSPC if there are too many guarded ranges; else from fstat(2) or
 * mmap(2). @map may not move until file_map_deinit.
 */
int file_map_init(struct file_map *map, int fd, uint64_t offset,
		  uint64_t size_bytes);
void file_map_deinit(struct file_map *map);

#endif
