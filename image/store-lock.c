/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>

#include "base/bytes.h"

enum {
	QEMU_USES = 100,
	QEMU_FORBIDS = 200,
	/* BLK_PERM_CONSISTENT_READ, _WRITE and _RESIZE, as bit numbers. */
	QEMU_READ = 0,
	QEMU_WRITE = 1,
	QEMU_RESIZE = 3,
};

static int set_lock(int fd, short type, int64_t start, int64_t length)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = start,
		.l_len = length,
	};

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

/* 0, -EAGAIN if another descriptor holds any lock on @byte, or an error. */
static int look_for_lock(int fd, int64_t byte)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;
	return lock.l_type == F_UNLCK ? 0 : -EAGAIN;
}

/* First our bytes, then the look at theirs: of two, at least one sees. */
static int lock_as_qemu(int fd, bool write)
{
	static const int reader[] = {QEMU_USES + QEMU_READ,
				     QEMU_FORBIDS + QEMU_WRITE,
				     QEMU_FORBIDS + QEMU_RESIZE};
	static const int writer[] = {QEMU_USES + QEMU_WRITE,
				     QEMU_USES + QEMU_RESIZE};
	static const int against_reader[] = {QEMU_FORBIDS + QEMU_READ,
					     QEMU_USES + QEMU_WRITE,
					     QEMU_USES + QEMU_RESIZE};
	static const int against_writer[] = {QEMU_FORBIDS + QEMU_WRITE,
					     QEMU_FORBIDS + QEMU_RESIZE};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(reader) && err == 0; i++)
		err = set_lock(fd, F_RDLCK, reader[i], 1);
	for (size_t i = 0; write && i < ARRAY_SIZE(writer) && err == 0; i++)
		err = set_lock(fd, F_RDLCK, writer[i], 1);
	for (size_t i = 0; i < ARRAY_SIZE(against_reader) && err == 0; i++)
		err = look_for_lock(fd, against_reader[i]);
	for (size_t i = 0; write && i < ARRAY_SIZE(against_writer) && err == 0;
	     i++)
		err = look_for_lock(fd, against_writer[i]);
	return err;
}

void store_unlock(int fd)
{
	(void)set_lock(fd, F_UNLCK, 0, 0);
}

int store_lock(int fd, uint64_t offset, uint64_t length, bool write)
{
	int err;

	if (!range_fits(offset, length, STORE_LOCK_BASE - 1))
		return -EINVAL;
	err = set_lock(fd, write ? F_WRLCK : F_RDLCK,
		       STORE_LOCK_BASE + (int64_t)offset, (int64_t)length);
	if (err == 0 && offset == 0 && length == 0)
		err = lock_as_qemu(fd, write);
	return err;
}
