/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost/sigbus.h"

enum {
	MIB = 1024 * 1024
};

static int make_file(uint64_t bytes)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

/* A file whose every 4 KiB page begins with its number. */
static int make_numbered_file(uint64_t bytes)
{
	int fd = make_file(bytes);

	for (uint64_t at = 0; at < bytes; at += 4096) {
		uint32_t page = (uint32_t)(at / 4096);

		assert_int_equal(pwrite(fd, &page, 4, (off_t)at), 4);
	}
	return fd;
}

static struct guest_memory *make_one(const struct guest_region_spec *spec)
{
	struct guest_memory *memory;

	assert_int_equal(guest_memory_new(spec, 1, &memory), 0);
	return memory;
}

static void range_in_one_region_is_one_segment(void **state)
{
	int fd = make_numbered_file(MIB);
	struct guest_region_spec spec = {
		.gpa = 0x100000, .size_bytes = MIB, .uva = 0x7000, .fd = fd};
	struct guest_memory *memory = make_one(&spec);
	struct iovec iov[2];
	unsigned hint = 0;

	close(fd);
	assert_int_equal(guest_memory_iov(memory, 0x103000, 100, iov, 2, &hint),
			 1);
	assert_int_equal(*(uint32_t *)iov[0].iov_base, 3);
	assert_int_equal(iov[0].iov_len, 100);
	assert_int_equal(guest_memory_gpa(memory, iov[0].iov_base), 0x103000);
	assert_int_equal(guest_memory_end(memory), 0x100000 + MIB);
	assert_int_equal(guest_memory_iov(memory, 0x100000, MIB, iov, 2, &hint),
			 1);
	assert_ptr_equal(guest_memory_uva(memory, 0x7000 + 0x3000, 4096),
			 (char *)iov[0].iov_base + 0x3000);
	guest_memory_unref(memory);
}

static void range_outside_memory_is_refused(void **state)
{
	int fd = make_file(MIB);
	struct guest_region_spec spec = {
		.gpa = 0x100000, .size_bytes = MIB, .uva = 0x700000, .fd = fd};
	struct guest_memory *memory = make_one(&spec);
	struct iovec iov[2];
	static const struct {
		uint64_t gpa, length;
	} bad[] = {
		{0, 1},
		{0xfffff, 1},
		{0xfffff, 2},
		{0x200000, 1},
		{0x1fffff, 2},
		{0x100000, MIB + 1},
		{0x100000, UINT64_MAX},
		{0x100001, UINT64_MAX},
		{UINT64_MAX, 1},
		{UINT64_MAX, UINT64_MAX},
		{UINT64_MAX - 10, 0x200000},
	};

	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		for (unsigned first = 0; first < 3; first++) {
			unsigned hint = first;

			assert_int_equal(guest_memory_iov(memory, bad[i].gpa,
							  bad[i].length, iov, 2,
							  &hint),
					 -EFAULT);
		}
		assert_null(guest_memory_uva(memory, bad[i].gpa + 0x600000,
					     bad[i].length));
	}
	assert_int_equal(guest_memory_gpa(memory, iov), UINT64_MAX);
	guest_memory_unref(memory);
}

static void range_over_neighbouring_regions_is_split(void **state)
{
	int fd = make_numbered_file(MIB);
	struct guest_region_spec specs[] = {
		/* Guest order is not file order, nor the order given. */
		{.gpa = 0x42000,
		 .size_bytes = 0x2000,
		 .uva = 0x900000,
		 .mmap_offset = 0x1000,
		 .fd = fd},
		{.gpa = 0x40000,
		 .size_bytes = 0x2000,
		 .uva = 0x100000,
		 .mmap_offset = 0x8000,
		 .fd = fd},
		{.gpa = 0x50000,
		 .size_bytes = 0x2000,
		 .uva = 0x200000,
		 .mmap_offset = 0x4000,
		 .fd = fd},
	};
	struct guest_memory *memory;
	struct iovec iov[3];
	unsigned hint = 0;

	assert_int_equal(guest_memory_new(specs, 3, &memory), 0);
	close(fd);
	assert_int_equal(
		guest_memory_iov(memory, 0x41000, 0x2000, iov, 3, &hint), 2);
	assert_int_equal(*(uint32_t *)iov[0].iov_base, 9);
	assert_int_equal(iov[0].iov_len, 0x1000);
	assert_int_equal(*(uint32_t *)iov[1].iov_base, 1);
	assert_int_equal(iov[1].iov_len, 0x1000);
	assert_int_equal(
		guest_memory_iov(memory, 0x41000, 0x2000, iov, 1, &hint),
		-ENOBUFS);
	/* The gap after 0x44000 is no memory. */
	assert_int_equal(
		guest_memory_iov(memory, 0x43000, 0xe000, iov, 3, &hint),
		-EFAULT);
	assert_int_equal(guest_memory_iov(memory, 0x50000, 16, iov, 3, &hint),
			 1);
	assert_int_equal(hint, 2);
	assert_int_equal(guest_memory_gpa(memory, iov[0].iov_base), 0x50000);
	guest_memory_unref(memory);
}

static void length_of_zero_has_no_segment_and_no_fault(void **state)
{
	int fd = make_file(4096);
	struct guest_region_spec spec = {
		.gpa = 0, .size_bytes = 4096, .uva = 0, .fd = fd};
	struct guest_memory *memory = make_one(&spec);
	struct iovec iov;
	unsigned hint = 0;

	close(fd);
	assert_int_equal(
		guest_memory_iov(memory, UINT64_MAX, 0, &iov, 1, &hint), 0);
	guest_memory_unref(memory);
}

static void region_that_is_not_in_its_file_is_refused(void **state)
{
	int fd = make_file(8192);
	struct guest_memory *memory;
	static const struct {
		uint64_t offset, size;
	} bad[] = {
		{0, 0},
		{0, 8193},
		{1, 8192},
		{8192, 1},
		{UINT64_MAX, 1},
		{UINT64_MAX, 2},
		{4096, UINT64_MAX},
		{0, UINT64_C(1) << 63},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct guest_region_spec spec = {
			.size_bytes = bad[i].size,
			.mmap_offset = bad[i].offset,
			.fd = fd,
		};

		assert_int_equal(guest_memory_new(&spec, 1, &memory), -EINVAL);
	}
	close(fd);
}

static void region_at_an_odd_file_offset_is_mapped(void **state)
{
	int fd = make_numbered_file(16384);
	struct guest_region_spec spec = {
		.gpa = 0, .size_bytes = 8000, .mmap_offset = 4090, .fd = fd};
	struct guest_memory *memory = make_one(&spec);
	struct iovec iov;
	unsigned hint = 0;

	close(fd);
	assert_int_equal(guest_memory_iov(memory, 6, 4, &iov, 1, &hint), 1);
	assert_int_equal(get_le32(iov.iov_base), 1);
	guest_memory_unref(memory);
}

static void overlapping_and_wrapping_regions_are_refused(void **state)
{
	int fd = make_file(MIB);
	struct guest_memory *memory;
	struct guest_region_spec specs[2] = {
		{.gpa = 0x10000, .size_bytes = 0x10000, .fd = fd},
		{.gpa = 0x1ffff, .size_bytes = 0x1000, .fd = fd},
	};

	assert_int_equal(guest_memory_new(specs, 2, &memory), -EINVAL);
	specs[1].gpa = 0xf001;
	assert_int_equal(guest_memory_new(specs, 2, &memory), -EINVAL);
	specs[1].gpa = 0x10000;
	assert_int_equal(guest_memory_new(specs, 2, &memory), -EINVAL);
	specs[1].gpa = UINT64_MAX - 0xfff;
	assert_int_equal(guest_memory_new(specs, 2, &memory), -EINVAL);
	specs[1].gpa = 0xf000;
	specs[1].uva = UINT64_MAX - 0xffe;
	assert_int_equal(guest_memory_new(specs, 2, &memory), -EINVAL);
	specs[1].uva = 0;
	assert_int_equal(guest_memory_new(specs, 2, &memory), 0);
	guest_memory_unref(memory);
	close(fd);
}

static void regions_up_to_the_limit_are_found_and_no_more(void **state)
{
	enum {
		COUNT = GUEST_MEMORY_MAX_REGIONS
	};
	static struct guest_region_spec specs[COUNT + 1];
	int fd = make_numbered_file(4096 * (COUNT + 1));
	struct guest_memory *memory;
	struct guest_memory *more;
	struct iovec iov[COUNT];
	unsigned hint = 0;

	for (unsigned i = 0; i <= COUNT; i++) {
		/* A stride that visits every number in a jumbled order. */
		unsigned place = i * 7 % COUNT;

		specs[i] = (struct guest_region_spec){
			.gpa = (uint64_t)place * 4096,
			.size_bytes = 4096,
			.uva = (uint64_t)place * 8192,
			.mmap_offset = (uint64_t)place * 4096,
			.fd = fd,
		};
	}
	specs[COUNT].gpa = (uint64_t)COUNT * 4096;
	assert_int_equal(guest_memory_new(specs, COUNT + 1, &memory), -EINVAL);
	assert_int_equal(guest_memory_new(specs, COUNT, &memory), 0);
	assert_int_equal(guest_memory_with(memory, &specs[COUNT], &more),
			 -EINVAL);
	for (unsigned i = 0; i < COUNT; i++) {
		uint64_t gpa = (uint64_t)(i * 11 % COUNT) * 4096;

		assert_int_equal(
			guest_memory_iov(memory, gpa, 4096, iov, 1, &hint), 1);
		assert_int_equal(*(uint32_t *)iov[0].iov_base, gpa / 4096);
		assert_int_equal(guest_memory_gpa(memory, iov[0].iov_base),
				 gpa);
	}
	assert_int_equal(guest_memory_iov(memory, 1, COUNT * 4096 - 2, iov,
					  COUNT, &hint),
			 COUNT);
	guest_memory_unref(memory);
	close(fd);
}

static void snapshots_share_the_mappings_they_have_in_common(void **state)
{
	int fd = make_numbered_file(0x4000);
	struct guest_region_spec low = {
		.gpa = 0, .size_bytes = 0x2000, .uva = 0x10000, .fd = fd};
	struct guest_region_spec high = {.gpa = 0x2000,
					 .size_bytes = 0x2000,
					 .uva = 0x20000,
					 .mmap_offset = 0x2000,
					 .fd = fd};
	struct guest_region_spec wrong = high;
	struct guest_memory *one, *both, *rest, *none;
	struct iovec a, b;
	unsigned hint = 0;

	assert_int_equal(guest_memory_with(NULL, &low, &one), 0);
	assert_int_equal(guest_memory_with(one, &high, &both), 0);
	assert_int_equal(guest_memory_regions(one), 1);
	assert_int_equal(guest_memory_regions(both), 2);
	wrong.uva++;
	assert_int_equal(guest_memory_without(both, &wrong, &rest), -ENOENT);
	assert_int_equal(guest_memory_without(NULL, &low, &rest), -ENOENT);
	assert_int_equal(guest_memory_without(both, &low, &rest), 0);
	assert_int_equal(guest_memory_iov(both, 0, 1, &a, 1, &hint), 1);
	assert_int_equal(guest_memory_iov(one, 0, 1, &b, 1, &hint), 1);
	assert_ptr_equal(a.iov_base, b.iov_base);
	assert_int_equal(guest_memory_iov(rest, 0, 1, &b, 1, &hint), -EFAULT);
	guest_memory_unref(both);
	guest_memory_unref(one);
	hint = 1;
	assert_int_equal(guest_memory_iov(rest, 0x3000, 4, &b, 1, &hint), 1);
	assert_int_equal(*(uint32_t *)b.iov_base, 3);
	assert_int_equal(guest_memory_without(rest, &high, &none), 0);
	assert_int_equal(guest_memory_regions(none), 0);
	assert_int_equal(guest_memory_end(none), 0);
	hint = 0;
	assert_int_equal(guest_memory_iov(none, 0, 1, &b, 1, &hint), -EFAULT);
	guest_memory_unref(rest);
	guest_memory_unref(none);
	close(fd);
}

static void truncated_file_marks_the_snapshots_that_hold_it(void **state)
{
	int fd = make_file(MIB);
	int good_fd = make_file(MIB);
	struct guest_region_spec bad = {.size_bytes = MIB, .fd = fd};
	struct guest_region_spec good = {
		.gpa = MIB, .size_bytes = MIB, .uva = MIB, .fd = good_fd};
	struct guest_memory *memory = make_one(&good);
	struct guest_memory *both;
	struct iovec iov;
	unsigned hint = 0;

	assert_int_equal(guest_memory_with(memory, &bad, &both), 0);
	assert_false(guest_memory_is_broken(both));
	assert_int_equal(guest_memory_iov(both, 4096, 4, &iov, 1, &hint), 1);
	/* cmocka has its own handler in each test. */
	assert_int_equal(sigbus_install(), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_false(guest_memory_is_broken(both));
	*(volatile uint32_t *)iov.iov_base = 1;
	assert_true(guest_memory_is_broken(both));
	assert_true(guest_memory_is_broken(both));
	assert_false(guest_memory_is_broken(memory));
	guest_memory_unref(both);
	guest_memory_unref(memory);
	close(fd);
	close(good_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(range_in_one_region_is_one_segment),
		cmocka_unit_test(range_outside_memory_is_refused),
		cmocka_unit_test(range_over_neighbouring_regions_is_split),
		cmocka_unit_test(length_of_zero_has_no_segment_and_no_fault),
		cmocka_unit_test(region_that_is_not_in_its_file_is_refused),
		cmocka_unit_test(region_at_an_odd_file_offset_is_mapped),
		cmocka_unit_test(overlapping_and_wrapping_regions_are_refused),
		cmocka_unit_test(regions_up_to_the_limit_are_found_and_no_more),
		cmocka_unit_test(
			snapshots_share_the_mappings_they_have_in_common),
		cmocka_unit_test(
			truncated_file_marks_the_snapshots_that_hold_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
