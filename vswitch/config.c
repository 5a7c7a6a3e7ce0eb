/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vswitch/config-check.h"
#include "vswitch/config-schema.h"

enum {
	DEFAULT_CAPACITY = 65536,
	DEFAULT_AGE_SECONDS = 300,
	MAX_OF_A_GUEST = 1024,
};

static void fill_in_port(struct port_config *p)
{
	if (p->queues == 0)
		p->queues = 1;
	/* One guest shall not fill the table, and have all others flooded. */
	if (p->max_stations == 0)
		p->max_stations = p->kind == PORT_VHOST_USER ? MAX_OF_A_GUEST
							     : UINT32_MAX;
}

static void fill_in(struct config *config)
{
	if (config->lcores == 0)
		config->lcores = 1;
	if (config->fdb_capacity == 0)
		config->fdb_capacity = DEFAULT_CAPACITY;
	if (config->fdb_age == 0)
		config->fdb_age = DEFAULT_AGE_SECONDS;
	for (unsigned i = 0; i < config->ports_count; i++)
		fill_in_port(&config->ports[i]);
}

static void say(const struct config_text *text, const struct config_finding *f,
		char *ret_error)
{
	const char *key = strrchr(f->key, '.');

	/* Not the position in a sequence. */
	while (key && key > f->key && key[1] >= '0' && key[1] <= '9')
		for (key--; key > f->key && *key != '.'; key--)
			;
	key = key ? key + (*key == '.') : f->key;
	snprintf(ret_error, CONFIG_FILE_ERROR_BYTES, "%s:%u: %.*s: %s",
		 text->name, config_file_line(text, f->key),
		 (int)strcspn(key, "."), key, f->what);
}

/* Reads @text as @schema says, and has @check fill it in and judge it. */
static int read_text(const struct config_text *text,
		     const cyaml_schema_value_t *schema,
		     int (*check)(void *data, struct config_finding *finding),
		     void **ret_data, char *ret_error)
{
	struct config_finding finding = {0};
	void *data = NULL;
	int err = config_file_load(text, schema, &data, ret_error);

	if (err < 0)
		return err;
	err = check(data, &finding);
	if (err < 0) {
		say(text, &finding, ret_error);
		config_file_free(schema, data);
		return err;
	}
	*ret_data = data;
	return 0;
}

static int check_whole(void *data, struct config_finding *finding)
{
	fill_in(data);
	return config_check(data, finding);
}

static int check_file(void *data, struct config_finding *finding)
{
	int err = check_whole(data, finding);

	return err < 0 ? err : config_check_names(data, finding);
}

static int check_port(void *data, struct config_finding *finding)
{
	fill_in_port(data);
	return port_config_check(data, finding);
}

static int check_guard(void *data, struct config_finding *finding)
{
	return guard_config_check(data, finding);
}

static int check_acl(void *data, struct config_finding *finding)
{
	return acl_config_check(data, finding);
}

int config_parse(const struct config_text *text, struct config **ret_config,
		 char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	void *data;
	int err =
		read_text(text, &config_schema, check_whole, &data, ret_error);

	if (err == 0)
		*ret_config = data;
	return err;
}

int config_read(const char *path, struct config **ret_config,
		char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	struct config_text text;
	void *data;
	int err = config_text_read(path, &text, ret_error);

	if (err < 0)
		return err;
	err = read_text(&text, &config_schema, check_file, &data, ret_error);
	config_text_free(&text);
	if (err == 0)
		*ret_config = data;
	return err;
}

void config_free(struct config *config)
{
	if (config)
		config_file_free(&config_schema, config);
}

int port_config_read(const char *bytes, size_t length,
		     struct port_config **ret_config,
		     char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	const struct config_text text = {"port", (char *)bytes, length};
	void *data;
	int err = read_text(&text, &port_config_schema, check_port, &data,
			    ret_error);

	if (err == 0)
		*ret_config = data;
	return err;
}

void port_config_free(struct port_config *config)
{
	if (config)
		config_file_free(&port_config_schema, config);
}

int guard_config_read(const char *bytes, size_t length,
		      struct guard_config **ret_config,
		      char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	const struct config_text text = {"guard", (char *)bytes, length};
	void *data;
	int err = read_text(&text, &guard_config_schema, check_guard, &data,
			    ret_error);

	if (err == 0)
		*ret_config = data;
	return err;
}

void guard_config_free(struct guard_config *config)
{
	if (config)
		config_file_free(&guard_config_schema, config);
}

int port_config_copy(const struct port_config *config,
		     struct port_config **ret_copy)
{
	char error[CONFIG_FILE_ERROR_BYTES];
	char *text = port_config_write(config);
	int err = text ? port_config_read(text, strlen(text), ret_copy, error)
		       : -ENOMEM;

	free(text);
	return err;
}

/* Our own text of a port: the keys are at the beginning of a line. Without what
 * @changes has, and without the marks of a document. */
static void print_others(const char *text, const json_t *changes, FILE *to)
{
	bool is_kept = false;

	while (*text) {
		const size_t length = strcspn(text, "\n") + 1;
		const size_t key = strcspn(text, ":\n");

		/* All else is of the key above: a blank line, too. */
		if (!strchr(" -\n", text[0]))
			is_kept = text[key] == ':' &&
				  !json_object_getn(changes, text, key);
		if (is_kept && strncmp(text, "---", 3) != 0)
			fprintf(to, "%.*s", (int)length, text);
		text += MIN(length, strlen(text));
	}
}

/* JSON is YAML. */
static void print_changes(json_t *changes, FILE *to)
{
	const char *key;
	json_t *value;

	json_object_foreach(changes, key, value)
	{
		json_t *name = json_string(key);
		char *text = json_dumps(value, JSON_ENCODE_ANY);
		char *quoted = json_dumps(name, JSON_ENCODE_ANY);

		if (text && quoted && !json_is_null(value))
			fprintf(to, "%s: %s\n", quoted, text);
		json_decref(name);
		free(quoted);
		free(text);
	}
}

int port_config_set(const struct port_config *config, json_t *changes,
		    struct port_config **ret_config,
		    char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	char *before = port_config_write(config), *after = NULL;
	size_t length = 0;
	FILE *to = open_memstream(&after, &length);
	int err = -ENOMEM;

	if (to && before) {
		print_others(before, changes, to);
		print_changes(changes, to);
	}
	if (to && fclose(to) == 0 && before)
		err = port_config_read(after, length, ret_config, ret_error);
	free(before);
	free(after);
	return err;
}

char *config_write(const struct config *config)
{
	char *text = NULL;

	config_file_save(&config_schema, config, &text);
	return text;
}

char *port_config_write(const struct port_config *config)
{
	char *text = NULL;

	config_file_save(&port_config_schema, config, &text);
	return text;
}

int acl_config_read(const char *bytes, size_t length,
		    struct acl_config **ret_config,
		    char ret_error[static CONFIG_FILE_ERROR_BYTES])
{
	const struct config_text text = {"acl", (char *)bytes, length};
	void *data;
	int err = read_text(&text, &acl_config_schema, check_acl, &data,
			    ret_error);

	if (err == 0)
		*ret_config = data;
	return err;
}

void acl_config_free(struct acl_config *config)
{
	if (config)
		config_file_free(&acl_config_schema, config);
}
