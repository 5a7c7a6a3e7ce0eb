/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Twins: what ours does to one image, QEMU's tools do to another, in random
 * order. Every few steps both hold the same, as both sides read them, snapshots
 * included; both sides find both clean; and now and then they are exchanged.
 *
 * What is discarded are whole clusters, and sizes are whole clusters: what else
 * would read as is each program's to say.
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
	FIRST_SIZE = MIB,
	MAX_SIZE = 3 * MIB,
	BASE_SIZE = MIB + 256 * KIB,
	MAX_SNAPSHOTS = 3,
	MAX_IO_TEXT = 4096,
	ROUNDS = 4,
	STEPS = 8, /* of a round, at most */
};

struct layout {
	const char *options; /* as after -o; %s is the image's name */
	uint64_t cluster;
	bool version_2;
	bool backing;
	bool data_file;
	bool encrypted;
};

static const struct layout layouts[] = {
	{.options = "cluster_size=64k", .cluster = 64 * KIB},
	{.options = "cluster_size=512", .cluster = 512},
	{.options = "compat=0.10,cluster_size=4k",
	 .cluster = 4 * KIB,
	 .version_2 = true},
	{.options = "extended_l2=on,cluster_size=16k", .cluster = 16 * KIB},
	{.options = "cluster_size=4k,refcount_bits=4,lazy_refcounts=on",
	 .cluster = 4 * KIB},
	{.options = "data_file=%s.raw,cluster_size=16k",
	 .cluster = 16 * KIB,
	 .data_file = true},
	{.options = "data_file=%s.raw,data_file_raw=on,extended_l2=on",
	 .cluster = 64 * KIB,
	 .data_file = true},
	{.options = "encrypt.format=luks,encrypt.key-secret=s,"
		    "encrypt.iter-time=10,cluster_size=4k",
	 .cluster = 4 * KIB,
	 .encrypted = true},
	{.options = "backing_file=%s-base,backing_fmt=qcow2,cluster_size=4k",
	 .cluster = 4 * KIB,
	 .backing = true},
	{.options = "backing_file=%s-base,backing_fmt=qcow2,extended_l2=on",
	 .cluster = 64 * KIB,
	 .backing = true},
	{.options = "backing_file=%s-base,backing_fmt=qcow2,compat=0.10,"
		    "cluster_size=512",
	 .cluster = 512,
	 .version_2 = true,
	 .backing = true},
};

struct run {
	const struct layout *layout;
	const char *ours, *theirs; /* names */
	struct image *image;	   /* ours, open */
	char io[MAX_IO_TEXT];	   /* for qemu-io, to be done */
	uint64_t size;
	unsigned snapshots[MAX_SNAPSHOTS]; /* sN is a snapshot's name */
	unsigned snapshot_count, names;
	uint64_t random;
};

static uint64_t pick(struct run *r, uint64_t below)
{
	return random_below(&r->random, below);
}

static void expect(struct run *r, int err)
{
	if (err)
		fail_msg("%d: %s", err, image_error(r->image));
}

/* What qemu-img is told of an image; @format for those that want to know. */
static const char *source(const struct run *r, const char *name, bool format)
{
	static char text[2][160];
	static unsigned next;
	char *to = text[next++ % 2];

	if (r->layout->encrypted)
		snprintf(to, sizeof(text[0]), "%s%s", REFERENCE_ENCRYPTED,
			 name);
	else
		snprintf(to, sizeof(text[0]), "%s%s", format ? "-f qcow2 " : "",
			 name);
	return to;
}

/* --- Guests' requests ------------------------------------------------------ */

static void theirs_does_io(struct run *r)
{
	if (r->io[0])
		scratch_must("qemu-io -d unmap %s %s",
			     source(r, r->theirs, true), r->io);
	r->io[0] = 0;
}

static void tell_theirs(struct run *r, const char *what, uint64_t offset,
			uint64_t length)
{
	size_t used = strlen(r->io);

	used += (size_t)snprintf(
		r->io + used, sizeof(r->io) - used, " -c '%s %llu %llu'", what,
		(unsigned long long)offset, (unsigned long long)length);
	assert_true(used < sizeof(r->io));
}

static void pick_range(struct run *r, uint64_t unit, uint64_t *ret_offset,
		       uint64_t *ret_length)
{
	uint64_t units = r->size / unit;
	uint64_t first = pick(r, units);
	uint64_t most = MAX(UINT64_C(200) * KIB / unit, UINT64_C(2));
	uint64_t count = 1 + pick(r, most);

	*ret_offset = first * unit;
	*ret_length = MIN(count, units - first) * unit;
}

static void write_data(struct run *r)
{
	int value = 1 + (int)pick(r, 255);
	uint64_t offset, length;
	char what[24];
	uint8_t *data;

	pick_range(r, SECTOR, &offset, &length);
	data = malloc(length);
	assert_non_null(data);
	memset(data, value, length);
	expect(r, sync_io_write(r->image, offset, data, length));
	free(data);
	snprintf(what, sizeof(what), "write -P %d", value);
	tell_theirs(r, what, offset, length);
}

static void write_zeroes(struct run *r)
{
	uint64_t offset, length;

	pick_range(r, SECTOR, &offset, &length);
	expect(r, sync_io_zero(r->image, offset, length));
	tell_theirs(r, pick(r, 2) ? "write -z" : "write -z -u", offset, length);
}

static void discard(struct run *r)
{
	uint64_t offset, length;

	pick_range(r, r->layout->cluster, &offset, &length);
	expect(r, sync_io_discard(r->image, offset, length));
	tell_theirs(r, "discard", offset, length);
}

/* --- What is done to an image ---------------------------------------------- */

static void snapshot_create(struct run *r)
{
	char name[16];

	if (r->layout->data_file || r->snapshot_count == MAX_SNAPSHOTS)
		return;
	theirs_does_io(r);
	r->snapshots[r->snapshot_count++] = ++r->names;
	snprintf(name, sizeof(name), "s%u", r->names);
	expect(r, image_snapshot_create(r->image, name));
	scratch_must("qemu-img snapshot -c %s %s", name,
		     source(r, r->theirs, false));
}

static void snapshot_apply(struct run *r)
{
	char name[16];

	if (r->snapshot_count == 0)
		return;
	theirs_does_io(r);
	snprintf(name, sizeof(name), "s%u",
		 r->snapshots[pick(r, r->snapshot_count)]);
	expect(r, image_snapshot_apply(r->image, name));
	r->size = r->image->size_bytes;
	scratch_must("qemu-img snapshot -a %s %s", name,
		     source(r, r->theirs, false));
}

static void snapshot_delete(struct run *r)
{
	char name[16];
	unsigned at;

	if (r->snapshot_count == 0)
		return;
	theirs_does_io(r);
	at = (unsigned)pick(r, r->snapshot_count);
	snprintf(name, sizeof(name), "s%u", r->snapshots[at]);
	r->snapshots[at] = r->snapshots[--r->snapshot_count];
	expect(r, image_snapshot_delete(r->image, name));
	scratch_must("qemu-img snapshot -d %s %s", name,
		     source(r, r->theirs, false));
}

/* With snapshots, version 2 cannot say which size is whose. */
static void resize(struct run *r)
{
	uint64_t size = (1 + pick(r, MAX_SIZE / r->layout->cluster)) *
			r->layout->cluster;

	if (r->layout->version_2 && r->snapshot_count)
		return;
	theirs_does_io(r);
	expect(r, image_resize(r->image, size, IMAGE_PREALLOCATION_OFF));
	r->size = size;
	scratch_must("qemu-img resize -q --shrink %s %llu",
		     source(r, r->theirs, true), (unsigned long long)size);
}

static void reopen(struct run *r)
{
	r->image = reference_open(r->ours, false);
	assert_int_equal(r->image->size_bytes, r->size);
}

static void commit(struct run *r)
{
	if (!r->layout->backing)
		return;
	theirs_does_io(r);
	assert_int_equal(image_close(r->image), 0);
	scratch_must("$QIMG commit -q -f qcow2 %s && "
		     "qemu-img commit -q -f qcow2 %s",
		     r->ours, r->theirs);
	reopen(r);
}

static void step(struct run *r)
{
	static void (*const all[])(struct run *) = {
		write_data,	 write_data,	 write_data,
		write_data,	 write_zeroes,	 write_zeroes,
		discard,	 discard,	 snapshot_create,
		snapshot_create, snapshot_apply, snapshot_delete,
		resize,		 commit,
	};

	all[pick(r, ARRAY_SIZE(all))](r);
}

/* --- Looking --------------------------------------------------------------- */

/* What ours reads; to be freed. */
static uint8_t *read_all(const char *name, const char *snapshot,
			 uint64_t *ret_size)
{
	struct image *image = reference_open_as(name, snapshot, true);
	uint8_t *data = malloc(image->size_bytes);

	assert_non_null(data);
	*ret_size = image->size_bytes;
	assert_int_equal(sync_io_read(image, 0, data, image->size_bytes), 0);
	assert_int_equal(image_close(image), 0);
	return data;
}

static void ours_finds_the_same(const struct run *r, const char *snapshot)
{
	uint64_t our_size, their_size;
	uint8_t *ours = read_all(r->ours, snapshot, &our_size);
	uint8_t *theirs = read_all(r->theirs, snapshot, &their_size);

	assert_int_equal(our_size, their_size);
	for (uint64_t i = 0; i < our_size; i++)
		if (ours[i] != theirs[i])
			fail_msg("%s %s: byte %llu is %d, in %s %d", r->ours,
				 snapshot ? snapshot : "",
				 (unsigned long long)i, ours[i], r->theirs,
				 theirs[i]);
	free(ours);
	free(theirs);
}

static void both_are_clean(const struct run *r, const char *name)
{
	const char *what = source(r, name, true);

	if (scratch_run("qemu-img check %s && $QIMG check %s", what, what))
		fail_msg("%s: %s", name, scratch_output());
}

static void compare(const struct run *r)
{
	both_are_clean(r, r->ours);
	both_are_clean(r, r->theirs);
	ours_finds_the_same(r, NULL);
	for (unsigned i = 0; i < r->snapshot_count; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%u", r->snapshots[i]);
		ours_finds_the_same(r, name);
	}
	if (r->layout->encrypted)
		scratch_must("qemu-img compare %s%s driver=qcow2,"
			     "encrypt.key-secret=s,file.filename=%s",
			     REFERENCE_ENCRYPTED, r->ours, r->theirs);
	else
		scratch_must("qemu-img compare -f qcow2 -F qcow2 %s %s",
			     r->ours, r->theirs);
}

/* --- Sequences -------------------------------------------------------------- */

static void make(const struct run *r, const char *name)
{
	char options[256];
	char *error = NULL;

	if (r->layout->backing)
		scratch_must("qemu-img create -q -f qcow2 %s-base %d && "
			     "qemu-io -f qcow2 -c 'write -P 77 100k 300k' "
			     "-c 'write -P 78 1100k 100k' %s-base",
			     name, BASE_SIZE, name);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(options, sizeof(options), r->layout->options, name);
#pragma GCC diagnostic pop
	if (reference_create(&qcow2_format, name, options, FIRST_SIZE, &error))
		fail_msg("%s: %s", options, error ? error : "");
}

static void one_round(struct run *r)
{
	const char *ours = r->ours;

	reopen(r);
	for (unsigned i = 1 + pick(r, STEPS); i > 0; i--)
		step(r);
	theirs_does_io(r);
	assert_int_equal(image_close(r->image), 0);
	compare(r);
	if (pick(r, 2)) {
		r->ours = r->theirs;
		r->theirs = ours;
	}
}

static void go(const struct layout *layout, uint64_t seed)
{
	struct run r = {
		.layout = layout,
		.ours = "a",
		.theirs = "b",
		.size = FIRST_SIZE,
		.random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1,
	};

	print_message("# seed %llu: %s\n", (unsigned long long)seed,
		      layout->options);
	scratch_must("rm -f a b *.raw *-base");
	make(&r, r.ours);
	make(&r, r.theirs);
	for (unsigned i = 0; i < ROUNDS; i++)
		one_round(&r);
}

static uint64_t first_seed = 1, last_seed = 1;

static void twins_stay_alike(void **state)
{
	for (uint64_t seed = first_seed; seed <= last_seed; seed++)
		for (size_t i = 0; i < ARRAY_SIZE(layouts); i++)
			go(&layouts[i], seed * 100 + i);
}

/* Arguments: QIMG [FIRST-SEED LAST-SEED]. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(twins_stay_alike),
	};
	int failed;

	reference_take_qimg(argc, argv);
	if (argc > 3) {
		first_seed = strtoull(argv[2], NULL, 10);
		last_seed = strtoull(argv[3], NULL, 10);
	}
	scratch_prefer_memory();
	scratch_enter("qemu-img");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
