/* SPDX-License-Identifier: Apache-2.0 */
/* A passphrase's file: all of it, and not too much of it. */
#include "vhost-blk/blk-key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cmocka.h"

static char path[] = "/tmp/ringline-key-XXXXXX";

static void write_file(size_t bytes)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	for (size_t i = 0; i < bytes; i++)
		fputc('a' + (int)(i % 26), file);
	fclose(file);
}

static void all_bytes_are_the_key(void **state)
{
	static const size_t lengths[] = {1, 26, 4096, BLK_KEY_MAX_BYTES};
	struct blk_key key;

	for (size_t i = 0; i < 4; i++) {
		write_file(lengths[i]);
		assert_int_equal(blk_key_read(path, &key), 0);
		assert_int_equal(key.length, lengths[i]);
		assert_int_equal(key.bytes[0], 'a');
		assert_int_equal(key.bytes[key.length - 1],
				 'a' + (int)((key.length - 1) % 26));
		blk_key_deinit(&key);
		assert_null(key.bytes);
	}
	blk_key_deinit(&key);
}

static void what_is_no_key_is_refused(void **state)
{
	struct blk_key key = {0};

	write_file(0);
	assert_int_equal(blk_key_read(path, &key), -EINVAL);
	write_file(BLK_KEY_MAX_BYTES + 1);
	assert_int_equal(blk_key_read(path, &key), -EINVAL);
	assert_int_equal(blk_key_read("/dev/zero", &key), -EINVAL);
	assert_int_equal(blk_key_read("/nowhere/key", &key), -ENOENT);
	assert_int_equal(blk_key_read("/", &key), -EISDIR);
	assert_null(key.bytes);
}

static void it_may_come_through_a_pipe_in_pieces(void **state)
{
	struct blk_key key;
	char name[32];
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "open ", 5), 5);
	assert_int_equal(write(ends[1], "sesame", 6), 6);
	close(ends[1]);
	snprintf(name, sizeof(name), "/dev/fd/%d", ends[0]);
	assert_int_equal(blk_key_read(name, &key), 0);
	assert_int_equal(key.length, 11);
	assert_memory_equal(key.bytes, "open sesame", 11);
	blk_key_deinit(&key);
	close(ends[0]);
}

static int set_up(void **state)
{
	int fd = mkstemp(path);

	close(fd);
	return fd < 0;
}

static int tear_down(void **state)
{
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_bytes_are_the_key),
		cmocka_unit_test(what_is_no_key_is_refused),
		cmocka_unit_test(it_may_come_through_a_pipe_in_pieces),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
