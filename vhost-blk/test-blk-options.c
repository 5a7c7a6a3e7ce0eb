/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-blk/blk-options.h"

enum {
	MAX_ARGS = 80
};

static struct blk_options options;
static char error[OPTIONS_ERROR_BYTES];

/* Parses "--socket-path=s --blk-file=i" and what is given, up to NULL. */
static int parse_with(const char *const *more)
{
	char *argv[MAX_ARGS + 4] = {(char *)"vhost-blk",
				    (char *)"--socket-path=s",
				    (char *)"--blk-file=i"};
	int argc = 3;

	for (; *more; more++)
		argv[argc++] = (char *)*more;
	return blk_options_parse(argc, argv, &options, error);
}

#define PARSE(...) parse_with((const char *const[]){__VA_ARGS__, NULL})

static void everything_has_a_default_but_socket_and_image(void **state)
{
	assert_int_equal(parse_with((const char *const[]){NULL}), 0);
	assert_string_equal(options.daemon.socket_path, "s");
	assert_string_equal(options.image, "i");
	assert_int_equal(options.daemon.fd, -1);
	assert_null(options.format);
	assert_int_equal(options.cache, BLK_CACHE_WRITEBACK);
	assert_int_equal(options.daemon.poll, SPIN_ADAPTIVE);
	assert_true(options.daemon.sandbox);
	assert_false(options.read_only);
	assert_int_equal(options.logical_block_bytes, 512);
	assert_int_equal(options.physical_block_bytes, 4096);
	assert_null(options.allowed[0]);
	assert_null(options.key_file);
}

static void a_key_is_named_by_its_file(void **state)
{
	assert_int_equal(PARSE("--key-file=/run/key"), 0);
	assert_string_equal(options.key_file, "/run/key");
}

static void image_is_required(void **state)
{
	char *argv[] = {(char *)"vhost-blk", (char *)"--socket-path=s", NULL};

	assert_int_equal(blk_options_parse(2, argv, &options, error), -EINVAL);
	assert_non_null(strstr(error, "--blk-file"));
}

static void values_may_be_separate_arguments(void **state)
{
	assert_int_equal(PARSE("--num-queues", "3", "--threads", "2"), 0);
	assert_int_equal(options.num_queues, 3);
	assert_int_equal(options.threads, 2);
}

static void there_are_no_more_threads_than_queues(void **state)
{
	assert_int_equal(PARSE("--num-queues=2", "--threads=9"), 0);
	assert_int_equal(options.threads, 2);
}

static void sizes_know_their_suffixes_and_their_limit(void **state)
{
	uint64_t bytes;

	assert_int_equal(options_size("0", &bytes), 0);
	assert_true(bytes == 0);
	assert_int_equal(options_size("64K", &bytes), 0);
	assert_true(bytes == 65536);
	assert_int_equal(options_size("3g", &bytes), 0);
	assert_true(bytes == UINT64_C(3) << 30);
	assert_int_equal(options_size("16777215T", &bytes), 0);
	assert_int_equal(options_size("16777216T", &bytes), -ERANGE);
	assert_int_equal(options_size("18446744073709551616", &bytes), -ERANGE);
}

static void sizes_that_are_no_numbers_are_refused(void **state)
{
	static const char *const texts[] = {"",	  "K",	 "-1",	 " 1",	"1 ",
					    "1X", "1KB", "1.5G", "0x10"};
	uint64_t bytes;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(options_size(texts[i], &bytes), -EINVAL);
}

static void range_is_offset_and_length(void **state)
{
	assert_int_equal(PARSE("--range=1M:10G"), 0);
	assert_true(options.range_offset == 1 << 20);
	assert_true(options.range_length == UINT64_C(10) << 30);
}

static void range_that_wraps_or_is_empty_is_refused(void **state)
{
	assert_int_equal(PARSE("--range=9223372036854775807:1"), -EINVAL);
	assert_int_equal(PARSE("--range=0:9223372036854775808"), -EINVAL);
	assert_int_equal(PARSE("--range=4K:0"), -EINVAL);
	assert_int_equal(PARSE("--range=4K"), -EINVAL);
	assert_int_equal(PARSE("--range=:4K"), -EINVAL);
}

static void messages_name_option_and_value(void **state)
{
	assert_int_equal(PARSE("--cache=perhaps"), -EINVAL);
	assert_non_null(strstr(error, "--cache=perhaps"));
	assert_non_null(strstr(error, "none|writeback|writethrough"));
	assert_int_equal(PARSE("--num-queues=0"), -EINVAL);
	assert_non_null(strstr(error, "--num-queues=0"));
	assert_int_equal(PARSE("--nonsense=1"), -EINVAL);
	assert_non_null(strstr(error, "--nonsense"));
	assert_int_equal(PARSE("stray"), -EINVAL);
	assert_non_null(strstr(error, "stray"));
	assert_int_equal(PARSE("--serial"), -EINVAL);
	assert_non_null(strstr(error, "--serial"));
}

static void word_must_match_as_a_whole(void **state)
{
	assert_int_equal(PARSE("--cache=write"), -EINVAL);
	assert_int_equal(PARSE("--cache="), -EINVAL);
	assert_int_equal(PARSE("--cache=none|writeback"), -EINVAL);
	assert_int_equal(PARSE("--cache=writethrough"), 0);
	assert_int_equal(options.cache, BLK_CACHE_WRITETHROUGH);
	assert_int_equal(PARSE("--poll=never", "--sandbox=off"), 0);
	assert_int_equal(options.daemon.poll, SPIN_NEVER);
	assert_false(options.daemon.sandbox);
}

static void block_sizes_are_powers_of_two_in_order(void **state)
{
	assert_int_equal(PARSE("--logical-block-size=4K"), 0);
	assert_int_equal(options.logical_block_bytes, 4096);
	assert_int_equal(options.physical_block_bytes, 4096);
	assert_int_equal(PARSE("--logical-block-size=1000"), -EINVAL);
	assert_int_equal(PARSE("--logical-block-size=256"), -EINVAL);
	assert_int_equal(PARSE("--logical-block-size=128K"), -EINVAL);
	assert_int_equal(
		PARSE("--logical-block-size=4K", "--physical-block-size=512"),
		-EINVAL);
}

static void serial_longer_than_the_driver_can_read_is_refused(void **state)
{
	assert_int_equal(PARSE("--serial=12345678901234567890"), 0);
	assert_int_equal(PARSE("--serial=123456789012345678901"), -EINVAL);
}

static void allowed_files_pile_up_to_a_limit(void **state)
{
	const char *more[BLK_OPTIONS_MAX_ALLOWED + 2] = {0};

	for (int i = 0; i < BLK_OPTIONS_MAX_ALLOWED; i++)
		more[i] = "--allow-file=x";
	assert_int_equal(parse_with(more), 0);
	assert_int_equal(options.allowed_count, BLK_OPTIONS_MAX_ALLOWED);
	assert_null(options.allowed[BLK_OPTIONS_MAX_ALLOWED]);
	more[BLK_OPTIONS_MAX_ALLOWED] = "--allow-file=y";
	assert_int_equal(parse_with(more), -EINVAL);
}

static void rates_of_zero_are_refused(void **state)
{
	assert_int_equal(PARSE("--iops=5000", "--bps=64M"), 0);
	assert_true(options.iops == 5000);
	assert_true(options.bps == 64 << 20);
	assert_int_equal(PARSE("--iops=0"), -EINVAL);
	assert_int_equal(PARSE("--bps=0"), -EINVAL);
}

static void two_sockets_are_refused(void **state)
{
	assert_int_equal(PARSE("--fd=3"), -EINVAL);
	assert_non_null(strstr(error, "--fd"));
}

static void capabilities_need_no_image(void **state)
{
	char *argv[] = {(char *)"vhost-blk", (char *)"--print-capabilities",
			NULL};

	assert_int_equal(blk_options_parse(2, argv, &options, error),
			 OPTIONS_CAPABILITIES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_has_a_default_but_socket_and_image),
		cmocka_unit_test(image_is_required),
		cmocka_unit_test(values_may_be_separate_arguments),
		cmocka_unit_test(there_are_no_more_threads_than_queues),
		cmocka_unit_test(sizes_know_their_suffixes_and_their_limit),
		cmocka_unit_test(sizes_that_are_no_numbers_are_refused),
		cmocka_unit_test(range_is_offset_and_length),
		cmocka_unit_test(range_that_wraps_or_is_empty_is_refused),
		cmocka_unit_test(messages_name_option_and_value),
		cmocka_unit_test(word_must_match_as_a_whole),
		cmocka_unit_test(block_sizes_are_powers_of_two_in_order),
		cmocka_unit_test(
			serial_longer_than_the_driver_can_read_is_refused),
		cmocka_unit_test(a_key_is_named_by_its_file),
		cmocka_unit_test(allowed_files_pile_up_to_a_limit),
		cmocka_unit_test(rates_of_zero_are_refused),
		cmocka_unit_test(two_sockets_are_refused),
		cmocka_unit_test(capabilities_need_no_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
