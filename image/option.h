/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named options of formats, as people type them after -o: "name=value" joined
 * by commas, a comma in a value doubled, a name alone meaning "on". What a
 * format understands is a table; the programs' help, their completion and the
 * check of what was typed all come from it.
 */
#ifndef IMAGE_OPTION_H
#define IMAGE_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum image_option_kind {
	IMAGE_OPTION_STRING,
	IMAGE_OPTION_BOOL,   /* on, off */
	IMAGE_OPTION_NUMBER, /* decimal, or hexadecimal after 0x */
	IMAGE_OPTION_SIZE,   /* the same, with a suffix: b, k, M, G, T, P, E */
};

enum {
	IMAGE_OPTION_CREATE = 1 << 0, /* may be given to a new image */
	IMAGE_OPTION_AMEND = 1 << 1,  /* may be changed later */
};

/* One a format understands. Tables end with a NULL name. */
struct image_option {
	const char *name;
	enum image_option_kind kind;
	unsigned uses;	     /* IMAGE_OPTION_* */
	const char *help;    /* a phrase, without a full stop */
	const char *choices; /* of a STRING: "a|b|c"; or NULL: any */
	const char *initial; /* what an absent one means, or NULL */
};

/* What was typed: later values of a name replace earlier ones. */
struct image_setting {
	char *name;
	char *value;
};

struct image_options {
	struct image_setting *settings; /* heap */
	size_t count;
};

/*
 * Adds the settings in @text to @options (zeroed at first). 0, -ENOMEM, or
 * -EINVAL; *@ret_error says what is wrong, to be freed.
 */
int image_options_parse(struct image_options *options, const char *text,
			char **ret_error);

/* Adds or replaces one. 0 or -ENOMEM. */
int image_options_set(struct image_options *options, const char *name,
		      const char *value);

void image_options_deinit(struct image_options *options);

/*
 * Checks each setting against @table: that it is known (the nearest name is
 * offered if not), is for one of @uses, and has a value of its kind. 0 or
 * -EINVAL with *@ret_error.
 */
int image_options_check(const struct image_options *options,
			const struct image_option *table, unsigned uses,
			char **ret_error);

/* The value, or @absent. For checked options: these cannot fail. */
const char *image_options_string(const struct image_options *options,
				 const char *name, const char *absent);
bool image_options_bool(const struct image_options *options, const char *name,
			bool absent);
uint64_t image_options_number(const struct image_options *options,
			      const char *name, uint64_t absent);

/*
 * A number with a suffix (powers of 1024; a fraction such as 1.5G may stand
 * before one), at most INT64_MAX. 0, -EINVAL or -ERANGE.
 */
int image_parse_size(const char *text, uint64_t *ret_bytes);

/* Of @names (NULL-terminated) the one a typing error may have meant, or NULL. */
const char *image_nearest_name(const char *typed, const char *const *names);

#endif
