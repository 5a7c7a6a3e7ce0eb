/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The in-flight region: which chains we took from a ring and have not given
 * back, kept in memory that the front-end holds on to, so that a back-end that
 * was killed can take them up again. vhost-user specification, "Inflight I/O
 * tracking"; both the split and the packed layout.
 *
 * The front-end can write into the region at any time, so it is never trusted:
 * while we run, decisions rest on virtq's private shadow, and what a restart
 * reads back is checked index by index. Its size follows from what was
 * negotiated and may not change afterwards. Behind the queues' parts, at the
 * next page, there may be an area for the device's own use.
 */
#ifndef VHOST_INFLIGHT_H
#define VHOST_INFLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inflight;

/* The region of one queue inside the mapping. */
struct inflight_queue {
	void *base;    /* NULL: not tracked */
	uint16_t size; /* descriptors */
	bool packed;
	const bool *lost; /* raised when the file was truncated; or NULL */
};

/* Bytes of one queue's part, 64-byte aligned, as the specification lays out. */
uint64_t inflight_queue_bytes(uint16_t queue_size, bool packed);

/*
 * GET_INFLIGHT_FD: makes a zeroed region in a new memfd for @num_queues queues
 * of @queue_size, and @area_bytes for the device. *@ret_fd is the caller's.
 * -EINVAL for a size of 0, or over VIRTQ_MAX_SIZE. Control thread.
 */
int inflight_new(uint16_t num_queues, uint16_t queue_size, bool packed,
		 size_t area_bytes, struct inflight **ret_inflight, int *ret_fd,
		 uint64_t *ret_mmap_size, uint64_t *ret_mmap_offset);

/*
 * SET_INFLIGHT_FD: maps a region that a front-end kept, checking size and
 * offset against the file and against the layout. Borrows @fd.
 */
int inflight_map(int fd, uint64_t mmap_size, uint64_t mmap_offset,
		 uint16_t num_queues, uint16_t queue_size, bool packed,
		 struct inflight **ret_inflight);

void inflight_free(struct inflight *inflight);

/* Queue @index's part; base NULL if the region does not reach so far. */
struct inflight_queue inflight_queue(struct inflight *inflight, uint16_t index);

/*
 * Queue @index stopped with nothing in flight, and the front-end is told where: its
 * part is as good as new, so that the next start is where the front-end wants it (a
 * driver that was reset begins anew). While no ring uses it.
 */
void inflight_forget(struct inflight *inflight, uint16_t index);

/*
 * The device's area: all that lies behind the queues' parts, *@ret_bytes. NULL
 * if there is none, as in a region that another back-end made.
 */
void *inflight_area(struct inflight *inflight, size_t *ret_bytes);

/* See guest_memory_is_broken. */
bool inflight_is_broken(const struct inflight *inflight);

#endif
