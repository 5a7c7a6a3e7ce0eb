/* SPDX-License-Identifier: Apache-2.0 */
#include "image/option.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/store.h"

enum {
	MAX_NAME_BYTES = 64,
};

static struct image_setting *find(const struct image_options *options,
				  const char *name)
{
	for (size_t i = 0; i < options->count; i++)
		if (strcmp(options->settings[i].name, name) == 0)
			return &options->settings[i];
	return NULL;
}

int image_options_set(struct image_options *options, const char *name,
		      const char *value)
{
	struct image_setting *setting = find(options, name);
	struct image_setting *grown;
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	if (setting) {
		free(setting->value);
		setting->value = copy;
		return 0;
	}
	grown = reallocarray(options->settings, options->count + 1,
			     sizeof(*grown));
	if (grown) {
		options->settings = grown;
		setting = &grown[options->count];
		setting->name = strdup(name);
		setting->value = copy;
	}
	if (!setting || !setting->name) {
		free(copy);
		return -ENOMEM;
	}
	options->count++;
	return 0;
}

void image_options_deinit(struct image_options *options)
{
	for (size_t i = 0; i < options->count; i++) {
		free(options->settings[i].name);
		free(options->settings[i].value);
	}
	free(options->settings);
	*options = (struct image_options){0};
}

/* One setting to its comma, or the end; ",," stands for a comma. */
static const char *take_setting(const char *text, char *ret)
{
	for (; *text; text++) {
		if (*text == ',' && *++text != ',') {
			*ret = '\0';
			return text;
		}
		*ret++ = *text;
	}
	*ret = '\0';
	return text;
}

static int add_setting(struct image_options *options, char *setting,
		       char **ret_error)
{
	char *equals = strchr(setting, '=');
	int err;

	if (equals)
		*equals = '\0';
	if (*setting == '\0' || strlen(setting) >= MAX_NAME_BYTES)
		return store_fail(ret_error, -EINVAL,
				  "an option has no name, or a very long one, "
				  "before \"=%s\"",
				  equals ? equals + 1 : "");
	err = image_options_set(options, setting, equals ? equals + 1 : "on");
	return err ? store_fail(ret_error, err, "out of memory") : 0;
}

int image_options_parse(struct image_options *options, const char *text,
			char **ret_error)
{
	char *setting = malloc(strlen(text) + 1);
	int err = 0;

	if (!setting)
		return -ENOMEM;
	while (*text && err == 0) {
		text = take_setting(text, setting);
		if (*setting)
			err = add_setting(options, setting, ret_error);
	}
	free(setting);
	return err;
}

static const char *const booleans[] = {"on",  "yes", "true",  "y",
				       "off", "no",  "false", "n"};

/* 0: off, 1: on, -1: neither. */
static int parse_bool(const char *text)
{
	for (size_t i = 0; i < sizeof(booleans) / sizeof(*booleans); i++)
		if (strcmp(text, booleans[i]) == 0)
			return i < 4;
	return -1;
}

static bool parse_number(const char *text, uint64_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
	return errno == 0 && *end == '\0';
}

/* How far a suffix shifts; -1 if it is none. */
static int suffix_shift(const char *suffix)
{
	static const char letters[] = "bkmgtpe";
	const char *letter;

	if (*suffix == '\0')
		return 0;
	letter = strchr(letters, *suffix | 0x20);
	if (!letter || suffix[1] != '\0')
		return -1;
	return (int)(letter - letters) * 10;
}

int image_parse_size(const char *text, uint64_t *ret_bytes)
{
	uint64_t whole, fraction = 0, scale = 1;
	char *end;
	int shift;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	whole = strtoull(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
	if (errno)
		return -ERANGE;
	if (*end == '.') {
		while (*++end >= '0' && *end <= '9') {
			if (scale > 100000000)
				continue;
			fraction = fraction * 10 + (uint64_t)(*end - '0');
			scale *= 10;
		}
	}
	shift = suffix_shift(end);
	if (shift < 0)
		return -EINVAL;
	if (whole > (uint64_t)INT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes =
		(whole << shift) + (uint64_t)((unsigned __int128)fraction *
					      (UINT64_C(1) << shift) / scale);
	return *ret_bytes > INT64_MAX ? -ERANGE : 0;
}

static bool is_choice(const char *choices, const char *value)
{
	size_t length = strlen(value);

	while (choices) {
		if (strncmp(choices, value, length) == 0 &&
		    (choices[length] == '|' || choices[length] == '\0'))
			return true;
		choices = strchr(choices, '|');
		choices += choices ? 1 : 0;
	}
	return false;
}

static int check_value(const struct image_option *option, const char *value,
		       char **ret_error)
{
	uint64_t number;

	switch (option->kind) {
	case IMAGE_OPTION_STRING:
		if (option->choices && !is_choice(option->choices, value))
			return store_fail(ret_error, -EINVAL,
					  "option %s: \"%s\" is none of %s",
					  option->name, value, option->choices);
		return 0;
	case IMAGE_OPTION_BOOL:
		if (parse_bool(value) < 0)
			return store_fail(ret_error, -EINVAL,
					  "option %s: \"%s\" is neither on nor "
					  "off",
					  option->name, value);
		return 0;
	case IMAGE_OPTION_NUMBER:
		if (!parse_number(value, &number))
			return store_fail(ret_error, -EINVAL,
					  "option %s: \"%s\" is not a number",
					  option->name, value);
		return 0;
	case IMAGE_OPTION_SIZE:
		if (image_parse_size(value, &number))
			return store_fail(ret_error, -EINVAL,
					  "option %s: \"%s\" is not a size in "
					  "bytes, such as 65536, 64k or 1.5G",
					  option->name, value);
		return 0;
	}
	return -EINVAL;
}

static const struct image_option *find_option(const struct image_option *table,
					      unsigned uses, const char *name)
{
	for (; table && table->name; table++)
		if ((table->uses & uses) && strcmp(table->name, name) == 0)
			return table;
	return NULL;
}

/* QEMU's two lines: store_fail would make one of them. */
static int only_for_creation(const char *typed, char **ret_error)
{
	if (ret_error && !*ret_error &&
	    asprintf(ret_error,
		     "Invalid parameter '%s'\nThis option is only supported "
		     "for image creation",
		     typed) < 0)
		*ret_error = NULL;
	return -EINVAL;
}

static int unknown(const struct image_option *table, unsigned uses,
		   const char *typed, char **ret_error)
{
	const struct image_option *all = table;
	const char *names[64];
	const char *nearest;
	size_t count = 0;

	for (; table && table->name && count < 63; table++)
		if (table->uses & uses)
			names[count++] = table->name;
	names[count] = NULL;
	nearest = image_nearest_name(typed, names);
	if (find_option(all, UINT_MAX, typed))
		return only_for_creation(typed, ret_error);
	if (nearest)
		return store_fail(ret_error, -EINVAL,
				  "Invalid parameter '%s': did you mean "
				  "'%s'?",
				  typed, nearest);
	return store_fail(ret_error, -EINVAL, "Invalid parameter '%s'", typed);
}

int image_options_check(const struct image_options *options,
			const struct image_option *table, unsigned uses,
			char **ret_error)
{
	for (size_t i = 0; i < options->count; i++) {
		const struct image_setting *setting = &options->settings[i];
		const struct image_option *option =
			find_option(table, uses, setting->name);
		int err =
			option ? check_value(option, setting->value, ret_error)
			       : unknown(table, uses, setting->name, ret_error);

		if (err)
			return err;
	}
	return 0;
}

const char *image_options_string(const struct image_options *options,
				 const char *name, const char *absent)
{
	const struct image_setting *setting = find(options, name);

	return setting ? setting->value : absent;
}

bool image_options_bool(const struct image_options *options, const char *name,
			bool absent)
{
	const struct image_setting *setting = find(options, name);

	return setting ? parse_bool(setting->value) == 1 : absent;
}

uint64_t image_options_number(const struct image_options *options,
			      const char *name, uint64_t absent)
{
	const struct image_setting *setting = find(options, name);
	uint64_t value;

	if (!setting || image_parse_size(setting->value, &value))
		return absent;
	return value;
}

/* Single-letter edits between two names (Levenshtein). */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[MAX_NAME_BYTES + 1];
	size_t width = strlen(b);

	if (width > MAX_NAME_BYTES)
		return UINT32_MAX;
	for (size_t i = 0; i <= width; i++)
		row[i] = (unsigned)i;
	for (; *a; a++) {
		unsigned corner = row[0]++;

		for (size_t i = 1; i <= width; i++) {
			unsigned change = corner + (*a != b[i - 1]);

			corner = row[i];
			row[i] = MIN(row[i], row[i - 1]);
			row[i] = MIN(row[i] + 1, change);
		}
	}
	return row[width];
}

const char *image_nearest_name(const char *typed, const char *const *names)
{
	const char *best = NULL;
	unsigned least = (unsigned)strlen(typed) / 3 + 1;

	for (; *names; names++) {
		unsigned edits = distance(typed, *names);

		if (edits <= least) {
			if (edits == least && best)
				continue;
			best = *names;
			least = edits;
		}
	}
	return best;
}
