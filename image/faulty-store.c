/* SPDX-License-Identifier: Apache-2.0 */
#include "image/faulty-store.h"

#include <errno.h>

#include "base/bytes.h"

static struct faulty_store *faulty_of(struct store *store)
{
	return container_of(store, struct faulty_store, store);
}

static bool fails(struct faulty_store *f, bool counts)
{
	if (f->failed && f->for_good)
		return true;
	if (!counts || f->countdown == 0 || --f->countdown)
		return false;
	f->failed = true;
	return true;
}

static int faulty_read(struct store *store, uint64_t offset, void *ret_data,
		       size_t length)
{
	return store_read(faulty_of(store)->under, offset, ret_data, length);
}

static int faulty_write(struct store *store, uint64_t offset, const void *data,
			size_t length)
{
	struct faulty_store *f = faulty_of(store);
	int err;

	f->after = f->at == FAULTY_ANY_OFFSET || (uint64_t)f->at == offset;
	if (f->limit && !range_fits(offset, length, f->limit))
		return -EFBIG;
	if (fails(f, f->after))
		return -EIO;
	err = store_write(f->under, offset, data, length);
	store->size_bytes = f->under->size_bytes;
	return err;
}

static int faulty_flush(struct store *store)
{
	return fails(faulty_of(store), faulty_of(store)->after) ? -EIO : 0;
}

static int faulty_resize(struct store *store, uint64_t size_bytes)
{
	struct faulty_store *f = faulty_of(store);
	int err;

	if (f->limit && size_bytes > f->limit)
		return -EFBIG;
	if (fails(f, f->at == FAULTY_ANY_OFFSET))
		return -EIO;
	err = store_resize(f->under, size_bytes);
	store->size_bytes = f->under->size_bytes;
	return err;
}

static int faulty_punch(struct store *store, uint64_t offset, uint64_t length)
{
	return store_punch(faulty_of(store)->under, offset, length);
}

static void keep(struct store *store)
{
}

static const struct store_ops faulty_ops = {
	.read = faulty_read,
	.write = faulty_write,
	.flush = faulty_flush,
	.resize = faulty_resize,
	.punch = faulty_punch,
	.zero = faulty_punch,
	.free = keep,
};

int faulty_store_init(struct faulty_store *faulty)
{
	int err;

	*faulty = (struct faulty_store){.at = FAULTY_ANY_OFFSET};
	err = store_new_memory(0, &faulty->under);
	if (err)
		return err;
	faulty->store = *faulty->under;
	faulty->store.ops = &faulty_ops;
	return 0;
}

void faulty_store_deinit(struct faulty_store *faulty)
{
	store_free(faulty->under);
	faulty->under = NULL;
}

void faulty_store_arm(struct faulty_store *faulty, uint64_t countdown,
		      bool for_good)
{
	faulty->countdown = countdown;
	faulty->for_good = for_good;
	faulty->failed = false;
}
