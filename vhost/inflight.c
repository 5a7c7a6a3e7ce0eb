/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/inflight.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "vhost/file-map.h"
#include "vhost/inflight-layout.h"
#include "vhost/virtq.h"

struct inflight {
	uint16_t num_queues;
	uint16_t queue_size;
	bool packed;
	size_t area_offset;
	size_t area_bytes;
	struct file_map map;
};

uint64_t inflight_queue_bytes(uint16_t queue_size, bool packed)
{
	uint64_t bytes = packed ? offsetof(struct inflight_packed, desc) +
					  sizeof(struct inflight_packed_desc) *
						  (uint64_t)queue_size
				: offsetof(struct inflight_split, desc) +
					  sizeof(struct inflight_split_desc) *
						  (uint64_t)queue_size;

	return align_up(bytes, INFLIGHT_ALIGN);
}

/* Where the device's area begins. */
static uint64_t queues_bytes(uint16_t num_queues, uint16_t queue_size,
			     bool packed)
{
	return num_queues * inflight_queue_bytes(queue_size, packed);
}

static int check_shape(uint16_t num_queues, uint16_t queue_size)
{
	if (num_queues == 0 || queue_size == 0 || queue_size > VIRTQ_MAX_SIZE)
		return -EINVAL;
	return 0;
}

int inflight_new(uint16_t num_queues, uint16_t queue_size, bool packed,
		 size_t area_bytes, struct inflight **ret_inflight, int *ret_fd,
		 uint64_t *ret_mmap_size, uint64_t *ret_mmap_offset)
{
	autoclose int fd = -1;
	uint64_t bytes = queues_bytes(num_queues, queue_size, packed);
	int err = check_shape(num_queues, queue_size);

	if (err < 0)
		return err;
	if (area_bytes)
		bytes = align_up(bytes, INFLIGHT_AREA_ALIGN) + area_bytes;
	fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
		return -errno;
	err = inflight_map(fd, bytes, 0, num_queues, queue_size, packed,
			   ret_inflight);
	if (err < 0)
		return err;
	*ret_fd = fd_take(&fd);
	*ret_mmap_size = bytes;
	*ret_mmap_offset = 0;
	return 0;
}

int inflight_map(int fd, uint64_t mmap_size, uint64_t mmap_offset,
		 uint16_t num_queues, uint16_t queue_size, bool packed,
		 struct inflight **ret_inflight)
{
	uint64_t bytes = queues_bytes(num_queues, queue_size, packed);
	uint64_t area = align_up(bytes, INFLIGHT_AREA_ALIGN);
	struct inflight *inflight;
	int err = check_shape(num_queues, queue_size);

	if (err < 0)
		return err;
	/* Its 64-bit counters are to be accessed as such. */
	if (bytes > mmap_size || !is_aligned(mmap_offset, sizeof(uint64_t)))
		return -EINVAL;
	inflight = calloc(1, sizeof(*inflight));
	if (!inflight)
		return -ENOMEM;
	inflight->num_queues = num_queues;
	inflight->queue_size = queue_size;
	inflight->packed = packed;
	inflight->area_offset = area;
	inflight->area_bytes = mmap_size > area ? mmap_size - area : 0;
	err = file_map_init(&inflight->map, fd, mmap_offset, mmap_size);
	if (err < 0) {
		free(inflight);
		return err;
	}
	*ret_inflight = inflight;
	return 0;
}

void inflight_free(struct inflight *inflight)
{
	if (!inflight)
		return;
	file_map_deinit(&inflight->map);
	free(inflight);
}

struct inflight_queue inflight_queue(struct inflight *inflight, uint16_t index)
{
	uint64_t bytes;

	if (!inflight || index >= inflight->num_queues)
		return (struct inflight_queue){0};
	bytes = inflight_queue_bytes(inflight->queue_size, inflight->packed);
	return (struct inflight_queue){
		.base = inflight->map.start + index * bytes,
		.size = inflight->queue_size,
		.packed = inflight->packed,
		.lost = &inflight->map.broken,
	};
}

void inflight_forget(struct inflight *inflight, uint16_t index)
{
	struct inflight_queue queue = inflight_queue(inflight, index);
	/* Of a split ring's part it is in the same place. */
	struct inflight_packed *region = queue.base;

	if (region)
		store_release(&region->version, INFLIGHT_VERSION_FRESH);
}

void *inflight_area(struct inflight *inflight, size_t *ret_bytes)
{
	*ret_bytes = inflight->area_bytes;
	if (inflight->area_bytes == 0)
		return NULL;
	return inflight->map.start + inflight->area_offset;
}

bool inflight_is_broken(const struct inflight *inflight)
{
	return load_acquire(&inflight->map.broken);
}
