/* SPDX-License-Identifier: Apache-2.0 */
#include "image/image.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/printable.h"
#include "image/cipher.h"
#include "image/journal.h"

void image_init(struct image *image, const struct image_format *format,
		struct store *store)
{
	image->format = format;
	image->store = store;
	image->data_store = store;
	pthread_mutex_init(&image->lock, NULL);
}

void image_deinit(struct image *image)
{
	for (size_t i = 0; i < image->file_count; i++) {
		store_free(image->files[i].store);
		free(image->files[i].name);
		free(image->files[i].missing);
	}
	free(image->files);
	store_free(image->store);
	image_cipher_free(image->cipher);
	free(image->backing_name);
	free(image->backing_format);
	pthread_mutex_destroy(&image->lock);
}

int image_add_file(struct image *image, const char *name, bool read_only)
{
	struct image_file *grown = reallocarray(
		image->files, image->file_count + 1, sizeof(*grown));
	char *copy = strdup(name);

	if (grown)
		image->files = grown;
	if (!grown || !copy) {
		free(copy);
		return -ENOMEM;
	}
	grown[image->file_count++] = (struct image_file){
		.name = copy,
		.read_only = read_only,
	};
	return 0;
}

int image_attach(struct image *image, size_t index, struct store *data,
		 char **ret_error)
{
	int err = image->format->attach_data(image, index, data, ret_error);

	if (err == 0)
		image->files[index].store = data;
	return err;
}

int image_sync_stores(struct image *image)
{
	int err = 0;

	for (size_t i = 0; i < image_store_count(image) && err == 0; i++) {
		struct store *store = image_store_at(image, i);

		if (store && !store->read_only)
			err = store_flush(store);
	}
	return err;
}

int image_set_error(struct image *image, int outcome, const char *format, ...)
{
	char text[sizeof(image->error)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* Names in it may be the image's own. */
	printable_put(image->error, sizeof(image->error), text);
	return outcome;
}

/* The lock, and nobody looks anything up. */
static void begin_change(struct image *image)
{
	pthread_mutex_lock(&image->lock);
	if (image->format->lookup)
		brlock_begin_write(&image->lookups);
}

/* Others may look things up, while we still have the lock. */
static void let_look(struct image *image)
{
	if (image->format->lookup)
		brlock_end_write(&image->lookups);
}

static void end_change(struct image *image)
{
	let_look(image);
	pthread_mutex_unlock(&image->lock);
}

/* With the lock held: whoever met IMAGE_BUSY may try again. */
static void move_generation(struct image *image)
{
	struct image_waiter *waiter = image->waiters;

	store_release(&image->generation, image->generation + 1);
	image->waiters = NULL;
	while (waiter) {
		/* Once woken it may wait again, elsewhere. */
		struct image_waiter *next = waiter->next;

		waiter->queued = false;
		waiter->wake(waiter);
		waiter = next;
	}
}

/*
 * New room holds nothing that decrypts to zeroes, whatever the store has there.
 */
static void set_cipher(struct image *image, uint64_t offset,
		       struct image_extent *extent)
{
	extent->cipher = image->cipher;
	extent->crypt_offset = extent->host_offset;
	extent->reads_zero = false;
	if (image_cipher_position_is_host(image->cipher))
		return;
	extent->crypt_offset = offset;
	if (extent->kind == IMAGE_ALLOCATE)
		extent->crypt_offset -= extent->head_bytes;
}

static int map_locked(struct image *image, enum image_op op, uint64_t offset,
		      uint64_t length, struct image_extent *ret_extent)
{
	int outcome;

	begin_change(image);
	outcome = image->format->map(image, op, offset, length, ret_extent);
	end_change(image);
	return outcome;
}

/*
 * Looks it up beside others who do. While somebody changes the image, waits for
 * the lock, but still only looks: otherwise readers who met one change would
 * keep each other out, and so become many.
 */
static int map_beside(struct image *image, enum image_op op, uint64_t offset,
		      uint64_t length, struct image_extent *ret_extent)
{
	const struct image_format *format = image->format;
	bool found;

	if (brlock_try_read(&image->lookups)) {
		found = format->lookup(image, op, offset, length, ret_extent);
		brlock_end_read(&image->lookups);
	} else {
		pthread_mutex_lock(&image->lock);
		found = format->lookup(image, op, offset, length, ret_extent);
		pthread_mutex_unlock(&image->lock);
	}
	return found ? 0 : map_locked(image, op, offset, length, ret_extent);
}

int image_map(struct image *image, enum image_op op, uint64_t offset,
	      uint64_t length, struct image_extent *ret_extent)
{
	int outcome;

	if (length == 0 || !range_fits(offset, length, image->size_bytes))
		return -EINVAL;
	if (op != IMAGE_READ && image->read_only)
		return -EROFS;
	if (image->format->map_is_constant)
		outcome = image->format->map(image, op, offset, length,
					     ret_extent);
	else if (image->format->lookup)
		outcome = map_beside(image, op, offset, length, ret_extent);
	else
		outcome = map_locked(image, op, offset, length, ret_extent);
	ret_extent->cipher = NULL;
	if (image->cipher && outcome == 0)
		set_cipher(image, offset, ret_extent);
	return outcome;
}

int image_map_packed(struct image *image, uint64_t offset, uint32_t bytes,
		     struct image_extent *ret_extent)
{
	int outcome;

	if (!image->format->map_packed || image->codec == IMAGE_CODEC_NONE)
		return -ENOTSUP;
	if (offset >= image->size_bytes || offset % image->cluster_bytes != 0 ||
	    bytes == 0 || bytes >= image->cluster_bytes)
		return -EINVAL;
	if (image->read_only)
		return -EROFS;
	begin_change(image);
	outcome = image->format->map_packed(image, offset, bytes, ret_extent);
	end_change(image);
	return outcome;
}

void image_provide(struct image *image, const struct image_extent *need,
		   int result)
{
	begin_change(image);
	image->format->provide(image, need, result);
	let_look(image);
	move_generation(image);
	pthread_mutex_unlock(&image->lock);
}

int image_read_need(struct image *image, const struct image_extent *need)
{
	int err = store_read(need->store, need->host_offset, need->buffer,
			     need->host_bytes);

	image_provide(image, need, err);
	return err;
}

int image_commit(struct image *image, const struct image_extent *extent,
		 int result)
{
	int outcome;

	begin_change(image);
	outcome = image->format->commit(image, extent, result);
	let_look(image);
	move_generation(image);
	pthread_mutex_unlock(&image->lock);
	return outcome;
}

int image_flush_begin(struct image *image, struct image_plan *ret_plan)
{
	int outcome;

	begin_change(image);
	outcome = image->format->flush_begin(image, ret_plan);
	if (outcome == 0 && image->journal)
		journal_plan_began(image->journal);
	end_change(image);
	return outcome;
}

void image_flush_end(struct image *image, struct image_plan *plan, int result)
{
	begin_change(image);
	image->format->flush_end(image, plan, result);
	let_look(image);
	if (result == 0 && image->journal)
		journal_plan_succeeded(image->journal);
	store_release(&image->flushes, image->flushes + 1);
	move_generation(image);
	pthread_mutex_unlock(&image->lock);
}

uint64_t image_flushes(const struct image *image)
{
	return load_acquire(&image->flushes);
}

void image_reclaim(struct image *image, uint64_t flush)
{
	if (!image->format->reclaim)
		return;
	begin_change(image);
	image->format->reclaim(image, flush);
	end_change(image);
}

bool image_is_dirty(struct image *image)
{
	bool dirty;

	if (!image->format->is_dirty)
		return false;
	pthread_mutex_lock(&image->lock);
	dirty = image->format->is_dirty(image);
	pthread_mutex_unlock(&image->lock);
	return dirty;
}

uint64_t image_generation(const struct image *image)
{
	return load_acquire(&image->generation);
}

bool image_wait(struct image *image, uint64_t generation,
		struct image_waiter *waiter)
{
	bool waits;

	pthread_mutex_lock(&image->lock);
	waits = image->generation == generation;
	if (waits && !waiter->queued) {
		waiter->queued = true;
		waiter->next = image->waiters;
		image->waiters = waiter;
	}
	pthread_mutex_unlock(&image->lock);
	return waits;
}

void image_unwait(struct image *image, struct image_waiter *waiter)
{
	struct image_waiter **link = &image->waiters;

	pthread_mutex_lock(&image->lock);
	while (*link && *link != waiter)
		link = &(*link)->next;
	if (*link)
		*link = waiter->next;
	waiter->queued = false;
	pthread_mutex_unlock(&image->lock);
}

const char *image_error(const struct image *image)
{
	return image->error;
}
