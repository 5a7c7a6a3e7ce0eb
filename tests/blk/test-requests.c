/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: every type, every shape, and those that make no sense. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/blk/fixture.h"

static void expect_image(const struct fixture *f, uint64_t offset,
			 const void *wanted, size_t bytes)
{
	uint8_t *found = malloc(bytes);

	assert_non_null(found);
	fixture_read_image(f, offset, found, bytes);
	assert_memory_equal(found, wanted, bytes);
	free(found);
}

/* One write and one read of 8 sectors, cut as told. */
static void try_shape(const struct fixture *f, struct blk_driver *d,
		      const uint32_t *out_cuts, const uint32_t *in_cuts)
{
	static uint64_t seed = 1000;
	struct blk_request w, r;
	uint8_t data[4096];

	fixture_pattern(data, sizeof(data), ++seed);
	assert_int_equal(
		blk_prepare(d, &w, VIRTIO_BLK_T_OUT, 24, sizeof(data), 0), 0);
	w.out_cuts = out_cuts;
	memcpy(blk_out_data(d, &w), data, sizeof(data));
	assert_int_equal(blk_run(d, 0, &w), VIRTIO_BLK_S_OK);
	assert_int_equal(w.written, 1);
	expect_image(f, 24 * 512, data, sizeof(data));
	assert_int_equal(
		blk_prepare(d, &r, VIRTIO_BLK_T_IN, 24, 0, sizeof(data)), 0);
	r.in_cuts = in_cuts;
	assert_int_equal(blk_run(d, 0, &r), VIRTIO_BLK_S_OK);
	assert_int_equal(r.written, sizeof(data) + 1);
	assert_memory_equal(blk_in_data(d, &r), data, sizeof(data));
}

static void buffers_may_be_cut_anywhere(void **state)
{
	struct fixture *f = *state;
	static const uint32_t shapes[][2][24] = {
		{{UINT32_MAX}, {UINT32_MAX}},
		{{16, 4096}, {4096, 1}},
		{{1, 15, 4096}, {4095, 2}},
		{{7, 9, 4096}, {1, 4096}},
		{{8, 8, 1, 4095}, {512, 3584, 1}},
		{{17, 4095}, {4096, 1}},
		{{100}, {100}},
		{{16, 513, 511, 3, 4096}, {3, 509, 1, 4096}},
		{{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4096},
		 {1, 1, 1, 1, 1, 1, 1, 1, 1, 4087, 1}},
		{{16, 512}, {512}},
	};
	const uint64_t forms[] = {
		0,
		UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC,
		UINT64_C(1) << VIRTIO_F_RING_PACKED,
		UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC |
			UINT64_C(1) << VIRTIO_F_RING_PACKED,
	};

	for (unsigned form = 0; form < ARRAY_SIZE(forms); form++) {
		const struct blk_options options = {
			.without = forms[form],
			.indirect_max = 128,
		};
		struct blk_driver *d = fixture_open(f, &options);

		for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++)
			try_shape(f, d, shapes[i][0], shapes[i][1]);
		blk_driver_free(d);
	}
}

static void a_buffer_may_span_two_regions(void **state)
{
	struct fixture *f = *state;
	const struct blk_options forms[] = {
		{0},
		{.without = UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
		struct blk_driver *d = fixture_open(f, &forms[i]);
		struct blk_request r;
		uint64_t across = ram_alloc_straddling(d->ram, 1000, 4096);

		assert_int_not_equal(across, RAM_NONE);
		assert_int_equal(
			blk_prepare(d, &r, VIRTIO_BLK_T_IN, 3, 0, 4096), 0);
		r.in_gpa = across;
		assert_int_equal(blk_run(d, 0, &r), VIRTIO_BLK_S_OK);
		expect_image(f, 3 * 512, blk_in_data(d, &r), 4096);
		/* And back, header included, one byte further on. */
		assert_int_equal(
			blk_prepare(d, &r, VIRTIO_BLK_T_OUT, 64, 4096, 0), 0);
		memcpy(ram_at(d->ram, across + 995), ram_at(d->ram, r.out_gpa),
		       BLK_HEADER_BYTES);
		r.out_gpa = across + 995;
		fixture_pattern(blk_out_data(d, &r), 3000, i);
		r.out_bytes = BLK_HEADER_BYTES + 2560;
		assert_int_equal(blk_run(d, 0, &r), VIRTIO_BLK_S_OK);
		expect_image(f, 64 * 512, blk_out_data(d, &r), 2560);
		blk_driver_free(d);
	}
}

static void an_indirect_table_may_span_two_regions(void **state)
{
	struct fixture *f = *state;
	struct blk_driver *d = fixture_open(f, NULL);
	uint64_t table = ram_alloc_straddling(d->ram, 24, 24);
	struct driver_buffer b[3];
	struct blk_request r;

	assert_int_equal(blk_prepare(d, &r, VIRTIO_BLK_T_IN, 5, 0, 512), 0);
	b[0] = (struct driver_buffer){r.out_gpa, 16, false};
	b[1] = (struct driver_buffer){r.in_gpa, 512, true};
	b[2] = (struct driver_buffer){r.in_gpa + 512, 1, true};
	driver_ring_table(d->rings[0], ram_at(d->ram, table), b, 3);
	assert_int_equal(driver_ring_add_table(d->rings[0], table, 3, 513, &r),
			 0);
	blk_kick(d, 0);
	assert_int_equal(blk_wait(d, 0, &r), 0);
	assert_int_equal(r.status, VIRTIO_BLK_S_OK);
	expect_image(f, 5 * 512, blk_in_data(d, &r), 512);
	blk_driver_free(d);
}

/* The status of a request with @out and @in bytes of data. */
static int status_of(struct blk_driver *d, uint32_t type, uint64_t sector,
		     uint32_t out, uint32_t in)
{
	struct blk_request r;

	assert_int_equal(blk_prepare(d, &r, type, sector, out, in), 0);
	return blk_run(d, 0, &r);
}

static void unknown_types_are_unsupported(void **state)
{
	struct blk_driver *d = fixture_open(*state, NULL);
	static const uint32_t types[] = {2, 3,	5,	    7,
					 9, 99, 0x80000000, UINT32_MAX};

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		assert_int_equal(status_of(d, types[i], 0, 0, 0),
				 VIRTIO_BLK_S_UNSUPP);
		assert_int_equal(status_of(d, types[i], 0, 512, 512),
				 VIRTIO_BLK_S_UNSUPP);
	}
	blk_driver_free(d);
}

static void sectors_outside_the_disk_fail(void **state)
{
	struct fixture *f = *state;
	struct blk_driver *d = fixture_open(f, NULL);
	static const uint64_t sectors[] = {
		FIXTURE_SECTORS - 1, FIXTURE_SECTORS, UINT64_C(1) << 54,
		UINT64_C(1) << 55,   UINT64_MAX,      UINT64_MAX - 1,
		UINT64_MAX / 512,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(sectors); i++) {
		assert_int_equal(
			status_of(d, VIRTIO_BLK_T_IN, sectors[i], 0, 1024),
			VIRTIO_BLK_S_IOERR);
		assert_int_equal(
			status_of(d, VIRTIO_BLK_T_OUT, sectors[i], 1024, 0),
			VIRTIO_BLK_S_IOERR);
	}
	assert_int_equal(
		status_of(d, VIRTIO_BLK_T_IN, FIXTURE_SECTORS - 2, 0, 1024),
		VIRTIO_BLK_S_OK);
	assert_int_equal(lseek(f->image_fd, 0, SEEK_END), FIXTURE_IMAGE_BYTES);
	blk_driver_free(d);
}

static void lengths_that_are_no_sectors_fail(void **state)
{
	struct blk_driver *d = fixture_open(*state, NULL);
	static const uint32_t lengths[] = {1, 511, 513, 4097};

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		assert_int_equal(
			status_of(d, VIRTIO_BLK_T_IN, 0, 0, lengths[i]),
			VIRTIO_BLK_S_IOERR);
		assert_int_equal(
			status_of(d, VIRTIO_BLK_T_OUT, 0, lengths[i], 0),
			VIRTIO_BLK_S_IOERR);
	}
	blk_driver_free(d);
}

/* No data at all, or less than a header: whatever it is, it gets a status. */
static void requests_without_data_get_a_status(void **state)
{
	struct blk_driver *d = fixture_open(*state, NULL);
	static const uint32_t types[] = {
		VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_OUT,
		VIRTIO_BLK_T_FLUSH,   VIRTIO_BLK_T_GET_ID,
		VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES,
	};
	struct blk_request r;

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		assert_in_range(status_of(d, types[i], 0, 0, 0),
				VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP);
	for (unsigned bytes = 0; bytes < BLK_HEADER_BYTES; bytes++) {
		assert_int_equal(blk_prepare(d, &r, VIRTIO_BLK_T_OUT, 0, 0, 0),
				 0);
		r.out_bytes = bytes; /* 0: the status byte alone */
		assert_int_equal(blk_run(d, 0, &r), VIRTIO_BLK_S_IOERR);
	}
	blk_driver_free(d);
}

static void zero_length_descriptors_are_passed_over_or_refused(void **state)
{
	struct fixture *f = *state;
	struct blk_driver *d = fixture_open(f, NULL);
	struct driver_buffer b[6];
	struct blk_request r;
	int err;

	assert_int_equal(blk_prepare(d, &r, VIRTIO_BLK_T_IN, 5, 0, 512), 0);
	b[0] = (struct driver_buffer){r.out_gpa, 0, false};
	b[1] = (struct driver_buffer){r.out_gpa, 16, false};
	b[2] = (struct driver_buffer){r.in_gpa, 0, true};
	b[3] = (struct driver_buffer){r.in_gpa, 512, true};
	b[4] = (struct driver_buffer){r.in_gpa + 512, 1, true};
	b[5] = (struct driver_buffer){r.in_gpa, 0, true};
	d->timeout_ms = 1000;
	assert_int_equal(driver_ring_add(d->rings[0], b, 6, &r), 0);
	blk_kick(d, 0);
	err = blk_wait(d, 0, &r);
	if (err == 0 && r.status == VIRTIO_BLK_S_OK)
		expect_image(f, 5 * 512, blk_in_data(d, &r), 512);
	blk_driver_free(d);
	fixture_assert_serves(f);
}

static void
more_segments_than_a_request_may_have_leave_the_daemon_serving(void **state)
{
	struct fixture *f = *state;
	const struct blk_options options = {
		.queue_size = 1024,
		.indirect_max = 1000,
	};
	static const uint32_t ones[] = {1, 0};
	struct blk_driver *d = fixture_open(f, &options);
	struct blk_request r;

	assert_int_equal(blk_prepare(d, &r, VIRTIO_BLK_T_IN, 5, 0, 512), 0);
	r.in_cuts = ones;
	d->timeout_ms = 1000;
	if (blk_run(d, 0, &r) == VIRTIO_BLK_S_OK)
		expect_image(f, 5 * 512, blk_in_data(d, &r), 512);
	blk_driver_free(d);
	fixture_assert_serves(f);
}

static void the_serial_number_is_the_users(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--serial=disk-of-mine-0123456",
					      NULL};
	char id[VIRTIO_BLK_ID_BYTES + 1];
	struct blk_driver *d;

	fixture_start(f, options);
	d = fixture_open(f, NULL);
	assert_int_equal(blk_get_id(d, 0, id), VIRTIO_BLK_S_OK);
	assert_string_equal(id, "disk-of-mine-0123456");
	blk_driver_free(d);
}

static void a_read_only_disk_refuses_to_change(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--read-only", NULL};
	const struct virtio_blk_discard_write_zeroes range = {
		.num_sectors = htole32(8)};
	uint8_t data[512] = {0}, before[512];
	struct blk_driver *d;

	fixture_start(f, options);
	d = fixture_open(f, NULL);
	assert_true(frontend_has(d->fe, VIRTIO_BLK_F_RO));
	fixture_read_image(f, 0, before, sizeof(before));
	assert_int_equal(blk_read(d, 0, 0, data, 512), VIRTIO_BLK_S_OK);
	assert_memory_equal(data, before, 512);
	memset(data, 0, sizeof(data));
	assert_int_not_equal(blk_write(d, 0, 0, data, 512), VIRTIO_BLK_S_OK);
	assert_int_not_equal(blk_ranges(d, 0, VIRTIO_BLK_T_DISCARD, &range, 1),
			     VIRTIO_BLK_S_OK);
	assert_int_not_equal(
		blk_ranges(d, 0, VIRTIO_BLK_T_WRITE_ZEROES, &range, 1),
		VIRTIO_BLK_S_OK);
	expect_image(f, 0, before, sizeof(before));
	blk_driver_free(d);
}

/* Ranges of one sector each, every other one. */
static unsigned make_ranges(struct virtio_blk_discard_write_zeroes *ranges,
			    unsigned count, uint64_t first, uint32_t flags)
{
	for (unsigned i = 0; i < count; i++)
		ranges[i] = (struct virtio_blk_discard_write_zeroes){
			.sector = htole64(first + 2 * i),
			.num_sectors = htole32(1),
			.flags = htole32(flags),
		};
	return count;
}

static void write_zeroes_clears_exactly_its_ranges(void **state)
{
	struct fixture *f = *state;
	struct blk_driver *d = fixture_open(f, NULL);
	struct virtio_blk_discard_write_zeroes ranges[64];
	uint8_t found[512], zero[512] = {0}, before[512];

	for (uint32_t flags = 0; flags < 2; flags++) {
		uint64_t first = 1024 + flags * 1024;

		make_ranges(ranges, 64, first, flags);
		assert_int_equal(
			blk_ranges(d, 0, VIRTIO_BLK_T_WRITE_ZEROES, ranges, 64),
			VIRTIO_BLK_S_OK);
		for (unsigned i = 0; i < 128; i++) {
			fixture_read_image(f, (first + i) * 512, found, 512);
			for (unsigned k = 0; k < 512; k++)
				before[k] = fixture_byte((first + i) * 512 + k);
			assert_memory_equal(found, i % 2 ? before : zero, 512);
		}
	}
	blk_driver_free(d);
}

static void discard_touches_nothing_outside_its_ranges(void **state)
{
	struct fixture *f = *state;
	struct blk_driver *d = fixture_open(f, NULL);
	struct virtio_blk_discard_write_zeroes ranges[64];
	uint8_t found[512];

	make_ranges(ranges, 64, 4096, 0);
	assert_int_equal(blk_ranges(d, 0, VIRTIO_BLK_T_DISCARD, ranges, 64),
			 VIRTIO_BLK_S_OK);
	for (unsigned i = 1; i < 128; i += 2) {
		fixture_read_image(f, (4096 + i) * 512, found, 512);
		for (unsigned k = 0; k < 512; k++)
			assert_int_equal(found[k],
					 fixture_byte((4096 + i) * 512 + k));
	}
	blk_driver_free(d);
}

static void ranges_that_make_no_sense_change_nothing(void **state)
{
	struct fixture *f = *state;
	struct blk_driver *d = fixture_open(f, NULL);
	static const uint32_t types[] = {VIRTIO_BLK_T_DISCARD,
					 VIRTIO_BLK_T_WRITE_ZEROES};
	static const struct {
		uint64_t sector;
		uint32_t sectors, flags;
	} bad[] = {
		{FIXTURE_SECTORS, 1, 0},      {FIXTURE_SECTORS - 1, 2, 0},
		{UINT64_MAX, 2, 0},	      {0, UINT32_MAX, 0},
		{UINT64_C(1) << 55, 1, 0},    {0, 1, 2},
		{0, 1, UINT32_C(0x80000000)},
	};
	struct virtio_blk_discard_write_zeroes ranges[2];
	uint8_t before[1024];

	fixture_read_image(f, 0, before, sizeof(before));
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(bad); i++) {
		/* The first range is good: not even that is carried out. */
		make_ranges(ranges, 2, 0, 0);
		ranges[1].sector = htole64(bad[i / 2].sector);
		ranges[1].num_sectors = htole32(bad[i / 2].sectors);
		ranges[1].flags = htole32(bad[i / 2].flags);
		assert_in_range(blk_ranges(d, 0, types[i % 2], ranges, 2),
				VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_UNSUPP);
		expect_image(f, 0, before, sizeof(before));
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_in_range(status_of(d, types[i], 0, 17, 0),
				VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_UNSUPP);
		assert_in_range(status_of(d, types[i], 0, 65536, 0),
				VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_UNSUPP);
	}
	blk_driver_free(d);
}

static void the_configuration_describes_the_disk(void **state)
{
	struct blk_driver *d = fixture_open(*state, NULL);
	struct virtio_blk_config c;
	uint8_t beyond[8];

	assert_int_equal(blk_config(d, &c), 0);
	assert_int_equal(le64toh(c.capacity), FIXTURE_SECTORS);
	assert_true(le32toh(c.seg_max) >= 1);
	assert_true(le32toh(c.size_max) == 0 || le32toh(c.size_max) >= 4096);
	assert_in_range(le32toh(c.blk_size), 512, 4096);
	assert_true(le16toh(c.num_queues) >= 4);
	assert_true(le32toh(c.max_discard_sectors) > 0);
	assert_true(le32toh(c.max_discard_seg) > 1);
	assert_true(le32toh(c.max_write_zeroes_sectors) > 0);
	assert_true(le32toh(c.max_write_zeroes_seg) > 1);
	/* Part of a field is as good as the whole. */
	assert_int_equal(frontend_get_config(d->fe, 1, beyond, 3), 0);
	assert_memory_equal(beyond, (uint8_t *)&c + 1, 3);
	blk_driver_free(d);
}

static void the_cache_mode_can_be_written_and_nothing_else(void **state)
{
	struct blk_driver *d = fixture_open(*state, NULL);
	const uint32_t wce_at = offsetof(struct virtio_blk_config, wce);
	const uint64_t huge = UINT64_MAX;
	struct virtio_blk_config c;
	uint8_t wce = 9, data[512] = {0};

	for (uint8_t mode = 0; mode < 4; mode++) {
		const uint8_t set = mode & 1;

		assert_int_equal(frontend_set_config(d->fe, wce_at, &set, 1),
				 0);
		assert_int_equal(frontend_get_config(d->fe, wce_at, &wce, 1),
				 0);
		assert_int_equal(wce, set);
		assert_int_equal(blk_write(d, 0, 0, data, 512), 0);
	}
	frontend_set_config(d->fe, 0, &huge, sizeof(huge));
	blk_driver_free(d);
	d = fixture_open(*state, NULL);
	assert_int_equal(blk_config(d, &c), 0);
	assert_int_equal(le64toh(c.capacity), FIXTURE_SECTORS);
	blk_driver_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(buffers_may_be_cut_anywhere),
		DAEMON_TEST(a_buffer_may_span_two_regions),
		DAEMON_TEST(an_indirect_table_may_span_two_regions),
		DAEMON_TEST(unknown_types_are_unsupported),
		DAEMON_TEST(sectors_outside_the_disk_fail),
		DAEMON_TEST(lengths_that_are_no_sectors_fail),
		DAEMON_TEST(requests_without_data_get_a_status),
		DAEMON_TEST(zero_length_descriptors_are_passed_over_or_refused),
		DAEMON_TEST(
			more_segments_than_a_request_may_have_leave_the_daemon_serving),
		FIXTURE_TEST(the_serial_number_is_the_users),
		FIXTURE_TEST(a_read_only_disk_refuses_to_change),
		DAEMON_TEST(write_zeroes_clears_exactly_its_ranges),
		DAEMON_TEST(discard_touches_nothing_outside_its_ranges),
		DAEMON_TEST(ranges_that_make_no_sense_change_nothing),
		DAEMON_TEST(the_configuration_describes_the_disk),
		DAEMON_TEST(the_cache_mode_can_be_written_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
