/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ctl-params.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

json_t *ctl_params_name(unsigned count, char **arguments)
{
	return json_pack("{s:s}", "name", arguments[0]);
}

/* KEY=VALUE …: numbers and yes or no as such; VALUE may be JSON. */
static json_t *keys_and_values(unsigned count, char **arguments)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < count; i++) {
		char *value = strchr(arguments[i], '=');
		json_t *json;

		if (!value) {
			log_error("%s: give KEY=VALUE, as in the configuration "
				  "file",
				  arguments[i]);
			json_decref(object);
			return NULL;
		}
		*value++ = '\0';
		json = json_loads(value, JSON_DECODE_ANY, NULL);
		json_object_set_new(object, arguments[i],
				    json ? json : json_string(value));
	}
	return object;
}

json_t *ctl_params_port(unsigned count, char **arguments)
{
	json_t *port = keys_and_values(count, arguments);

	return port ? json_pack("{s:o}", "port", port) : NULL;
}

json_t *ctl_params_of_port(unsigned count, char **arguments)
{
	return json_pack("{s:s}", "port", arguments[0]);
}

json_t *ctl_params_guard(unsigned count, char **arguments)
{
	json_t *guard = keys_and_values(count - 1, arguments + 1);

	return guard ? json_pack("{s:s, s:o}", "port", arguments[0], "guard",
				 guard)
		     : NULL;
}

json_t *ctl_params_keys(unsigned count, char **arguments)
{
	json_t *keys = keys_and_values(count - 1, arguments + 1);

	return keys ? json_pack("{s:s, s:o}", "port", arguments[0], "keys",
				keys)
		    : NULL;
}

/* All of @file; NULL, with a message. */
static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;

	/* Up to a zero byte, which no text has. */
	if (!file || (getdelim(&text, &room, '\0', file) < 0 && ferror(file)))
		log_error("%s: %s", path, strerror(errno));
	else if (!text || text[0] == '\0')
		log_error("%s: there is nothing in it", path);
	else if (file) {
		fclose(file);
		return text;
	}
	if (file)
		fclose(file);
	free(text);
	return NULL;
}

json_t *ctl_params_acl(unsigned count, char **arguments)
{
	char *text = read_file(arguments[1]);
	json_t *params = text ? json_pack("{s:s, s:s}", "port", arguments[0],
					  "acl", text)
			      : NULL;

	if (text && !params)
		log_error("%s: it is no UTF-8 text", arguments[1]);
	free(text);
	return params;
}

json_t *ctl_params_acl_list(unsigned count, char **arguments)
{
	return count > 0 ? ctl_params_of_port(count, arguments) : json_object();
}

json_t *ctl_params_no_acl(unsigned count, char **arguments)
{
	return json_pack("{s:s, s:s}", "port", arguments[0], "acl", "{}");
}

json_t *ctl_params_move(unsigned count, char **arguments)
{
	int pair, lcore;
	char end;

	if (sscanf(arguments[1], "%d%c", &pair, &end) != 1 ||
	    sscanf(arguments[2], "%d%c", &lcore, &end) != 1) {
		log_error("%s %s: give two numbers", arguments[1],
			  arguments[2]);
		return NULL;
	}
	return json_pack("{s:s, s:i, s:i}", "port", arguments[0], "pair", pair,
			 "lcore", lcore);
}

json_t *ctl_params_trace(unsigned count, char **arguments)
{
	json_t *frame;

	if (count == 2 && !strchr(arguments[1], '='))
		return json_pack("{s:s, s:s}", "port", arguments[0], "frame",
				 arguments[1]);
	frame = keys_and_values(count - 1, arguments + 1);
	if (frame)
		json_object_set_new(frame, "port", json_string(arguments[0]));
	return frame;
}

json_t *ctl_params_flush(unsigned count, char **arguments)
{
	return count > 0 ? json_pack("{s:s}", "port", arguments[0])
			 : json_object();
}
