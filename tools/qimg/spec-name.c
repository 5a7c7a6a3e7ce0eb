/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/spec-name.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/qimg/spec-faults.h"
#include "tools/qimg/spec-json.h"
#include "tools/qimg/spec.h"

bool spec_name_parse(const char *name, bool image_opts,
		     struct image_options *ret)
{
	char *error = NULL;

	if (image_opts) {
		if (image_options_parse(ret, name, &error) == 0)
			return true;
		cli_error("--image-opts: %s", error ? error : "out of memory");
		free(error);
		return false;
	}
	if (strncmp(name, "json:", 5) == 0)
		return spec_json_parse(ret, name + 5);
	return spec_faults_parse_name(ret, name);
}

/* As QEMU reads names: what stands before a ':' in the first part. */
static bool has_scheme(const char *name)
{
	return name[strcspn(name, ":/")] == ':';
}

const char *spec_name_path(const char *name)
{
	return strncmp(name, "file:", 5) == 0 ? name + 5 : name;
}

char *spec_name_plain(const char *path)
{
	char *plain = NULL;

	if (!has_scheme(path))
		return strdup(path);
	return asprintf(&plain, "./%s", path) < 0 ? NULL : plain;
}

char *qimg_path_beside(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	char *full;

	if (name[0] == '/' || has_scheme(name) || !slash ||
	    qimg_is_remote(path))
		return strdup(name);
	if (asprintf(&full, "%.*s%s", (int)(slash + 1 - path), path, name) < 0)
		return NULL;
	return full;
}

char *qimg_path_below(const struct image *top, const char *path, unsigned depth)
{
	char *at = strdup(path);

	for (; at && depth > 0; depth--, top = top->backing) {
		char *below = qimg_path_beside(at, top->backing_name);

		free(at);
		at = below;
	}
	return at;
}

/* --- How an image is shown --------------------------------------------- */

/* They change how it is opened, and not what it is. */
static bool is_weak(const char *setting)
{
	static const char *const names[] = {
		"read-only",	 "file.read-only", "file.locking",
		"cache.direct",	 "cache.no-flush", "discard",
		"detect-zeroes", "lazy-refcounts", NULL};

	for (const char *const *n = names; *n; n++)
		if (strcmp(setting, *n) == 0)
			return true;
	return false;
}

/* The path, if there is nothing else that matters. */
static const char *path_alone(const struct image_options *options)
{
	const char *path = NULL;

	for (size_t i = 0; i < options->count; i++) {
		const char *name = options->settings[i].name;
		const char *value = options->settings[i].value;

		if (strcmp(name, "filename") == 0 ||
		    strcmp(name, "file.filename") == 0)
			path = value;
		else if (strcmp(name, "driver") != 0 && !is_weak(name) &&
			 (strcmp(name, "file.driver") != 0 ||
			  strcmp(value, "file") != 0))
			return NULL;
	}
	return path;
}

/* The drivers below are objects of their own; to @into, under @name. */
static void put(json_t *into, const char *name, const char *value)
{
	static const char *const below[] = {"file", "image", "backing",
					    "data-file", NULL};

	for (const char *const *b = below; *b; b++) {
		size_t length = strlen(*b);
		json_t *object;

		if (strncmp(name, *b, length) != 0 || name[length] != '.')
			continue;
		object = json_object_get(into, *b);
		if (!object) {
			object = json_object();
			json_object_set_new(into, *b, object);
		}
		put(object, name + length + 1, value);
		return;
	}
	json_object_set_new(into, name, json_string(value));
}

static char *as_json(const struct image_options *options)
{
	json_t *object = json_object();
	char *text, *name = NULL;

	for (size_t i = 0; i < options->count; i++)
		if (!is_weak(options->settings[i].name))
			put(object, options->settings[i].name,
			    options->settings[i].value);
	text = json_dumps(object, JSON_PRESERVE_ORDER);
	if (text && asprintf(&name, "json:%s", text) < 0)
		name = NULL;
	free(text);
	json_decref(object);
	return name;
}

char *qimg_shown_name(const char *name, bool image_opts)
{
	struct image_options options = {0};
	char *shown = NULL;
	const char *path;

	if (!image_opts && strncmp(name, "json:", 5) != 0)
		return strncmp(name, "file:", 5) == 0
			       ? spec_name_plain(spec_name_path(name))
			       : strdup(name);
	if (spec_name_parse(name, image_opts, &options)) {
		path = path_alone(&options);
		shown = path ? spec_name_plain(path) : as_json(&options);
	}
	image_options_deinit(&options);
	return shown;
}
