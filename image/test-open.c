/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chains and policy, with a format that is a line of text: "CHAIN name\n" or
 * "CHAIN name format\n" at the start of a file names its backing file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/open.h"
#include "tests/cmocka.h"

static bool chain_probe(const void *head, size_t size)
{
	return size >= 6 && memcmp(head, "CHAIN ", 6) == 0;
}

static int chain_open(struct store *store, const struct image_open_options *o,
		      struct image **ret_image, char **ret_error);

static void chain_close(struct image *image)
{
	image_deinit(image);
	free(image);
}

static const struct image_format chain_format = {
	.name = "chain",
	.probe = chain_probe,
	.open = chain_open,
	.close = chain_close,
};

static int chain_open(struct store *store, const struct image_open_options *o,
		      struct image **ret_image, char **ret_error)
{
	char line[256] = "", name[200] = "", format[32] = "";
	struct image *image = calloc(1, sizeof(*image));

	assert_int_equal(store_read(store, 0, line, sizeof(line) - 1), 0);
	image_init(image, &chain_format, store);
	image->size_bytes = 512;
	image->read_only = o->read_only;
	if (sscanf(line, "CHAIN %199s %31s", name, format) > 0)
		image->backing_name = strdup(name);
	if (format[0])
		image->backing_format = strdup(format);
	*ret_image = image;
	return 0;
}

static char folder[] = "/tmp/ringline-open-XXXXXX";

static int set_up(void **state)
{
	image_register_format(&chain_format);
	return mkdtemp(folder) && chdir(folder) == 0 && mkdir("in", 0700) == 0
		       ? 0
		       : -1;
}

static int tear_down(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* How many images there are, or why not: the message must say @why. */
static int count_chain(const char *path, const char *format,
		       const char *const *allowed, const char *why)
{
	const struct image_open_request request = {
		.path = path, .format = format, .allowed = allowed};
	struct image *image = NULL;
	char *error = NULL;
	int count = 0;
	int err = image_open(&request, &image, &error, NULL);

	if (err != 0) {
		assert_non_null(error);
		if (why && !strstr(error, why))
			fail_msg("\"%s\" lacks \"%s\"", error, why);
		free(error);
		return err;
	}
	for (const struct image *i = image; i; i = i->backing)
		count++;
	for (const struct image *i = image->backing; i; i = i->backing)
		assert_true(i->read_only && i->store->read_only);
	assert_int_equal(image_close(image), 0);
	return count;
}

static const char *const all[] = {folder, NULL};

static void nothing_that_an_image_names_is_opened_by_default(void **state)
{
	const char *const nothing[] = {NULL};
	char *why = NULL;

	put("in/base", "data");
	put("top", "CHAIN in/base raw\n");
	assert_true(asprintf(&why, "--allow-file=%s/in/base", folder) > 0);
	assert_int_equal(count_chain("top", "chain", NULL, why), -EACCES);
	assert_int_equal(count_chain("top", "chain", nothing, why), -EACCES);
	free(why);
}

static void what_is_allowed_is_a_file_or_a_whole_folder(void **state)
{
	const char *const file[] = {"in/base", NULL};
	const char *const in[] = {"nowhere", "in/", NULL};
	const char *const prefix[] = {"in/bas", NULL};
	const char *const root[] = {"/", NULL};

	put("in/base", "data");
	put("in/bas", "data");
	put("top", "CHAIN in/base raw\n");
	assert_int_equal(count_chain("top", "chain", file, NULL), 2);
	assert_int_equal(count_chain("top", "chain", in, NULL), 2);
	assert_int_equal(count_chain("top", "chain", all, NULL), 2);
	assert_int_equal(count_chain("top", "chain", root, NULL), 2);
	assert_int_equal(count_chain("top", "chain", prefix, "in/base"),
			 -EACCES);
}

static void a_link_or_dots_do_not_lead_out(void **state)
{
	const char *const in[] = {"in", NULL};

	put("secret", "data");
	unlink("in/link");
	assert_int_equal(symlink("../secret", "in/link"), 0);
	put("top", "CHAIN in/link raw\n");
	assert_int_equal(count_chain("top", "chain", in, "/secret"), -EACCES);
	put("top", "CHAIN in/../secret raw\n");
	assert_int_equal(count_chain("top", "chain", in, "/secret"), -EACCES);
	put("top", "CHAIN /etc/passwd raw\n");
	assert_int_equal(count_chain("top", "chain", all, "/etc/passwd"),
			 -EACCES);
}

static void only_plain_paths_are_names(void **state)
{
	static const char *const names[] = {"json:{\"driver\":\"raw\"}",
					    "nbd://host/x", "file:in/base",
					    "nbd:unix:/x", ":"};
	const char *const root[] = {"/", NULL};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char text[128];

		snprintf(text, sizeof(text), "CHAIN %s raw\n", names[i]);
		put("top", text);
		assert_int_equal(
			count_chain("top", "chain", root, "plain path"),
			-EACCES);
	}
	put("in/a:b", "data");
	put("top", "CHAIN ./in/a:b raw\n");
	assert_int_equal(count_chain("top", "chain", root, NULL), 2);
}

static void a_name_is_relative_to_the_image_that_has_it(void **state)
{
	put("in/base", "data");
	put("in/middle", "CHAIN base raw\n");
	put("top", "CHAIN in/middle chain\n");
	assert_int_equal(count_chain("top", "chain", all, NULL), 3);
	put("in/middle", "CHAIN in/base raw\n");
	assert_int_equal(count_chain("top", "chain", all, "in/in/base"),
			 -ENOENT);
}

static void a_chain_that_loops_is_refused(void **state)
{
	put("in/a", "CHAIN ../in/b chain\n");
	put("in/b", "CHAIN a chain\n");
	assert_int_equal(count_chain("in/a", "chain", all, "loop"), -ELOOP);
	put("in/a", "CHAIN a chain\n");
	assert_int_equal(count_chain("in/a", "chain", all, "loop"), -ELOOP);
}

static void a_chain_has_a_greatest_length(void **state)
{
	char name[32], text[64];

	for (unsigned i = 0; i <= IMAGE_MAX_CHAIN; i++) {
		snprintf(name, sizeof(name), "in/c%u", i);
		snprintf(text, sizeof(text), "CHAIN c%u chain\n", i + 1);
		put(name, i == IMAGE_MAX_CHAIN ? "CHAIN\n" : text);
	}
	assert_int_equal(count_chain("in/c1", "chain", all, NULL),
			 IMAGE_MAX_CHAIN);
	assert_int_equal(count_chain("in/c0", "chain", all, "more than 64"),
			 -ELOOP);
}

static void a_format_is_guessed_only_when_asked_for(void **state)
{
	struct image_open_request request = {.path = "top"};
	struct image *image = NULL;
	char *hint = NULL;

	put("in/base", "CHAIN x\n");
	put("top", "CHAIN in/base\n");
	assert_int_equal(image_open(&request, &image, NULL, &hint), 0);
	assert_string_equal(image->format->name, "raw");
	assert_non_null(strstr(hint, "--format=chain"));
	free(hint);
	image_close(image);
	/* The backing file's format is nobody's word: not even raw. */
	assert_int_equal(count_chain("top", "chain", all, "--format=probe"),
			 -EINVAL);
	put("in/base", "data");
	assert_int_equal(count_chain("top", "probe", all, NULL), 2);
	put("top", "CHAIN in/base none\n");
	assert_int_equal(count_chain("top", "chain", all, "\"none\""), -EINVAL);
	assert_int_equal(count_chain("top", "vhdx", all, "\"vhdx\""), -EINVAL);
}

/* --- Addresses -------------------------------------------------------------- */

/*
 * Exports of a server that is none: "fake:NAME" or "fake+x:NAME" is the address
 * "fake:NAME", whose content is below.
 */
static const struct {
	const char *address, *content;
} exports[] = {
	{"fake:data", "data"},
	{"fake:up", "CHAIN fake:data raw\n"},
	{"fake:file", "CHAIN /etc/passwd raw\n"},
	{"fake:loop", "CHAIN fake+x:loop chain\n"},
};
static unsigned connections;

static bool fake_is_address(const char *name)
{
	return strncmp(name, "fake:", 5) == 0 ||
	       strncmp(name, "fake+x:", 7) == 0;
}

static int fake_resolve(const char *name, bool by_image, char **ret_address,
			char **ret_error)
{
	if (by_image && strstr(name, "key"))
		return store_fail(ret_error, -EACCES, "no keys");
	return asprintf(ret_address, "fake:%s", strchr(name, ':') + 1) < 0
		       ? -ENOMEM
		       : 0;
}

static int fake_open(const char *address,
		     const struct image_remote_options *options,
		     struct store **ret_store, char **ret_error)
{
	connections++;
	for (size_t i = 0; i < ARRAY_SIZE(exports); i++) {
		if (strcmp(exports[i].address, address) != 0)
			continue;
		assert_int_equal(store_new_memory(4096, ret_store), 0);
		assert_int_equal(store_write(*ret_store, 0, exports[i].content,
					     strlen(exports[i].content)),
				 0);
		(*ret_store)->name = exports[i].address;
		(*ret_store)->is_remote = true;
		(*ret_store)->read_only = options->read_only;
		return 0;
	}
	return store_fail(ret_error, -ENOENT, "%s: not there", address);
}

static const struct image_remote fake_remote = {
	.is_address = fake_is_address,
	.resolve = fake_resolve,
	.open = fake_open,
};

/* As count_chain(), of a program that connects to servers. */
static int count_remote(const char *path, const char *const *allowed,
			const char *why)
{
	const struct image_open_request request = {.path = path,
						   .format = "probe",
						   .allowed = allowed,
						   .remote = &fake_remote};
	struct image *image = NULL;
	char *error = NULL;
	int count = 0;
	int err = image_open(&request, &image, &error, NULL);

	if (err != 0) {
		assert_non_null(error);
		if (!why || !strstr(error, why))
			fail_msg("\"%s\" lacks \"%s\"", error, why ? why : "");
		free(error);
		return err;
	}
	for (const struct image *i = image; i; i = i->backing)
		count++;
	assert_int_equal(image_close(image), 0);
	return count;
}

static const char *const everything[] = {"/", "fake:", NULL};

static void an_address_is_opened_only_where_it_is_allowed(void **state)
{
	const char *const files[] = {"/", "fake", "fake:dat", "fak:", NULL};
	const char *const other[] = {"/", "fake:up", NULL};
	const char *const same[] = {"fake+x:data", NULL};

	put("top", "CHAIN fake+x:data raw\n");
	connections = 0;
	assert_int_equal(count_remote("top", NULL, "--allow-file=fake:data"),
			 -EACCES);
	assert_int_equal(count_remote("top", files, "--allow-file=fake:data"),
			 -EACCES);
	assert_int_equal(count_remote("top", other, "--allow-file=fake:data"),
			 -EACCES);
	/* A program that knows no addresses, whatever it allows. */
	assert_int_equal(count_chain("top", "chain", everything, "plain path"),
			 -EACCES);
	put("top", "CHAIN fake:key raw\n");
	assert_int_equal(count_remote("top", everything, "no keys"), -EACCES);
	assert_int_equal(connections, 0);
	put("top", "CHAIN fake+x:data raw\n");
	assert_int_equal(count_remote("top", same, NULL), 2);
	assert_int_equal(count_remote("top", everything, NULL), 2);
	put("top", "CHAIN fake:up chain\n");
	assert_int_equal(count_remote("top", everything, NULL), 3);
	assert_int_equal(count_remote("top", other, "fake:data"), -EACCES);
}

static void a_server_names_no_files(void **state)
{
	assert_int_equal(count_remote("fake:up", everything, NULL), 2);
	assert_int_equal(count_remote("fake:file", everything, "on a server"),
			 -EACCES);
	put("top", "CHAIN fake:file chain\n");
	assert_int_equal(count_remote("top", everything, "on a server"),
			 -EACCES);
	assert_int_equal(count_remote("fake:loop", everything, "loop"), -ELOOP);
	assert_int_equal(count_remote("fake:none", everything, "not there"),
			 -ENOENT);
}

static void a_backing_file_may_be_left_out(void **state)
{
	const struct image_open_request request = {
		.path = "top", .format = "chain", .no_backing = true};
	struct image *image = NULL;

	put("top", "CHAIN nowhere raw\n");
	assert_int_equal(image_open(&request, &image, NULL, NULL), 0);
	assert_null(image->backing);
	image_close(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			nothing_that_an_image_names_is_opened_by_default),
		cmocka_unit_test(what_is_allowed_is_a_file_or_a_whole_folder),
		cmocka_unit_test(a_link_or_dots_do_not_lead_out),
		cmocka_unit_test(only_plain_paths_are_names),
		cmocka_unit_test(a_name_is_relative_to_the_image_that_has_it),
		cmocka_unit_test(a_chain_that_loops_is_refused),
		cmocka_unit_test(a_chain_has_a_greatest_length),
		cmocka_unit_test(a_format_is_guessed_only_when_asked_for),
		cmocka_unit_test(a_backing_file_may_be_left_out),
		cmocka_unit_test(an_address_is_opened_only_where_it_is_allowed),
		cmocka_unit_test(a_server_names_no_files),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
