/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that a person is shown, made of bytes that somebody else chose: the name
 * in an image, a line of a damaged file. A terminal must only show it: letters and
 * other marks of UTF-8 stay, and every other byte becomes "\xNN", among them
 * ends of lines, control sequences and what turns the direction of a line. No
 * state.
 */
#ifndef BASE_PRINTABLE_H
#define BASE_PRINTABLE_H

#include <stddef.h>

/* Nothing else becomes longer: a byte takes at most so many. */
#define PRINTABLE_EXPANSION 4

/* @text, to be freed; NULL without memory. */
char *printable_copy(const char *text);

/* The same into @ret, of @size bytes and not 0; what does not fit is cut off. */
void printable_put(char *ret, size_t size, const char *text);

#endif
