/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/file-map.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vhost/sigbus.h"

/* hugetlbfs maps, and unmaps, whole huge pages only. */
static uint64_t page_bytes(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC &&
	    is_power_of_two(fs.f_bsize))
		return (uint64_t)fs.f_bsize;
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static int check_size(int fd, uint64_t offset, uint64_t size_bytes)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (size_bytes == 0 || st.st_size < 0 ||
	    !range_fits(offset, size_bytes, (uint64_t)st.st_size))
		return -EINVAL;
	return 0;
}

int file_map_init(struct file_map *map, int fd, uint64_t offset,
		  uint64_t size_bytes)
{
	uint64_t page = page_bytes(fd);
	uint64_t skip;
	int err = check_size(fd, offset, size_bytes);

	if (err < 0)
		return err;
	skip = offset & (page - 1);
	map->length = align_up(skip + size_bytes, page);
	map->base =
		mmap(NULL, map->length, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_NORESERVE, fd, (off_t)(offset - skip));
	if (map->base == MAP_FAILED)
		return -errno;
	/* A core dump is ours, not the guest's. Not supported: no harm. */
	(void)madvise(map->base, map->length, MADV_DONTDUMP);
	map->start = (uint8_t *)map->base + skip;
	map->broken = false;
	map->guard = sigbus_guard(map->base, map->length, &map->broken);
	if (map->guard < 0) {
		munmap(map->base, map->length);
		return map->guard;
	}
	return 0;
}

void file_map_deinit(struct file_map *map)
{
	sigbus_unguard(map->guard);
	munmap(map->base, map->length);
}
