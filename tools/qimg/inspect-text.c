/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/qimg/inspect.h"

/* The length of the UTF-8 sequence at @s, with its code point; 0: none. */
static unsigned decode(const unsigned char *s, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned length = s[0] < 0x80		  ? 1
			  : (s[0] & 0xe0) == 0xc0 ? 2
			  : (s[0] & 0xf0) == 0xe0 ? 3
			  : (s[0] & 0xf8) == 0xf0 ? 4
						  : 0;
	uint32_t point = length == 1 ? s[0] : s[0] & (0x7f >> length);

	for (unsigned i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (s[i] & 0x3f);
	}
	if (length == 0 || point < least[length] || point > 0x10ffff ||
	    (point >= 0xd800 && point <= 0xdfff))
		return 0;
	*ret = point;
	return length;
}

/* Neither a control character nor one that turns the direction of a line. */
static bool is_harmless(uint32_t point)
{
	return (point >= 0x20 && point < 0x7f) ||
	       (point >= 0xa0 && point != 0xad && point != 0x61c &&
		point != 0xfeff && (point < 0x200b || point > 0x200f) &&
		(point < 0x2028 || point > 0x202e) &&
		(point < 0x2060 || point > 0x206f));
}

char *inspect_text(const char *text)
{
	const unsigned char *from = (const unsigned char *)text;
	char *ret = malloc(4 * strlen(text) + 1);
	char *to = ret;

	while (ret && *from) {
		uint32_t point = 0;
		unsigned length = decode(from, &point);

		if (length && is_harmless(point)) {
			to = mempcpy(to, from, length);
			from += length;
			continue;
		}
		do
			to += sprintf(to, "\\x%02x", *from++);
		while (length-- > 1);
	}
	if (ret)
		*to = '\0';
	return ret;
}

static bool is_plain(const char *text)
{
	return *text && strspn(text, "abcdefghijklmnopqrstuvwxyz"
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "0123456789_./,:+@%=-") == strlen(text);
}

char *inspect_quote(const char *text)
{
	char *ret = malloc(4 * strlen(text) + 3);
	char *to = ret;

	if (!ret)
		return NULL;
	if (is_plain(text))
		return strcpy(ret, text);
	*to++ = '\'';
	for (; *text; text++)
		to = *text == '\'' ? stpcpy(to, "'\\''") : mempcpy(to, text, 1);
	strcpy(to, "'");
	return ret;
}

const char *inspect_string(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

uint64_t inspect_number(const json_t *object, const char *name)
{
	json_int_t value = json_integer_value(json_object_get(object, name));

	return value > 0 ? (uint64_t)value : 0;
}

bool inspect_true(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}
