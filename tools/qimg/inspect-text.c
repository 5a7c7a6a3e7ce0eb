/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "tools/qimg/inspect.h"

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
