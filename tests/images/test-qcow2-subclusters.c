/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended L2 entries, in turns with QEMU: requests that begin and end in the
 * middle of sub-clusters, on disks that share clusters with snapshots, show a
 * backing image, or are compressed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
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
	THEIR_REQUESTS = 30,
};

static const char *const option_sets[] = {
	"extended_l2=on",
	"extended_l2=on,cluster_size=16k",
	"extended_l2=on,cluster_size=2M",
	"extended_l2=on,cluster_size=16k,refcount_bits=64,lazy_refcounts=on",
};

/* Random requests of QEMU's, of sectors, mostly less than a few sub-clusters. */
static void work_of_theirs(struct workload *work)
{
	static char commands[THEIR_REQUESTS * 48];
	size_t at = 0;

	for (unsigned i = 0; i < THEIR_REQUESTS; i++) {
		static const char *const kinds[] = {"write -P 7", "write -z",
						    "write -z -u", "discard"};
		uint64_t sectors = work->size_bytes / 512;
		uint64_t first = workload_random(work, sectors);
		uint64_t count =
			1 + workload_random(work,
					    MIN(UINT64_C(80), sectors - first));

		at += snprintf(commands + at, sizeof(commands) - at,
			       " -c '%s %llu %llu'",
			       kinds[workload_random(work, 4)],
			       (unsigned long long)first * 512,
			       (unsigned long long)count * 512);
		assert_true(at < sizeof(commands));
	}
	scratch_must("qemu-io -f qcow2%s theirs.qcow2", commands);
}

/* What QEMU finds, ours finds; then ours does as much to it. */
static void take_turns(const char *snapshot, uint64_t seed)
{
	struct image *image = reference_open("theirs.qcow2", true);
	uint64_t size = image->size_bytes;
	struct workload work, found;

	workload_init(&work, image, seed);
	assert_int_equal(image_close(image), 0);
	for (unsigned i = 0; i < 2; i++) {
		work_of_theirs(&work);
		image = reference_open("theirs.qcow2", true);
		workload_init(&found, image, seed + i);
		assert_int_equal(image_close(image), 0);
		reference_reads_as("theirs.qcow2", "", found.model, size);
		image = found.image = reference_open("theirs.qcow2", false);
		workload_run(&found, REQUESTS);
		workload_check(&found);
		assert_int_equal(image_close(image), 0);
		reference_clean("theirs.qcow2");
		reference_reads_as("theirs.qcow2", "", found.model, size);
		workload_deinit(&found);
	}
	if (snapshot)
		reference_reads_as("theirs.qcow2", snapshot, work.model, size);
	workload_deinit(&work);
}

static void ours_and_qemu_take_turns(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i += SAMPLED(5)) {
		reference_make(option_sets[i]);
		take_turns(NULL, 10 + i);
	}
}

static void what_is_beneath_shows_by_sub_cluster(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i += SAMPLED(5)) {
		reference_make("compat=1.1");
		scratch_must("mv theirs.qcow2 base.qcow2 && "
			     "qemu-img create -q -f qcow2 -b base.qcow2 "
			     "-F qcow2 -o %s theirs.qcow2 5M",
			     option_sets[i]);
		take_turns(NULL, 20 + i);
	}
}

static void snapshot(const char *name, bool create)
{
	struct image *image = reference_open("theirs.qcow2", false);
	const struct image_manage *manage = image->format->manage;
	int err = create ? manage->snapshot_create(image, name)
			 : manage->snapshot_delete(image, name);

	assert_int_equal(err, 0);
	assert_int_equal(image_close(image), 0);
	reference_clean("theirs.qcow2");
}

static void snapshots_share_clusters_and_not_sub_clusters(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i += SAMPLED(5)) {
		reference_make(option_sets[i]);
		scratch_must("qemu-img snapshot -c one theirs.qcow2");
		take_turns("-l one", 30 + i);
		snapshot("two", true);
		take_turns("-l two", 40 + i);
		snapshot("one", false);
		scratch_must("qemu-img snapshot -a two theirs.qcow2");
		take_turns("-l two", 50 + i);
		snapshot("two", false);
	}
}

static void compressed_clusters_give_way(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i += SAMPLED(5)) {
		reference_make("compat=1.1");
		scratch_must("head -c 700000 /dev/urandom | base64 -w0 | "
			     "head -c 655360 > text.raw");
		scratch_must("qemu-io -f qcow2 -c 'write -s text.raw 2M 640k' "
			     "theirs.qcow2");
		scratch_must("qemu-img convert -c -f qcow2 -O qcow2 -o %s "
			     "theirs.qcow2 packed.qcow2 && "
			     "mv packed.qcow2 theirs.qcow2",
			     option_sets[i]);
		take_turns(NULL, 60 + i);
	}
}

static void resize(uint64_t size)
{
	struct image *image = reference_open("theirs.qcow2", false);

	assert_int_equal(image->format->manage->resize(image, size,
						       IMAGE_PREALLOCATION_OFF),
			 0);
	assert_int_equal(image_close(image), 0);
	reference_clean("theirs.qcow2");
}

static void sizes_change_in_the_middle_of_a_sub_cluster(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i += SAMPLED(5)) {
		uint8_t *zeroes = calloc(1, 2 * MIB);
		struct image *image;
		struct workload work;

		reference_make(option_sets[i]);
		resize(3 * MIB + 1536);
		take_turns(NULL, 70 + i);
		resize(1 * MIB + 19 * KIB + 512);
		take_turns(NULL, 80 + i);
		resize(3 * MIB);
		image = reference_open("theirs.qcow2", true);
		workload_init(&work, image, 90);
		assert_memory_equal(work.model + 1 * MIB + 19 * KIB + 512,
				    zeroes, 2 * MIB - 19 * KIB - 512);
		assert_int_equal(image_close(image), 0);
		workload_deinit(&work);
		take_turns(NULL, 90 + i);
		free(zeroes);
	}
}

static void emptied_is_empty(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i += SAMPLED(5)) {
		struct image *image;
		uint8_t *zeroes = calloc(1, 4 * MIB);

		reference_make(option_sets[i]);
		image = reference_open("theirs.qcow2", false);
		assert_int_equal(image->format->manage->make_empty(image), 0);
		assert_int_equal(image_close(image), 0);
		reference_clean("theirs.qcow2");
		reference_reads_as("theirs.qcow2", "", zeroes, 4 * MIB);
		free(zeroes);
		take_turns(NULL, 110 + i);
	}
}

/* --- Where which bytes come from ------------------------------------------ */

enum {
	MAX_MAP_LINE = 256,
};

/* What our extents say, in the words of qemu-img map, one line each. */
static void list_ours(struct image *image, FILE *to)
{
	uint64_t at = 0, run_at = 0;
	char run[MAX_MAP_LINE] = "", now[MAX_MAP_LINE];

	while (at < image->size_bytes) {
		struct image_extent e;

		assert_int_equal(image_map(image, IMAGE_READ, at,
					   image->size_bytes - at, &e),
				 0);
		if (e.kind == IMAGE_NEED) {
			int err = store_read(e.store, e.host_offset, e.buffer,
					     e.host_bytes);

			image_provide(image, &e, err);
			continue;
		}
		/* The place of a run is that of its first byte. */
		if (e.kind == IMAGE_DATA)
			snprintf(now, sizeof(now), "data at guest %+lld",
				 (long long)(e.host_offset - at));
		else
			snprintf(now, sizeof(now), "%s",
				 e.kind == IMAGE_HOLE ? "hole" : "zero");
		if (strcmp(run, now) != 0) {
			if (at)
				fprintf(to, "%llu %llu %s\n",
					(unsigned long long)run_at,
					(unsigned long long)(at - run_at), run);
			strcpy(run, now);
			run_at = at;
		}
		at += e.length;
	}
	fprintf(to, "%llu %llu %s\n", (unsigned long long)run_at,
		(unsigned long long)(at - run_at), run);
}

static const char to_lines[] =
	"import json,sys\n"
	"runs=[]\n"
	"for e in json.load(sys.stdin):\n"
	"  k = 'hole' if not e['present'] else 'zero' if e['zero'] else "
	"'data at guest %+d' % (e['offset']-e['start'])\n"
	"  if runs and runs[-1][2] == k: runs[-1][1] += e['length']\n"
	"  else: runs.append([e['start'], e['length'], k])\n"
	"for r in runs: print(*r)\n";

static void both_say_alike_where_bytes_are(void **state)
{
	FILE *script = fopen("lines.py", "w");

	assert_non_null(script);
	fputs(to_lines, script);
	fclose(script);
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i += SAMPLED(5)) {
		struct workload work;
		struct image *image;
		FILE *ours;

		reference_make(option_sets[i]);
		image = reference_open("theirs.qcow2", false);
		workload_init(&work, image, 130 + i);
		for (unsigned n = 0; n < REQUESTS; n++) {
			uint64_t first = workload_random(&work, 8000);
			uint64_t count = 1 + workload_random(&work, 64);

			if (n % 3)
				assert_int_equal(sync_io_zero(image,
							      first * 512,
							      count * 512),
						 0);
			else
				assert_int_equal(
					sync_io_write(image, first * 512,
						      work.model, count * 512),
					0);
		}
		assert_int_equal(image_close(image), 0);
		workload_deinit(&work);
		image = reference_open("theirs.qcow2", true);
		ours = fopen("ours.map", "w");
		assert_non_null(ours);
		list_ours(image, ours);
		fclose(ours);
		assert_int_equal(image_close(image), 0);
		scratch_must("qemu-img map --output=json -f qcow2 theirs.qcow2 "
			     "| python3 lines.py > theirs.map");
		scratch_must("diff ours.map theirs.map");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ours_and_qemu_take_turns),
		cmocka_unit_test(what_is_beneath_shows_by_sub_cluster),
		cmocka_unit_test(snapshots_share_clusters_and_not_sub_clusters),
		cmocka_unit_test(compressed_clusters_give_way),
		cmocka_unit_test(sizes_change_in_the_middle_of_a_sub_cluster),
		cmocka_unit_test(emptied_is_empty),
		cmocka_unit_test(both_say_alike_where_bytes_are),
	};
	int failed;

	scratch_enter("qemu-img");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
