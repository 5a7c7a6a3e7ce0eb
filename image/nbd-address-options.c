/* SPDX-License-Identifier: Apache-2.0 */
/* An address of QEMU's options. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/nbd-address.h"
#include "image/store.h"

static const struct {
	const char *name;
	const char *old; /* or NULL */
} option_names[] = {
	{"server.type", NULL},	  {"server.path", "path"},
	{"server.host", "host"},  {"server.port", "port"},
	{"export", "exportname"},
};

bool nbd_address_has_option(const char *setting)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_names); i++)
		if (strcmp(setting, option_names[i].name) == 0 ||
		    (option_names[i].old &&
		     strcmp(setting, option_names[i].old) == 0))
			return true;
	return false;
}

static const char *option(const struct image_options *options,
			  const char *prefix, size_t number)
{
	const char *value = NULL;
	char name[64];

	snprintf(name, sizeof(name), "%s%s", prefix, option_names[number].name);
	value = image_options_string(options, name, NULL);
	if (value || !option_names[number].old)
		return value;
	snprintf(name, sizeof(name), "%s%s", prefix, option_names[number].old);
	return image_options_string(options, name, NULL);
}

/* A copy of @value, which may be NULL; false: no memory. */
static bool copy(char **to, const char *value)
{
	*to = value ? strdup(value) : NULL;
	return !value || *to;
}

int nbd_address_from_options(const struct image_options *options,
			     const char *prefix, struct nbd_address *ret,
			     char **ret_error)
{
	const char *type = option(options, prefix, 0);
	const char *path = option(options, prefix, 1);
	const char *host = option(options, prefix, 2);
	const char *port = option(options, prefix, 3);
	struct nbd_address address = {0};
	bool is_unix = type ? strcmp(type, "unix") == 0 : path != NULL;
	int err;

	if ((type && !is_unix && strcmp(type, "inet") != 0) ||
	    (is_unix && (!path || host || port)) || (!is_unix && path) ||
	    (!is_unix && !host))
		return store_fail(ret_error, -EINVAL,
				  "a server is server.type=unix,"
				  "server.path=PATH or server.type=inet,"
				  "server.host=HOST,server.port=PORT");
	if (!copy(&address.socket, path) || !copy(&address.host, host) ||
	    !copy(&address.port, port) ||
	    !copy(&address.export_name, option(options, prefix, 4))) {
		nbd_address_deinit(&address);
		return -ENOMEM;
	}
	err = nbd_address_complete(&address, ret_error);
	if (err == 0)
		*ret = address;
	return err;
}
