/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sparse VMDK disks, made by QEMU and by ours, that both write to in turns: after
 * each turn both have to read what was written last, and QEMU's check is clean.
 * The first argument is qimg.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "tests/images/scratch.h"
#include "vmdk/vmdk.h"

enum {
	SECTOR = 512,
	MIB = 1 << 20,
	WINDOW = 5 * MIB, /* of the disk, that is written to */
	COWD_TABLE = 4096 * SECTOR,
	SE_TABLE = 4096 * 8 * SECTOR,
	TURNS = 8,
	OPS = 25,
	MAX_OP = 300 * 1024,
};

struct kind {
	const char *name;
	const char *tool; /* that makes it; NULL: qimg */
	const char *options;
	uint64_t size;
	uint64_t start; /* of the window */
	bool delta;	/* on an image that is full of 7 */
};

#define TWO_GIB (UINT64_C(2) << 30)

static const struct kind kinds[] = {
	{"theirs", "qemu-img", "", WINDOW, 0, false},
	{"ours", NULL, "", WINDOW, 0, false},
	{"of_odd_length", NULL, "", WINDOW - 7 * SECTOR, 0, false},
	{"theirs_with_zeroed_grains", "qemu-img", "-o zeroed_grain=on", WINDOW,
	 0, false},
	{"ours_with_zeroed_grains", NULL, "-o zeroed_grain=on", WINDOW, 0,
	 false},
	{"two_extents", "qemu-img", "-o subformat=twoGbMaxExtentSparse",
	 TWO_GIB + 3 * MIB, TWO_GIB - 2 * MIB, false},
	{"a_delta", "qemu-img", "-b base.vmdk -F vmdk", WINDOW, 0, true},
	{"our_delta_with_zeroed_grains", NULL,
	 "-b base.vmdk -F vmdk -o zeroed_grain=on", WINDOW, 0, true},
	{"flat_on_vmfs", NULL, "-o subformat=vmfs", WINDOW - 7 * SECTOR, 0,
	 false},
	{"cowd", NULL, "-o subformat=vmfsSparse", WINDOW - 7 * SECTOR, 0,
	 false},
	{"a_cowd_delta", NULL, "-b base.vmdk -F vmdk -o subformat=vmfsSparse",
	 WINDOW, 0, true},
	{"sesparse", NULL, "-o subformat=seSparse", WINDOW - 7 * SECTOR, 0,
	 false},
	{"sesparse_with_two_tables", NULL, "-o subformat=seSparse",
	 SE_TABLE + 3 * MIB, SE_TABLE - 2 * MIB, false},
	{"a_sesparse_delta", NULL, "-b base.vmdk -F vmdk -o subformat=seSparse",
	 WINDOW, 0, true},
};

static const char *qimg;
static uint8_t model[WINDOW];

static uint64_t pick(uint64_t below)
{
	static uint64_t random = 88172645463325252u;

	random ^= random << 13;
	random ^= random >> 7;
	random ^= random << 17;
	return (random >> 11) % below;
}

static uint64_t window_of(const struct kind *kind)
{
	return MIN((uint64_t)WINDOW, kind->size - kind->start);
}

/* A range of whole sectors, inside the window. */
static uint64_t pick_range(const struct kind *kind, uint64_t *ret_length)
{
	uint64_t window = window_of(kind);
	uint64_t at = pick(window / SECTOR) * SECTOR;

	*ret_length = MIN((1 + pick(MAX_OP / SECTOR)) * SECTOR, window - at);
	return at;
}

static struct image *open_ours(bool read_only)
{
	static const char *const here[] = {".", NULL};
	const struct image_open_request request = {
		.path = "t.vmdk",
		.format = "vmdk",
		.read_only = read_only,
		.cache_bytes = 1,
		.allowed = here,
	};
	struct image *image;
	char *error = NULL;

	if (image_open(&request, &image, &error, NULL))
		fail_msg("%s", error ? error : "does not open");
	return image;
}

/* QEMU makes no tables in such a disk: there is one before it writes. */
static bool is_cowd(const struct kind *kind)
{
	return strstr(kind->options, "vmfsSparse") != NULL;
}

static bool only_ours_writes(const struct kind *kind)
{
	return strstr(kind->options, "seSparse") != NULL;
}

static void write_sectors(struct image *image, const struct kind *kind)
{
	for (uint64_t at = 0; at < window_of(kind); at += COWD_TABLE) {
		memset(model + at, 8, SECTOR);
		assert_int_equal(sync_io_write(image, kind->start + at,
					       model + at, SECTOR),
				 0);
	}
}

static void our_turn(const struct kind *kind)
{
	struct image *image = open_ours(false);

	if (is_cowd(kind))
		write_sectors(image, kind);
	for (int i = 0; i < OPS; i++) {
		uint64_t length, at = pick_range(kind, &length);
		unsigned what = pick(4);
		int err;

		memset(model + at, what ? (int)pick(255) + 1 : 0, length);
		if (what == 0)
			err = sync_io_zero(image, kind->start + at, length);
		else
			err = sync_io_write(image, kind->start + at, model + at,
					    length);
		if (err)
			fail_msg("%d: %s", err, image_error(image));
		if (pick(8) == 0)
			assert_int_equal(image_flush_sync(image), 0);
	}
	assert_int_equal(image_close(image), 0);
}

static void their_turn(const struct kind *kind)
{
	char command[OPS * 64] = "";
	size_t used = 0;

	for (int i = 0; i < OPS; i++) {
		uint64_t length, at = pick_range(kind, &length);
		unsigned value = pick(4) ? (unsigned)pick(255) + 1 : 0;

		memset(model + at, (int)value, length);
		if (value)
			used += (size_t)snprintf(
				command + used, sizeof(command) - used,
				" -c 'write -P %u %llu %llu'", value,
				(unsigned long long)(kind->start + at),
				(unsigned long long)length);
		else
			used += (size_t)snprintf(
				command + used, sizeof(command) - used,
				" -c 'write -z %llu %llu'",
				(unsigned long long)(kind->start + at),
				(unsigned long long)length);
	}
	scratch_must("qemu-io -f vmdk%s t.vmdk", command);
}

static void ours_reads_it(const struct kind *kind)
{
	static uint8_t got[WINDOW];
	struct image *image = open_ours(true);

	assert_int_equal(image->size_bytes, kind->size);
	assert_int_equal(sync_io_read(image, kind->start, got, window_of(kind)),
			 0);
	for (uint64_t i = 0; i < window_of(kind); i++)
		if (got[i] != model[i])
			fail_msg("ours: byte %llu differs",
				 (unsigned long long)i);
	assert_int_equal(image_close(image), 0);
}

static void theirs_reads_it(const struct kind *kind)
{
	FILE *wanted = fopen("wanted.raw", "w");

	assert_non_null(wanted);
	assert_int_equal(fseeko(wanted, (off_t)kind->start, SEEK_SET), 0);
	assert_int_equal(fwrite(model, 1, window_of(kind), wanted),
			 window_of(kind));
	assert_int_equal(fclose(wanted), 0);
	scratch_must("qemu-img compare -f raw -F vmdk wanted.raw t.vmdk");
	scratch_must("qemu-img check -f vmdk t.vmdk");
}

static void both_write_in_turns(void **state)
{
	const struct kind *kind = *state;

	memset(model, kind->delta ? 7 : 0, sizeof(model));
	scratch_must("rm -f *.vmdk *.raw");
	if (kind->delta)
		scratch_must("qemu-img create -q -f vmdk base.vmdk %llu && "
			     "qemu-io -f vmdk -c 'write -P 7 0 %llu' "
			     "base.vmdk",
			     (unsigned long long)kind->size,
			     (unsigned long long)kind->size);
	scratch_must("%s create -q -f vmdk %s t.vmdk %llu",
		     kind->tool ? kind->tool : qimg, kind->options,
		     (unsigned long long)kind->size);
	for (int turn = 0; turn < TURNS; turn++) {
		if (turn % 2 && !only_ours_writes(kind))
			their_turn(kind);
		else
			our_turn(kind);
		ours_reads_it(kind);
		theirs_reads_it(kind);
		if (turn % 2 == 0 || only_ours_writes(kind))
			scratch_must("%s check -q -f vmdk t.vmdk", qimg);
	}
}

/* By the executor, with many requests under way. */
static void conversions_are_the_same(void **state)
{
	scratch_must("rm -f *.vmdk *.raw && qemu-img create -q -f raw src.raw "
		     "40M && qemu-io -f raw -c 'write -P 1 0 3M' -c 'write -P "
		     "2 5000k 77k' -c 'write -P 3 39M 1M' src.raw");
	scratch_must("for o in '' '-W' '-S 0' '-o zeroed_grain=on' "
		     "'-o adapter_type=lsilogic'; do "
		     "%s convert $o -f raw -O vmdk src.raw t.vmdk && "
		     "qemu-img compare -f raw -F vmdk src.raw t.vmdk && "
		     "qemu-img check -f vmdk t.vmdk && "
		     "%s convert -f vmdk -O raw t.vmdk back.raw && "
		     "cmp src.raw back.raw || exit 1; done",
		     qimg, qimg);
}

static void what_is_wrong_is_refused_by_name(void **state)
{
	static const struct {
		const char *arguments, *words;
	} wrong[] = {
		{"-f vmdk t.vmdk 0", "at least one sector"},
		{"-f vmdk t.vmdk 65T", "64 TiB"},
		{"-f vmdk -o subformat=nonsense t.vmdk 1M", "subformat"},
		{"-f vmdk -o adapter_type=x t.vmdk 1M", "adapter_type"},
		{"-f vmdk -b src.raw -F raw t.vmdk 1M", "has to be a vmdk"},
		{"-f vmdk -o subformat=vmfsSparse t.vmdk 2T", "less than 2"},
		{"-f vmdk -o subformat=vmfsSparse,zeroed_grain=on t.vmdk 1M",
		 "cannot mark grains"},
		{"-f vmdk -o subformat=vmfs,zeroed_grain=on t.vmdk 1M", "Flat"},
		{"-f vmdk -o subformat=seSparse t.vmdk 65T", "64 TiB"},
		{"-f vmdk -o 'hwversion=\"' t.vmdk 1M", "cannot be said"},
	};

	scratch_must("rm -f *.vmdk && truncate -s 1M src.raw");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(scratch_run("%s create -q %s", qimg,
					     wrong[i].arguments),
				 1);
		if (!strstr(scratch_output(), wrong[i].words))
			fail_msg("%s: %s", wrong[i].arguments,
				 scratch_output());
		assert_int_not_equal(access("t.vmdk", F_OK), 0);
	}
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[ARRAY_SIZE(kinds) + 2];
	char path[4096];
	size_t count = 0;
	int failed;

	if (argc < 2 || !realpath(argv[1], path)) {
		fprintf(stderr, "usage: %s QIMG\n", argv[0]);
		return 1;
	}
	qimg = path;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		tests[count++] = (struct CMUnitTest){
			.name = kinds[i].name,
			.test_func = both_write_in_turns,
			.initial_state = (void *)&kinds[i],
		};
	tests[count++] =
		(struct CMUnitTest)cmocka_unit_test(conversions_are_the_same);
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(
		what_is_wrong_is_refused_by_name);
	image_register_format(&vmdk_format);
	scratch_prefer_memory();
	scratch_enter("qemu-img");
	failed = _cmocka_run_group_tests("both_write_in_turns", tests, count,
					 NULL, NULL);
	scratch_leave();
	return failed;
}
