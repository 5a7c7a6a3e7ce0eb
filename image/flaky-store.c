/* SPDX-License-Identifier: Apache-2.0 */
#include "image/flaky-store.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"

struct flaky {
	struct store store;
	struct store *under;
	const bool *on;
	unsigned calls;
};

enum {
	FAILS_EACH = 23 /* a prime: each kind of call gets its turn */
};

static struct flaky *to_flaky(struct store *store)
{
	return container_of(store, struct flaky, store);
}

static bool fails(struct flaky *flaky)
{
	return *flaky->on &&
	       __atomic_add_fetch(&flaky->calls, 1, __ATOMIC_RELAXED) %
			       FAILS_EACH ==
		       0;
}

static int flaky_read(struct store *store, uint64_t offset, void *ret_data,
		      size_t length)
{
	struct flaky *flaky = to_flaky(store);

	if (fails(flaky))
		return -EIO;
	return store_read(flaky->under, offset, ret_data, length);
}

static int flaky_write(struct store *store, uint64_t offset, const void *data,
		       size_t length)
{
	struct flaky *flaky = to_flaky(store);

	if (fails(flaky))
		return -ENOSPC;
	return store_write(flaky->under, offset, data, length);
}

static int flaky_flush(struct store *store)
{
	struct flaky *flaky = to_flaky(store);

	return fails(flaky) ? -EIO : store_flush(flaky->under);
}

static int flaky_resize(struct store *store, uint64_t size_bytes)
{
	struct flaky *flaky = to_flaky(store);

	return fails(flaky) ? -ENOSPC : store_resize(flaky->under, size_bytes);
}

static int flaky_punch(struct store *store, uint64_t offset, uint64_t length)
{
	struct flaky *flaky = to_flaky(store);

	return fails(flaky) ? -EIO : store_punch(flaky->under, offset, length);
}

/* Also sometimes not able to: the caller writes zeroes then. */
static int flaky_zero(struct store *store, uint64_t offset, uint64_t length)
{
	struct flaky *flaky = to_flaky(store);

	return fails(flaky) ? -ENOTSUP
			    : store_zero(flaky->under, offset, length);
}

static void flaky_free(struct store *store)
{
	store_free(to_flaky(store)->under);
	free(to_flaky(store));
}

static const struct store_ops flaky_ops = {
	.read = flaky_read,
	.write = flaky_write,
	.flush = flaky_flush,
	.resize = flaky_resize,
	.punch = flaky_punch,
	.zero = flaky_zero,
	.free = flaky_free,
};

struct store *flaky_new(struct store *under, const bool *on)
{
	struct flaky *flaky = calloc(1, sizeof(*flaky));

	if (!flaky)
		return NULL;
	flaky->store = *under;
	flaky->store.ops = &flaky_ops;
	flaky->store.name = "flaky";
	flaky->store.fd = -1;
	flaky->under = under;
	flaky->on = on;
	return &flaky->store;
}
