/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/inline-batch.h"
#include "tests/cmocka.h"

enum {
	BLOCK = 4096,
	BLOCKS = INLINE_BATCH_MAX
};

struct transfer {
	struct loop_op op;
	struct iovec iov;
	int32_t result;
	unsigned calls;
};

static uint8_t data[BLOCKS][BLOCK];
static struct transfer transfers[BLOCKS];

static void transfer_done(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct transfer *transfer = container_of(op, struct transfer, op);

	transfer->result = result;
	transfer->calls++;
}

static int memory_file(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(inline_batch_suits(fd));
	return fd;
}

static void add(struct inline_batch *batch, int fd, bool write, unsigned i)
{
	transfers[i] = (struct transfer){
		.op.done = transfer_done,
		.iov = {data[i], BLOCK},
	};
	assert_true(inline_batch_add(batch, fd, write, &transfers[i].iov, 1,
				     (uint64_t)i * BLOCK, &transfers[i].op));
}

static void every_batch_size_transfers_all_and_reports_each_once(void **state)
{
	struct inline_batch *batch;
	int fd = memory_file();

	assert_int_equal(inline_batch_new(&batch), 0);
	for (unsigned count = 1; count <= BLOCKS; count++) {
		for (unsigned i = 0; i < count; i++) {
			memset(data[i], (int)(i + count), BLOCK);
			add(batch, fd, true, i);
		}
		assert_int_equal(inline_batch_run(batch), count);
		memset(data, 0, sizeof(data));
		for (unsigned i = 0; i < count; i++)
			add(batch, fd, false, i);
		assert_int_equal(inline_batch_run(batch), count);
		for (unsigned i = 0; i < count; i++) {
			assert_int_equal(transfers[i].calls, 1);
			assert_int_equal(transfers[i].result, BLOCK);
			assert_int_equal(data[i][0], (uint8_t)(i + count));
			assert_int_equal(data[i][BLOCK - 1],
					 (uint8_t)(i + count));
		}
	}
	assert_int_equal(inline_batch_run(batch), 0);
	inline_batch_free(batch);
	close(fd);
}

/* They go one by one, in their order, each with its own result. */
static void large_transfers_are_done_as_small_ones(void **state)
{
	enum {
		LARGE = 1 << 20,
		COUNT = 3,
	};
	char *from = malloc(COUNT * LARGE), *to = calloc(COUNT, LARGE);
	struct inline_batch *batch;
	int fd = memory_file();

	assert_int_equal(inline_batch_new(&batch), 0);
	for (size_t i = 0; i < COUNT * LARGE; i++)
		from[i] = (char)(i * 7 / 3);
	for (unsigned write = 1; write <= 1; write--) {
		for (unsigned i = 0; i < COUNT; i++) {
			char *part = (write ? from : to) + i * LARGE;

			transfers[i] = (struct transfer){
				.op.done = transfer_done,
				.iov = {part, LARGE},
			};
			assert_true(inline_batch_add(
				batch, fd, write, &transfers[i].iov, 1,
				(uint64_t)i * LARGE, &transfers[i].op));
		}
		assert_int_equal(inline_batch_run(batch), COUNT);
		for (unsigned i = 0; i < COUNT; i++) {
			assert_int_equal(transfers[i].calls, 1);
			assert_int_equal(transfers[i].result, LARGE);
		}
	}
	assert_memory_equal(from, to, COUNT * LARGE);
	inline_batch_free(batch);
	close(fd);
	free(from);
	free(to);
}

static void full_batch_takes_no_more(void **state)
{
	struct inline_batch *batch;
	int fd = memory_file();
	struct transfer extra = {.op.done = transfer_done};

	assert_int_equal(inline_batch_new(&batch), 0);
	for (unsigned i = 0; i < BLOCKS; i++)
		add(batch, fd, true, i);
	assert_false(
		inline_batch_add(batch, fd, true, &extra.iov, 1, 0, &extra.op));
	assert_int_equal(inline_batch_run(batch), BLOCKS);
	inline_batch_free(batch);
	close(fd);
}

static void failure_of_one_leaves_the_others_alone(void **state)
{
	struct inline_batch *batch;
	int fd = memory_file();
	int read_only;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read_only >= 0);
	assert_int_equal(inline_batch_new(&batch), 0);
	for (unsigned i = 0; i < 5; i++)
		add(batch, i == 2 ? read_only : fd, true, i);
	assert_int_equal(inline_batch_run(batch), 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(transfers[i].calls, 1);
		assert_int_equal(transfers[i].result, i == 2 ? -EBADF : BLOCK);
	}
	inline_batch_free(batch);
	close(read_only);
	close(fd);
}

struct chained {
	struct loop_op op;
	struct inline_batch *batch;
	int fd;
	unsigned left;
	struct iovec iov;
};

static void add_another(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct chained *chained = container_of(op, struct chained, op);

	assert_int_equal(result, BLOCK);
	if (chained->left-- > 0)
		assert_true(inline_batch_add(chained->batch, chained->fd, true,
					     &chained->iov, 1, 0, op));
}

static void completion_may_add_to_the_next_run(void **state)
{
	struct inline_batch *batch;
	int fd = memory_file();
	struct chained chained = {
		.op.done = add_another,
		.fd = fd,
		.left = 3,
		.iov = {data[0], BLOCK},
	};
	unsigned runs = 0;

	assert_int_equal(inline_batch_new(&batch), 0);
	chained.batch = batch;
	assert_true(inline_batch_add(batch, fd, true, &chained.iov, 1, 0,
				     &chained.op));
	while (inline_batch_run(batch) > 0)
		runs++;
	assert_int_equal(runs, 4);
	inline_batch_free(batch);
	close(fd);
}

static void file_on_a_pipe_is_not_memory(void **state)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_false(inline_batch_suits(ends[0]));
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			every_batch_size_transfers_all_and_reports_each_once),
		cmocka_unit_test(large_transfers_are_done_as_small_ones),
		cmocka_unit_test(full_batch_takes_no_more),
		cmocka_unit_test(failure_of_one_leaves_the_others_alone),
		cmocka_unit_test(completion_may_add_to_the_next_run),
		cmocka_unit_test(file_on_a_pipe_is_not_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
