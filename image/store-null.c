/* SPDX-License-Identifier: Apache-2.0 */
/* A store of nothing: zeroes are read, and what is written is gone. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/store.h"

static int null_read(struct store *store, uint64_t offset, void *ret_data,
		     size_t length)
{
	memset(ret_data, 0, length);
	return 0;
}

static int null_write(struct store *store, uint64_t offset, const void *data,
		      size_t length)
{
	return 0;
}

static int null_flush(struct store *store)
{
	return 0;
}

static int null_resize(struct store *store, uint64_t size_bytes)
{
	store->size_bytes = size_bytes;
	return 0;
}

static int null_zero(struct store *store, uint64_t offset, uint64_t length)
{
	return 0;
}

static int null_status(struct store *store, uint64_t offset, uint64_t length,
		       struct store_status *ret)
{
	*ret = (struct store_status){
		.length = length, .zero = true, .hole = true};
	return 0;
}

static void null_free(struct store *store)
{
	free(store);
}

static const struct store_ops null_ops = {
	.read = null_read,
	.write = null_write,
	.flush = null_flush,
	.resize = null_resize,
	.punch = null_zero,
	.zero = null_zero,
	.status = null_status,
	.free = null_free,
};

int store_new_null(uint64_t size_bytes, struct store **ret_store)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	*store = (struct store){
		.ops = &null_ops,
		.name = "null-co://",
		.fd = -1,
		.size_bytes = size_bytes,
		.alignment = 1,
	};
	*ret_store = store;
	return 0;
}
