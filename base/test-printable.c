/* SPDX-License-Identifier: Apache-2.0 */
/* What a terminal is shown of bytes that somebody else chose. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/printable.h"
#include "tests/cmocka.h"

static void assert_shown(const char *text, const char *expected)
{
	char *shown = printable_copy(text);

	assert_string_equal(shown, expected);
	free(shown);
}

static void what_can_be_read_stays(void **state)
{
	assert_shown("", "");
	assert_shown("a \"b\" \\x41 ~", "a \"b\" \\x41 ~");
	assert_shown("Gr\xc3\xbc\xc3\x9f"
		     "e \xe4\xb8\xad \xf0\x9f\x98\x80",
		     "Gr\xc3\xbc\xc3\x9f"
		     "e \xe4\xb8\xad \xf0\x9f\x98\x80");
}

static void what_moves_the_cursor_is_only_named(void **state)
{
	assert_shown("a\nb\rc\td\x7f", "a\\x0ab\\x0dc\\x09d\\x7f");
	assert_shown("\x1b]0;title\x07", "\\x1b]0;title\\x07");
	/* C1, as UTF-8 and as a byte; and from right to left. */
	assert_shown("\xc2\x9b"
		     "31m \x9b",
		     "\\xc2\\x9b31m \\x9b");
	assert_shown("\xe2\x80\xae"
		     "gpj.",
		     "\\xe2\\x80\\xaegpj.");
}

/* A sequence that is cut off, too long for what it says, or of half a pair. */
static void what_is_no_utf_8_is_only_named(void **state)
{
	assert_shown("\xc3", "\\xc3");
	assert_shown("\xe4\xb8", "\\xe4\\xb8");
	assert_shown("\xc0\x8a", "\\xc0\\x8a");
	assert_shown("\xed\xa0\x80", "\\xed\\xa0\\x80");
	assert_shown("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	assert_shown("\xff\xfe", "\\xff\\xfe");
}

static void nothing_is_written_past_the_end(void **state)
{
	static const char text[] = "a\n\xc3\xbc\xe2\x80\xae"
				   "b";
	char whole[64], cut[64];

	printable_put(whole, sizeof(whole), text);
	for (size_t size = 1; size < sizeof(cut); size++) {
		memset(cut, 'X', sizeof(cut));
		printable_put(cut, size, text);
		assert_true(strlen(cut) < size);
		assert_memory_equal(cut, whole, strlen(cut));
		if (size < sizeof(cut) - 1)
			assert_int_equal(cut[size], 'X');
		/* Neither a letter nor an escape is cut in two. */
		assert_true(size < 5 || strlen(cut) != 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_can_be_read_stays),
		cmocka_unit_test(what_moves_the_cursor_is_only_named),
		cmocka_unit_test(what_is_no_utf_8_is_only_named),
		cmocka_unit_test(nothing_is_written_past_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
