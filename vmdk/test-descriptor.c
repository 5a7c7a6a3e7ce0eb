/* SPDX-License-Identifier: Apache-2.0 */
/* What descriptors say, what is refused of them, and what survives a rewrite. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/image.h"
#include "tests/cmocka.h"
#include "vmdk/descriptor.h"

static const char sound[] = "# Disk DescriptorFile\n"
			    "version=1\n"
			    "encoding=\"UTF-8\"\n"
			    "CID=1234abcd\n"
			    "parentCID=ffffffff\n"
			    "isNativeSnapshot=\"no\"\n"
			    "createType=\"twoGbMaxExtentSparse\"\n"
			    "\n"
			    "# Extent description\n"
			    "RW 4194304 SPARSE \"big disk-s001.vmdk\"\n"
			    "RDONLY 63 ZERO\n"
			    "NOACCESS 128 FLAT \"flat's.vmdk\" 7\n"
			    "RW 100 VMFS \"vm-flat.vmdk\"\n"
			    "\n"
			    "# The Disk Data Base \n"
			    "#DDB\n"
			    "\n"
			    "ddb.virtualHWVersion = \"4\"\n"
			    "ddb.uuid = \"60 00 C2 9a\"\n"
			    "ddb.adapterType = \"lsilogic\"\n";

static int parse(const char *text, struct vmdk_descriptor *ret,
		 char **ret_error)
{
	*ret_error = NULL;
	return vmdk_descriptor_parse(text, strlen(text), ret, ret_error);
}

static void parse_sound(const char *text, struct vmdk_descriptor *ret)
{
	char *error;
	int err = parse(text, ret, &error);

	if (err)
		fail_msg("%d: %s", err, error ? error : "");
}

static void expect_refusal(const char *text, int outcome, const char *words)
{
	struct vmdk_descriptor d;
	char *error;
	int err = parse(text, &d, &error);

	if (err != outcome || !error || !strstr(error, words))
		fail_msg("got %d \"%s\", expected %d \"%s\"", err,
			 error ? error : "", outcome, words);
	free(error);
}

/* The sound one with @line in place of its line number @number. */
static void refuse_line(unsigned number, const char *line, int outcome,
			const char *words)
{
	char text[4096], prefix[32];
	const char *at = sound;
	const char *end;

	for (unsigned i = 1; i < number; i++)
		at = strchr(at, '\n') + 1;
	end = strchr(at, '\n');
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - sound), sound, line,
		 end);
	snprintf(prefix, sizeof(prefix), "line %u: ", number);
	expect_refusal(text, outcome, words);
	expect_refusal(text, outcome, prefix);
}

static void assert_get(const struct vmdk_descriptor *d, const char *key,
		       const char *expected)
{
	char *value = vmdk_descriptor_get(d, key);

	assert_non_null(value);
	assert_string_equal(value, expected);
	free(value);
}

static void all_that_a_descriptor_says_is_found(void **state)
{
	struct vmdk_descriptor d;

	parse_sound(sound, &d);
	assert_int_equal(d.version, 1);
	assert_int_equal(d.cid, 0x1234abcd);
	assert_int_equal(d.parent_cid, VMDK_NO_CID);
	assert_string_equal(d.create_type, "twoGbMaxExtentSparse");
	assert_string_equal(d.encoding, "UTF-8");
	assert_null(d.parent_hint);
	assert_int_equal(d.extent_count, 4);
	assert_int_equal(d.sectors, 4194304 + 63 + 128 + 100);
	assert_string_equal(d.extents[0].name, "big disk-s001.vmdk");
	assert_int_equal(d.extents[0].type, VMDK_SPARSE);
	assert_int_equal(d.extents[0].access, VMDK_ACCESS_WRITE);
	assert_int_equal(d.extents[0].line, 10);
	assert_int_equal(d.extents[1].type, VMDK_ZERO);
	assert_int_equal(d.extents[1].access, VMDK_ACCESS_READ);
	assert_null(d.extents[1].name);
	assert_int_equal(d.extents[2].access, VMDK_ACCESS_NONE);
	assert_string_equal(d.extents[2].name, "flat's.vmdk");
	assert_int_equal(d.extents[2].offset_sectors, 7);
	assert_int_equal(d.extents[3].type, VMDK_VMFS);
	assert_int_equal(d.extents[3].offset_sectors, 0);
	assert_get(&d, "ddb.uuid", "60 00 C2 9a");
	assert_get(&d, "DDB.ADAPTERTYPE", "lsilogic");
	assert_get(&d, "isNativeSnapshot", "no");
	assert_null(vmdk_descriptor_get(&d, "ddb.geometry.heads"));
	vmdk_descriptor_deinit(&d);
}

static void other_ends_of_lines_and_blanks_are_read_alike(void **state)
{
	struct vmdk_descriptor d;
	char padded[1024] = "# Disk DescriptorFile\r\n"
			    "version = 3 \r\n\tCID=fffffffe\r\n"
			    "parentCID= 1a\r\ncreateType=\"custom\"\r\n"
			    "  RW\t16  FLAT   \"\\a|22.vmdk\"\t0 \r\n"
			    "changeTrackPath=\"a-ctk.vmdk\"";
	char *error = NULL;

	assert_int_equal(
		vmdk_descriptor_parse(padded, sizeof(padded), &d, &error), 0);
	assert_int_equal(d.version, 3);
	assert_int_equal(d.cid, 0xfffffffe);
	assert_int_equal(d.parent_cid, 0x1a);
	/* Nothing in a name is an escape, in QEMU neither. */
	assert_string_equal(d.extents[0].name, "\\a|22.vmdk");
	assert_string_equal(d.change_track, "a-ctk.vmdk");
	vmdk_descriptor_deinit(&d);
}

static void what_cannot_be_is_refused_by_its_line(void **state)
{
	refuse_line(2, "version=4", IMAGE_E_UNSUPPORTED, "version 4");
	refuse_line(2, "version=x", IMAGE_E_CORRUPT, "\"x\", not a number");
	refuse_line(3, "version=1\nversion=1", IMAGE_E_CORRUPT,
		    "for the second time");
	refuse_line(4, "CID=123456789", IMAGE_E_CORRUPT, "CID is \"1234");
	refuse_line(4, "CID=", IMAGE_E_CORRUPT, "CID is \"\"");
	refuse_line(5, "parentCID=0x12", IMAGE_E_CORRUPT, "parentCID is");
	refuse_line(6, "CID=1", IMAGE_E_CORRUPT, "CID is there for the second");
	refuse_line(8, "createType=\"vmfs\"", IMAGE_E_CORRUPT, "second time");
	refuse_line(8, "nonsense", IMAGE_E_CORRUPT, "\"nonsense\" is neither");
	refuse_line(8, "a=\"b\"c\"", IMAGE_E_CORRUPT, "neither");
	refuse_line(8, "=1", IMAGE_E_CORRUPT, "neither");
}

static void broken_extents_are_refused_by_what_is_wrong(void **state)
{
	static const struct {
		const char *line, *words;
	} cases[] = {
		{"RW x SPARSE \"a\"", "how many sectors"},
		{"RW 12x SPARSE \"a\"", "how many sectors"},
		{"RW -1 SPARSE \"a\"", "how many sectors"},
		{"RW 99999999999999999999 SPARSE \"a\"", "how many sectors"},
		{"RW 0 SPARSE \"a\"", "that many"},
		{"RW 18014398509481984 SPARSE \"a\"", "that many"},
		{"RW 12 SPARS \"a\"", "type"},
		{"RW 12", "type"},
		{"RW 12 SPARSE", "name of its file is missing"},
		{"RW 12 SPARSE a.vmdk", "not quoted"},
		{"RW 12 SPARSE \"a", "quote"},
		{"RW 12 SPARSE \"\"", "no name"},
		{"RW 12 SPARSE \"a\"b", "at once"},
		{"RW 12 SPARSE \"a\" 3", "begin later"},
		{"RW 12 ZERO \"a\"", "no file"},
		{"RW 12 FLAT \"a\"", "where its data begins"},
		{"RW 12 FLAT \"a\" b", "is no number"},
		{"RW 12 FLAT \"a\" 18014398509481980", "too far"},
		{"RW 18014398509481983 FLAT \"a\" 0", "too large"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		refuse_line(11, cases[i].line, IMAGE_E_CORRUPT, cases[i].words);
}

/* Sequences that a terminal would obey. */
static void what_is_shown_of_a_line_is_printable(void **state)
{
	refuse_line(4, "CID=\x1b[2J", IMAGE_E_CORRUPT, "\"\\x1b[2J\"");
	refuse_line(2, "version=\x9b", IMAGE_E_CORRUPT, "\"\\x9b\"");
	refuse_line(8, "\xe2\x80\xae\rno\x07", IMAGE_E_CORRUPT,
		    "\"\\xe2\\x80\\xae\\x0dno\\x07\"");
	/* A letter that the message's limit cuts in two. */
	refuse_line(8, "123456789012345678901234567890123456789\xc3\xbc",
		    IMAGE_E_CORRUPT, "6789\\xc3\"");
}

static void what_is_missing_is_named(void **state)
{
	expect_refusal("", IMAGE_E_CORRUPT, "no CID");
	expect_refusal("CID=1", IMAGE_E_CORRUPT, "no createType");
	expect_refusal("CID=1\ncreateType=\"vmfs\"", IMAGE_E_CORRUPT,
		       "no extent");
}

static void counts_have_a_limit(void **state)
{
	size_t bytes = VMDK_MAX_DESCRIPTOR_BYTES + 1;
	char *text = malloc(bytes + 1);
	size_t used;

	memset(text, ' ', bytes);
	text[bytes] = 0;
	expect_refusal(text, IMAGE_E_UNSUPPORTED, "1048576 bytes");
	memset(text, '\n', VMDK_MAX_DESCRIPTOR_LINES + 1);
	text[VMDK_MAX_DESCRIPTOR_LINES + 1] = 0;
	expect_refusal(text, IMAGE_E_UNSUPPORTED, "16384 lines");
	used = (size_t)sprintf(text, "CID=1\ncreateType=\"custom\"\n");
	for (unsigned i = 0; i <= VMDK_MAX_EXTENTS; i++)
		used += (size_t)sprintf(text + used, "RW 8 ZERO\n");
	expect_refusal(text, IMAGE_E_UNSUPPORTED, "line 4099: there are more");
	free(text);
}

/* Other products write what means nothing there. */
static void what_follows_a_sparse_file_is_no_offset(void **state)
{
	static const char *const followed[] = {
		"", "0", "6z", "622222222222222222222222222", "more"};

	for (size_t i = 0; i < ARRAY_SIZE(followed); i++) {
		struct vmdk_descriptor d;
		char text[256];

		snprintf(text, sizeof(text),
			 "CID=1\ncreateType=\"custom\"\n"
			 "RW 8 SPARSE \"a\" %s\n",
			 followed[i]);
		parse_sound(text, &d);
		assert_int_equal(d.extents[0].offset_sectors, 0);
		vmdk_descriptor_deinit(&d);
	}
}

static void names_have_a_limit(void **state)
{
	for (int more = 0; more <= 1; more++) {
		struct vmdk_descriptor d;
		char *text = NULL;
		int bytes = asprintf(
			&text,
			"CID=1\ncreateType=\"vmfs\"\nRW 8 VMFS \"%0*d\"\n",
			VMDK_MAX_NAME_BYTES + more, 0);

		assert_true(bytes > 0);
		if (more) {
			expect_refusal(text, IMAGE_E_CORRUPT, "is too long");
		} else {
			parse_sound(text, &d);
			vmdk_descriptor_deinit(&d);
		}
		free(text);
	}
}

static void assert_text(const struct vmdk_descriptor *d, const char *expected)
{
	char *text;
	size_t bytes;

	assert_int_equal(vmdk_descriptor_write(d, &text, &bytes), 0);
	assert_string_equal(text, expected);
	assert_int_equal(bytes, strlen(expected));
	free(text);
}

static void a_rewrite_keeps_all_that_was_not_changed(void **state)
{
	struct vmdk_descriptor d;
	char *expected = strdup(sound);

	parse_sound(sound, &d);
	assert_text(&d, sound);
	assert_int_equal(vmdk_descriptor_set(&d, "cid", "0000beef"), 0);
	assert_int_equal(d.cid, 0xbeef);
	memcpy(strstr(expected, "1234abcd"), "0000beef", 8);
	assert_text(&d, expected);
	assert_int_equal(vmdk_descriptor_set(&d, "ddb.virtualHWVersion", "9"),
			 0);
	*(strstr(expected, "\"4\"") + 1) = '9';
	assert_text(&d, expected);
	vmdk_descriptor_deinit(&d);
	free(expected);
}

static void new_values_go_where_their_kind_is(void **state)
{
	struct vmdk_descriptor d;

	parse_sound(
		"CID=1\ncreateType=\"custom\"\n\nRW 8 ZERO\nddb.a = \"1\"\n",
		&d);
	assert_int_equal(
		vmdk_descriptor_set(&d, "parentFileNameHint", "b.vmdk"), 0);
	assert_int_equal(vmdk_descriptor_set(&d, "ddb.b", "2"), 0);
	assert_int_equal(vmdk_descriptor_set(&d, "parentCID", "12345678"), 0);
	assert_string_equal(d.parent_hint, "b.vmdk");
	assert_int_equal(d.parent_cid, 0x12345678);
	assert_text(&d, "CID=1\ncreateType=\"custom\"\n"
			"parentFileNameHint=\"b.vmdk\"\nparentCID=12345678\n"
			"\nRW 8 ZERO\nddb.a = \"1\"\nddb.b = \"2\"\n");
	vmdk_descriptor_deinit(&d);
}

static void values_that_cannot_be_said_change_nothing(void **state)
{
	struct vmdk_descriptor d;

	parse_sound(sound, &d);
	assert_int_equal(vmdk_descriptor_set(&d, "ddb.a", "x\"y"), -EINVAL);
	assert_int_equal(vmdk_descriptor_set(&d, "ddb.a", "x\nCID=2"), -EINVAL);
	assert_int_equal(vmdk_descriptor_set(&d, "CID", "elephant"), -EINVAL);
	assert_int_equal(vmdk_descriptor_set(&d, "a b", "1"), -EINVAL);
	assert_int_equal(vmdk_descriptor_set(&d, "#", "1"), -EINVAL);
	assert_text(&d, sound);
	vmdk_descriptor_deinit(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_a_descriptor_says_is_found),
		cmocka_unit_test(other_ends_of_lines_and_blanks_are_read_alike),
		cmocka_unit_test(what_cannot_be_is_refused_by_its_line),
		cmocka_unit_test(broken_extents_are_refused_by_what_is_wrong),
		cmocka_unit_test(what_is_shown_of_a_line_is_printable),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(counts_have_a_limit),
		cmocka_unit_test(names_have_a_limit),
		cmocka_unit_test(what_follows_a_sparse_file_is_no_offset),
		cmocka_unit_test(a_rewrite_keeps_all_that_was_not_changed),
		cmocka_unit_test(new_values_go_where_their_kind_is),
		cmocka_unit_test(values_that_cannot_be_said_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
