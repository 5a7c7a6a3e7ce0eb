/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots that QEMU took of a machine: ours lists them, reads the machine's
 * state, applies and deletes them; and QEMU loads what ours has applied.
 */
#include <errno.h>
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
#include "tests/images/state-walk.h"

enum {
	MIB = 1 << 20,
	DISK = 4 * MIB + 512,
	ODD = 70001,	    /* bytes read at once: no part of a cluster */
	MAGIC = 0x5145564d, /* "QEVM": all states of QEMU's begin so */
};

/* A machine that never ran; @commands are the monitor's, one a line. */
static int machine(const char *commands)
{
	return scratch_run("printf '%s\nquit\n' | timeout 120 "
			   "qemu-system-x86_64 -S -nodefaults -display none "
			   "-monitor stdio -machine pc,accel=tcg -m 8 "
			   "-drive file=vm.qcow2,format=qcow2,if=none,id=d",
			   commands);
}

static void make(const char *options)
{
	scratch_must("rm -f vm.qcow2; "
		     "qemu-img create -q -f qcow2 -o %s vm.qcow2 %d",
		     options, DISK);
	scratch_must("qemu-io -f qcow2 -c 'write -P 1 0 300k' "
		     "-c 'write -P 2 2M 70k' -c 'write -P 3 4M 512' vm.qcow2");
	if (machine("savevm vm1") || strstr(scratch_output(), "Error"))
		fail_msg("%s", scratch_output());
	scratch_must("qemu-io -f qcow2 -c 'write -P 9 100k 2M' "
		     "-c 'write -z 2M 64k' vm.qcow2");
}

static void read_all(struct image *image, uint8_t *ret)
{
	assert_int_equal(image->size_bytes, DISK);
	assert_int_equal(sync_io_read(image, 0, ret, DISK), 0);
}

/* In pieces, and one more that does not end within it. */
static void read_state(struct image *image, uint64_t bytes,
		       const uint8_t *expected)
{
	uint8_t *piece = malloc(ODD);

	assert_non_null(piece);
	for (uint64_t done = 0; done < bytes; done += ODD) {
		size_t now = MIN(bytes - done, (uint64_t)ODD);

		assert_int_equal(qcow2_vmstate_read(image, done, piece, now),
				 0);
		assert_memory_equal(piece, expected + done, now);
	}
	assert_int_equal(qcow2_vmstate_read(image, bytes - 1, piece, 2),
			 -EINVAL);
	free(piece);
}

static void the_state_is_read(void)
{
	size_t file_bytes;
	uint8_t *file = scratch_read("vm.qcow2", &file_bytes);
	uint64_t bytes;
	uint8_t *expected = state_walk(file, file_bytes, &bytes);
	struct image *image = reference_open_as("vm.qcow2", "vm1", true);

	assert_int_equal(qcow2_vmstate_bytes(image), bytes);
	assert_in_range(bytes, 4096, 64 * MIB);
	assert_int_equal(get_be32(expected), MAGIC);
	read_state(image, bytes, expected);
	assert_int_equal(image_close(image), 0);
	free(expected);
	free(file);
}

static void the_snapshot_is_listed(void)
{
	struct image *image = reference_open("vm.qcow2", true);
	struct image_snapshots list;

	assert_int_equal(image_snapshot_list(image, &list), 0);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.all[0].name, "vm1");
	assert_int_equal(list.all[0].size_bytes, DISK);
	image_snapshots_deinit(&list);
	assert_int_equal(image_close(image), 0);
	reference_same("snapshot -l vm.qcow2");
	reference_same("info -f qcow2 vm.qcow2");
	reference_same("info --output=json -f qcow2 vm.qcow2");
}

static void both_find_it_clean(void)
{
	reference_clean("vm.qcow2");
	reference_same("check -f qcow2 vm.qcow2");
	reference_same("check --output=json -f qcow2 vm.qcow2");
}

/* QEMU goes on from what ours applied, and ours has kept the state. */
static void the_snapshot_is_applied(void)
{
	struct image *image = reference_open_as("vm.qcow2", "vm1", true);
	uint8_t *disk = malloc(DISK), *now = malloc(DISK);

	assert_true(disk && now);
	read_all(image, disk);
	assert_int_equal(image_close(image), 0);
	image = reference_open("vm.qcow2", false);
	assert_int_equal(image_snapshot_apply(image, "vm1"), 0);
	read_all(image, now);
	assert_memory_equal(now, disk, DISK);
	assert_int_equal(sync_io_write(image, 50 << 10, "ours", 4), 0);
	assert_int_equal(image_close(image), 0);
	both_find_it_clean();
	the_state_is_read();
	if (machine("loadvm vm1") || strstr(scratch_output(), "Error"))
		fail_msg("%s", scratch_output());
	reference_reads_as("vm.qcow2", "", disk, DISK);
	both_find_it_clean();
	free(disk);
	free(now);
}

static void the_snapshot_is_deleted(void)
{
	struct image *image = reference_open("vm.qcow2", false);
	struct image_snapshots list;

	assert_int_equal(image_snapshot_delete(image, "vm1"), 0);
	assert_int_equal(image_snapshot_list(image, &list), 0);
	assert_int_equal(list.count, 0);
	image_snapshots_deinit(&list);
	assert_int_equal(image_close(image), 0);
	both_find_it_clean();
	assert_true(machine("loadvm vm1") ||
		    strstr(scratch_output(),
			   "does not exist in one or more devices"));
}

static void a_machine_that_qemu_saved_is_kept(void **state)
{
	static const char *const options[] = {
		"cluster_size=64k",
		"cluster_size=512,refcount_bits=64",
		"cluster_size=16k,extended_l2=on",
		"cluster_size=4k,compat=0.10",
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		make(options[i]);
		the_snapshot_is_listed();
		the_state_is_read();
		both_find_it_clean();
		the_snapshot_is_applied();
		the_snapshot_is_deleted();
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_that_qemu_saved_is_kept),
	};
	int failed;

	reference_take_qimg(argc, argv);
	scratch_prefer_memory();
	scratch_enter("qemu-system-x86_64");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
