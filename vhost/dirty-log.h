/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dirty page log of live migration: one bit per 4 KiB page of guest
 * physical memory, set with atomic ORs since the front-end clears bits while
 * we set them. vhost-user specification, "Migration" and SET_LOG_BASE.
 */
#ifndef VHOST_DIRTY_LOG_H
#define VHOST_DIRTY_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum {
	DIRTY_LOG_PAGE_BYTES = 4096
};

struct dirty_log;

/*
 * Maps @size_bytes of @fd (borrowed) at @offset, any offset. -EINVAL if the
 * file is too short, the range wraps or is empty. One reference. Control
 * thread.
 */
int dirty_log_new(int fd, uint64_t offset, uint64_t size_bytes,
		  struct dirty_log **ret_log);
struct dirty_log *dirty_log_ref(struct dirty_log *log);
void dirty_log_unref(struct dirty_log *log);

/* One past the last guest physical address that the log can hold. */
uint64_t dirty_log_end(const struct dirty_log *log);

/*
 * Marks the pages of [gpa, gpa + length). Pages past the end are left out: the
 * session has refused a log that is too small for memory, and a later memory
 * table may not outgrow it. Any thread.
 */
void dirty_log_mark(struct dirty_log *log, uint64_t gpa, uint64_t length);

/* See guest_memory_is_broken. */
bool dirty_log_is_broken(const struct dirty_log *log);

#endif
