/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images by QEMU's tools over the product of what the format offers: each pair
 * of values of two properties is in one of them at least. Ours reads what
 * qemu-img reads, works on it, and qemu-img finds that whole and the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/open.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/scratch.h"
#include "tests/images/workload.h"

enum property {
	VERSION,
	CLUSTERS,
	REFCOUNTS,
	COMPRESSION,
	EXTENDED,
	DATA_FILE,
	BACKING,
	SNAPSHOT,
	PROPERTIES,

	VALUES = 4, /* of one, at most */
	REQUESTS = 30,
};

/* What qemu-img's options say; NULL: no more. */
static const char *const values[PROPERTIES][VALUES] = {
	[VERSION] = {"compat=1.1", "compat=0.10"},
	[CLUSTERS] = {"cluster_size=64k", "cluster_size=512",
		      "cluster_size=16k", "cluster_size=2M"},
	[REFCOUNTS] = {"refcount_bits=16", "refcount_bits=2",
		       "refcount_bits=64"},
	[COMPRESSION] = {"", "compression_type=zlib", "compression_type=zstd"},
	[EXTENDED] = {"extended_l2=off", "extended_l2=on"},
	[DATA_FILE] = {"", "data_file=data.raw",
		       "data_file=data.raw,data_file_raw=on"},
	[BACKING] = {"", "-b base.qcow2 -F qcow2"},
	[SNAPSHOT] = {"", "one"},
};

typedef unsigned combination[PROPERTIES];

static bool covered[PROPERTIES][VALUES][PROPERTIES][VALUES];

/* What the format, or QEMU, does not have together. */
static bool is_possible(const combination c)
{
	if (c[VERSION] == 1 && (c[REFCOUNTS] || c[COMPRESSION] == 2 ||
				c[EXTENDED] || c[DATA_FILE]))
		return false;
	if (c[EXTENDED] && c[CLUSTERS] == 1)
		return false;
	if (c[DATA_FILE] && (c[COMPRESSION] || c[SNAPSHOT]))
		return false;
	/* Streams share clusters: their counts do not go up to 3 twice. */
	if (c[REFCOUNTS] == 1 && c[COMPRESSION] && c[SNAPSHOT])
		return false;
	return !(c[DATA_FILE] == 2 && c[BACKING]);
}

static unsigned count_new(const combination c, bool take)
{
	unsigned count = 0;

	for (unsigned p = 0; p < PROPERTIES; p++)
		for (unsigned q = p + 1; q < PROPERTIES; q++) {
			bool *pair = &covered[p][c[p]][q][c[q]];

			count += !*pair;
			*pair |= take;
		}
	return count;
}

/* The next in the order of all; false at the end. */
static bool advance(combination c)
{
	for (unsigned p = 0; p < PROPERTIES; p++) {
		if (++c[p] < VALUES && values[p][c[p]])
			return true;
		c[p] = 0;
	}
	return false;
}

/* The one with the most pairs that no other had. */
static bool choose(combination ret)
{
	combination c = {0};
	unsigned most = 0;

	do {
		unsigned count = is_possible(c) ? count_new(c, false) : 0;

		if (count > most) {
			most = count;
			memcpy(ret, c, sizeof(c));
		}
	} while (advance(c));
	if (most)
		count_new(ret, true);
	return most > 0;
}

static void make(const combination c)
{
	scratch_must("rm -f data.raw disk.qcow2; "
		     "qemu-img create -q -f qcow2 %s -o %s,%s,%s%s%s%s%s,%s "
		     "disk.qcow2 4M",
		     values[BACKING][c[BACKING]], values[VERSION][c[VERSION]],
		     values[CLUSTERS][c[CLUSTERS]],
		     values[REFCOUNTS][c[REFCOUNTS]], c[COMPRESSION] ? "," : "",
		     values[COMPRESSION][c[COMPRESSION]],
		     c[DATA_FILE] ? "," : "", values[DATA_FILE][c[DATA_FILE]],
		     values[EXTENDED][c[EXTENDED]]);
	scratch_must("qemu-io -f qcow2 -c 'write %s -P 1 2M 2M' "
		     "-c 'write -P 2 300k 12k' -c 'write -z 64k 64k' "
		     "-c 'write -P 3 1M 200k' -c 'write -z -u 1M 64k' "
		     "-c 'discard 2M 64k' disk.qcow2",
		     c[COMPRESSION] ? "-c" : "");
	if (c[SNAPSHOT])
		scratch_must("qemu-img snapshot -c one disk.qcow2");
}

static struct image *open_it(void)
{
	static const char *const allowed[] = {".", NULL};
	const struct image_open_request request = {
		.path = "disk.qcow2",
		.format = "qcow2",
		.cache_bytes = 1,
		.allowed = allowed,
	};
	struct image *image = NULL;
	char *error = NULL;

	if (image_open(&request, &image, &error, NULL))
		fail_msg("%s", error ? error : "");
	return image;
}

static void assert_qemu_reads(const uint8_t *model, uint64_t size)
{
	size_t length;
	uint8_t *raw;

	scratch_must("qemu-img check -q -f qcow2 disk.qcow2 && "
		     "qemu-img convert -f qcow2 -O raw disk.qcow2 out.raw");
	raw = scratch_read("out.raw", &length);
	assert_int_equal(length, size);
	assert_memory_equal(raw, model, size);
	free(raw);
}

static void both_ways(const combination c, uint64_t seed)
{
	struct workload work;

	make(c);
	workload_init(&work, open_it(), seed);
	assert_int_equal(image_close(work.image), 0);
	assert_qemu_reads(work.model, work.size_bytes);
	work.image = open_it();
	workload_run(&work, REQUESTS);
	workload_check(&work);
	assert_int_equal(image_close(work.image), 0);
	assert_qemu_reads(work.model, work.size_bytes);
	workload_deinit(&work);
}

static void all_pairs_of_properties_go_both_ways(void **state)
{
	combination c;
	unsigned count = 0;

	scratch_must("qemu-img create -q -f qcow2 base.qcow2 3M && "
		     "qemu-io -f qcow2 -c 'write -P 9 100k 1M' "
		     "-c 'write -P 8 2500k 300k' base.qcow2");
	while (choose(c)) {
		both_ways(c, ++count);
		if (getenv("RINGLINE_TELL"))
			print_message("# %u\n", count);
	}
	print_message("# %u images\n", count);
	assert_true(count >= 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_pairs_of_properties_go_both_ways),
	};
	int failed;

	scratch_enter("qemu-img");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
