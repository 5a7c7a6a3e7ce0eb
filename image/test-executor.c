/* SPDX-License-Identifier: Apache-2.0 */
/* The executor on raw images in memory and in files. */
#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/executor.h"
#include "image/open.h"
#include "tests/cmocka.h"

struct bed {
	struct loop *loop;
	struct image *image;
	struct executor *executor;
	char path[64];
};

static char folder[] = "/dev/shm/ringline-executor-XXXXXX";

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	return rmdir(folder);
}

static void start(struct bed *bed, struct image_open_request request,
		  struct executor_config config)
{
	assert_int_equal(loop_new(64, &bed->loop), 0);
	assert_int_equal(image_open(&request, &bed->image, NULL, NULL), 0);
	assert_int_equal(
		executor_new(bed->loop, bed->image, &config, &bed->executor),
		0);
}

static void start_file_in(const char *where, struct bed *bed, uint64_t bytes,
			  struct image_open_request request)
{
	struct store *store = NULL;

	snprintf(bed->path, sizeof(bed->path), "%s/raw-%d", where, getpid());
	assert_int_equal(store_create_file(bed->path, true, &store, NULL), 0);
	assert_int_equal(store_resize(store, bytes), 0);
	store_free(store);
	request.path = bed->path;
	start(bed, request, (struct executor_config){.depth = 16});
}

static void start_file(struct bed *bed, uint64_t bytes,
		       struct image_open_request request)
{
	start_file_in(folder, bed, bytes, request);
}

static void start_memory(struct bed *bed, uint64_t bytes)
{
	const struct executor_config config = {.depth = 16};
	const struct image_open_options options = {0};
	struct store *store = NULL;

	assert_int_equal(loop_new(64, &bed->loop), 0);
	assert_int_equal(store_new_memory(bytes, &store), 0);
	assert_int_equal(raw_format.open(store, &options, &bed->image, NULL),
			 0);
	assert_int_equal(
		executor_new(bed->loop, bed->image, &config, &bed->executor),
		0);
}

static void stop(struct bed *bed)
{
	executor_free(bed->executor);
	assert_int_equal(image_close(bed->image), 0);
	loop_free(bed->loop);
	if (bed->path[0])
		unlink(bed->path);
	*bed = (struct bed){0};
}

static int last_result;

static void note_result(struct executor_request *request, int result)
{
	last_result = result;
}

static int run(struct bed *bed, enum executor_op op, uint64_t offset,
	       const struct iovec *iov, unsigned count, uint64_t length)
{
	struct executor_request request = {
		.op = op,
		.offset = offset,
		.length = length,
		.iov = iov,
		.iov_count = count,
		.done = note_result,
	};

	executor_submit(bed->executor, &request);
	while (executor_in_flight(bed->executor) > 0)
		assert_true(loop_wait(bed->loop, NS_PER_SECOND) >= 0);
	return last_result;
}

static int run_buffer(struct bed *bed, enum executor_op op, uint64_t offset,
		      void *data, size_t length)
{
	struct iovec iov = {.iov_base = data, .iov_len = length};

	return run(bed, op, offset, &iov, data ? 1 : 0, length);
}

static void check_raw(struct bed *bed)
{
	char data[8192], expected[8192];
	struct iovec pieces[] = {{data, 1}, {data + 1, 0}, {data + 1, 511}};

	memset(expected, 'a', sizeof(expected));
	assert_int_equal(run_buffer(bed, EXECUTOR_WRITE, 4096, expected,
				    sizeof(expected)),
			 0);
	assert_int_equal(run_buffer(bed, EXECUTOR_ZERO, 5000, NULL, 100), 0);
	memset(expected + 5000 - 4096, 0, 100);
	assert_int_equal(run_buffer(bed, EXECUTOR_DISCARD, 8192, NULL, 4096),
			 0);
	memset(expected + 4096, 0, 4096);
	memset(data, 'x', sizeof(data));
	assert_int_equal(
		run_buffer(bed, EXECUTOR_READ, 4096, data, sizeof(data)), 0);
	assert_memory_equal(data, expected, sizeof(data));
	assert_int_equal(run(bed, EXECUTOR_READ, 4096 + 900, pieces,
			     ARRAY_SIZE(pieces), 512),
			 0);
	assert_memory_equal(data, expected + 900, 512);
	assert_int_equal(run_buffer(bed, EXECUTOR_FLUSH, 0, NULL, 0), 0);
	executor_set_writethrough(bed->executor, true);
	assert_int_equal(run_buffer(bed, EXECUTOR_WRITE, 0, data, 512), 0);
	executor_set_writethrough(bed->executor, false);
}

static void raw_reads_back_what_was_written(void **state)
{
	struct bed bed = {0};

	start_memory(&bed, 65536);
	check_raw(&bed);
	stop(&bed);
	start_file(&bed, 65536, (struct image_open_request){0});
	check_raw(&bed);
	stop(&bed);
	start_file(&bed, 65536, (struct image_open_request){.direct = true});
	check_raw(&bed);
	stop(&bed);
}

static void requests_outside_the_image_are_refused(void **state)
{
	struct bed bed = {0};
	char data[512];

	start_file(&bed, 65536,
		   (struct image_open_request){.offset = 4096, .length = 8192});
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 8192, data, 512),
			 -EINVAL);
	assert_int_equal(run_buffer(&bed, EXECUTOR_READ, UINT64_MAX, data, 512),
			 -EINVAL);
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 7681, data, 512),
			 -EINVAL);
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 7680, data, 512), 0);
	stop(&bed);
}

static void a_read_only_image_is_not_written(void **state)
{
	struct bed bed = {0};
	char data[512] = "";

	start_file(&bed, 65536, (struct image_open_request){.read_only = true});
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 0, data, 512),
			 -EROFS);
	assert_int_equal(run_buffer(&bed, EXECUTOR_DISCARD, 0, NULL, 512),
			 -EROFS);
	assert_int_equal(run_buffer(&bed, EXECUTOR_READ, 0, data, 512), 0);
	stop(&bed);
}

static void a_file_truncated_meanwhile_reads_as_zeroes(void **state)
{
	struct bed bed = {0};
	char data[8192], zeroes[8192] = "";

	start_file(&bed, 65536, (struct image_open_request){0});
	memset(data, 'a', sizeof(data));
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 0, data, 8192), 0);
	assert_int_equal(truncate(bed.path, 1000), 0);
	assert_int_equal(run_buffer(&bed, EXECUTOR_READ, 4096, data, 4096), 0);
	assert_memory_equal(data, zeroes, 4096);
	assert_int_equal(run_buffer(&bed, EXECUTOR_READ, 0, data, 8192), 0);
	assert_int_equal(data[999], 'a');
	assert_memory_equal(data + 1000, zeroes, 7192);
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 60000, data, 512), 0);
	stop(&bed);
}

/* The limit of a file's size stands in for a full disk. */
static void a_full_disk_fails_the_request_and_no_more(void **state)
{
	const struct rlimit limit = {.rlim_cur = 10000,
				     .rlim_max = RLIM_INFINITY};
	const struct rlimit none = {.rlim_cur = RLIM_INFINITY,
				    .rlim_max = RLIM_INFINITY};
	struct bed bed = {0};
	char data[8192];

	start_file(&bed, 65536, (struct image_open_request){0});
	memset(data, 'a', sizeof(data));
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 12288, data, 512),
			 -EFBIG);
	/* Half of it fits: still an error. */
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 8192, data, 8192),
			 -EFBIG);
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 0, data, 8192), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 12288, data, 512), 0);
	stop(&bed);
}

struct many {
	struct executor_request request;
	struct iovec iov[2];
	char data[512];
	bool done;
	int result;
};

static void note_many(struct executor_request *request, int result)
{
	struct many *many = container_of(request, struct many, request);

	assert_false(many->done);
	many->done = true;
	many->result = result;
}

static void more_requests_than_the_depth_all_complete(void **state)
{
	static struct many many[200];
	struct bed bed = {0};

	start_file(&bed, 512 * ARRAY_SIZE(many),
		   (struct image_open_request){0});
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		memset(many[i].data, 'a' + i % 26, 512);
		many[i].iov[0] = (struct iovec){many[i].data, 100};
		many[i].iov[1] = (struct iovec){many[i].data + 100, 412};
		many[i].request = (struct executor_request){
			.op = EXECUTOR_WRITE,
			.offset = 512 * i,
			.length = 512,
			.iov = many[i].iov,
			.iov_count = 2,
			.done = note_many,
		};
		executor_submit(bed.executor, &many[i].request);
	}
	assert_int_equal(executor_in_flight(bed.executor), 200);
	while (executor_in_flight(bed.executor) > 0)
		loop_wait(bed.loop, NS_PER_SECOND);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		char data[512];

		assert_true(many[i].done);
		assert_int_equal(many[i].result, 0);
		assert_int_equal(
			run_buffer(&bed, EXECUTOR_READ, 512 * i, data, 512), 0);
		assert_memory_equal(data, many[i].data, 512);
	}
	stop(&bed);
}

/* A corrupt image: its data lies 4 KiB further than its slice reaches. */
static int map_beyond(struct image *image, enum image_op op, uint64_t offset,
		      uint64_t length, struct image_extent *ret_extent)
{
	ret_extent->kind = IMAGE_DATA;
	ret_extent->length = length;
	ret_extent->store = image->store;
	ret_extent->host_offset = offset + 4096;
	return 0;
}

static void a_corrupt_image_does_not_reach_out_of_its_slice(void **state)
{
	struct image_format corrupt = raw_format;
	struct bed bed = {0};
	struct store *whole = NULL;
	char data[8192], zeroes[8192] = "";
	char *behind;

	corrupt.map = map_beyond;
	start_file(&bed, 65536,
		   (struct image_open_request){.offset = 4096, .length = 8192});
	bed.image->format = &corrupt;
	assert_int_equal(
		store_open_file(bed.path,
				&(struct store_file_options){.no_lock = true},
				&whole, NULL),
		0);
	memset(data, 'x', sizeof(data));
	assert_int_equal(store_write(whole, 8192, data, 8192), 0);
	assert_int_equal(run_buffer(&bed, EXECUTOR_READ, 0, data, 8192), 0);
	assert_int_equal(data[4095], 'x');
	assert_memory_equal(data + 4096, zeroes, 4096);
	assert_int_equal(run_buffer(&bed, EXECUTOR_READ, 4096, data, 4096), 0);
	assert_memory_equal(data, zeroes, 4096);
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 0, zeroes, 8192),
			 -ENOSPC);
	assert_int_equal(run_buffer(&bed, EXECUTOR_ZERO, 4000, NULL, 97),
			 -ENOSPC);
	assert_int_equal(run_buffer(&bed, EXECUTOR_DISCARD, 4096, NULL, 4096),
			 -ENOSPC);
	behind = malloc(4096);
	assert_int_equal(store_read(whole, 12288, behind, 4096), 0);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(behind[i], 'x');
	free(behind);
	store_free(whole);
	stop(&bed);
}

/* Counts plans; otherwise raw. */
static unsigned plans;

static int count_plans(struct image *image, struct image_plan *ret_plan)
{
	plans++;
	return raw_format.flush_begin(image, ret_plan);
}

static void submit_many(struct bed *bed, struct many *many, unsigned count,
			enum executor_op op)
{
	for (unsigned i = 0; i < count; i++) {
		many[i].iov[0] = (struct iovec){many[i].data, 512};
		many[i].request = (struct executor_request){
			.op = op,
			.offset = op == EXECUTOR_FLUSH ? 0 : 512 * i,
			.length = op == EXECUTOR_FLUSH ? 0 : 512,
			.iov = many[i].iov,
			.iov_count = op == EXECUTOR_FLUSH ? 0 : 1,
			.done = note_many,
		};
		many[i].done = false;
		executor_submit(bed->executor, &many[i].request);
	}
}

static void a_flush_joins_the_next_plan_and_shares_it(void **state)
{
	static struct many many[10];
	struct image_format counting = raw_format;
	struct bed bed = {0};

	counting.flush_begin = count_plans;
	start_file(&bed, 65536, (struct image_open_request){0});
	bed.image->format = &counting;
	plans = 0;
	submit_many(&bed, many, 1, EXECUTOR_FLUSH);
	assert_int_equal(plans, 1);
	/* The first may be past its barrier: these need another. */
	submit_many(&bed, many + 1, 9, EXECUTOR_FLUSH);
	assert_int_equal(plans, 1);
	while (executor_in_flight(bed.executor) > 0)
		loop_wait(bed.loop, NS_PER_SECOND);
	assert_int_equal(plans, 2);
	stop(&bed);
}

static void writethrough_writes_share_flushes(void **state)
{
	static struct many many[10];
	struct image_format counting = raw_format;
	struct bed bed = {0};

	counting.flush_begin = count_plans;
	start_file(&bed, 65536, (struct image_open_request){0});
	bed.image->format = &counting;
	executor_set_writethrough(bed.executor, true);
	plans = 0;
	submit_many(&bed, many, ARRAY_SIZE(many), EXECUTOR_WRITE);
	assert_int_equal(plans, 0);
	while (executor_in_flight(bed.executor) > 0)
		loop_wait(bed.loop, NS_PER_SECOND);
	assert_in_range(plans, 1, 2);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		assert_int_equal(many[i].result, 0);
	stop(&bed);
}

/* A queue may be asked again from within its own completions, for ever. */
static unsigned to_go;

static void submit_again(struct executor_request *request, int result)
{
	assert_int_equal(result, 0);
	if (to_go-- > 0)
		executor_submit(request->executor, request);
}

static void resubmitting_from_done_does_not_recurse(void **state)
{
	static char data[512];
	struct iovec iov = {data, 512};
	struct executor_request read = {.op = EXECUTOR_READ,
					.length = 512,
					.iov = &iov,
					.iov_count = 1,
					.done = submit_again};
	struct executor_request flush = {.op = EXECUTOR_FLUSH,
					 .done = submit_again};
	struct bed bed = {0};

	start_memory(&bed, 65536);
	to_go = 200000;
	executor_submit(bed.executor, &read);
	assert_int_equal(executor_in_flight(bed.executor), 0);
	to_go = 200000;
	executor_submit(bed.executor, &flush);
	assert_int_equal(executor_in_flight(bed.executor), 0);
	stop(&bed);
}

/* The loop's slot for a descriptor must not outlive the executor. */
static void the_next_image_on_a_loop_is_not_the_last_one(void **state)
{
	struct bed bed = {0};
	char data[512];
	struct executor_config config = {.depth = 4};
	struct image_open_request request;
	char other[80];
	struct store *store = NULL;
	int fd;

	start_file(&bed, 512, (struct image_open_request){0});
	memset(data, 'a', 512);
	assert_int_equal(run_buffer(&bed, EXECUTOR_WRITE, 0, data, 512), 0);
	fd = bed.image->store->fd;
	executor_free(bed.executor);
	image_close(bed.image);
	snprintf(other, sizeof(other), "%s.other", bed.path);
	assert_int_equal(store_create_file(other, true, &store, NULL), 0);
	assert_int_equal(store_resize(store, 512), 0);
	store_free(store);
	request = (struct image_open_request){.path = other};
	assert_int_equal(image_open(&request, &bed.image, NULL, NULL), 0);
	assert_int_equal(bed.image->store->fd, fd);
	assert_int_equal(
		executor_new(bed.loop, bed.image, &config, &bed.executor), 0);
	assert_int_equal(run_buffer(&bed, EXECUTOR_READ, 0, data, 512), 0);
	assert_true(bytes_are_zero(data, 512));
	stop(&bed);
	unlink(other);
}

/* The write reads the block, changes its half and writes it back. */
static void
zeroes_in_one_half_of_a_block_outlive_a_write_to_the_other(void **state)
{
	struct executor_request zero = {
		.op = EXECUTOR_ZERO, .length = 256, .done = note_result};
	struct executor_request write = {.op = EXECUTOR_WRITE,
					 .offset = 256,
					 .length = 256,
					 .iov_count = 1,
					 .done = note_result};
	static char data[65536];
	struct iovec iov = {.iov_base = data, .iov_len = 256};
	struct bed bed = {0};

	start_file_in("/var/tmp", &bed, sizeof(data),
		      (struct image_open_request){.direct = true});
	write.iov = &iov;
	for (unsigned i = 0; i < 300; i++) {
		memset(data, 'x', sizeof(data));
		assert_int_equal(
			run_buffer(&bed, EXECUTOR_WRITE, 0, data, sizeof(data)),
			0);
		executor_submit(bed.executor, &zero);
		loop_submit(bed.loop);
		executor_submit(bed.executor, &write);
		while (executor_in_flight(bed.executor) > 0)
			assert_true(loop_wait(bed.loop, NS_PER_SECOND) >= 0);
		assert_int_equal(run_buffer(&bed, EXECUTOR_READ, 0, data, 512),
				 0);
		assert_true(bytes_are_zero(data, 256));
		assert_int_equal(data[256], 'x');
	}
	stop(&bed);
}

/* One compressed cluster, that a flush is said to free. */
enum {
	PACKED_BYTES = 16384
};

static uint32_t packed_stream_bytes;

static int packed_map(struct image *packed, enum image_op op, uint64_t offset,
		      uint64_t length, struct image_extent *ret_extent)
{
	*ret_extent = (struct image_extent){
		.kind = IMAGE_COMPRESSED,
		.length = length,
		.store = packed->store,
		.host_bytes = packed_stream_bytes,
		.cluster_bytes = PACKED_BYTES,
		.skip = offset,
		.codec = IMAGE_CODEC_DEFLATE,
	};
	return 0;
}

static void packed_reclaim(struct image *packed, uint64_t flush)
{
}

static void start_packed(struct bed *bed, struct image *packed,
			 struct image_format *format, const char *data)
{
	const struct executor_config config = {.depth = 16};
	struct libdeflate_compressor *c = libdeflate_alloc_compressor(1);
	struct store *store = NULL;

	*format = raw_format;
	format->map = packed_map;
	format->reclaim = packed_reclaim;
	assert_int_equal(store_new_memory(2 * PACKED_BYTES, &store), 0);
	packed_stream_bytes = libdeflate_deflate_compress(
		c, data, PACKED_BYTES, store_memory_data(store), PACKED_BYTES);
	libdeflate_free_compressor(c);
	assert_int_not_equal(packed_stream_bytes, 0);
	image_init(packed, format, store);
	packed->size_bytes = packed->cluster_bytes = PACKED_BYTES;
	bed->image = packed;
	assert_int_equal(loop_new(64, &bed->loop), 0);
	assert_int_equal(
		executor_new(bed->loop, packed, &config, &bed->executor), 0);
}

static void
a_cluster_is_decompressed_once_until_its_room_may_be_reused(void **state)
{
	static char data[PACKED_BYTES], got[PACKED_BYTES];
	struct image_format format;
	struct image packed = {0};
	struct bed bed = {0};

	for (unsigned i = 0; i < PACKED_BYTES; i++)
		data[i] = (char)(i >> 4);
	start_packed(&bed, &packed, &format, data);
	assert_int_equal(run_buffer(&bed, EXECUTOR_READ, 4096, got, 4096), 0);
	assert_memory_equal(got, data + 4096, 4096);

	/* Whoever decompressed it again would find nothing that can be. */
	memset(store_memory_data(packed.store), 0xff, packed_stream_bytes);
	assert_int_equal(run_buffer(&bed, EXECUTOR_READ, 8000, got, 5000), 0);
	assert_memory_equal(got, data + 8000, 5000);
	assert_int_equal(run_buffer(&bed, EXECUTOR_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(run_buffer(&bed, EXECUTOR_READ, 8000, got, 5000),
			 -EIO);
	assert_int_equal(run_buffer(&bed, EXECUTOR_READ, 4096, got, 4096),
			 -EIO);
	executor_free(bed.executor);
	image_deinit(&packed);
	loop_free(bed.loop);
}

/*
 * fsync fails on an eventfd: one takes the place of the file for one flush,
 * which is what a file looks like whose pages could not be written.
 */
static void a_failed_fsync_is_not_forgotten(void **state)
{
	const struct executor_config config = {.depth = 16};
	struct bed bed = {0};
	int fd, real, broken = eventfd(0, EFD_CLOEXEC);

	start_file(&bed, 65536, (struct image_open_request){0});
	executor_free(bed.executor);
	fd = bed.image->store->fd;
	real = dup(fd);
	assert_int_equal(dup2(broken, fd), fd);
	assert_int_equal(
		executor_new(bed.loop, bed.image, &config, &bed.executor), 0);
	assert_int_equal(run_buffer(&bed, EXECUTOR_FLUSH, 0, NULL, 0), -EINVAL);
	executor_free(bed.executor);

	assert_int_equal(dup2(real, fd), fd);
	assert_int_equal(fdatasync(fd), 0);
	assert_int_equal(
		executor_new(bed.loop, bed.image, &config, &bed.executor), 0);
	assert_int_equal(run_buffer(&bed, EXECUTOR_FLUSH, 0, NULL, 0), -EINVAL);
	assert_int_equal(image_flush_sync(bed.image), -EINVAL);
	close(real);
	close(broken);
	stop(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(raw_reads_back_what_was_written),
		cmocka_unit_test(requests_outside_the_image_are_refused),
		cmocka_unit_test(a_read_only_image_is_not_written),
		cmocka_unit_test(a_file_truncated_meanwhile_reads_as_zeroes),
		cmocka_unit_test(a_full_disk_fails_the_request_and_no_more),
		cmocka_unit_test(more_requests_than_the_depth_all_complete),
		cmocka_unit_test(
			a_corrupt_image_does_not_reach_out_of_its_slice),
		cmocka_unit_test(a_flush_joins_the_next_plan_and_shares_it),
		cmocka_unit_test(writethrough_writes_share_flushes),
		cmocka_unit_test(resubmitting_from_done_does_not_recurse),
		cmocka_unit_test(
			zeroes_in_one_half_of_a_block_outlive_a_write_to_the_other),
		cmocka_unit_test(
			a_cluster_is_decompressed_once_until_its_room_may_be_reused),
		cmocka_unit_test(a_failed_fsync_is_not_forgotten),
		cmocka_unit_test(the_next_image_on_a_loop_is_not_the_last_one),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
