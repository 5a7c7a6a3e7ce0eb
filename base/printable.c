/* SPDX-License-Identifier: Apache-2.0 */
#include "base/printable.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void printable_put(char *ret, size_t size, const char *text)
{
	const unsigned char *from = (const unsigned char *)text;
	size_t left = size - 1;

	while (*from) {
		uint32_t point = 0;
		unsigned length = decode(from, &point);
		bool stays = length && is_harmless(point);
		size_t shown;

		length += length == 0;
		shown = stays ? length : length * PRINTABLE_EXPANSION;
		if (shown > left)
			break;
		left -= shown;
		if (stays)
			ret = mempcpy(ret, from, length);
		for (unsigned i = 0; i < length && !stays; i++)
			ret += sprintf(ret, "\\x%02x", from[i]);
		from += length;
	}
	*ret = '\0';
}

char *printable_copy(const char *text)
{
	size_t size = PRINTABLE_EXPANSION * strlen(text) + 1;
	char *ret = malloc(size);

	if (ret)
		printable_put(ret, size, text);
	return ret;
}
