/* SPDX-License-Identifier: Apache-2.0 */
/* The marks of an image in its header: when they come, and when they go. */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/core.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"

enum {
	KIB = 1 << 10,
	MIB = 1 << 20,
	CLUSTER = 4 * KIB,
};

/* What an image lies in stays when it is closed, and counts its flushes. */
struct kept {
	struct store store;
	struct store *inner;
	unsigned flushes;
};

static struct store *inner_of(struct store *store)
{
	return container_of(store, struct kept, store)->inner;
}

static int kept_read(struct store *store, uint64_t offset, void *ret_data,
		     size_t length)
{
	return store_read(inner_of(store), offset, ret_data, length);
}

static int kept_write(struct store *store, uint64_t offset, const void *data,
		      size_t length)
{
	int err = store_write(inner_of(store), offset, data, length);

	store->size_bytes = inner_of(store)->size_bytes;
	return err;
}

static int kept_flush(struct store *store)
{
	container_of(store, struct kept, store)->flushes++;
	return 0;
}

static int kept_resize(struct store *store, uint64_t size_bytes)
{
	int err = store_resize(inner_of(store), size_bytes);

	store->size_bytes = inner_of(store)->size_bytes;
	return err;
}

static int kept_punch(struct store *store, uint64_t offset, uint64_t length)
{
	return store_punch(inner_of(store), offset, length);
}

static int kept_zero(struct store *store, uint64_t offset, uint64_t length)
{
	return store_zero(inner_of(store), offset, length);
}

static void kept_free(struct store *store)
{
}

static const struct store_ops kept_ops = {
	.read = kept_read,
	.write = kept_write,
	.flush = kept_flush,
	.resize = kept_resize,
	.punch = kept_punch,
	.zero = kept_zero,
	.free = kept_free,
};

static void make(struct kept *k, bool lazy)
{
	const struct qcow2_create_options options = {
		.size_bytes = 4 * MIB,
		.cluster_bytes = CLUSTER,
		.lazy_refcounts = lazy,
	};

	*k = (struct kept){0};
	assert_int_equal(store_new_memory(0, &k->inner), 0);
	assert_int_equal(qcow2_create(k->inner, &options, NULL), 0);
	k->store = *k->inner;
	k->store.ops = &kept_ops;
}

static struct image *open_kept(struct kept *k)
{
	const struct image_open_options options = {0};
	struct image *image = NULL;

	assert_int_equal(qcow2_format.open(&k->store, &options, &image, NULL),
			 0);
	return image;
}

static uint64_t marks(struct kept *k)
{
	return get_be64(
		(uint8_t *)store_memory_data(k->inner) +
		offsetof(struct qcow2_wire_header, incompatible_features));
}

static int write_at(struct image *image, uint64_t offset, uint8_t what)
{
	uint8_t data[CLUSTER];

	memset(data, what, sizeof(data));
	return sync_io_write(image, offset, data, sizeof(data));
}

static void check_at(struct image *image, uint64_t offset, uint8_t what)
{
	uint8_t data[CLUSTER] = {0};

	assert_int_equal(sync_io_read(image, offset, data, sizeof(data)), 0);
	for (size_t i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], what);
}

static unsigned flushes_of(struct kept *k, struct image *image)
{
	unsigned before = k->flushes;

	assert_int_equal(image_flush_sync(image), 0);
	return k->flushes - before;
}

static void lazy_refcounts_mark_an_image_while_it_is_changed(void **state)
{
	struct kept k;
	struct image *image;

	make(&k, true);
	image = open_kept(&k);
	check_at(image, 0, 0);
	assert_int_equal(image_flush_sync(image), 0);
	assert_int_equal(marks(&k), 0);
	assert_int_equal(write_at(image, 0, 1), 0);
	assert_int_equal(image_flush_sync(image), 0);
	assert_int_equal(marks(&k), QCOW2_INCOMPAT_DIRTY);
	image_close(image);
	assert_int_equal(marks(&k), 0);
	/* Read, and nothing else. */
	image = open_kept(&k);
	check_at(image, 0, 1);
	image_close(image);
	assert_int_equal(marks(&k), 0);
	store_free(k.inner);
}

static void exact_refcounts_need_no_mark(void **state)
{
	struct kept k;
	struct image *image;

	make(&k, false);
	image = open_kept(&k);
	assert_int_equal(write_at(image, 0, 1), 0);
	assert_int_equal(image_flush_sync(image), 0);
	assert_int_equal(marks(&k), 0);
	image_close(image);
	store_free(k.inner);
}

static void lazy_refcounts_save_a_barrier_where_nothing_is_copied(void **state)
{
	struct image *image;
	struct kept k;

	for (int lazy = 0; lazy < 2; lazy++) {
		make(&k, lazy);
		image = open_kept(&k);
		assert_int_equal(write_at(image, 0, 1), 0);
		assert_int_equal(image_flush_sync(image), 0);
		assert_int_equal(write_at(image, CLUSTER, 2), 0);
		assert_int_equal(flushes_of(&k, image), lazy ? 1 : 2);
		/* A cluster that lies where others lay is written first. */
		assert_int_equal(sync_io_discard(image, 0, CLUSTER), 0);
		assert_int_equal(sync_io_settle(image), 0);
		assert_int_equal(write_at(image, 5 * CLUSTER, 3), 0);
		assert_int_equal(flushes_of(&k, image), 2);
		image_close(image);
		store_free(k.inner);
	}
}

/* As after a crash: nothing was closed. */
static void a_lazy_image_that_was_not_closed_is_mended(void **state)
{
	struct image *image;
	struct store *copy;
	struct kept k;

	make(&k, true);
	image = open_kept(&k);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(write_at(image, i * CLUSTER, i + 1), 0);
	assert_int_equal(image_flush_sync(image), 0);
	assert_int_equal(store_new_memory(k.inner->size_bytes, &copy), 0);
	memcpy(store_memory_data(copy), store_memory_data(k.inner),
	       copy->size_bytes);
	image_close(image);
	store_free(k.inner);

	k.inner = copy;
	k.store.size_bytes = copy->size_bytes;
	assert_int_equal(marks(&k), QCOW2_INCOMPAT_DIRTY);
	image = open_kept(&k);
	assert_int_equal(marks(&k), 0);
	for (unsigned i = 0; i < 8; i++)
		check_at(image, i * CLUSTER, i + 1);
	image_close(image);
	store_free(k.inner);
}

/* The entry of guest cluster @index is no longer aligned. */
static void spoil(struct kept *k, unsigned index)
{
	uint8_t *data = store_memory_data(k->inner);
	uint64_t l1 = get_be64(
		data + offsetof(struct qcow2_wire_header, l1_table_offset));
	uint64_t l2 = get_be64(data + l1) & QCOW2_OFFSET_MASK;

	data[l2 + index * 8 + 6] |= 2;
}

static void what_cannot_be_is_marked_and_ends_all_changes(void **state)
{
	const struct image_open_options options = {0}, reads = {.read_only = 1};
	struct image *image;
	struct kept k;
	uint8_t data[CLUSTER];
	char *error = NULL;

	make(&k, false);
	image = open_kept(&k);
	assert_int_equal(write_at(image, 0, 1), 0);
	assert_int_equal(write_at(image, CLUSTER, 1), 0);
	image_close(image);
	spoil(&k, 1);

	/* Reading it is an error of that request alone. */
	image = open_kept(&k);
	assert_int_equal(sync_io_read(image, CLUSTER, data, CLUSTER),
			 IMAGE_E_CORRUPT);
	assert_int_equal(write_at(image, 8 * CLUSTER, 2), 0);
	assert_int_equal(image_flush_sync(image), 0);
	assert_int_equal(marks(&k), 0);

	assert_int_equal(write_at(image, 9 * CLUSTER, 3), 0);
	assert_int_equal(write_at(image, CLUSTER, 4), IMAGE_E_CORRUPT);
	assert_int_equal(write_at(image, 10 * CLUSTER, 5), IMAGE_E_CORRUPT);
	assert_int_equal(sync_io_discard(image, 0, CLUSTER), IMAGE_E_CORRUPT);
	assert_true(image_is_dirty(image));
	assert_int_equal(image_flush_sync(image), 0);
	assert_false(image_is_dirty(image));
	assert_int_equal(marks(&k), QCOW2_INCOMPAT_CORRUPT);
	check_at(image, 9 * CLUSTER, 3);
	assert_int_equal(image_resize(image, 8 * MIB, IMAGE_PREALLOCATION_OFF),
			 IMAGE_E_CORRUPT);
	image_close(image);

	assert_int_equal(marks(&k), QCOW2_INCOMPAT_CORRUPT);
	assert_int_equal(qcow2_format.open(&k.store, &options, &image, &error),
			 IMAGE_E_UNSUPPORTED);
	assert_non_null(strstr(error, "marked corrupt"));
	free(error);
	assert_int_equal(qcow2_format.open(&k.store, &reads, &image, NULL), 0);
	check_at(image, 0, 1);
	check_at(image, 8 * CLUSTER, 2);
	check_at(image, 9 * CLUSTER, 3);
	image_close(image);
	store_free(k.inner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			lazy_refcounts_mark_an_image_while_it_is_changed),
		cmocka_unit_test(exact_refcounts_need_no_mark),
		cmocka_unit_test(
			lazy_refcounts_save_a_barrier_where_nothing_is_copied),
		cmocka_unit_test(a_lazy_image_that_was_not_closed_is_mended),
		cmocka_unit_test(what_cannot_be_is_marked_and_ends_all_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
