/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/dirty-log.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost/sigbus.h"

enum {
	PAGE = DIRTY_LOG_PAGE_BYTES,
	FILE_BYTES = 3 * 4096
};

static int make_file(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
	return fd;
}

static void read_file(int fd, uint8_t *bytes)
{
	assert_int_equal(pread(fd, bytes, FILE_BYTES, 0), FILE_BYTES);
}

/* Every page of every short range, one by one, against a plain count. */
static void bits_are_those_of_the_pages_touched(void **state)
{
	static const uint64_t starts[] = {
		0, 1, PAGE - 1, PAGE, 7 * PAGE, 8 * PAGE - 1, 13 * PAGE};
	static const uint64_t lengths[] = {1,	     2,	       PAGE,
					   PAGE + 1, 9 * PAGE, 30 * PAGE + 2};

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(lengths); j++) {
			uint64_t last = starts[i] + lengths[j] - 1;
			uint8_t bytes[FILE_BYTES];
			struct dirty_log *log;
			int fd = make_file();

			assert_int_equal(dirty_log_new(fd, 0, 16, &log), 0);
			dirty_log_mark(log, starts[i], lengths[j]);
			dirty_log_unref(log);
			read_file(fd, bytes);
			for (uint64_t page = 0; page < 8 * FILE_BYTES; page++)
				assert_int_equal(bytes[page / 8] >> page % 8 &
							 1,
						 page >= starts[i] / PAGE &&
							 page <= last / PAGE);
			close(fd);
		}
	}
}

static void log_begins_at_any_byte_of_its_file(void **state)
{
	static const uint64_t offsets[] = {1, 4095, 4097, 8191};

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		uint8_t bytes[FILE_BYTES];
		uint8_t expected[FILE_BYTES] = {0};
		struct dirty_log *log;
		int fd = make_file();

		assert_int_equal(dirty_log_new(fd, offsets[i], 2, &log), 0);
		dirty_log_mark(log, PAGE, 10 * PAGE);
		dirty_log_unref(log);
		expected[offsets[i]] = 0xfe;
		expected[offsets[i] + 1] = 0x07;
		read_file(fd, bytes);
		assert_memory_equal(bytes, expected, FILE_BYTES);
		close(fd);
	}
}

static void pages_past_the_end_are_left_out(void **state)
{
	uint8_t bytes[FILE_BYTES];
	uint8_t expected[FILE_BYTES] = {[100] = 0, [101] = 0x80};
	struct dirty_log *log;
	int fd = make_file();

	assert_int_equal(dirty_log_new(fd, 100, 2, &log), 0);
	assert_int_equal(dirty_log_end(log), 16 * PAGE);
	dirty_log_mark(log, 16 * PAGE, 1);
	dirty_log_mark(log, UINT64_MAX, 1);
	dirty_log_mark(log, UINT64_MAX, UINT64_MAX);
	dirty_log_mark(log, 3 * PAGE, 0);
	dirty_log_mark(log, 15 * PAGE, UINT64_MAX);
	dirty_log_unref(log);
	read_file(fd, bytes);
	assert_memory_equal(bytes, expected, FILE_BYTES);
	close(fd);
}

static void bits_set_by_others_stay(void **state)
{
	uint8_t byte = 0x81;
	struct dirty_log *log;
	int fd = make_file();

	assert_int_equal(pwrite(fd, &byte, 1, 0), 1);
	assert_int_equal(dirty_log_new(fd, 0, 4096, &log), 0);
	dirty_log_mark(log, 2 * PAGE, PAGE);
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	assert_int_equal(byte, 0x85);
	dirty_log_unref(log);
	close(fd);
}

static void log_that_is_not_in_its_file_is_refused(void **state)
{
	struct dirty_log *log;
	int fd = make_file();

	assert_int_equal(dirty_log_new(fd, 0, FILE_BYTES + 1, &log), -EINVAL);
	assert_int_equal(dirty_log_new(fd, FILE_BYTES, 1, &log), -EINVAL);
	assert_int_equal(dirty_log_new(fd, UINT64_MAX - 1, 4, &log), -EINVAL);
	assert_int_equal(dirty_log_new(fd, 4, UINT64_MAX - 1, &log), -EINVAL);
	assert_int_equal(dirty_log_new(fd, 0, 0, &log), -EINVAL);
	assert_int_equal(dirty_log_new(-1, 0, 1, &log), -EBADF);
	close(fd);
}

static void truncated_log_is_noticed_and_survived(void **state)
{
	struct dirty_log *log;
	int fd = make_file();

	assert_int_equal(dirty_log_new(fd, 0, FILE_BYTES, &log), 0);
	/* cmocka has its own handler in each test. */
	assert_int_equal(sigbus_install(), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_false(dirty_log_is_broken(log));
	dirty_log_mark(log, 0, UINT64_MAX);
	assert_true(dirty_log_is_broken(log));
	dirty_log_unref(log);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bits_are_those_of_the_pages_touched),
		cmocka_unit_test(log_begins_at_any_byte_of_its_file),
		cmocka_unit_test(pages_past_the_end_are_left_out),
		cmocka_unit_test(bits_set_by_others_stay),
		cmocka_unit_test(log_that_is_not_in_its_file_is_refused),
		cmocka_unit_test(truncated_log_is_noticed_and_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
