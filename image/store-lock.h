/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may have a file open at the same time, kept by the kernel in open file
 * description (OFD) locks, which vanish with the descriptor.
 *
 * Among ourselves, each opener locks the bytes of its slice: shared to read,
 * exclusive to write. Disjoint slices never meet, so one file or device can be
 * partitioned between daemons that need not know of each other. The locked
 * range is that of the slice moved up by STORE_LOCK_BASE, where no file has
 * bytes and nobody else's locks lie.
 *
 * QEMU and its tools agree through shared locks on single bytes near the
 * start of the file: 100 + n says "I use permission n", 200 + n says "nobody
 * else may use it" (1 << n being its BLK_PERM_* bits). An opener of a whole file
 * follows that protocol too, so that qemu-img refuses to write to an image that
 * we serve, and we refuse one that a guest is running on. It does not know
 * slices: who opens one neither takes nor looks at QEMU's bytes.
 */
#ifndef IMAGE_STORE_LOCK_H
#define IMAGE_STORE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#define STORE_LOCK_BASE (INT64_C(1) << 62)

/*
 * Locks [offset, offset + length) of @fd, to the end if @length is 0. Returns
 * 0, -EAGAIN if somebody else's lock is in the way, or another negative errno.
 * The locks go when the last descriptor of the open file does.
 */
int store_lock(int fd, uint64_t offset, uint64_t length, bool write);

/*
 * Gives up all locks of @fd, QEMU's bytes too. To be called before it is closed:
 * an io_uring lets go of files some time after its owner has, or has ended, and
 * who comes next would find the image in use.
 */
void store_unlock(int fd);

#endif
