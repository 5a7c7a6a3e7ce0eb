/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration in YAML, read by a libcyaml schema into a program's own
 * structures, with errors that name file, line and key.
 *
 * A schema says what a value looks like. What several values say together is
 * for the program to judge, which then asks for the line of what it refuses.
 *
 * Control thread, or before there are threads.
 */
#ifndef CONTROL_CONFIG_FILE_H
#define CONTROL_CONFIG_FILE_H

#include <cyaml/cyaml.h>
#include <stddef.h>

enum {
	CONFIG_FILE_ERROR_BYTES = 512,
	/* Of a file; more is refused. */
	CONFIG_FILE_MAX_BYTES = 4 << 20,
};

struct config_text {
	const char *name; /* for messages: the path; borrowed */
	char *bytes;	  /* owned */
	size_t length;
};

/* A negative errno, -EFBIG for too large a file, with a sentence. */
int config_text_read(const char *path, struct config_text *ret_text,
		     char ret_error[static CONFIG_FILE_ERROR_BYTES]);
void config_text_free(struct config_text *text);

/*
 * Reads @text as @schema says. *@ret_data is freed by config_file_free. -EINVAL
 * with a sentence: "FILE:LINE: what is wrong with which key".
 */
int config_file_load(const struct config_text *text,
		     const cyaml_schema_value_t *schema, void **ret_data,
		     char ret_error[static CONFIG_FILE_ERROR_BYTES]);
void config_file_free(const cyaml_schema_value_t *schema, void *data);

/* The way back: text that config_file_load reads to the same, for the caller to
 * free. -ENOMEM, or -EINVAL for what the schema cannot say. */
int config_file_save(const cyaml_schema_value_t *schema, const void *data,
		     char **ret_text);

/*
 * The line of the value at @path, "ports.2.vlan.native": keys, and positions in
 * sequences from 0; of the nearest one around it if it is not there.
 */
unsigned config_file_line(const struct config_text *text, const char *path);

#endif
