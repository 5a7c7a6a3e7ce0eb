/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/open.h"
#include "qcow2/create.h"
#include "qcow2/offline.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"

static struct qcow2 *open_new(unsigned cluster_bytes, unsigned refcount_bits)
{
	const struct qcow2_create_options options = {
		.size_bytes = 1 << 20,
		.cluster_bytes = cluster_bytes,
		.refcount_bits = refcount_bits,
	};
	const struct image_open_options open_options = {0};
	struct store *store;
	struct image *image;
	char *error = NULL;

	assert_int_equal(store_new_memory(0, &store), 0);
	assert_int_equal(qcow2_create(store, &options, &error), 0);
	assert_int_equal(
		qcow2_format.open(store, &open_options, &image, &error), 0);
	return qcow2_of(image);
}

static void expect_refs(struct qcow2 *q, uint64_t offset, uint64_t bytes,
			uint64_t wanted)
{
	uint64_t first = qcow2_cluster_of(q, offset);
	uint64_t count = div_round_up(bytes, qcow2_cluster_bytes(q));

	for (uint64_t i = 0; i < count; i++) {
		uint64_t refs = 99;

		assert_int_equal(qcow2_offline_ref_get(q, first + i, &refs), 0);
		assert_int_equal(refs, wanted);
	}
}

/* 512-byte clusters with 64-bit refcounts: the table moves many times. */
static void rows_grow_through_blocks_and_tables(void **state)
{
	struct qcow2 *q = open_new(512, 64);
	uint64_t offsets[64];
	uint64_t bytes = 512;

	for (int i = 0; i < 64; i++, bytes += 4096) {
		assert_int_equal(qcow2_offline_take(q, bytes, &offsets[i]), 0);
		expect_refs(q, offsets[i], bytes, 1);
		for (int j = 0; j < i; j++)
			assert_false(ranges_overlap(offsets[i], bytes,
						    offsets[j],
						    512 + (uint64_t)j * 4096));
	}
	assert_int_equal(qcow2_offline_stable(q), 0);
	assert_int_equal(image_close(&q->image), 0);
}

static void what_is_given_back_is_taken_again(void **state)
{
	struct qcow2 *q = open_new(65536, 16);
	uint64_t first, second, third;

	assert_int_equal(qcow2_offline_take(q, 10 << 16, &first), 0);
	assert_int_equal(qcow2_offline_take(q, 1, &second), 0);
	assert_int_equal(qcow2_offline_give_back(q, first, 10 << 16), 0);
	assert_int_equal(qcow2_settle(q), 0);
	expect_refs(q, first, 10 << 16, 0);
	expect_refs(q, second, 1, 1);
	assert_int_equal(qcow2_offline_take(q, 8 << 16, &third), 0);
	assert_int_equal(third, first);
	/* Twice is one time too many. */
	assert_int_equal(qcow2_offline_give_back(q, first + (9 << 16), 1),
			 IMAGE_E_CORRUPT);
	assert_int_equal(image_close(&q->image), 0);
}

static void refcounts_have_a_width(void **state)
{
	struct qcow2 *q = open_new(65536, 2);
	uint64_t offset;

	assert_int_equal(qcow2_offline_take(q, 1, &offset), 0);
	assert_int_equal(qcow2_offline_ref_set(q, offset >> 16, 3), 0);
	assert_int_equal(qcow2_offline_ref_set(q, offset >> 16, 4), -EOVERFLOW);
	expect_refs(q, offset, 1, 3);
	assert_int_equal(qcow2_offline_give_back(q, offset, 1), 0);
	assert_int_equal(qcow2_settle(q), 0);
	expect_refs(q, offset, 1, 2);
	assert_int_equal(image_close(&q->image), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_grow_through_blocks_and_tables),
		cmocka_unit_test(what_is_given_back_is_taken_again),
		cmocka_unit_test(refcounts_have_a_width),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
