/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A regular file, a block device, or a slice of either.
 *
 * With O_DIRECT the kernel wants offsets, lengths and memory aligned. The
 * executor sees to that for its own transfers; the synchronous calls here, which
 * formats use for headers and tables, go through store-bounce.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "image/store-bounce.h"
#include "image/store-lock.h"
#include "image/store.h"

enum {
	DIRECT_FALLBACK_ALIGNMENT = 4096,
	MAX_TRANSFER = 1 << 30, /* the kernel moves at most 2 GiB - 4 KiB */
};

struct store_file {
	struct store store;
	char *name;
	bool is_slice;
	bool locked;
	struct store_bounce bounce; /* with O_DIRECT */
	pthread_mutex_t run_lock;
	uint64_t run_begin, run_end; /* the data found last, if read only */
};

static struct store_file *to_file(struct store *store)
{
	return container_of(store, struct store_file, store);
}

/* A slice is a wall: nothing passes its end. */
static int check_slice(struct store *store, uint64_t offset, uint64_t length)
{
	uint64_t limit = to_file(store)->is_slice
				 ? store->size_bytes
				 : INT64_MAX - store->fd_offset;

	return range_fits(offset, length, limit) ? 0 : -EINVAL;
}

/* Another thread may grow it at the same time: it only ever moves up. */
static void note_growth(struct store *store, uint64_t end)
{
	uint64_t size = load_once(&store->size_bytes);

	while (end > size && !__atomic_compare_exchange_n(
				     &store->size_bytes, &size, end, false,
				     __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static int read_fully(struct store *store, uint64_t offset, void *ret_data,
		      size_t length)
{
	char *to = ret_data;

	while (length > 0) {
		ssize_t got =
			pread(store->fd, to, MIN(length, (size_t)MAX_TRANSFER),
			      store->fd_offset + offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		to += got;
		offset += got;
		length -= got;
	}
	memset(to, 0, length);
	return 0;
}

static int write_fully(struct store *store, uint64_t offset, const void *data,
		       size_t length)
{
	const char *from = data;

	while (length > 0) {
		ssize_t put = pwrite(store->fd, from,
				     MIN(length, (size_t)MAX_TRANSFER),
				     store->fd_offset + offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		from += put;
		offset += put;
		length -= put;
	}
	note_growth(store, offset);
	return 0;
}

static const struct store_aligned_io aligned = {read_fully, write_fully};

static bool needs_bounce(const struct store *store, uint64_t offset,
			 const void *data, size_t length)
{
	return !is_aligned(offset | (uintptr_t)data | length, store->alignment);
}

static int file_read(struct store *store, uint64_t offset, void *ret_data,
		     size_t length)
{
	int err = check_slice(store, offset, length);

	if (err < 0)
		return err;
	if (needs_bounce(store, offset, ret_data, length))
		return store_bounce_read(store, &to_file(store)->bounce,
					 &aligned, offset, ret_data, length);
	return read_fully(store, offset, ret_data, length);
}

static int file_write(struct store *store, uint64_t offset, const void *data,
		      size_t length)
{
	int err = check_slice(store, offset, length);

	if (err < 0)
		return err;
	if (needs_bounce(store, offset, data, length))
		return store_bounce_write(store, &to_file(store)->bounce,
					  &aligned, offset, data, length);
	return write_fully(store, offset, data, length);
}

static int file_flush(struct store *store)
{
	return store_flushed(store, fdatasync(store->fd) < 0 ? -errno : 0);
}

static int file_resize(struct store *store, uint64_t size_bytes)
{
	if (!store->can_grow || size_bytes > INT64_MAX)
		return -ENOTSUP;
	if (ftruncate(store->fd, (off_t)size_bytes) < 0)
		return -errno;
	store_once(&store->size_bytes, size_bytes);
	return 0;
}

static int allocate(struct store *store, int mode, uint64_t offset,
		    uint64_t length)
{
	int err = check_slice(store, offset, length);

	if (err < 0 || length == 0)
		return err;
	if (fallocate(store->fd, mode | FALLOC_FL_KEEP_SIZE,
		      (off_t)(store->fd_offset + offset), (off_t)length) == 0)
		return 0;
	return errno == EOPNOTSUPP || errno == ENODEV ? -ENOTSUP : -errno;
}

static int file_punch(struct store *store, uint64_t offset, uint64_t length)
{
	return allocate(store, FALLOC_FL_PUNCH_HOLE, offset, length);
}

static int file_zero(struct store *store, uint64_t offset, uint64_t length)
{
	int err = allocate(store, FALLOC_FL_ZERO_RANGE, offset, length);

	/* tmpfs knows only how to punch. */
	if (err == -ENOTSUP)
		err = allocate(store, FALLOC_FL_PUNCH_HOLE, offset, length);
	return err;
}

/*
 * To find the end of data that was written a moment ago the file system looks
 * at each page of it. An image in clusters asks for many parts of one run of
 * data, so the run is kept. Somebody else may punch holes into it: they are
 * read as data then, which they may be at any time.
 */
static bool is_in_run(struct store_file *file, uint64_t begin,
		      uint64_t *ret_end)
{
	bool found;

	pthread_mutex_lock(&file->run_lock);
	found = begin >= file->run_begin && begin < file->run_end;
	if (found)
		*ret_end = file->run_end;
	pthread_mutex_unlock(&file->run_lock);
	return found;
}

static void keep_run(struct store_file *file, uint64_t begin, uint64_t end)
{
	if (!file->store.read_only)
		return;
	pthread_mutex_lock(&file->run_lock);
	file->run_begin = begin;
	file->run_end = end;
	pthread_mutex_unlock(&file->run_lock);
}

/* The file system's map of holes; a device has none. */
static void seek_status(struct store *store, uint64_t begin, uint64_t length,
			struct store_status *ret)
{
	off_t to = lseek(store->fd, (off_t)begin, SEEK_DATA);

	if (to < 0 && errno != ENXIO)
		return;
	ret->zero = ret->hole = to < 0 || (uint64_t)to > begin;
	if (!ret->hole)
		to = lseek(store->fd, (off_t)begin, SEEK_HOLE);
	if (to < 0 || (uint64_t)to <= begin)
		return;
	ret->length = MIN(length, (uint64_t)to - begin);
	if (!ret->hole)
		keep_run(to_file(store), begin, (uint64_t)to);
}

static int file_status(struct store *store, uint64_t offset, uint64_t length,
		       struct store_status *ret)
{
	uint64_t begin = store->fd_offset + offset, end;

	if (is_in_run(to_file(store), begin, &end))
		ret->length = MIN(length, end - begin);
	else
		seek_status(store, begin, length, ret);
	return 0;
}

static void file_free(struct store *store)
{
	struct store_file *file = to_file(store);

	if (file->locked)
		store_unlock(store->fd);
	fd_close(&store->fd);
	store_bounce_deinit(&file->bounce);
	pthread_mutex_destroy(&file->run_lock);
	free(file->name);
	free(file);
}

static const struct store_ops file_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.resize = file_resize,
	.punch = file_punch,
	.zero = file_zero,
	.status = file_status,
	.free = file_free,
};

static uint32_t direct_alignment(int fd, const struct stat *st)
{
	uint32_t alignment = 0;
	int sector = 0;
#ifdef STATX_DIOALIGN
	struct statx x;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 &&
	    x.stx_mask & STATX_DIOALIGN)
		alignment = MAX(x.stx_dio_mem_align, x.stx_dio_offset_align);
#endif
	if (alignment == 0 && S_ISBLK(st->st_mode) &&
	    ioctl(fd, BLKSSZGET, &sector) == 0)
		alignment = sector;
	if (!is_power_of_two(alignment) || alignment > STORE_MAX_ALIGNMENT)
		alignment = DIRECT_FALLBACK_ALIGNMENT;
	return alignment;
}

static int measure(int fd, const struct stat *st, uint64_t *ret_bytes)
{
	if (S_ISREG(st->st_mode)) {
		*ret_bytes = st->st_size;
		return 0;
	}
	if (ioctl(fd, BLKGETSIZE64, ret_bytes) < 0)
		return -errno;
	return 0;
}

/* Limits the store to the slice that was asked for, within the file. */
static int take_slice(struct store_file *file,
		      const struct store_file_options *options,
		      char **ret_error)
{
	uint64_t size = file->store.size_bytes;
	uint32_t alignment = file->store.alignment;
	uint64_t length = options->length;

	if (options->offset == 0 && length == 0)
		return 0;
	if (options->offset <= size && length == 0)
		length = size - options->offset;
	if (length == 0 || !range_fits(options->offset, length, size))
		return store_fail(ret_error, -EINVAL,
				  "%s: the slice %llu:%llu lies outside its "
				  "%llu bytes",
				  file->name,
				  (unsigned long long)options->offset,
				  (unsigned long long)options->length,
				  (unsigned long long)size);
	if (!is_aligned(options->offset | length, alignment))
		return store_fail(ret_error, -EINVAL,
				  "%s: with O_DIRECT a slice begins and ends "
				  "at a multiple of %u bytes",
				  file->name, alignment);
	file->is_slice = true;
	file->store.fd_offset = options->offset;
	file->store.size_bytes = length;
	file->store.can_grow = false;
	return 0;
}

static int take_lock(struct store_file *file,
		     const struct store_file_options *options, char **ret_error)
{
	bool write = !options->read_only;
	int err;

	if (options->no_lock)
		return 0;
	err = store_lock(file->store.fd, options->offset, options->length,
			 write);
	file->locked = err == 0;
	if (err == -EAGAIN)
		return store_fail(ret_error, err,
				  "%s: another process has it open%s; close "
				  "that, or open a slice that does not overlap",
				  file->name, write ? "" : " for writing");
	if (err < 0)
		return store_fail(ret_error, err, "%s: cannot be locked: %s",
				  file->name, strerror(-err));
	return 0;
}

static int set_up(struct store_file *file,
		  const struct store_file_options *options, char **ret_error)
{
	struct store *store = &file->store;
	struct stat st;
	int err;

	if (fstat(store->fd, &st) < 0)
		return store_fail(ret_error, -errno, "%s: %s", file->name,
				  strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return store_fail(ret_error, -EINVAL,
				  "%s: neither a regular file nor a block "
				  "device",
				  file->name);
	err = measure(store->fd, &st, &store->size_bytes);
	if (err < 0)
		return store_fail(ret_error, err, "%s: has no size: %s",
				  file->name, strerror(-err));
	store->can_grow = S_ISREG(st.st_mode) && !options->read_only;
	if (options->direct) {
		store->alignment = direct_alignment(store->fd, &st);
		err = store_bounce_init(&file->bounce, store->alignment);
		if (err < 0)
			return err;
	}
	err = take_slice(file, options, ret_error);
	if (err < 0)
		return err;
	return take_lock(file, options, ret_error);
}

/* Takes @fd. */
static int store_from_fd(int fd, const char *path,
			 const struct store_file_options *options,
			 struct store **ret_store, char **ret_error)
{
	struct store_file *file = calloc(1, sizeof(*file));
	char *name = strdup(path);
	int err;

	if (!file || !name) {
		free(file);
		free(name);
		close(fd);
		return -ENOMEM;
	}
	*file = (struct store_file){
		.store =
			{
				.ops = &file_ops,
				.name = name,
				.fd = fd,
				.read_only = options->read_only,
				.alignment = 1,
			},
		.name = name,
		.run_lock = PTHREAD_MUTEX_INITIALIZER,
	};
	err = set_up(file, options, ret_error);
	if (err < 0) {
		file_free(&file->store);
		return err;
	}
	*ret_store = &file->store;
	return 0;
}

static int open_path(const char *path, int flags, bool no_links)
{
	struct open_how how = {
		.flags = (unsigned)flags,
		.resolve = RESOLVE_NO_SYMLINKS,
	};

	if (!no_links)
		return open(path, flags);
	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

int store_open_file(const char *path, const struct store_file_options *options,
		    struct store **ret_store, char **ret_error)
{
	int flags = O_CLOEXEC | (options->read_only ? O_RDONLY : O_RDWR) |
		    (options->direct ? O_DIRECT : 0);
	/* O_NONBLOCK: a FIFO must not hold us up before it is refused. */
	int fd = open_path(path, flags | O_NONBLOCK, options->no_links);

	if (fd < 0)
		return store_fail(
			ret_error, -errno, "%s: %s%s", path, strerror(errno),
			errno == EINVAL && options->direct
				? " (no O_DIRECT on this file system?)"
				: "");
	if (fcntl(fd, F_SETFL, flags) < 0) {
		int err = -errno;

		close(fd);
		return store_fail(ret_error, err, "%s: %s", path,
				  strerror(-err));
	}
	return store_from_fd(fd, path, options, ret_store, ret_error);
}

int store_create_file(const char *path, bool overwrite,
		      struct store **ret_store, char **ret_error)
{
	const struct store_file_options options = {0};
	struct store *store;
	int fd = open(path,
		      O_CREAT | O_RDWR | O_CLOEXEC | O_NONBLOCK |
			      (overwrite ? 0 : O_EXCL),
		      0666);
	int err;

	if (fd < 0)
		return store_fail(ret_error, -errno, "%s: %s", path,
				  strerror(errno));
	err = fcntl(fd, F_SETFL, O_RDWR) < 0 ? -errno : 0;
	if (err < 0) {
		close(fd);
		return store_fail(ret_error, err, "%s: %s", path,
				  strerror(-err));
	}
	err = store_from_fd(fd, path, &options, &store, ret_error);
	if (err < 0)
		return err;
	/* Emptied only now: not before the lock says that nobody uses it. */
	err = store->can_grow ? store_resize(store, 0) : -EINVAL;
	if (err < 0) {
		store_free(store);
		return store_fail(ret_error, err, "%s: cannot be emptied: %s",
				  path, strerror(-err));
	}
	*ret_store = store;
	return 0;
}
