/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/option.h"
#include "tests/cmocka.h"

static const struct image_option table[] = {
	{"cluster_size", IMAGE_OPTION_SIZE, IMAGE_OPTION_CREATE, "size", NULL,
	 "65536"},
	{"lazy_refcounts", IMAGE_OPTION_BOOL,
	 IMAGE_OPTION_CREATE | IMAGE_OPTION_AMEND, "lazy", NULL, "off"},
	{"preallocation", IMAGE_OPTION_STRING, IMAGE_OPTION_CREATE, "mode",
	 "off|metadata|falloc|full", "off"},
	{"refcount_bits", IMAGE_OPTION_NUMBER, IMAGE_OPTION_CREATE, "width",
	 NULL, "16"},
	{0},
};

static void expect_refused(const char *text, unsigned uses, const char *words)
{
	struct image_options options = {0};
	char *error = NULL;
	int err = image_options_parse(&options, text, &error);

	if (err == 0)
		err = image_options_check(&options, table, uses, &error);
	assert_int_equal(err, -EINVAL);
	assert_non_null(error);
	assert_non_null(strstr(error, words));
	free(error);
	image_options_deinit(&options);
}

static void options_are_parsed_and_the_last_one_counts(void **state)
{
	struct image_options options = {0};
	char *error = NULL;

	assert_int_equal(image_options_parse(&options,
					     "cluster_size=2M,lazy_refcounts,"
					     "cluster_size=1.5k,file=a,,b=c",
					     &error),
			 0);
	assert_int_equal(options.count, 3);
	assert_int_equal(image_options_number(&options, "cluster_size", 0),
			 1536);
	assert_true(image_options_bool(&options, "lazy_refcounts", false));
	assert_string_equal(image_options_string(&options, "file", NULL),
			    "a,b=c");
	assert_null(image_options_string(&options, "absent", NULL));
	image_options_deinit(&options);
}

static void wrong_options_are_named(void **state)
{
	expect_refused("cluster-size=1", IMAGE_OPTION_CREATE, "cluster_size");
	expect_refused("cluster_size=1", IMAGE_OPTION_AMEND, "cluster_size");
	expect_refused("cluster_size=x", IMAGE_OPTION_CREATE, "65536");
	expect_refused("lazy_refcounts=2", IMAGE_OPTION_CREATE, "neither");
	expect_refused("preallocation=of", IMAGE_OPTION_CREATE, "falloc");
	expect_refused("refcount_bits=8k", IMAGE_OPTION_CREATE, "number");
	expect_refused("=1", IMAGE_OPTION_CREATE, "no name");
	expect_refused("entirely_different=1", IMAGE_OPTION_CREATE,
		       "entirely_different");
}

static void sizes_have_limits(void **state)
{
	static const struct {
		const char *text;
		int err;
		uint64_t bytes;
	} cases[] = {
		{"0", 0, 0},
		{"512", 0, 512},
		{"0x10", 0, 16},
		{"1k", 0, 1024},
		{"1.5G", 0, 1610612736},
		{"0.1M", 0, 104857},
		{"7E", 0, UINT64_C(7) << 60},
		{"9223372036854775807", 0, INT64_MAX},
		{"8E", -ERANGE, 0},
		{"99999999999999999999", -ERANGE, 0},
		{"-1", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"1kk", -EINVAL, 0},
		{"1x", -EINVAL, 0},
		{" 1", -EINVAL, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t bytes = 0;

		assert_int_equal(image_parse_size(cases[i].text, &bytes),
				 cases[i].err);
		if (cases[i].err == 0)
			assert_int_equal(bytes, cases[i].bytes);
	}
}

static void the_nearest_name_is_offered(void **state)
{
	const char *const names[] = {"convert", "commit", "compare", NULL};

	assert_string_equal(image_nearest_name("convret", names), "convert");
	assert_string_equal(image_nearest_name("comit", names), "commit");
	assert_null(image_nearest_name("xyzzy", names));
	assert_null(image_nearest_name("", names));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_parsed_and_the_last_one_counts),
		cmocka_unit_test(wrong_options_are_named),
		cmocka_unit_test(sizes_have_limits),
		cmocka_unit_test(the_nearest_name_is_offered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
