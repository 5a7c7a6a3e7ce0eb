/* SPDX-License-Identifier: Apache-2.0 */
/* Making, measuring and resizing raw images. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/raw-manage.h"

enum {
	CHUNK = 1 << 20,
	FIRST_BLOCK = 4096,
	SECTOR_BYTES = 512,
};

static const struct image_option options[] = {
	{"size", IMAGE_OPTION_SIZE, IMAGE_OPTION_CREATE, "virtual disk size",
	 NULL, NULL},
	{"preallocation", IMAGE_OPTION_STRING, IMAGE_OPTION_CREATE,
	 "what is allocated beforehand", "off|falloc|full", NULL},
	IMAGE_FILE_OPTIONS,
	{NULL, IMAGE_OPTION_STRING, 0, NULL, NULL, NULL},
};

static int write_zeroes(struct store *store, uint64_t from, uint64_t to)
{
	char *zeroes = calloc(1, CHUNK);
	int err = zeroes ? 0 : -ENOMEM;

	while (from < to && err == 0) {
		size_t part = MIN(to - from, (uint64_t)CHUNK);

		err = store_write(store, from, zeroes, part);
		from += part;
	}
	free(zeroes);
	return err;
}

static int reserve(struct store *store, uint64_t from, uint64_t to)
{
	int err;

	do
		err = posix_fallocate(store->fd, (off_t)from,
				      (off_t)(to - from));
	while (err == EINTR);
	return -err;
}

/* To @size_bytes; what is added is allocated as @how says. */
static int grow(struct store *store, uint64_t size_bytes,
		enum image_preallocation how)
{
	uint64_t old = store->size_bytes;
	int err = store_resize(store, size_bytes);

	if (err || size_bytes <= old)
		return err;
	if (how == IMAGE_PREALLOCATION_FALLOC && store->fd >= 0)
		err = reserve(store, old, size_bytes);
	else if (how != IMAGE_PREALLOCATION_OFF)
		err = write_zeroes(store, old, size_bytes);
	return err;
}

/*
 * Who opens an image with O_DIRECT tries which alignment it takes by reading its
 * begin, and file systems answer a read of a hole at any. QEMU allocates the
 * first block for that reason, and relies on it.
 */
static int allocate_first_block(struct store *store)
{
	static const char zeroes[FIRST_BLOCK];

	return store_write(store, 0, zeroes,
			   MIN(store->size_bytes, (uint64_t)FIRST_BLOCK));
}

static int raw_create(const struct image_create_request *request,
		      char **ret_error)
{
	const struct image_options *o = request->options;
	const char *mode = image_options_string(o, "preallocation", "off");
	uint64_t size = request->size_bytes
				? request->size_bytes
				: image_options_number(o, "size", 0);
	enum image_preallocation how;
	int err;

	if (request->backing_name)
		return store_fail(ret_error, -EINVAL,
				  "a raw image has no backing image");
	if (image_preallocation_parse(mode, &how) ||
	    how == IMAGE_PREALLOCATION_METADATA)
		return store_fail(ret_error, -EINVAL,
				  "preallocation=%s: a raw image knows off, "
				  "falloc and full",
				  mode);
	if (!request->store->can_grow) {
		if (size > request->store->size_bytes)
			return store_fail(ret_error, -ENOSPC,
					  "the device is smaller than the "
					  "image");
		return 0;
	}
	err = grow(request->store, size, how);
	if (err == 0 && how == IMAGE_PREALLOCATION_OFF)
		err = allocate_first_block(request->store);
	if (err)
		store_fail(ret_error, err, "%s: %s", request->store->name,
			   strerror(-err));
	return err;
}

/* A hole counts: not every file system has them. */
static int raw_measure(const struct image_create_request *request,
		       struct image *source, struct image_measure *ret,
		       char **ret_error)
{
	uint64_t size = request->size_bytes;

	if (source)
		size = source->size_bytes;
	else if (size == 0)
		size = image_options_number(request->options, "size", 0);
	size = align_up(size, SECTOR_BYTES);
	*ret = (struct image_measure){.required = size,
				      .fully_allocated = size};
	return 0;
}

static int raw_resize(struct image *image, uint64_t size_bytes,
		      enum image_preallocation preallocation)
{
	int err;

	if (preallocation == IMAGE_PREALLOCATION_METADATA)
		return -ENOTSUP;
	if (!image->store->can_grow)
		return -ENOTSUP;
	err = grow(image->store, size_bytes, preallocation);
	if (err == 0)
		image->size_bytes = size_bytes;
	return err;
}

const struct image_manage raw_manage = {
	.options = options,
	.create = raw_create,
	.measure = raw_measure,
	.resize = raw_resize,
};
