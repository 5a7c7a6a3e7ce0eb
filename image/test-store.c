/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/fault-store.h"
#include "image/store-lock.h"
#include "image/store.h"
#include "tests/cmocka.h"

static char folder[] = "/tmp/ringline-store-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/file", folder);
	return 0;
}

static int remove_folder(void **state)
{
	unlink(path);
	return rmdir(folder);
}

static void write_file(size_t bytes, char fill)
{
	struct store *store = NULL;
	char *data = malloc(bytes);

	memset(data, fill, bytes);
	assert_int_equal(store_create_file(path, true, &store, NULL), 0);
	assert_int_equal(store_write(store, 0, data, bytes), 0);
	store_free(store);
	free(data);
}

static int open_with(struct store_file_options options,
		     struct store **ret_store)
{
	char *error = NULL;
	int err = store_open_file(path, &options, ret_store, &error);

	/* Every refusal is explained, and names the file. */
	if (err < 0)
		assert_non_null(strstr(error, path));
	free(error);
	return err;
}

static void check_read_and_growth(struct store *store)
{
	char data[16];

	assert_int_equal(store_write(store, 10, "abc", 3), 0);
	assert_int_equal(store->size_bytes, 13);
	memset(data, 'x', sizeof(data));
	assert_int_equal(store_read(store, 8, data, 10), 0);
	assert_memory_equal(data, "\0\0abc\0\0\0\0\0", 10);
	assert_int_equal(store_resize(store, 11), 0);
	assert_int_equal(store_resize(store, 20), 0);
	assert_int_equal(store_read(store, 10, data, 4), 0);
	assert_memory_equal(data, "a\0\0\0", 4);
}

static void read_past_the_end_is_zero_and_shrinking_forgets(void **state)
{
	struct store *store = NULL;

	assert_int_equal(store_new_memory(0, &store), 0);
	check_read_and_growth(store);
	store_free(store);
	assert_int_equal(store_create_file(path, true, &store, NULL), 0);
	check_read_and_growth(store);
	store_free(store);
}

static void memory_has_a_limit(void **state)
{
	struct store *store = NULL;

	assert_int_equal(store_new_memory(16, &store), 0);
	assert_int_equal(store_write(store, UINT64_MAX - 1, "ab", 2), -ENOSPC);
	assert_int_equal(store_write(store, STORE_MEMORY_MAX_BYTES, "a", 1),
			 -ENOSPC);
	assert_int_equal(store->size_bytes, 16);
	store_free(store);
}

static void nothing_is_written_outside_a_slice(void **state)
{
	struct store_file_options slice = {.offset = 4096, .length = 4096};
	struct store *store = NULL;
	char data[4] = "";

	write_file(16384, 'x');
	assert_int_equal(open_with(slice, &store), 0);
	assert_int_equal(store->size_bytes, 4096);
	assert_int_equal(store_write(store, 4094, "abcd", 4), -EINVAL);
	assert_int_equal(store_read(store, 4094, data, 4), -EINVAL);
	assert_int_equal(store_punch(store, 4000, 97), -EINVAL);
	assert_int_equal(store_zero(store, 0, 4097), -EINVAL);
	assert_int_equal(store_resize(store, 8192), -ENOTSUP);
	assert_int_equal(store_write(store, 4092, "abcd", 4), 0);
	store_free(store);
	slice.offset = 12288;
	slice.length = 4097;
	assert_int_equal(open_with(slice, &store), -EINVAL);
	slice.length = UINT64_MAX;
	assert_int_equal(open_with(slice, &store), -EINVAL);
}

static void holes_of_a_file_are_known_without_reading(void **state)
{
	struct store *store = NULL;
	struct store_status found;

	write_file(16384, 'x');
	assert_int_equal(open_with((struct store_file_options){0}, &store), 0);
	assert_int_equal(store_resize(store, 1 << 20), 0);
	assert_int_equal(store_status(store, 0, 1 << 20, &found), 0);
	assert_false(found.zero || found.hole);
	assert_true(found.length >= 16384);
	if (found.length < 1 << 20) { /* the file system keeps holes */
		assert_int_equal(
			store_status(store, found.length, 4096, &found), 0);
		assert_true(found.zero && found.hole);
		assert_int_equal(found.length, 4096);
	}
	store_free(store);
	/* Memory cannot tell: all is data. */
	assert_int_equal(store_new_memory(8192, &store), 0);
	assert_int_equal(store_status(store, 100, 50, &found), 0);
	assert_false(found.zero || found.hole);
	assert_int_equal(found.length, 50);
	store_free(store);
}

static void parts_of_a_run_are_as_the_run_that_was_found(void **state)
{
	struct store *store = NULL;
	struct store_status found, part;

	write_file(65536, 'x');
	assert_int_equal(open_with((struct store_file_options){0}, &store), 0);
	assert_int_equal(store_resize(store, 1 << 20), 0);
	store_free(store);
	assert_int_equal(
		open_with((struct store_file_options){.read_only = true},
			  &store),
		0);
	assert_int_equal(store_status(store, 4096, 1 << 19, &found), 0);
	for (uint64_t at = 0; at < 4096 + found.length; at += 2048) {
		assert_int_equal(store_status(store, at, 1024, &part), 0);
		assert_false(part.zero || part.hole);
		assert_int_equal(part.length, 1024);
	}
	if (found.length < 1 << 19) {
		uint64_t end = 4096 + found.length;

		assert_int_equal(store_status(store, end - 512, 4096, &part),
				 0);
		assert_int_equal(part.length, 512);
		assert_int_equal(store_status(store, end, 4096, &part), 0);
		assert_true(part.zero && part.hole);
	}
	store_free(store);
}

static void zeroed_and_punched_ranges_read_as_zeroes(void **state)
{
	struct store *store = NULL;
	char data[8192];

	write_file(sizeof(data), 'x');
	assert_int_equal(open_with((struct store_file_options){0}, &store), 0);
	assert_int_equal(store_zero(store, 100, 200), 0);
	assert_int_equal(store_punch(store, 4096, 4096), 0);
	assert_int_equal(store_read(store, 0, data, sizeof(data)), 0);
	assert_int_equal(data[99], 'x');
	assert_true(bytes_are_zero(data + 100, 200));
	assert_int_equal(data[300], 'x');
	assert_true(bytes_are_zero(data + 4096, 4096));
	store_free(store);
}

static void
unaligned_access_to_a_direct_store_keeps_its_neighbours(void **state)
{
	struct store *store = NULL;
	char data[8192], expected[8192];

	write_file(sizeof(data), 'x');
	memset(expected, 'x', sizeof(expected));
	if (open_with((struct store_file_options){.direct = true}, &store) < 0)
		skip();
	assert_int_not_equal(store->alignment, 1);
	assert_int_equal(store_write(store, 4090, "0123456789", 10), 0);
	memcpy(expected + 4090, "0123456789", 10);
	assert_int_equal(store_read(store, 1, data, sizeof(data) - 1), 0);
	assert_memory_equal(data, expected + 1, sizeof(data) - 1);
	store_free(store);
}

static void what_is_no_file_is_refused_without_waiting(void **state)
{
	struct store *store = NULL;

	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(
		open_with((struct store_file_options){.read_only = true},
			  &store),
		-EINVAL);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(
		open_with((struct store_file_options){.read_only = true},
			  &store),
		-EINVAL);
	rmdir(path);
	assert_int_equal(open_with((struct store_file_options){0}, &store),
			 -ENOENT);
}

static void a_link_that_came_after_the_check_is_not_followed(void **state)
{
	struct store_file_options options = {.read_only = true};
	char link[80], inside[96];
	struct store *store = NULL;

	write_file(512, 'x');
	snprintf(link, sizeof(link), "%s/link", folder);
	snprintf(inside, sizeof(inside), "%s/file", link);
	assert_int_equal(symlink(folder, link), 0);
	assert_int_equal(store_open_file(inside, &options, &store, NULL), 0);
	store_free(store);
	options.no_links = true;
	assert_int_equal(store_open_file(inside, &options, &store, NULL),
			 -ELOOP);
	assert_int_equal(store_open_file(path, &options, &store, NULL), 0);
	store_free(store);
	unlink(link);
}

static void nothing_keeps_nothing(void **state)
{
	struct store_status status;
	struct store *store;
	char data[4] = "abcd";

	assert_int_equal(store_new_null(UINT64_C(1) << 40, &store), 0);
	assert_int_equal(store_write(store, 1 << 30, data, 4), 0);
	assert_int_equal(store_read(store, 1 << 30, data, 4), 0);
	assert_memory_equal(data, "\0\0\0", 4);
	assert_int_equal(store_status(store, 0, 1 << 30, &status), 0);
	assert_true(status.zero && status.hole && status.length == 1 << 30);
	assert_int_equal(store_flush(store), 0);
	store_free(store);
}

static void faults_hit_what_they_name_and_nothing_else(void **state)
{
	const struct store_fault faults[] = {
		{.kinds = 1 << STORE_IO_READ,
		 .error = EIO,
		 .offset = 512,
		 .length = 512},
		{.kinds = 1 << STORE_IO_WRITE, .error = ENOSPC, .once = true},
		{.kinds = 1 << STORE_IO_FLUSH, .error = EROFS, .later = true},
	};
	struct store_status status;
	struct store *store, *under;
	char data[1024];

	memset(data, 'x', sizeof(data));
	assert_int_equal(store_new_memory(0, &under), 0);
	assert_int_equal(store_new_faulty(under, faults, 3, &store), 0);
	assert_int_equal(store_write(store, 0, data, 1024), -ENOSPC);
	assert_int_equal(store->size_bytes, 0);
	assert_int_equal(store_write(store, 0, data, 1024), 0);
	assert_int_equal(store->size_bytes, 1024);
	assert_int_equal(store_read(store, 0, data, 512), 0);
	assert_int_equal(store_read(store, 0, data, 513), -EIO);
	assert_int_equal(store_read(store, 1023, data, 1), -EIO);
	assert_int_equal(store_read(store, 1024, data, 1), 0);
	assert_int_equal(store_status(store, 0, 1024, &status), 0);
	assert_int_equal(status.length, 512);
	assert_int_equal(store_flush(store), 0);
	store_arm_faults(store);
	assert_int_equal(store_flush(store), -EROFS);
	assert_int_equal(store_resize(store, 512), 0);
	assert_int_equal(store->size_bytes, 512);
	store_free(store);
}

static void creating_over_a_file_needs_leave(void **state)
{
	struct store *store = NULL;
	char *error = NULL;

	write_file(10, 'x');
	assert_int_equal(store_create_file(path, false, &store, &error),
			 -EEXIST);
	assert_non_null(error);
	free(error);
}

/* What a second process gets when it opens with these options. */
static int opens_elsewhere(struct store_file_options options)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct store *store;

		_exit(-store_open_file(path, &options, &store, NULL));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

static const struct store_file_options whole = {0};
static const struct store_file_options whole_read = {.read_only = true};
static const struct store_file_options low = {.length = 4096};
static const struct store_file_options high = {.offset = 4096, .length = 4096};
static const struct store_file_options middle = {.offset = 4095, .length = 2};
static const struct store_file_options tail = {.offset = 8192};
static const struct store_file_options high_read = {
	.offset = 4096, .length = 4096, .read_only = true};

static void overlapping_writers_are_refused(void **state)
{
	struct store *store = NULL;

	write_file(16384, 'x');
	assert_int_equal(open_with(low, &store), 0);
	assert_int_equal(opens_elsewhere(low), -EAGAIN);
	assert_int_equal(opens_elsewhere(middle), -EAGAIN);
	assert_int_equal(opens_elsewhere(whole), -EAGAIN);
	assert_int_equal(opens_elsewhere(whole_read), -EAGAIN);
	store_free(store);
	assert_int_equal(opens_elsewhere(whole), 0);
}

static void disjoint_slices_may_be_written_side_by_side(void **state)
{
	struct store *store = NULL;

	write_file(16384, 'x');
	assert_int_equal(open_with(low, &store), 0);
	assert_int_equal(opens_elsewhere(high), 0);
	assert_int_equal(opens_elsewhere(tail), 0);
	assert_int_equal(opens_elsewhere(high_read), 0);
	store_free(store);
}

static void readers_share_and_shut_writers_out(void **state)
{
	struct store_file_options unlocked = {.no_lock = true};
	struct store *store = NULL;

	write_file(16384, 'x');
	assert_int_equal(open_with(whole_read, &store), 0);
	assert_int_equal(opens_elsewhere(whole_read), 0);
	assert_int_equal(opens_elsewhere(high_read), 0);
	assert_int_equal(opens_elsewhere(whole), -EAGAIN);
	assert_int_equal(opens_elsewhere(high), -EAGAIN);
	assert_int_equal(opens_elsewhere(unlocked), 0);
	store_free(store);
}

/* As an io_uring does for a while. */
static void a_lock_goes_although_the_file_is_still_held(void **state)
{
	struct store *store = NULL;
	int held;

	write_file(16384, 'x');
	assert_int_equal(open_with(whole, &store), 0);
	held = dup(store->fd);
	assert_int_equal(opens_elsewhere(whole_read), -EAGAIN);
	store_free(store);
	assert_int_equal(opens_elsewhere(whole), 0);
	close(held);
}

static int lock_byte(int fd, off_t byte)
{
	struct flock lock = {.l_type = F_RDLCK, .l_start = byte, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock);
}

/* As QEMU holds them: a running guest, then a backing file. */
static void qemus_locks_are_respected(void **state)
{
	int fd;

	write_file(4096, 'x');
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(lock_byte(fd, 100) | lock_byte(fd, 101) |
				 lock_byte(fd, 201),
			 0);
	assert_int_equal(opens_elsewhere(whole), -EAGAIN);
	assert_int_equal(opens_elsewhere(whole_read), -EAGAIN);
	close(fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(lock_byte(fd, 100) | lock_byte(fd, 201), 0);
	assert_int_equal(opens_elsewhere(whole), -EAGAIN);
	assert_int_equal(opens_elsewhere(whole_read), 0);
	close(fd);
}

static void a_lock_outside_what_a_file_can_hold_is_refused(void **state)
{
	int fd;

	write_file(4096, 'x');
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(store_lock(fd, UINT64_MAX, 1, true), -EINVAL);
	assert_int_equal(store_lock(fd, 1, UINT64_MAX, true), -EINVAL);
	assert_int_equal(store_lock(fd, 0, 0, true), 0);
	assert_int_equal(store_lock(fd, 0, 0, true), 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			read_past_the_end_is_zero_and_shrinking_forgets),
		cmocka_unit_test(memory_has_a_limit),
		cmocka_unit_test(nothing_is_written_outside_a_slice),
		cmocka_unit_test(holes_of_a_file_are_known_without_reading),
		cmocka_unit_test(parts_of_a_run_are_as_the_run_that_was_found),
		cmocka_unit_test(zeroed_and_punched_ranges_read_as_zeroes),
		cmocka_unit_test(
			unaligned_access_to_a_direct_store_keeps_its_neighbours),
		cmocka_unit_test(what_is_no_file_is_refused_without_waiting),
		cmocka_unit_test(
			a_link_that_came_after_the_check_is_not_followed),
		cmocka_unit_test(nothing_keeps_nothing),
		cmocka_unit_test(faults_hit_what_they_name_and_nothing_else),
		cmocka_unit_test(creating_over_a_file_needs_leave),
		cmocka_unit_test(overlapping_writers_are_refused),
		cmocka_unit_test(disjoint_slices_may_be_written_side_by_side),
		cmocka_unit_test(readers_share_and_shut_writers_out),
		cmocka_unit_test(a_lock_goes_although_the_file_is_still_held),
		cmocka_unit_test(qemus_locks_are_respected),
		cmocka_unit_test(
			a_lock_outside_what_a_file_can_hold_is_refused),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
