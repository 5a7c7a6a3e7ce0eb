/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/spec-json.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Single quotes, which spare the shell some, made double ones; to be freed.
 * Within a string the other kind of quote stands for itself.
 */
static char *double_quoted(const char *text)
{
	char *strict = malloc(2 * strlen(text) + 1), *to = strict;
	char open = '\0';

	for (; strict && *text; text++) {
		if (open && text[0] == '\\' && text[1]) {
			if (text[1] != '\'')
				*to++ = '\\';
			*to++ = *++text;
		} else if (*text == open || (!open && strchr("'\"", *text))) {
			open = open ? '\0' : *text;
			*to++ = '"';
		} else {
			if (*text == '"')
				*to++ = '\\';
			*to++ = *text;
		}
	}
	if (strict)
		*to = '\0';
	return strict;
}

/* A JSON object's values as settings: {"file": {"filename": x}} is file.filename. */
static int flatten(struct image_options *options, const char *prefix,
		   json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		char name[256], number[32];
		int err = 0;

		snprintf(name, sizeof(name), "%s%s%s", prefix,
			 *prefix ? "." : "", key);
		if (json_is_object(value)) {
			err = flatten(options, name, value);
		} else if (json_is_integer(value)) {
			snprintf(number, sizeof(number), "%lld",
				 (long long)json_integer_value(value));
			err = image_options_set(options, name, number);
		} else if (json_is_boolean(value)) {
			err = image_options_set(options, name,
						json_is_true(value) ? "on"
								    : "off");
		} else if (json_is_string(value)) {
			err = image_options_set(options, name,
						json_string_value(value));
		} else {
			err = -EINVAL;
		}
		if (err)
			return err;
	}
	return 0;
}

bool spec_json_parse(struct image_options *options, const char *text)
{
	json_error_t error;
	char *strict = double_quoted(text);
	json_t *object =
		strict ? json_loads(strict, JSON_REJECT_DUPLICATES, &error)
		       : NULL;
	int err =
		json_is_object(object) ? flatten(options, "", object) : -EINVAL;

	if (!strict)
		cli_error("out of memory");
	else if (!object)
		cli_error("json:%s: %s", text, error.text);
	else if (err)
		cli_error("json:%s: a plain object of names and values is "
			  "expected",
			  text);
	json_decref(object);
	free(strict);
	return err == 0;
}
