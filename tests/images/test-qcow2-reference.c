/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QCOW2 against QEMU's own tools: what they make, ours reads byte for byte;
 * what ours writes, they find whole and read the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/open.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/reference.h"
#include "tests/images/scratch.h"
#include "tests/images/workload.h"
#include "tests/sanitized.h"

enum {
	KIB = 1 << 10,
	MIB = 1 << 20,
	REQUESTS = 60,
};

static void create_ours(const char *name,
			const struct qcow2_create_options *options)
{
	struct store *store;
	char *error = NULL;
	int err = store_create_file(name, true, &store, &error);

	if (err == 0) {
		err = qcow2_create(store, options, &error);
		store_free(store);
	}
	if (err)
		print_error("%s\n", error);
	assert_int_equal(err, 0);
}

static void qemu_finds_what_ours_made_and_wrote_whole(void **state)
{
	static const struct qcow2_create_options all[] = {
		{.size_bytes = 4 * MIB + 512},
		{.size_bytes = 4 * MIB, .version = 2},
		{.size_bytes = 4 * MIB, .compression = QCOW2_COMPRESSION_ZSTD},
		{.size_bytes = 2 * MIB, .cluster_bytes = 512},
		{.size_bytes = 2 * MIB,
		 .cluster_bytes = 512,
		 .refcount_bits = 64},
		{.size_bytes = 2 * MIB,
		 .cluster_bytes = 512,
		 .refcount_bits = 1},
		{.size_bytes = 2 * MIB,
		 .cluster_bytes = 1024,
		 .refcount_bits = 2},
		{.size_bytes = 2 * MIB,
		 .cluster_bytes = 2048,
		 .refcount_bits = 4},
		{.size_bytes = 4 * MIB,
		 .cluster_bytes = 4 * KIB,
		 .refcount_bits = 8},
		{.size_bytes = 4 * MIB,
		 .cluster_bytes = 8 * KIB,
		 .refcount_bits = 32,
		 .lazy_refcounts = true},
		{.size_bytes = 9 * MIB,
		 .cluster_bytes = 2 * MIB,
		 .refcount_bits = 64},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i += SAMPLED(5)) {
		create_ours("ours.qcow2", &all[i]);
		reference_clean("ours.qcow2");
		scratch_must("qemu-img info -f qcow2 ours.qcow2");
		reference_work_on("ours.qcow2", NULL, i + 1);
	}
}

static const char *const option_sets[] = {
	"compat=1.1",
	"compat=0.10",
	"compat=1.1,cluster_size=512",
	"compat=0.10,cluster_size=512",
	"compat=1.1,cluster_size=4k",
	"compat=1.1,cluster_size=2M",
	"compat=1.1,refcount_bits=1",
	"compat=1.1,refcount_bits=64",
	"compat=1.1,cluster_size=512,refcount_bits=1",
	"compat=1.1,cluster_size=512,refcount_bits=64",
	"compat=1.1,lazy_refcounts=on",
	"compat=1.1,preallocation=metadata",
	"compat=1.1,preallocation=falloc",
	"compat=0.10,cluster_size=2M,preallocation=metadata",
};

static void ours_reads_and_changes_what_qemu_made(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i += SAMPLED(5)) {
		reference_make(option_sets[i]);
		reference_work_on("theirs.qcow2", NULL, 100 + i);
	}
}

static void a_snapshot_keeps_its_content_while_ours_writes(void **state)
{
	static const char *const sets[] = {
		"compat=1.1",
		"compat=0.10",
		"compat=1.1,cluster_size=512",
		"compat=1.1,cluster_size=512,refcount_bits=4",
		"compat=1.1,cluster_size=2M,refcount_bits=32",
		"compat=1.1,cluster_size=4k,preallocation=metadata",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i += SAMPLED(5)) {
		reference_make(sets[i]);
		scratch_must("qemu-img snapshot -c one theirs.qcow2");
		reference_work_on("theirs.qcow2", "-l one", 200 + i);
		/* Its clusters come back when it goes. */
		scratch_must("qemu-img snapshot -d one theirs.qcow2");
		reference_clean("theirs.qcow2");
		reference_work_on("theirs.qcow2", NULL, 300 + i);
	}
}

static void compressed_clusters_are_read_and_replaced(void **state)
{
	static const char *const sets[] = {
		"compression_type=zlib",
		"compression_type=zstd",
		"compression_type=zlib,cluster_size=512",
		"compression_type=zstd,cluster_size=4k",
		"compression_type=zlib,cluster_size=2M",
		"compression_type=zstd,cluster_size=2M",
		"compat=0.10",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i += SAMPLED(5)) {
		reference_make("compat=1.1");
		/* Something that does not shrink to nothing. */
		scratch_must("head -c 700000 /dev/urandom | base64 -w0 | "
			     "head -c 655360 > text.raw");
		scratch_must("qemu-io -f qcow2 -c 'write -s text.raw 2M 640k' "
			     "theirs.qcow2");
		scratch_must("qemu-img convert -c -f qcow2 -O qcow2 -o %s "
			     "theirs.qcow2 packed.qcow2",
			     sets[i]);
		reference_work_on("packed.qcow2", NULL, 400 + i);
	}
}

static void a_backing_chain_shows_through(void **state)
{
	static const char *const sets[] = {
		"compat=1.1",
		"compat=0.10",
		"compat=1.1,cluster_size=512",
		"compat=0.10,cluster_size=4k",
		"compat=1.1,cluster_size=2M",
	};

	reference_make("compat=1.1");
	scratch_must("mv theirs.qcow2 base.qcow2 && "
		     "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "
		     "middle.qcow2 && "
		     "qemu-io -f qcow2 -c 'write -P 7 2M 300k' "
		     "-c 'write -z 100k 200k' middle.qcow2");
	for (size_t i = 0; i < ARRAY_SIZE(sets); i += SAMPLED(5)) {
		/* Longer than its backing image. */
		scratch_must("rm -f top.qcow2 && "
			     "qemu-img create -q -f qcow2 -o %s "
			     "-b middle.qcow2 -F qcow2 top.qcow2 5M",
			     sets[i]);
		reference_work_on("top.qcow2", NULL, 500 + i);
	}
	scratch_must(
		"qemu-img check middle.qcow2 && qemu-img check base.qcow2");
}

static void qemu_opens_what_ours_made_on_a_backing_file(void **state)
{
	static const uint32_t clusters[] = {512, 4 * KIB, 64 * KIB, 2 * MIB};

	reference_make("compat=1.1");
	scratch_must("mv theirs.qcow2 base.qcow2");
	for (size_t i = 0; i < ARRAY_SIZE(clusters); i += SAMPLED(5)) {
		const struct qcow2_create_options options = {
			.size_bytes = 4 * MIB,
			.cluster_bytes = clusters[i],
			.backing_name = "base.qcow2",
			.backing_format = "qcow2",
		};

		create_ours("ours.qcow2", &options);
		scratch_must("qemu-img info ours.qcow2");
		assert_non_null(
			strstr(scratch_output(), "backing file format: qcow2"));
		reference_work_on("ours.qcow2", NULL, 600 + i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(qemu_finds_what_ours_made_and_wrote_whole),
		cmocka_unit_test(ours_reads_and_changes_what_qemu_made),
		cmocka_unit_test(
			a_snapshot_keeps_its_content_while_ours_writes),
		cmocka_unit_test(compressed_clusters_are_read_and_replaced),
		cmocka_unit_test(a_backing_chain_shows_through),
		cmocka_unit_test(qemu_opens_what_ours_made_on_a_backing_file),
	};
	int failed;

	scratch_prefer_memory();
	scratch_enter("qemu-img");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
