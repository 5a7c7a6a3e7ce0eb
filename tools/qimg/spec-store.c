/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/spec-store.h"

#include <stdlib.h>
#include <string.h>

#include "tools/qimg/spec.h"

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

static bool open_null(const struct image_options *options, const char *name,
		      struct store **ret)
{
	const char *driver = image_options_string(options, "driver", NULL);
	const char *setting =
		spec_store_is_driver(driver) ? "size" : "file.size";
	const char *text = image_options_string(options, setting, NULL);
	uint64_t bytes = NULL_BYTES;

	if (text && image_parse_size(text, &bytes))
		return !cli_error("%s: %s: \"%s\" is not a size", name, setting,
				  text);
	if (store_new_null(bytes, ret))
		return !cli_error("out of memory");
	return true;
}

static bool open_file(const struct image_open_request *request,
		      const char *name, struct store **ret)
{
	const struct store_file_options options = {
		.read_only = request->read_only,
		.direct = request->direct,
		.offset = request->offset,
		.length = request->length,
		.no_lock = request->share,
	};
	char *error = NULL;
	int err = store_open_file(request->path, &options, ret, &error);

	if (err)
		cli_error("Could not open '%s': %s", name,
			  error ? error : strerror(-err));
	free(error);
	return err == 0;
}

bool spec_store_open(const struct image_options *options,
		     const struct spec_faults *faults, const char *name,
		     struct image_open_request *request)
{
	struct store *under, *faulty;

	if (faults->count && faults->above_format &&
	    strcmp(request->format, "raw") != 0)
		return !cli_error("%s: errors can be injected below the format "
				  "%s, and not above it",
				  name, request->format);
	if (faults->count && qimg_is_remote(request->path))
		return !cli_error("%s: errors can be injected into files only",
				  name);
	if (spec_store_is_meant(options, name)) {
		if (!open_null(options, name, &under))
			return false;
	} else if (faults->count == 0) {
		return true;
	} else if (!open_file(request, name, &under)) {
		return false;
	}
	request->store = under;
	if (faults->count == 0)
		return true;
	if (store_new_faulty(under, faults->all, faults->count, &faulty)) {
		store_free(under);
		return !cli_error("out of memory");
	}
	request->store = faulty;
	return true;
}
