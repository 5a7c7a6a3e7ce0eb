/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal snapshots and sizes, by QEMU's tools and by ours in turn on one
 * image: what either reads is what a plain copy of the disk and of each
 * snapshot says, and qemu-img check finds neither an error nor a leak after
 * any step.
 */
#include <errno.h>
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
#include "tests/random.h"

enum {
	KIB = 1 << 10,
	MIB = 1 << 20,
	SECTOR = 512,
	MAX_SIZE = 8 * MIB,
	MAX_KEPT = 5,
	STEPS = 10,
};

#define IMAGE_NAME "turns.qcow2"

/* A disk as it is, or was. */
struct disk {
	char name[16];
	uint8_t *data;
	uint64_t size;
};

struct turns {
	struct disk now;
	struct disk kept[MAX_KEPT];
	unsigned kept_count;
	unsigned names;
	uint64_t random;
	bool version_2;
};

static uint64_t pick(struct turns *t, uint64_t below)
{
	return random_below(&t->random, below);
}

static void expect(struct image *image, int err)
{
	if (err)
		print_error("%d: %s\n", err, image_error(image));
	assert_int_equal(err, 0);
}

static void assert_same(const struct disk *disk, const uint8_t *data,
			const char *who)
{
	for (uint64_t i = 0; i < disk->size; i++)
		if (data[i] != disk->data[i])
			fail_msg("%s, read by %s: byte %llu differs",
				 disk->name, who, (unsigned long long)i);
}

/* Read by ours and by theirs. */
static void check_disk(const struct disk *disk, const char *snapshot)
{
	struct image *image = reference_open_as(IMAGE_NAME, snapshot, true);
	uint8_t *got = malloc(disk->size);
	char option[40] = "";
	size_t length;

	assert_int_equal(image->size_bytes, disk->size);
	expect(image, sync_io_read(image, 0, got, disk->size));
	assert_same(disk, got, "ours");
	free(got);
	image_close(image);

	if (snapshot)
		snprintf(option, sizeof(option), "-l %s", snapshot);
	scratch_must("qemu-img convert %s -f qcow2 -O raw %s out.raw", option,
		     IMAGE_NAME);
	got = scratch_read("out.raw", &length);
	/* QEMU gives a snapshot the size that the disk has now. */
	if (!snapshot)
		assert_int_equal(length, disk->size);
	if (length >= disk->size)
		assert_same(disk, got, "theirs");
	free(got);
}

static void check_all(struct turns *t)
{
	reference_clean(IMAGE_NAME);
	check_disk(&t->now, NULL);
	for (unsigned i = 0; i < t->kept_count; i++)
		check_disk(&t->kept[i], t->kept[i].name);
}

static void copy_disk(struct disk *to, const struct disk *from)
{
	to->data = realloc(to->data, from->size);
	assert_non_null(to->data);
	memcpy(to->data, from->data, from->size);
	to->size = from->size;
}

static void write_by(struct turns *t, bool ours, struct image *image)
{
	uint64_t sectors = t->now.size / SECTOR;
	uint64_t first = pick(t, sectors);
	uint64_t count = 1 + pick(t, 200);
	unsigned what = pick(t, 4);
	int value = what == 0 ? 0 : 1 + pick(t, 255);
	uint64_t offset = first * SECTOR;
	uint64_t length = MIN(count, sectors - first) * SECTOR;

	memset(t->now.data + offset, value, length);
	if (ours && value)
		expect(image, sync_io_write(image, offset, t->now.data + offset,
					    length));
	else if (ours)
		expect(image, sync_io_zero(image, offset, length));
	else if (value)
		scratch_must("qemu-io -f qcow2 -c 'write -P %d %llu %llu' %s",
			     value, (unsigned long long)offset,
			     (unsigned long long)length, IMAGE_NAME);
	else
		scratch_must("qemu-io -f qcow2 -c 'write -z %llu %llu' %s",
			     (unsigned long long)offset,
			     (unsigned long long)length, IMAGE_NAME);
}

static void create_by(struct turns *t, bool ours, struct image *image)
{
	struct disk *kept = &t->kept[t->kept_count];

	if (t->kept_count == MAX_KEPT)
		return;
	snprintf(kept->name, sizeof(kept->name), "s%u", ++t->names);
	copy_disk(kept, &t->now);
	t->kept_count++;
	if (ours)
		expect(image, image_snapshot_create(image, kept->name));
	else
		scratch_must("qemu-img snapshot -c %s %s", kept->name,
			     IMAGE_NAME);
}

static void apply_by(struct turns *t, bool ours, struct image *image)
{
	struct disk *kept;

	if (t->kept_count == 0)
		return;
	kept = &t->kept[pick(t, t->kept_count)];
	copy_disk(&t->now, kept);
	if (ours)
		expect(image, image_snapshot_apply(image, kept->name));
	else
		scratch_must("qemu-img snapshot -a %s %s", kept->name,
			     IMAGE_NAME);
}

static void delete_by(struct turns *t, bool ours, struct image *image)
{
	unsigned at;

	if (t->kept_count == 0)
		return;
	at = pick(t, t->kept_count);
	if (ours)
		expect(image, image_snapshot_delete(image, t->kept[at].name));
	else
		scratch_must("qemu-img snapshot -d %s %s", t->kept[at].name,
			     IMAGE_NAME);
	free(t->kept[at].data);
	t->kept[at] = t->kept[--t->kept_count];
	t->kept[t->kept_count] = (struct disk){0};
}

/*
 * What is new reads as zeroes, whatever was there once. QEMU, for its part,
 * lets the rest of a last cluster show again: so its sizes are whole clusters.
 */
static void resize_by(struct turns *t, bool ours, struct image *image)
{
	uint64_t size = (1 + pick(t, 2 * t->now.size / SECTOR)) * SECTOR;
	bool grows;

	if (t->version_2 && t->kept_count)
		return;
	if (!ours)
		size = align_up(size, 64 * KIB);
	size = MIN(size, (uint64_t)MAX_SIZE);
	grows = size > t->now.size;
	t->now.data = realloc(t->now.data, size);
	assert_non_null(t->now.data);
	if (grows)
		memset(t->now.data + t->now.size, 0, size - t->now.size);
	t->now.size = size;
	if (ours)
		expect(image,
		       image_resize(image, size, grows ? pick(t, 4) : 0));
	else
		scratch_must("qemu-img resize --shrink -f qcow2 %s %llu",
			     IMAGE_NAME, (unsigned long long)size);
}

static void turn(struct turns *t)
{
	bool ours = pick(t, 2);
	struct image *image = ours ? reference_open(IMAGE_NAME, false) : NULL;

	for (unsigned i = 1 + pick(t, ours ? 6 : 2); i > 0; i--) {
		unsigned what = pick(t, 9);

		if (what == 8)
			resize_by(t, ours, image);
		else if (what < 4)
			write_by(t, ours, image);
		else if (what < 6)
			create_by(t, ours, image);
		else if (what == 6)
			apply_by(t, ours, image);
		else
			delete_by(t, ours, image);
	}
	if (ours)
		assert_int_equal(image_close(image), 0);
	check_all(t);
}

static void take_turns(const char *options, uint64_t size, uint64_t seed)
{
	struct turns t = {
		.now = {.name = "disk", .size = size},
		.random = seed,
		.version_2 = strstr(options, "compat=0.10"),
	};

	t.now.data = calloc(1, size);
	assert_non_null(t.now.data);
	scratch_must("qemu-img create -f qcow2 -o %s %s %llu", options,
		     IMAGE_NAME, (unsigned long long)size);
	for (unsigned i = 0; i < STEPS; i++)
		turn(&t);
	while (t.kept_count)
		delete_by(&t, false, NULL);
	check_all(&t);
	free(t.now.data);
}

static void both_agree_on_default_clusters(void **state)
{
	take_turns("cluster_size=65536", 4 * MIB, 1);
}

static void both_agree_on_small_clusters(void **state)
{
	take_turns("cluster_size=512", 600 * KIB, 2);
}

static void both_agree_on_version_2(void **state)
{
	take_turns("compat=0.10,cluster_size=4096", MIB, 3);
}

static void both_agree_on_narrow_refcounts(void **state)
{
	take_turns("cluster_size=1024,refcount_bits=8", MIB, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_agree_on_default_clusters),
		cmocka_unit_test(both_agree_on_small_clusters),
		cmocka_unit_test(both_agree_on_version_2),
		cmocka_unit_test(both_agree_on_narrow_refcounts),
	};
	int failed;

	image_register_format(&qcow2_format);
	scratch_prefer_memory();
	scratch_enter("qemu-img");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
