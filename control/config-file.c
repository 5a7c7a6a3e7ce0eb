/* SPDX-License-Identifier: Apache-2.0 */
#include "control/config-file.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum {
	LINE_BYTES = 256,
	STEP_BYTES = 64,
};

/* --- the text -------------------------------------------------------------- */

static int read_all(FILE *file, struct config_text *text)
{
	size_t room = CONFIG_FILE_MAX_BYTES + 1;

	text->bytes = malloc(room);
	if (!text->bytes)
		return -ENOMEM;
	text->length = fread(text->bytes, 1, room, file);
	if (ferror(file))
		return -EIO;
	return text->length == room ? -EFBIG : 0;
}

int config_text_read(const char *path, struct config_text *ret_text,
		     char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	struct config_text text = {.name = path};
	FILE *file = fopen(path, "re");
	int err = file ? read_all(file, &text) : -errno;

	if (file)
		fclose(file);
	if (err < 0) {
		snprintf(ret_error, CONFIG_FILE_ERROR_BYTES, "%s: %s", path,
			 strerror(-err));
		config_text_free(&text);
		return err;
	}
	*ret_text = text;
	return 0;
}

void config_text_free(struct config_text *text)
{
	free(text->bytes);
	text->bytes = NULL;
	text->length = 0;
}

/* --- by the schema --------------------------------------------------------- */

/*
 * What libcyaml logs of the first error: a sentence, and then from the inside
 * out where it was, of which the first line is the one.
 */
struct complaint {
	char what[LINE_BYTES];
	char where[LINE_BYTES];
	unsigned line;
};

static void trim(char *text)
{
	size_t length = strlen(text);

	while (length > 0 && isspace((unsigned char)text[length - 1]))
		text[--length] = '\0';
}

static void take_log(cyaml_log_t level, void *ctx, const char *format,
		     va_list args)
{
	static const char prefix[] = "Load: ";
	struct complaint *complaint = ctx;
	char line[LINE_BYTES];
	const char *at = line;

	vsnprintf(line, sizeof(line), format, args);
	trim(line);
	if (strncmp(at, prefix, strlen(prefix)) == 0)
		at += strlen(prefix);
	if (complaint->what[0] == '\0') {
		strcpy(complaint->what, at);
	} else if (complaint->where[0] == '\0' && *at == ' ') {
		const char *number = strstr(at, "(line: ");

		strcpy(complaint->where, at + strspn(at, " "));
		if (number)
			complaint->line =
				strtoul(number + strlen("(line: "), NULL, 10);
	}
}

/*
 * libcyaml names the line of the value before a key that it does not know: the
 * key itself comes soon after.
 */
static unsigned line_of_key(const struct config_text *text, unsigned from,
			    const char *key)
{
	const char *at = text->bytes, *end = at + text->length;
	size_t length = strlen(key);

	for (unsigned line = 1; at < end; line++) {
		const char *next = memchr(at, '\n', end - at);

		next = next ? next + 1 : end;
		while (at < next && (*at == ' ' || *at == '-'))
			at++;
		if (line >= from && (size_t)(next - at) > length &&
		    memcmp(at, key, length) == 0 && at[length] == ':')
			return line;
		at = next;
	}
	return from;
}

static const char *field_of(struct complaint *complaint)
{
	static const char words[] = "in mapping field '";
	char *end;

	if (strncmp(complaint->where, words, strlen(words)) != 0)
		return NULL;
	end = strchr(complaint->where + strlen(words), '\'');
	if (!end)
		return NULL;
	*end = '\0';
	return complaint->where + strlen(words);
}

static void say(const struct config_text *text, struct complaint *complaint,
		cyaml_err_t err, char *ret_error)
{
	static const char unknown[] = "Unexpected key: ";
	static const char missing[] = "Missing required mapping field: ";
	const char *what =
		complaint->what[0] ? complaint->what : cyaml_strerror(err);
	const char *field = field_of(complaint);

	if (strncmp(what, unknown, strlen(unknown)) == 0) {
		const char *key = what + strlen(unknown);

		snprintf(ret_error, CONFIG_FILE_ERROR_BYTES,
			 "%s:%u: %s: there is no such key here", text->name,
			 line_of_key(text, complaint->line, key), key);
	} else if (strncmp(what, missing, strlen(missing)) == 0) {
		snprintf(ret_error, CONFIG_FILE_ERROR_BYTES,
			 "%s:%u: %s: the key is missing", text->name,
			 complaint->line, what + strlen(missing));
	} else {
		snprintf(ret_error, CONFIG_FILE_ERROR_BYTES, "%s:%u: %s%s%s",
			 text->name, complaint->line, field ? field : "",
			 field ? ": " : "", what);
	}
}

static cyaml_config_t config_with(struct complaint *complaint)
{
	return (cyaml_config_t){
		.log_fn = take_log,
		.log_ctx = complaint,
		.log_level = CYAML_LOG_ERROR,
		.mem_fn = cyaml_mem,
	};
}

int config_file_load(const struct config_text *text,
		     const cyaml_schema_value_t *schema, void **ret_data,
		     char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	struct complaint complaint = {.line = 1};
	const cyaml_config_t config = config_with(&complaint);
	cyaml_data_t *data = NULL;
	cyaml_err_t err;

	err = cyaml_load_data((const uint8_t *)text->bytes, text->length,
			      &config, schema, &data, NULL);
	if (err != CYAML_OK) {
		say(text, &complaint, err, ret_error);
		return -EINVAL;
	}
	if (!data) {
		snprintf(ret_error, CONFIG_FILE_ERROR_BYTES,
			 "%s:1: there is nothing in it", text->name);
		return -EINVAL;
	}
	*ret_data = data;
	return 0;
}

void config_file_free(const cyaml_schema_value_t *schema, void *data)
{
	struct complaint complaint = {0};
	const cyaml_config_t config = config_with(&complaint);

	cyaml_free(&config, schema, data, 0);
}

int config_file_save(const cyaml_schema_value_t *schema, const void *data,
		     char **ret_text)
{
	struct complaint complaint = {0};
	const cyaml_config_t config = config_with(&complaint);
	char *bytes = NULL, *text;
	size_t length = 0;
	cyaml_err_t err =
		cyaml_save_data(&bytes, &length, &config, schema, data, 0);

	if (err != CYAML_OK)
		return err == CYAML_ERR_OOM ? -ENOMEM : -EINVAL;
	text = strndup(bytes, length);
	free(bytes);
	if (!text)
		return -ENOMEM;
	*ret_text = text;
	return 0;
}

/* --- lines ----------------------------------------------------------------- */

static yaml_node_t *child(yaml_document_t *document, yaml_node_t *node,
			  const char *step)
{
	if (node->type == YAML_SEQUENCE_NODE) {
		unsigned long index = strtoul(step, NULL, 10);
		yaml_node_item_t *items = node->data.sequence.items.start;

		if (index >= (size_t)(node->data.sequence.items.top - items))
			return NULL;
		return yaml_document_get_node(document, items[index]);
	}
	if (node->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		yaml_node_t *key = yaml_document_get_node(document, pair->key);

		if (key->type == YAML_SCALAR_NODE &&
		    strcmp((const char *)key->data.scalar.value, step) == 0)
			return yaml_document_get_node(document, pair->value);
	}
	return NULL;
}

static unsigned walk(yaml_document_t *document, const char *path)
{
	yaml_node_t *node = yaml_document_get_root_node(document);
	unsigned line = 1;

	while (node) {
		size_t length = strcspn(path, ".");
		char step[STEP_BYTES];

		line = node->start_mark.line + 1;
		if (length == 0 || length >= sizeof(step))
			break;
		memcpy(step, path, length);
		step[length] = '\0';
		path += length + (path[length] == '.');
		node = child(document, node, step);
	}
	return line;
}

unsigned config_file_line(const struct config_text *text, const char *path)
{
	yaml_document_t document;
	yaml_parser_t parser;
	unsigned line = 1;

	if (!yaml_parser_initialize(&parser))
		return line;
	yaml_parser_set_input_string(
		&parser, (const unsigned char *)text->bytes, text->length);
	if (yaml_parser_load(&parser, &document)) {
		line = walk(&document, path);
		yaml_document_delete(&document);
	}
	yaml_parser_delete(&parser);
	return line;
}
