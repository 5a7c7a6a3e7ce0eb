/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pools: made once, so that no request allocates. Buffers are mapped, not
 * touched: memory is used only by images whose requests need them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "image/executor-private.h"

enum {
	MIN_TRANSFERS = 32,
	MAX_TRANSFERS = 256,
	MIN_FILLS = 4,
	MAX_FILLS = 64,
	FILL_BUFFERS_BYTES = 16 << 20, /* at most, beyond MIN_FILLS */
	MIN_BUFFERS = 4,
	MAX_BUFFERS = 16,
	/* With a codec pool, which is to have work for all its threads. */
	MAX_POOL_BUFFERS = 128,
	POOL_BUFFERS_BYTES = 24 << 20,
};

/* The largest cluster of the chain: a backing image may have larger ones. */
static size_t largest_cluster(const struct executor *executor)
{
	size_t largest = 0;

	for (const struct image *i = executor->image; i; i = i->backing)
		largest = MAX(largest, (size_t)i->cluster_bytes);
	return largest;
}

/*
 * A buffer serves a stream, or a bounce. No format stores a cluster in more
 * than twice its size; with O_DIRECT the blocks around
 * the stream are read along.
 */
static void size_buffers(struct executor *executor, size_t cluster)
{
	size_t host = 2 * cluster + 2 * STORE_MAX_ALIGNMENT;

	executor->host_buffer_bytes = align_up(host, STORE_MAX_ALIGNMENT);
	executor->buffer_bytes = executor->host_buffer_bytes +
				 align_up(cluster, STORE_MAX_ALIGNMENT);
}

static unsigned clamp(size_t value, unsigned low, unsigned high)
{
	if (value < low)
		return low;
	return value > high ? high : value;
}

static unsigned count_fills(size_t fill_bytes, unsigned depth)
{
	size_t fit = fill_bytes ? FILL_BUFFERS_BYTES / fill_bytes : MAX_FILLS;

	return clamp(MIN(fit, (size_t)depth), MIN_FILLS, MAX_FILLS);
}

static int map_buffers(struct executor *executor, size_t bytes)
{
	bytes += STORE_MAX_ALIGNMENT;
	executor->buffers =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (executor->buffers == MAP_FAILED) {
		executor->buffers = NULL;
		return -ENOMEM;
	}
	executor->buffers_bytes = bytes;
	return 0;
}

/* Room for one cluster of any image of the chain. */
static size_t unpacked_bytes(const struct executor *executor)
{
	return executor->buffer_bytes - executor->host_buffer_bytes;
}

static void fill_pools(struct executor *executor, unsigned transfers,
		       unsigned buffers, unsigned fills, size_t fill_bytes)
{
	uintptr_t base = (uintptr_t)executor->buffers;
	char *at = (char *)align_up(base, STORE_MAX_ALIGNMENT);
	size_t cluster = unpacked_bytes(executor);

	for (unsigned i = 0; i < buffers; i++, at += executor->buffer_bytes)
		executor_give_buffer(executor, at);
	for (unsigned i = 0; i < EXECUTOR_UNPACKED; i++, at += cluster)
		executor->unpacked[i].data = at;
	for (unsigned i = 0; i < fills; i++, at += fill_bytes) {
		executor->fills[i].executor = executor;
		executor->fills[i].buffer = at;
		executor_give_fill(&executor->fills[i]);
	}
	for (unsigned i = 0; i < transfers; i++) {
		executor->transfers[i].executor = executor;
		executor_give_transfer(&executor->transfers[i]);
	}
	executor->released = false;
}

static unsigned count_buffers(const struct executor *executor)
{
	unsigned most = MAX_BUFFERS;

	if (executor->pool)
		most = clamp(POOL_BUFFERS_BYTES / executor->buffer_bytes,
			     MAX_BUFFERS / 2, MAX_POOL_BUFFERS);
	return executor->pool ? most
			      : clamp(executor->depth, MIN_BUFFERS, most);
}

/* The slot of @store, or the free one where it would be. */
static uint32_t *file_slot(const struct executor *executor,
			   const struct store *store)
{
	uint64_t key = (uintptr_t)store * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t at = key >> executor->file_slot_shift;
	uint64_t mask = (UINT64_C(1) << (64 - executor->file_slot_shift)) - 1;
	uint32_t *slots = executor->file_slots;

	while (slots[at] && executor->files[slots[at] - 1].store != store)
		at = (at + 1) & mask;
	return &slots[at];
}

/* What O_DIRECT does takes its time: never in line. */
static bool is_in_line(const struct executor *executor,
		       const struct store *store)
{
	if (store->fd < 0)
		return false;
	return inline_batch_suits(store->fd) ||
	       (executor->in_line && store->alignment == 1);
}

static void add_file(struct executor *executor, struct store *store)
{
	uint32_t *place = store ? file_slot(executor, store) : NULL;
	int slot = -1;

	if (!place || *place)
		return;
	if (store->fd >= 0)
		slot = loop_register_file(executor->loop, store->fd);
	executor->files[executor->file_count] = (struct executor_file){
		.store = store,
		.fd = slot >= 0 ? slot : store->fd,
		.sqe_flags = slot >= 0 ? IOSQE_FIXED_FILE : 0,
		.in_line = is_in_line(executor, store) &&
			   executor_take_batch(executor),
	};
	*place = ++executor->file_count;
}

static size_t count_stores(const struct executor *executor)
{
	size_t count = 0;

	for (const struct image *i = executor->image; i; i = i->backing)
		count += image_store_count(i);
	return count;
}

/* The image's own come first: the first one found costs least. */
static int make_files(struct executor *executor)
{
	size_t count = count_stores(executor);
	unsigned bits = 2;

	while ((UINT64_C(1) << bits) < 2 * count)
		bits++;
	executor->file_slot_shift = 64 - bits;
	executor->files = calloc(count, sizeof(*executor->files));
	executor->file_slots =
		calloc((size_t)1 << bits, sizeof(*executor->file_slots));
	if (!executor->files || !executor->file_slots)
		return -ENOMEM;
	for (struct image *i = executor->image; i; i = i->backing) {
		add_file(executor, i->data_store);
		for (size_t at = 0; at < image_store_count(i); at++)
			add_file(executor, image_store_at(i, at));
	}
	return 0;
}

struct executor_file *executor_file(struct executor *executor,
				    struct store *store)
{
	struct executor_file *first = executor->files;
	uint32_t at;

	if (first->store == store)
		return first;
	at = *file_slot(executor, store);
	return at ? &executor->files[at - 1] : NULL;
}

int executor_make_pools(struct executor *executor)
{
	unsigned transfers = clamp(2 * (size_t)executor->depth, MIN_TRANSFERS,
				   MAX_TRANSFERS);
	size_t fill_bytes = 2 * (size_t)executor->image->cluster_bytes;
	unsigned fills = count_fills(fill_bytes, executor->depth);
	unsigned buffers;
	int err;

	if (executor->pool)
		transfers = MAX_TRANSFERS;
	size_buffers(executor, largest_cluster(executor));
	buffers = count_buffers(executor);
	err = map_buffers(executor,
			  buffers * executor->buffer_bytes +
				  EXECUTOR_UNPACKED * unpacked_bytes(executor) +
				  fills * fill_bytes);
	if (err < 0)
		return err;
	executor->transfers = calloc(transfers, sizeof(*executor->transfers));
	executor->fills = calloc(fills, sizeof(*executor->fills));
	if (!executor->transfers || !executor->fills)
		return -ENOMEM;
	fill_pools(executor, transfers, buffers, fills, fill_bytes);
	return make_files(executor);
}

void executor_free_pools(struct executor *executor)
{
	for (unsigned i = 0; i < executor->file_count; i++)
		if (executor->files[i].sqe_flags & IOSQE_FIXED_FILE)
			loop_unregister_file(executor->loop,
					     executor->files[i].store->fd);
	executor_give_batch(executor);
	if (executor->buffers)
		munmap(executor->buffers, executor->buffers_bytes);
	free(executor->transfers);
	free(executor->fills);
	free(executor->files);
	free(executor->file_slots);
}

struct executor_transfer *executor_take_transfer(struct executor *executor)
{
	struct executor_transfer *transfer = executor->free_transfers;

	executor->free_transfers = transfer->next;
	return transfer;
}

void executor_give_transfer(struct executor_transfer *transfer)
{
	struct executor *executor = transfer->executor;

	transfer->next = executor->free_transfers;
	executor->free_transfers = transfer;
	executor->released = true;
}

struct executor_fill *executor_take_fill(struct executor *executor)
{
	struct executor_fill *fill = executor->free_fills;

	executor->free_fills = fill->next;
	return fill;
}

void executor_give_fill(struct executor_fill *fill)
{
	struct executor *executor = fill->executor;

	fill->next = executor->free_fills;
	executor->free_fills = fill;
	executor->released = true;
}

/* NULL if there is none. */
char *executor_take_buffer(struct executor *executor)
{
	char *buffer = executor->free_buffers;

	if (buffer)
		memcpy(&executor->free_buffers, buffer, sizeof(char *));
	return buffer;
}

void executor_give_buffer(struct executor *executor, char *buffer)
{
	memcpy(buffer, &executor->free_buffers, sizeof(char *));
	executor->free_buffers = buffer;
	executor->released = true;
}
