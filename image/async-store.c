/* SPDX-License-Identifier: Apache-2.0 */
#include "image/async-store.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/bytes.h"

enum {
	REFUSES_EACH = 13,
	CHUNK = 4096,
};

struct async {
	struct store store;
	struct store *under;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	struct store_io *first; /* the last to come is the first to be done */
	unsigned submitted, carried_out;
	bool ending;
};

static struct async *to_async(struct store *store)
{
	return container_of(store, struct async, store);
}

/* In pieces: buffers may be scattered. */
static int move(struct async *async, struct store_io *io)
{
	bool read = io->kind == STORE_IO_READ;
	uint64_t left = io->length;
	char buffer[CHUNK];
	int err = 0;

	for (uint64_t at = io->offset; left > 0 && err == 0;) {
		size_t bytes = MIN(left, (uint64_t)CHUNK);

		if (!read)
			iov_read(&io->iov, buffer, bytes);
		err = read ? store_read(async->under, at, buffer, bytes)
			   : store_write(async->under, at, buffer, bytes);
		if (read && err == 0)
			iov_write(&io->iov, buffer, bytes);
		at += bytes;
		left -= bytes;
	}
	return err;
}

static int carry_out(struct async *async, struct store_io *io)
{
	switch (io->kind) {
	case STORE_IO_READ:
	case STORE_IO_WRITE:
		return move(async, io);
	case STORE_IO_FLUSH:
		return store_flush(async->under);
	case STORE_IO_ZERO:
		return store_zero(async->under, io->offset, io->length);
	case STORE_IO_PUNCH:
		return store_punch(async->under, io->offset, io->length);
	case STORE_IO_STATUS:
		break;
	}
	return -1;
}

static struct store_io *take(struct async *async)
{
	struct store_io *io;

	pthread_mutex_lock(&async->lock);
	while (!async->first && !async->ending)
		pthread_cond_wait(&async->wanted, &async->lock);
	io = async->first;
	if (io) {
		async->first = io->next;
		async->carried_out++;
	}
	pthread_mutex_unlock(&async->lock);
	return io;
}

static void *work(void *arg)
{
	struct async *async = arg;
	struct store_io *io;

	while ((io = take(async)))
		io->done(io, carry_out(async, io));
	return NULL;
}

static bool async_submit(struct store *store, struct store_io *io)
{
	struct async *async = to_async(store);
	bool takes;

	pthread_mutex_lock(&async->lock);
	takes = ++async->submitted % REFUSES_EACH != 0;
	if (takes) {
		io->next = async->first;
		async->first = io;
		pthread_cond_signal(&async->wanted);
	}
	pthread_mutex_unlock(&async->lock);
	return takes;
}

unsigned async_carried_out(struct store *store)
{
	struct async *async = to_async(store);
	unsigned count;

	pthread_mutex_lock(&async->lock);
	count = async->carried_out;
	pthread_mutex_unlock(&async->lock);
	return count;
}

static int async_read(struct store *store, uint64_t offset, void *ret_data,
		      size_t length)
{
	return store_read(to_async(store)->under, offset, ret_data, length);
}

static int async_write(struct store *store, uint64_t offset, const void *data,
		       size_t length)
{
	return store_write(to_async(store)->under, offset, data, length);
}

static int async_flush(struct store *store)
{
	return store_flush(to_async(store)->under);
}

static int async_resize(struct store *store, uint64_t size_bytes)
{
	return store_resize(to_async(store)->under, size_bytes);
}

static int async_punch(struct store *store, uint64_t offset, uint64_t length)
{
	return store_punch(to_async(store)->under, offset, length);
}

static int async_zero(struct store *store, uint64_t offset, uint64_t length)
{
	return store_zero(to_async(store)->under, offset, length);
}

static void async_free(struct store *store)
{
	struct async *async = to_async(store);

	pthread_mutex_lock(&async->lock);
	async->ending = true;
	pthread_cond_signal(&async->wanted);
	pthread_mutex_unlock(&async->lock);
	pthread_join(async->thread, NULL);
	pthread_cond_destroy(&async->wanted);
	pthread_mutex_destroy(&async->lock);
	store_free(async->under);
	free(async);
}

static const struct store_ops async_ops = {
	.read = async_read,
	.write = async_write,
	.flush = async_flush,
	.resize = async_resize,
	.punch = async_punch,
	.zero = async_zero,
	.submit = async_submit,
	.free = async_free,
};

struct store *async_new(struct store *under)
{
	struct async *async = calloc(1, sizeof(*async));

	if (!async)
		return NULL;
	async->store = *under;
	async->store.ops = &async_ops;
	async->store.name = "async";
	async->store.fd = -1;
	async->under = under;
	pthread_mutex_init(&async->lock, NULL);
	pthread_cond_init(&async->wanted, NULL);
	if (pthread_create(&async->thread, NULL, work, async) != 0)
		abort();
	return &async->store;
}
