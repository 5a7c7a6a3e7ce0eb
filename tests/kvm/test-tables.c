/* SPDX-License-Identifier: Apache-2.0 */
/* The tables, read as a processor reads them. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "tests/kvm/tables.h"

enum {
	PAGE_BYTES = 4096
};

static const struct guest_note note = {
	.entry = MACHINE_IMAGE_GPA + 0x40123,
	.vectors = MACHINE_IMAGE_GPA + 0x12340,
	.kernel_stack = MACHINE_IMAGE_GPA + 0x30000,
	.user_stack = MACHINE_IMAGE_GPA + 0x60000,
	.tables = MACHINE_IMAGE_GPA + 0x2000,
	.boot = MACHINE_IMAGE_GPA + 0x50000,
	.kernel_begin = MACHINE_IMAGE_GPA + 0x1000,
	.kernel_end = MACHINE_IMAGE_GPA + 0x30000,
	.guarded_begin = MACHINE_IMAGE_GPA + 0x30000,
	.guarded_end = MACHINE_IMAGE_GPA + 0x32000,
};

static uint8_t block[TABLES_BYTES] __attribute__((aligned(PAGE_BYTES)));

static int setup(void **state)
{
	/* What was there before does not matter. */
	memset(block, 0xa5, sizeof(block));
	tables_build(&note, block);
	return 0;
}

static uint64_t entry_at(uint64_t table_gpa, uint64_t index)
{
	assert_in_range(table_gpa, note.tables,
			note.tables + TABLES_BYTES - PAGE_BYTES);
	return get_le64(block + (table_gpa - note.tables) + index * 8);
}

/*
 * The walk of Intel's volume 3, 4.5: the physical address, and in *@ret_rights
 * what all levels allow together; UINT64_MAX for what is not there.
 */
static uint64_t walk(uint64_t address, uint64_t *ret_rights)
{
	uint64_t table = note.tables + TABLES_PML4;

	*ret_rights = TABLES_PRESENT | TABLES_WRITE | TABLES_USER;
	for (unsigned shift = 39;; shift -= 9) {
		uint64_t entry = entry_at(table, address >> shift & 511);
		uint64_t offset = (UINT64_C(1) << shift) - 1;

		*ret_rights &= entry | TABLES_UNCACHED;
		if (!(entry & TABLES_PRESENT))
			return UINT64_MAX;
		table = entry & UINT64_C(0xffffffffff000);
		if (shift == 12 || (entry & TABLES_LARGE)) {
			*ret_rights |= entry & TABLES_UNCACHED;
			return (table & ~offset) | (address & offset);
		}
	}
}

static void memory_is_mapped_as_it_is(void **state)
{
	const uint64_t samples[] = {
		0,
		0xfff,
		MACHINE_IMAGE_GPA - 1,
		MACHINE_IMAGE_GPA,
		MACHINE_IMAGE_GPA + MACHINE_IMAGE_BYTES - 1,
		MACHINE_IMAGE_GPA + MACHINE_IMAGE_BYTES,
		MACHINE_LOW_BYTES + 12345,
		MACHINE_DEVICES_GPA,
		MACHINE_APIC_GPA + 0xb0,
		MACHINE_HIGH_GPA - 1,
		MACHINE_HIGH_GPA,
		MACHINE_PLUGGED_GPA + MACHINE_PLUGGED_BYTES - 1,
		MACHINE_MAPPED_BYTES - 1,
	};
	uint64_t rights;

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		assert_int_equal(walk(samples[i], &rights), samples[i]);
}

static void what_lies_beyond_is_not_there(void **state)
{
	uint64_t rights;

	assert_int_equal(walk(MACHINE_MAPPED_BYTES, &rights), UINT64_MAX);
	assert_int_equal(walk(UINT64_C(1) << 39, &rights), UINT64_MAX);
	assert_int_equal(walk(UINT64_C(1) << 47, &rights), UINT64_MAX);
}

static void level_3_cannot_touch_the_kernel(void **state)
{
	for (uint64_t gpa = MACHINE_IMAGE_GPA;
	     gpa < MACHINE_IMAGE_GPA + MACHINE_IMAGE_BYTES; gpa += PAGE_BYTES) {
		bool kernel = gpa >= note.kernel_begin && gpa < note.kernel_end;
		uint64_t rights;

		walk(gpa, &rights);
		assert_int_equal(!(rights & TABLES_USER), kernel);
	}
}

static void guarded_pages_cannot_be_written(void **state)
{
	for (uint64_t gpa = MACHINE_IMAGE_GPA;
	     gpa < MACHINE_IMAGE_GPA + MACHINE_IMAGE_BYTES; gpa += PAGE_BYTES) {
		bool guarded =
			gpa >= note.guarded_begin && gpa < note.guarded_end;
		uint64_t rights;

		walk(gpa, &rights);
		assert_int_equal(!(rights & TABLES_WRITE), guarded);
	}
}

/* The kernel of `memory` opens a page by this entry. */
static void an_entry_is_found_by_its_address(void **state)
{
	uint64_t at = tables_page_entry(note.guarded_begin + 5);
	uint64_t rights;

	block[at] |= TABLES_WRITE;
	walk(note.guarded_begin, &rights);
	assert_true(rights & TABLES_WRITE);
	walk(note.guarded_begin + PAGE_BYTES, &rights);
	assert_false(rights & TABLES_WRITE);
}

static void devices_are_not_cached(void **state)
{
	uint64_t rights;

	walk(MACHINE_DEVICES_GPA, &rights);
	assert_true(rights & TABLES_UNCACHED);
	walk(MACHINE_APIC_GPA, &rights);
	assert_true(rights & TABLES_UNCACHED);
	walk(MACHINE_DEVICES_GPA - 1, &rights);
	assert_false(rights & TABLES_UNCACHED);
	walk(MACHINE_HIGH_GPA, &rights);
	assert_false(rights & TABLES_UNCACHED);
}

static void each_vector_has_its_stub(void **state)
{
	for (unsigned i = 0; i < MACHINE_VECTORS; i++) {
		const uint8_t *gate = block + TABLES_IDT + i * 16;
		uint64_t stub = get_le16(gate) |
				(uint64_t)get_le16(gate + 6) << 16 |
				(uint64_t)get_le32(gate + 8) << 32;

		assert_int_equal(stub, note.vectors + i * 16);
		assert_int_equal(get_le16(gate + 2), TABLES_KERNEL_CODE);
		/* Present, reachable by no instruction of level 3, a gate. */
		assert_int_equal(gate[5], 0x8e);
		assert_int_equal(gate[4], 0);
	}
}

/* Level (bits 45, 46), 64-bit (53), code or data (43). */
static void segments_are_of_their_level(void **state)
{
	static const struct {
		unsigned selector;
		bool code;
	} segments[] = {
		{TABLES_KERNEL_CODE, true},
		{TABLES_KERNEL_DATA, false},
		{TABLES_USER_CODE, true},
		{TABLES_USER_DATA, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(segments); i++) {
		unsigned selector = segments[i].selector;
		uint64_t d = get_le64(block + TABLES_GDT + (selector & ~7U));

		assert_int_equal(d >> 45 & 3, selector & 3);
		assert_int_equal(d >> 43 & 1, segments[i].code);
		assert_int_equal(d >> 53 & 1, segments[i].code);
		assert_int_equal(d >> 47 & 1, 1);
	}
	assert_int_equal(get_le64(block + TABLES_GDT), 0);
}

static void the_task_has_the_stack_of_level_0(void **state)
{
	const uint8_t *d = block + TABLES_GDT + TABLES_TASK;
	uint64_t base = get_le16(d + 2) | (uint64_t)d[4] << 16 |
			(uint64_t)d[7] << 24 | (uint64_t)get_le32(d + 8) << 32;

	assert_int_equal(base, note.tables + TABLES_TSS);
	assert_int_equal(get_le16(d), TABLES_TSS_BYTES - 1);
	assert_int_equal(get_le64(block + TABLES_TSS + 4), note.kernel_stack);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(memory_is_mapped_as_it_is, setup),
		cmocka_unit_test_setup(what_lies_beyond_is_not_there, setup),
		cmocka_unit_test_setup(level_3_cannot_touch_the_kernel, setup),
		cmocka_unit_test_setup(guarded_pages_cannot_be_written, setup),
		cmocka_unit_test_setup(an_entry_is_found_by_its_address, setup),
		cmocka_unit_test_setup(devices_are_not_cached, setup),
		cmocka_unit_test_setup(each_vector_has_its_stub, setup),
		cmocka_unit_test_setup(segments_are_of_their_level, setup),
		cmocka_unit_test_setup(the_task_has_the_stack_of_level_0,
				       setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
