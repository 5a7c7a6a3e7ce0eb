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

static int flatten(struct image_options *options, const char *name,
		   const json_t *value);

static int flatten_member(struct image_options *options, const char *prefix,
			  const char *key, const json_t *value)
{
	char name[256];

	snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", key);
	return flatten(options, name, value);
}

/*
 * A JSON object's values as settings: {"file": {"filename": x}} is
 * file.filename, {"list": [{"a": x}]} is list.0.a, and null is nothing.
 */
static int flatten(struct image_options *options, const char *name,
		   const json_t *value)
{
	const char *key;
	json_t *member;
	char number[32];
	size_t i;
	int err = 0;

	if (json_is_object(value)) {
		json_object_foreach((json_t *)value, key, member)
		{
			err = err ? err
				  : flatten_member(options, name, key, member);
		}
		return err;
	}
	if (json_is_array(value)) {
		json_array_foreach(value, i, member)
		{
			snprintf(number, sizeof(number), "%zu", i);
			err = err ? err
				  : flatten_member(options, name, number,
						   member);
		}
		return err;
	}
	snprintf(number, sizeof(number), "%lld",
		 (long long)json_integer_value(value));
	if (json_is_integer(value))
		return image_options_set(options, name, number);
	if (json_is_boolean(value))
		return image_options_set(options, name,
					 json_is_true(value) ? "on" : "off");
	if (json_is_string(value))
		return image_options_set(options, name,
					 json_string_value(value));
	return json_is_null(value) ? image_options_set(options, name, "")
				   : -EINVAL;
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
