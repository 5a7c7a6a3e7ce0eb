/* SPDX-License-Identifier: Apache-2.0 */
#include "image/fault-store.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

struct faulty {
	struct store store;
	struct store *under;
	pthread_mutex_t lock; /* of what is left of the faults, and the size */
	bool armed;
	size_t count;
	struct store_fault faults[];
};

static struct faulty *to_faulty(struct store *store)
{
	return container_of(store, struct faulty, store);
}

static bool touches(const struct store_fault *fault, uint64_t offset,
		    uint64_t length)
{
	if (fault->length == 0)
		return true;
	if (offset < fault->offset)
		return length > fault->offset - offset;
	return offset - fault->offset < fault->length;
}

/* What a call is to return before anything is done; 0: it may go on. */
static int judge(struct faulty *faulty, enum store_io_kind kind,
		 uint64_t offset, uint64_t length)
{
	int err = 0;

	pthread_mutex_lock(&faulty->lock);
	for (size_t i = 0; i < faulty->count && err == 0; i++) {
		struct store_fault *fault = &faulty->faults[i];

		if (!(fault->kinds & 1u << kind) ||
		    (fault->later && !faulty->armed) ||
		    !touches(fault, offset, length))
			continue;
		err = -fault->error;
		if (fault->once)
			fault->kinds = 0;
	}
	pthread_mutex_unlock(&faulty->lock);
	return err;
}

/* A call that may have changed the size came back. */
static int changed(struct faulty *faulty, int err)
{
	pthread_mutex_lock(&faulty->lock);
	faulty->store.size_bytes = faulty->under->size_bytes;
	pthread_mutex_unlock(&faulty->lock);
	return err;
}

static int faulty_read(struct store *store, uint64_t offset, void *ret_data,
		       size_t length)
{
	struct faulty *faulty = to_faulty(store);
	int err = judge(faulty, STORE_IO_READ, offset, length);

	return err ? err : store_read(faulty->under, offset, ret_data, length);
}

static int faulty_write(struct store *store, uint64_t offset, const void *data,
			size_t length)
{
	struct faulty *faulty = to_faulty(store);
	int err = judge(faulty, STORE_IO_WRITE, offset, length);

	return err ? err
		   : changed(faulty,
			     store_write(faulty->under, offset, data, length));
}

static int faulty_flush(struct store *store)
{
	struct faulty *faulty = to_faulty(store);
	int err = judge(faulty, STORE_IO_FLUSH, 0, UINT64_MAX);

	return err ? err : store_flush(faulty->under);
}

static int faulty_resize(struct store *store, uint64_t size_bytes)
{
	struct faulty *faulty = to_faulty(store);

	return changed(faulty, store_resize(faulty->under, size_bytes));
}

static int faulty_punch(struct store *store, uint64_t offset, uint64_t length)
{
	struct faulty *faulty = to_faulty(store);
	int err = judge(faulty, STORE_IO_PUNCH, offset, length);

	return err ? err : store_punch(faulty->under, offset, length);
}

static int faulty_zero(struct store *store, uint64_t offset, uint64_t length)
{
	struct faulty *faulty = to_faulty(store);
	int err = judge(faulty, STORE_IO_ZERO, offset, length);

	return err ? err
		   : changed(faulty, store_zero(faulty->under, offset, length));
}

/* A run ends where another one, of which it cannot be told, may begin. */
static int faulty_status(struct store *store, uint64_t offset, uint64_t length,
			 struct store_status *ret)
{
	struct faulty *faulty = to_faulty(store);
	int err;

	for (size_t i = 0; i < faulty->count; i++) {
		const struct store_fault *fault = &faulty->faults[i];

		if (fault->length && offset < fault->offset)
			length = MIN(length, fault->offset - offset);
	}
	err = judge(faulty, STORE_IO_STATUS, offset, 1);
	return err ? err : store_status(faulty->under, offset, length, ret);
}

static void faulty_free(struct store *store)
{
	struct faulty *faulty = to_faulty(store);

	store_free(faulty->under);
	pthread_mutex_destroy(&faulty->lock);
	free(faulty);
}

static const struct store_ops faulty_ops = {
	.read = faulty_read,
	.write = faulty_write,
	.flush = faulty_flush,
	.resize = faulty_resize,
	.punch = faulty_punch,
	.zero = faulty_zero,
	.status = faulty_status,
	.free = faulty_free,
};

int store_new_faulty(struct store *under, const struct store_fault *faults,
		     size_t count, struct store **ret_store)
{
	struct faulty *faulty =
		calloc(1, sizeof(*faulty) + count * sizeof(*faults));

	if (!faulty)
		return -ENOMEM;
	faulty->store = (struct store){
		.ops = &faulty_ops,
		.name = under->name,
		.fd = -1,
		.size_bytes = under->size_bytes,
		.read_only = under->read_only,
		.can_grow = under->can_grow,
		.alignment = under->alignment,
	};
	faulty->under = under;
	pthread_mutex_init(&faulty->lock, NULL);
	faulty->count = count;
	if (count)
		memcpy(faulty->faults, faults, count * sizeof(*faults));
	*ret_store = &faulty->store;
	return 0;
}

void store_arm_faults(struct store *store)
{
	struct faulty *faulty = to_faulty(store);

	pthread_mutex_lock(&faulty->lock);
	faulty->armed = true;
	pthread_mutex_unlock(&faulty->lock);
}
