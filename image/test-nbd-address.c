/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/nbd-address.h"
#include "tests/cmocka.h"

/* To be freed; NULL: refused, with a message that says @why. */
static char *canonical(const char *name, const char *why)
{
	struct nbd_address address = {0};
	char *error = NULL, *text;
	int err = nbd_address_parse(name, &address, &error);

	if (err) {
		assert_int_equal(err, -EINVAL);
		assert_non_null(error);
		if (!why || !strstr(error, why))
			fail_msg("%s: \"%s\" lacks \"%s\"", name, error,
				 why ? why : "nothing, it is right");
		assert_null(strchr(error, '\n'));
		free(error);
		return NULL;
	}
	text = nbd_address_format(&address);
	assert_non_null(text);
	nbd_address_deinit(&address);
	return text;
}

/* What is formatted is parsed as the same again. */
static void expect(const char *name, const char *wanted)
{
	char *text = canonical(name, NULL), *again;

	assert_true(nbd_address_is(name));
	assert_string_equal(text, wanted);
	again = canonical(text, NULL);
	assert_string_equal(again, wanted);
	free(text);
	free(again);
}

static void uris_are_taken_apart(void **state)
{
	struct nbd_address a = {0};

	assert_int_equal(nbd_address_parse("nbds://al%40ice@[::1]:7/a%2fb%20/c"
					   "?tls-psk-file=/k%26&tls-certifi"
					   "cates=here",
					   &a, NULL),
			 0);
	assert_true(a.tls);
	assert_null(a.socket);
	assert_string_equal(a.user, "al@ice");
	assert_string_equal(a.host, "::1");
	assert_string_equal(a.port, "7");
	assert_string_equal(a.export_name, "a/b /c");
	assert_string_equal(a.psk_file, "/k&");
	assert_string_equal(a.certificates, "here");
	nbd_address_deinit(&a);
	assert_int_equal(
		nbd_address_parse("nbd+unix:///?socket=/tmp/a%25b", &a, NULL),
		0);
	assert_string_equal(a.socket, "/tmp/a%b");
	assert_string_equal(a.export_name, "");
	assert_null(a.host);
	nbd_address_deinit(&a);
}

static void one_export_has_one_name(void **state)
{
	expect("nbd://h", "nbd://h:10809");
	expect("nbd://h/", "nbd://h:10809");
	expect("nbd://h:10809/x/y", "nbd://h:10809/x/y");
	expect("nbd+tcp://h/x", "nbd://h:10809/x");
	expect("nbd:///x", "nbd://localhost:10809/x");
	expect("nbd://[fe80::1%25eth0]/x", "nbd://[fe80::1%25eth0]:10809/x");
	expect("nbd+unix:///x?socket=/s", "nbd+unix:///x?socket=/s");
	expect("nbd+unix://?socket=/s", "nbd+unix://?socket=/s");
	expect("nbd+unix:///?socket=%2Fs", "nbd+unix://?socket=/s");
	expect("nbds+unix://al@/x?socket=/s&tls-psk-file=k",
	       "nbds+unix://al@/x?socket=/s&tls-psk-file=k");
	expect("nbds://a%40b@h//x%3F%23", "nbds://a%40b@h:10809//x%3F%23");
	expect("nbd:h:1", "nbd://h:1");
	expect("nbd:[::1]:1:exportname=x", "nbd://[::1]:1/x");
	expect("nbd:h:1:exportname=a:b?", "nbd://h:1/a:b%3F");
	expect("nbd:unix:/a b&c", "nbd+unix://?socket=/a%20b%26c");
	expect("nbd:unix:/s:exportname=", "nbd+unix://?socket=/s");
	expect("nbd:unix:/s:exportname=x", "nbd+unix:///x?socket=/s");
	/* Nothing of it acts on a terminal. */
	expect("nbd:unix:/\x1b[31m\n\x9b:exportname=\r",
	       "nbd+unix:///%0D?socket=/%1B%5B31m%0A%9B");
}

static void what_is_no_address_is_refused_in_one_line(void **state)
{
	static const struct {
		const char *name, *why;
	} wrong[] = {
		{"nbd:", "nbd:HOST:PORT"},
		{"nbd:h", "nbd:HOST:PORT"},
		{"nbd+unix:/s", "\"//\""},
		{"nbd://h:0/x", "no port"},
		{"nbd://h:65536", "no port"},
		{"nbd://h:+1", "no port"},
		{"nbd://h:1x", "no port"},
		{"nbd://[::1/x", "[ADDRESS]:PORT"},
		{"nbd://[::1]x", "[ADDRESS]:PORT"},
		{"nbd://h/a%0", "hexadecimal"},
		{"nbd://h/a%", "hexadecimal"},
		{"nbd://h/a%zz", "hexadecimal"},
		{"nbd://h/a%00b", "hexadecimal"},
		{"nbd://h/a#b", "%23"},
		{"nbd://h/?socket=/s", "nbd+unix"},
		{"nbd://h/?sokcet=/s", "unknown parameter"},
		{"nbd://h/?socket", "unknown parameter"},
		{"nbd://u@h/x", "nbds:"},
		{"nbd://h/x?tls-psk-file=k", "nbds:"},
		{"nbd+unix:///x", "socket is missing"},
		{"nbd+unix:///x?socket=", "socket is missing"},
		{"nbd:unix:", "socket is missing"},
		{"nbd+unix://h/x?socket=/s", "three slashes"},
		{"http://h/x", "no NBD address"},
	};
	char long_name[6000];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_null(canonical(wrong[i].name, wrong[i].why));
	memset(long_name, 'x', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
	memcpy(long_name, "nbd://h/", 8);
	assert_null(canonical(long_name, "4096"));
	memcpy(long_name, "nbd:unix:", 9);
	assert_null(canonical(long_name, "107"));
}

static void an_image_names_no_keys(void **state)
{
	static const char with_keys[] =
		"nbds+unix:///x?socket=/s&tls-psk-file=k";
	char *address = NULL, *error = NULL;

	assert_int_equal(nbd_address_resolve(with_keys, true, &address, &error),
			 -EACCES);
	assert_null(address);
	assert_non_null(strstr(error, "keys"));
	free(error);
	assert_int_equal(nbd_address_resolve(with_keys, false, &address, NULL),
			 0);
	assert_string_equal(address, with_keys);
	free(address);
	assert_int_equal(
		nbd_address_resolve("nbds://h/x", true, &address, NULL), 0);
	free(address);
}

static void a_path_is_no_address(void **state)
{
	static const char *const names[] = {
		"",	  "nbd",  "/nbd://h/x", "./nbd:x", "nbd+ssh://h/x",
		"file:x", "NBD:x"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_false(nbd_address_is(names[i]));
}

/* As expect(); NULL: refused. */
static void expect_options(const char *text, const char *prefix,
			   const char *wanted)
{
	struct image_options options = {0};
	struct nbd_address address = {0};
	char *error = NULL, *uri;
	int err;

	assert_int_equal(image_options_parse(&options, text, NULL), 0);
	err = nbd_address_from_options(&options, prefix, &address, &error);
	assert_int_equal(err, wanted ? 0 : -EINVAL);
	if (wanted) {
		uri = nbd_address_format(&address);
		assert_string_equal(uri, wanted);
		free(uri);
	} else {
		assert_non_null(error);
	}
	free(error);
	nbd_address_deinit(&address);
	image_options_deinit(&options);
}

static void settings_are_an_address(void **state)
{
	expect_options("server.type=unix,server.path=/s,export=x", "",
		       "nbd+unix:///x?socket=/s");
	expect_options("file.server.type=inet,file.server.host=::1,"
		       "file.server.port=1",
		       "file.", "nbd://[::1]:1");
	expect_options("file.host=h", "file.", "nbd://h:10809");
	expect_options("path=/s", "", "nbd+unix://?socket=/s");
	expect_options("server.type=vsock,server.path=/s", "", NULL);
	expect_options("server.type=unix,server.host=h", "", NULL);
	expect_options("server.type=inet,server.path=/s", "", NULL);
	expect_options("path=/s,host=h", "", NULL);
	expect_options("host=h,port=x", "", NULL);
	expect_options("export=x", "", NULL);
	assert_true(nbd_address_has_option("server.path"));
	assert_true(nbd_address_has_option("path"));
	assert_false(nbd_address_has_option("filename"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uris_are_taken_apart),
		cmocka_unit_test(one_export_has_one_name),
		cmocka_unit_test(what_is_no_address_is_refused_in_one_line),
		cmocka_unit_test(an_image_names_no_keys),
		cmocka_unit_test(a_path_is_no_address),
		cmocka_unit_test(settings_are_an_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
