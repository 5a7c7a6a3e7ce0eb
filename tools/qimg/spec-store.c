/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/spec-store.h"

#include <string.h>

enum {
	NULL_BYTES = 1 << 30, /* as QEMU's, if its size is not said */
};

bool spec_store_is_driver(const char *driver)
{
	return driver && (strcmp(driver, "null-co") == 0 ||
			  strcmp(driver, "null-aio") == 0);
}

bool spec_store_is_meant(const struct image_options *options, const char *name)
{
	if (options->count == 0)
		return strcmp(name, "null-co://") == 0 ||
		       strcmp(name, "null-aio://") == 0;
	return spec_store_is_driver(
		       image_options_string(options, "driver", NULL)) ||
	       spec_store_is_driver(
		       image_options_string(options, "file.driver", NULL));
}

bool spec_store_has_setting(const char *setting)
{
	if (strncmp(setting, "file.", 5) == 0)
		setting += 5;
	return strcmp(setting, "size") == 0 ||
	       strcmp(setting, "read-zeroes") == 0;
}

struct store *spec_store_open(const struct image_options *options,
			      const char *name)
{
	const char *driver = image_options_string(options, "driver", NULL);
	const char *setting =
		spec_store_is_driver(driver) ? "size" : "file.size";
	const char *text = image_options_string(options, setting, NULL);
	uint64_t bytes = NULL_BYTES;
	struct store *store = NULL;

	if (text && image_parse_size(text, &bytes))
		cli_error("%s: %s: \"%s\" is not a size", name, setting, text);
	else if (store_new_null(bytes, &store))
		cli_error("out of memory");
	return store;
}
