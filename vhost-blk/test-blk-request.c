/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-blk/blk-request.h"

enum {
	CAPACITY = 1000, /* sectors */
	MAX_IOV = 64,
	ARENA = 1 << 20,
};

/* A chain over an arena, built segment by segment: readable ones first. */
static uint8_t arena[ARENA];
static size_t arena_used;
static struct iovec iov[MAX_IOV];
static struct virtq_chain chain;
static struct blk_limits limits;
static struct blk_request request;

static int set_up(void **state)
{
	memset(arena, 0xee, sizeof(arena));
	memset(&request, 0xee, sizeof(request));
	arena_used = 0;
	chain = (struct virtq_chain){.iov = iov, .iov_max = MAX_IOV};
	limits = (struct blk_limits){.capacity_sectors = CAPACITY};
	return 0;
}

static void *add(size_t bytes)
{
	void *at = arena + arena_used;

	iov[chain.out_count + chain.in_count] = (struct iovec){at, bytes};
	/* A gap, so that segments that run over are noticed. */
	arena_used += bytes + 16;
	assert_true(arena_used < sizeof(arena));
	return at;
}

static void *add_out(const void *data, size_t bytes)
{
	void *at = add(bytes);

	if (data)
		memcpy(at, data, bytes);
	chain.out_count++;
	chain.out_bytes += bytes;
	return at;
}

static uint8_t *add_in(size_t bytes)
{
	uint8_t *at = add(bytes);

	chain.in_count++;
	chain.in_bytes += bytes;
	return at;
}

static struct virtio_blk_outhdr header_of(uint32_t type, uint64_t sector)
{
	return (struct virtio_blk_outhdr){.type = htole32(type),
					  .sector = htole64(sector)};
}

static void add_header(uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr header = header_of(type, sector);

	add_out(&header, sizeof(header));
}

static void add_range(uint64_t sector, uint32_t sectors, uint32_t flags)
{
	const struct virtio_blk_discard_write_zeroes range = {
		.sector = htole64(sector),
		.num_sectors = htole32(sectors),
		.flags = htole32(flags),
	};

	add_out(&range, sizeof(range));
}

static void parse_to(uint8_t verdict)
{
	assert_int_equal(blk_request_parse(&chain, &limits, &request), 0);
	assert_int_equal(request.verdict, verdict);
}

static size_t data_bytes(void)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < request.iov_count; i++)
		bytes += request.iov[i].iov_len;
	return bytes;
}

static void read_goes_to_the_buffers_before_the_status(void **state)
{
	uint8_t *data, *status;

	add_header(VIRTIO_BLK_T_IN, 3);
	data = add_in(1024);
	status = add_in(1);
	parse_to(VIRTIO_BLK_S_OK);
	assert_int_equal(request.op, BLK_OP_READ);
	assert_ptr_equal(request.status, status);
	assert_int_equal(request.offset, 3 * 512);
	assert_int_equal(request.length, 1024);
	assert_int_equal(request.iov_count, 1);
	assert_ptr_equal(request.iov[0].iov_base, data);
	assert_int_equal(request.iov[0].iov_len, 1024);
}

static void write_comes_from_the_buffers_after_the_header(void **state)
{
	void *first, *second;

	add_header(VIRTIO_BLK_T_OUT, 0);
	first = add_out(NULL, 512);
	second = add_out(NULL, 512);
	add_in(1);
	parse_to(VIRTIO_BLK_S_OK);
	assert_int_equal(request.op, BLK_OP_WRITE);
	assert_int_equal(request.iov_count, 2);
	assert_ptr_equal(request.iov[0].iov_base, first);
	assert_ptr_equal(request.iov[1].iov_base, second);
}

static void header_data_and_status_may_share_descriptors(void **state)
{
	struct virtio_blk_outhdr header = header_of(VIRTIO_BLK_T_OUT, 7);
	uint8_t *out = add_out(NULL, sizeof(header) + 512);
	uint8_t *status = add_in(1);

	memcpy(out, &header, sizeof(header));
	parse_to(VIRTIO_BLK_S_OK);
	assert_ptr_equal(request.iov[0].iov_base, out + sizeof(header));
	assert_int_equal(data_bytes(), 512);
	assert_ptr_equal(request.status, status);

	set_up(state);
	add_header(VIRTIO_BLK_T_IN, 7);
	status = add_in(512 + 1) + 512;
	parse_to(VIRTIO_BLK_S_OK);
	assert_int_equal(data_bytes(), 512);
	assert_ptr_equal(request.status, status);
}

static void header_may_come_byte_by_byte(void **state)
{
	struct virtio_blk_outhdr header = header_of(VIRTIO_BLK_T_OUT, 5);
	void *data;

	for (size_t i = 0; i < sizeof(header); i++)
		add_out((uint8_t *)&header + i, 1);
	data = add_out(NULL, 512);
	add_in(1);
	parse_to(VIRTIO_BLK_S_OK);
	assert_int_equal(request.offset, 5 * 512);
	assert_int_equal(request.iov_count, 1);
	assert_ptr_equal(request.iov[0].iov_base, data);
}

static void data_may_come_in_odd_pieces(void **state)
{
	add_header(VIRTIO_BLK_T_IN, 0);
	add_in(1);
	add_in(510);
	add_in(2); /* one byte of data, then the status */
	parse_to(VIRTIO_BLK_S_OK);
	assert_int_equal(request.length, 512);
	assert_int_equal(request.iov_count, 3);
	assert_int_equal(data_bytes(), 512);
}

static void chain_without_room_for_a_status_breaks_the_ring(void **state)
{
	add_header(VIRTIO_BLK_T_OUT, 0);
	add_out(NULL, 512);
	assert_int_equal(blk_request_parse(&chain, &limits, &request),
			 BLK_E_NO_STATUS);
	set_up(state);
	assert_int_equal(blk_request_parse(&chain, &limits, &request),
			 BLK_E_NO_STATUS);
}

static void short_header_is_refused_with_a_status(void **state)
{
	uint8_t *status;

	add_out(NULL, 15);
	status = add_in(1);
	parse_to(VIRTIO_BLK_S_IOERR);
	assert_ptr_equal(request.status, status);
	set_up(state);
	status = add_in(1);
	parse_to(VIRTIO_BLK_S_IOERR);
	assert_ptr_equal(request.status, status);
}

static void data_that_is_no_multiple_of_a_sector_is_refused(void **state)
{
	static const size_t sizes[] = {1, 511, 513, 1023};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		set_up(state);
		add_header(VIRTIO_BLK_T_IN, 0);
		add_in(sizes[i]);
		add_in(1);
		parse_to(VIRTIO_BLK_S_IOERR);
		set_up(state);
		add_header(VIRTIO_BLK_T_OUT, 0);
		add_out(NULL, sizes[i]);
		add_in(1);
		parse_to(VIRTIO_BLK_S_IOERR);
	}
}

static void sectors_past_the_end_are_refused(void **state)
{
	static const uint64_t sectors[] = {CAPACITY - 1, CAPACITY,
					   UINT64_MAX - 1, UINT64_MAX,
					   UINT64_MAX / 512 + 1};

	for (size_t i = 0; i < ARRAY_SIZE(sectors); i++) {
		set_up(state);
		add_header(VIRTIO_BLK_T_OUT, sectors[i]);
		add_out(NULL, 1024);
		add_in(1);
		parse_to(VIRTIO_BLK_S_IOERR);
	}
	set_up(state);
	add_header(VIRTIO_BLK_T_OUT, CAPACITY - 2);
	add_out(NULL, 1024);
	add_in(1);
	parse_to(VIRTIO_BLK_S_OK);
}

static void transfer_over_the_limit_is_refused(void **state)
{
	/* Never touched, so the address need not be real. */
	limits.capacity_sectors = UINT64_MAX / 512;
	add_header(VIRTIO_BLK_T_IN, 0);
	add_in(512);
	iov[1].iov_len = (size_t)BLK_MAX_SEGMENTS * BLK_MAX_SEGMENT_BYTES + 512;
	chain.in_bytes = iov[1].iov_len;
	iov[2] = (struct iovec){arena, 1};
	chain.in_count++;
	chain.in_bytes++;
	parse_to(VIRTIO_BLK_S_IOERR);
}

static void nothing_writes_to_a_read_only_disk(void **state)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD,
					 VIRTIO_BLK_T_WRITE_ZEROES};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		set_up(state);
		limits.read_only = true;
		add_header(types[i], 0);
		if (types[i] == VIRTIO_BLK_T_OUT)
			add_out(NULL, 512);
		else
			add_range(0, 1, 0);
		add_in(1);
		parse_to(VIRTIO_BLK_S_IOERR);
	}
}

static void unknown_types_are_unsupported(void **state)
{
	static const uint32_t types[] = {2,  3,	 5,	     7,
					 14, 99, 0x80000000, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		set_up(state);
		add_header(types[i], 0);
		add_in(1);
		parse_to(VIRTIO_BLK_S_UNSUPP);
	}
}

static void flush_needs_no_data(void **state)
{
	add_header(VIRTIO_BLK_T_FLUSH, UINT64_MAX);
	add_in(1);
	parse_to(VIRTIO_BLK_S_OK);
	assert_int_equal(request.op, BLK_OP_FLUSH);
}

static void identity_goes_to_the_data_buffer(void **state)
{
	uint8_t *data;

	add_header(VIRTIO_BLK_T_GET_ID, 0);
	data = add_in(20);
	add_in(1);
	parse_to(VIRTIO_BLK_S_OK);
	assert_int_equal(request.op, BLK_OP_GET_ID);
	assert_ptr_equal(request.iov[0].iov_base, data);
	assert_int_equal(data_bytes(), 20);
}

static void ranges_are_all_read(void **state)
{
	add_header(VIRTIO_BLK_T_DISCARD, 0);
	add_range(0, 8, 0);
	add_range(CAPACITY - 1, 1, 0);
	add_in(1);
	parse_to(VIRTIO_BLK_S_OK);
	assert_int_equal(request.range_count, 2);
	assert_int_equal(request.ranges[0].length, 8 * 512);
	assert_int_equal(request.ranges[1].offset, (CAPACITY - 1) * 512);
	assert_int_equal(request.ranges[1].length, 512);
}

static void range_may_be_split_over_descriptors(void **state)
{
	const struct virtio_blk_discard_write_zeroes range = {
		.sector = htole64(4),
		.num_sectors = htole32(2),
		.flags = htole32(VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
	};

	add_header(VIRTIO_BLK_T_WRITE_ZEROES, 0);
	add_out(&range, 5);
	add_out((const uint8_t *)&range + 5, sizeof(range) - 5);
	add_in(1);
	parse_to(VIRTIO_BLK_S_OK);
	assert_int_equal(request.range_count, 1);
	assert_int_equal(request.ranges[0].offset, 4 * 512);
}

static void one_bad_range_refuses_them_all(void **state)
{
	add_header(VIRTIO_BLK_T_DISCARD, 0);
	add_range(0, 8, 0);
	add_range(CAPACITY, 1, 0);
	add_in(1);
	parse_to(VIRTIO_BLK_S_IOERR);
}

static void range_that_wraps_or_is_too_long_is_refused(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t sectors;
	} cases[] = {
		{UINT64_MAX, 2},
		{1, UINT32_MAX},
		{CAPACITY - 1, 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		set_up(state);
		add_header(VIRTIO_BLK_T_WRITE_ZEROES, 0);
		add_range(cases[i].sector, cases[i].sectors, 0);
		add_in(1);
		parse_to(VIRTIO_BLK_S_IOERR);
	}
	set_up(state);
	limits.capacity_sectors = UINT64_MAX / 512;
	add_header(VIRTIO_BLK_T_WRITE_ZEROES, 0);
	add_range(0, BLK_MAX_RANGE_SECTORS + 1, 0);
	add_in(1);
	parse_to(VIRTIO_BLK_S_IOERR);
}

static void unknown_range_flags_are_unsupported(void **state)
{
	add_header(VIRTIO_BLK_T_WRITE_ZEROES, 0);
	add_range(0, 1, 2);
	add_in(1);
	parse_to(VIRTIO_BLK_S_UNSUPP);
	/* Discard has no unmap flag: virtio 1.2, 5.2.6.1. */
	set_up(state);
	add_header(VIRTIO_BLK_T_DISCARD, 0);
	add_range(0, 1, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	add_in(1);
	parse_to(VIRTIO_BLK_S_UNSUPP);
}

static void no_ranges_broken_ranges_and_too_many_are_refused(void **state)
{
	add_header(VIRTIO_BLK_T_DISCARD, 0);
	add_in(1);
	parse_to(VIRTIO_BLK_S_IOERR);
	set_up(state);
	add_header(VIRTIO_BLK_T_DISCARD, 0);
	add_out(NULL, 17);
	add_in(1);
	parse_to(VIRTIO_BLK_S_IOERR);
	set_up(state);
	add_header(VIRTIO_BLK_T_DISCARD, 0);
	add_out(NULL, 16 * (BLK_MAX_RANGES + 1));
	add_in(1);
	parse_to(VIRTIO_BLK_S_IOERR);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
	const struct CMUnitTest tests[] = {
		TEST(read_goes_to_the_buffers_before_the_status),
		TEST(write_comes_from_the_buffers_after_the_header),
		TEST(header_data_and_status_may_share_descriptors),
		TEST(header_may_come_byte_by_byte),
		TEST(data_may_come_in_odd_pieces),
		TEST(chain_without_room_for_a_status_breaks_the_ring),
		TEST(short_header_is_refused_with_a_status),
		TEST(data_that_is_no_multiple_of_a_sector_is_refused),
		TEST(sectors_past_the_end_are_refused),
		TEST(transfer_over_the_limit_is_refused),
		TEST(nothing_writes_to_a_read_only_disk),
		TEST(unknown_types_are_unsupported),
		TEST(flush_needs_no_data),
		TEST(identity_goes_to_the_data_buffer),
		TEST(ranges_are_all_read),
		TEST(range_may_be_split_over_descriptors),
		TEST(one_bad_range_refuses_them_all),
		TEST(range_that_wraps_or_is_too_long_is_refused),
		TEST(unknown_range_flags_are_unsupported),
		TEST(no_ranges_broken_ranges_and_too_many_are_refused),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
