/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/dirty-log.h"

#include <errno.h>
#include <stdlib.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vhost/file-map.h"

struct dirty_log {
	unsigned refs;
	uint64_t pages; /* bits of the log */
	struct file_map map;
};

int dirty_log_new(int fd, uint64_t offset, uint64_t size_bytes,
		  struct dirty_log **ret_log)
{
	struct dirty_log *log = calloc(1, sizeof(*log));
	int err;

	if (!log)
		return -ENOMEM;
	err = file_map_init(&log->map, fd, offset, size_bytes);
	if (err < 0) {
		free(log);
		return err;
	}
	log->refs = 1;
	/* Cannot overflow: so much is mapped. */
	log->pages = size_bytes * 8;
	*ret_log = log;
	return 0;
}

struct dirty_log *dirty_log_ref(struct dirty_log *log)
{
	fetch_add_relaxed(&log->refs, 1);
	return log;
}

void dirty_log_unref(struct dirty_log *log)
{
	if (!log || fetch_sub_acq_rel(&log->refs, 1) != 1)
		return;
	file_map_deinit(&log->map);
	free(log);
}

uint64_t dirty_log_end(const struct dirty_log *log)
{
	if (log->pages > UINT64_MAX / DIRTY_LOG_PAGE_BYTES)
		return UINT64_MAX;
	return log->pages * DIRTY_LOG_PAGE_BYTES;
}

bool dirty_log_is_broken(const struct dirty_log *log)
{
	return load_acquire(&log->map.broken);
}

/*
 * Always the atomic OR, even if the bit seems to be set: the front-end may be
 * clearing it at this moment, on its way to copy the page as it was before our
 * write. Bytes, since the log may begin at any.
 */
void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t length)
{
	uint64_t page = gpa / DIRTY_LOG_PAGE_BYTES;
	uint64_t last;

	if (length == 0 || page >= log->pages)
		return;
	last = gpa + MIN(length - 1, UINT64_MAX - gpa);
	last = MIN(last / DIRTY_LOG_PAGE_BYTES, log->pages - 1);
	/* What was written to the pages is visible before their bits. */
	release_barrier();
	while (page <= last) {
		unsigned first_bit = page % 8;
		unsigned bits = (unsigned)MIN(8 - first_bit, last - page + 1);
		uint8_t mask = (uint8_t)(((1u << bits) - 1) << first_bit);

		fetch_or_relaxed(&log->map.start[page / 8], mask);
		page += bits;
	}
}
