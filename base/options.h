/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon's command line, by one table: what is parsed and what --help prints
 * cannot differ. Long options only; arguments that are no options are refused.
 *
 * A row's function reads parser->value into parser->options, the program's own
 * structure. Each error is one sentence that names the option, its value and
 * what to do.
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

enum {
	OPTIONS_ERROR_BYTES = 256,
};

/* Named outcomes besides 0: print something and end. */
enum options_outcome {
	OPTIONS_HELP = 1,
	OPTIONS_VERSION,
	OPTIONS_CAPABILITIES,
};

struct options_parser {
	void *options;	   /* the program's */
	char *error;	   /* OPTIONS_ERROR_BYTES of it */
	const char *name;  /* of the option at hand, without dashes */
	const char *value; /* of argv; NULL if it takes none */
};

struct options_row {
	const char *name;
	const char *value; /* what --help calls it; NULL: takes none */
	/* 0, -EINVAL with parser->error set, or an options_outcome. */
	int (*set)(struct options_parser *parser);
	const char *help;
};

/*
 * Calls the rows' functions in the order of the arguments, and ends with the
 * first that does not answer 0. @parser has options and error set.
 */
int options_parse(struct options_parser *parser, const struct options_row *rows,
		  size_t count, int argc, char **argv);

/* Two lines for each row. */
void options_print(const struct options_row *rows, size_t count);

/* -EINVAL, with the sentence. */
int options_fail(struct options_parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* "--name=value: give @wanted" */
int options_fail_value(struct options_parser *parser, const char *wanted);

/* "123", "64K", "1G" (powers of 1024). -EINVAL, or -ERANGE over 64 bits. */
int options_size(const char *text, uint64_t *ret_number);

/* --- the value, read as: --- */

int options_bytes(struct options_parser *parser, uint64_t *ret_bytes);
/* 1 or more, … */
int options_rate(struct options_parser *parser, uint64_t *ret_rate);
/* … and at most @max. */
int options_count(struct options_parser *parser, uint16_t max,
		  uint16_t *ret_count);
/* Its position in @words, "a|b|c". */
int options_word(struct options_parser *parser, const char *words,
		 unsigned *ret_index);

#endif
