/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/option.h"
#include "tools/qimg/spec-json.h"
#include "tools/qimg/spec-store.h"

enum {
	MAX_SECRETS = IMAGE_MAX_SECRETS,
	MAX_SECRET_DEPTH = 4, /* how far down a setting names a secret */
	MAX_SECRET_BYTES = 1 << 20,
};

/* The user's own tool opens what the user's images name. */
static const char *const everywhere[] = {"/", NULL};

static struct image_secret secrets[MAX_SECRETS + 1];
static size_t secret_count;

static const struct {
	const char *name;
	struct qimg_cache cache;
} cache_modes[] = {
	{"none", {.direct = true}},
	{"off", {.direct = true}},
	{"directsync", {.direct = true, .writethrough = true}},
	{"writeback", {0}},
	{"writethrough", {.writethrough = true}},
	{"unsafe", {.no_flush = true}},
};

bool qimg_cache_parse(const char *mode, struct qimg_cache *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(cache_modes); i++) {
		if (strcmp(mode, cache_modes[i].name) == 0) {
			*ret = cache_modes[i].cache;
			return true;
		}
	}
	cli_error("\"%s\" is no cache mode; there are none, writeback, "
		  "writethrough, directsync and unsafe",
		  mode);
	return false;
}

const char *qimg_cache_name(size_t i)
{
	return i < ARRAY_SIZE(cache_modes) ? cache_modes[i].name : NULL;
}

/* @path's content; not to be written anywhere else. */
static char *read_secret(const char *path, size_t *ret_bytes)
{
	FILE *file = fopen(path, "re");
	char *data = malloc(MAX_SECRET_BYTES);
	size_t bytes;

	if (!file || !data) {
		cli_error("%s: %s", path, strerror(file ? ENOMEM : errno));
		if (file)
			fclose(file);
		free(data);
		return NULL;
	}
	bytes = fread(data, 1, MAX_SECRET_BYTES, file);
	fclose(file);
	*ret_bytes = bytes;
	return data;
}

static bool add_secret(const char *id, char *data, size_t bytes)
{
	if (secret_count == MAX_SECRETS) {
		cli_error("more than %d secrets", MAX_SECRETS);
		free(data);
		return false;
	}
	secrets[secret_count++] = (struct image_secret){
		.id = strdup(id),
		.data = data,
		.bytes = bytes,
	};
	return true;
}

static bool is_supported(const struct image_options *options, const char *text)
{
	const char *format = image_options_string(options, "format", "raw");

	if (!image_options_bool(options, "secret", false)) {
		cli_error("--object %s: only secrets are known: "
			  "secret,id=ID,data=TEXT or file=PATH",
			  text);
		return false;
	}
	if (strcmp(format, "raw") != 0 ||
	    image_options_string(options, "keyid", NULL)) {
		cli_error("--object: secret %s: only format=raw without keyid "
			  "is known",
			  image_options_string(options, "id", "?"));
		return false;
	}
	return true;
}

static bool add_object(const char *text)
{
	struct image_options options = {0};
	const char *id, *data, *file;
	char *error = NULL, *bytes = NULL;
	size_t length = 0;
	bool added = false;

	if (image_options_parse(&options, text, &error)) {
		cli_error("--object: %s", error ? error : "out of memory");
		goto out;
	}
	if (!is_supported(&options, text))
		goto out;
	id = image_options_string(&options, "id", NULL);
	data = image_options_string(&options, "data", NULL);
	file = image_options_string(&options, "file", NULL);
	if (!id || !data == !file) {
		cli_error("--object secret: give it an id, and either data or "
			  "file");
		goto out;
	}
	if (file) {
		bytes = read_secret(file, &length);
	} else {
		bytes = strdup(data);
		length = strlen(data);
	}
	added = bytes && add_secret(id, bytes, length);
out:
	image_options_deinit(&options);
	free(error);
	return added;
}

bool qimg_secrets_add(const struct cli *cli)
{
	for (size_t i = 0; i < cli->count; i++)
		if (cli->arguments[i].key == QIMG_OBJECT &&
		    !add_object(cli->arguments[i].value))
			return false;
	return true;
}

const struct image_secret *qimg_secrets(void)
{
	return secrets;
}

/* What a name stands for, as settings; none for a plain path. */
static bool parse_name(const char *name, bool image_opts,
		       struct image_options *ret)
{
	char *error = NULL;

	*ret = (struct image_options){0};
	if (image_opts) {
		if (image_options_parse(ret, name, &error) == 0)
			return true;
		cli_error("--image-opts: %s", error ? error : "out of memory");
		free(error);
		return false;
	}
	if (strncmp(name, "json:", 5) == 0)
		return spec_json_parse(ret, name + 5);
	return true;
}

static const char *first_of(const struct image_options *options,
			    const char *const *names)
{
	const char *value = NULL;

	for (; !value && *names; names++)
		value = image_options_string(options, *names, NULL);
	return value;
}

static const char *filename_of(const struct image_options *options,
			       const char *name)
{
	static const char *const names[] = {"file.filename", "filename",
					    "file.file.filename", NULL};

	if (spec_store_is_meant(options, name))
		return name;
	if (options->count)
		return first_of(options, names);
	return strncmp(name, "file:", 5) == 0 ? name + 5 : name;
}

char *qimg_path(const char *name, bool image_opts)
{
	struct image_options options;
	const char *path;
	char *copy = NULL;

	if (!parse_name(name, image_opts, &options))
		return NULL;
	path = filename_of(&options, name);
	if (path)
		copy = strdup(path);
	else
		cli_error("%s: names no file: file.filename is missing", name);
	image_options_deinit(&options);
	return copy;
}

char *qimg_path_beside(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	char *full;

	if (name[0] == '/' || strchr(name, ':') || !slash)
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

/* A name below those of the images above: "backing.backing.NAME". */
static const char *skip_backing(const char *setting, unsigned *ret_depth)
{
	static const char prefix[] = "backing.";
	size_t length = sizeof(prefix) - 1;

	for (*ret_depth = 0; strncmp(setting, prefix, length) == 0;
	     setting += length)
		++*ret_depth;
	return setting;
}

static bool names_secret(const char *name)
{
	return strcmp(name, "encrypt.key-secret") == 0 ||
	       strcmp(name, "key-secret") == 0;
}

/* Settings that change how the file is read beyond what we know. */
static bool check_settings(const struct image_options *options,
			   const char *name)
{
	static const char *const known[] = {"driver",
					    "file.driver",
					    "file.filename",
					    "filename",
					    "offset",
					    "size",
					    "encrypt.format",
					    "encrypt.key-secret",
					    "key-secret",
					    "read-only",
					    "file.locking",
					    "cache.direct",
					    "cache.no-flush",
					    "discard",
					    "detect-zeroes",
					    "lazy-refcounts",
					    "file.read-only",
					    "backing.driver",
					    "backing.file.filename",
					    "backing.file.driver",
					    NULL};

	bool special = spec_store_is_meant(options, name);

	for (size_t i = 0; i < options->count; i++) {
		const char *setting = options->settings[i].name;
		const char *nearest;
		unsigned depth;
		const char *name_there = skip_backing(setting, &depth);
		bool found = depth > 0 && depth < MAX_SECRET_DEPTH &&
			     (names_secret(name_there) ||
			      strcmp(name_there, "encrypt.format") == 0);

		for (const char *const *k = known; *k && !found; k++)
			found = strcmp(*k, setting) == 0;
		if (found || (special && spec_store_has_setting(setting)))
			continue;
		nearest = image_nearest_name(setting, known);
		cli_error("%s: unknown setting \"%s\"%s%s%s", name, setting,
			  nearest ? "; did you mean \"" : "",
			  nearest ? nearest : "", nearest ? "\"?" : "");
		return false;
	}
	return true;
}

/* The one that @id names, for the image at @depth. */
static bool add_named(struct image_secret *chosen, size_t *count,
		      unsigned depth, const char *id)
{
	for (size_t i = 0; i < secret_count; i++) {
		if (strcmp(secrets[i].id, id) != 0)
			continue;
		chosen[*count] = secrets[i];
		chosen[(*count)++].depth = depth;
		return true;
	}
	cli_error("No secret with id '%s': give it with --object "
		  "secret,id=%s,file=PATH",
		  id, id);
	return false;
}

/*
 * Each image is tried with the secret that the settings name for it, or with
 * all that were given. @chosen has room for MAX_SECRETS of each depth.
 */
static bool choose_secrets(const struct image_options *options,
			   struct image_secret *chosen)
{
	bool named[MAX_SECRET_DEPTH] = {false};
	size_t count = 0;

	for (size_t i = 0; i < options->count; i++) {
		unsigned depth;
		const char *name =
			skip_backing(options->settings[i].name, &depth);

		if (depth >= MAX_SECRET_DEPTH || !names_secret(name) ||
		    named[depth])
			continue;
		named[depth] = true;
		if (!add_named(chosen, &count, depth,
			       options->settings[i].value))
			return false;
	}
	for (unsigned depth = 0; depth < MAX_SECRET_DEPTH; depth++) {
		for (size_t i = 0; i < secret_count && !named[depth]; i++) {
			chosen[count] = secrets[i];
			chosen[count++].depth = depth;
		}
	}
	chosen[count] = (struct image_secret){0};
	return true;
}

/* The file was named already, unless it is another one of the chain. */
static const char *without_path(const char *error, const char *path)
{
	size_t length = strlen(path);

	return strncmp(error, path, length) == 0 &&
			       strncmp(error + length, ": ", 2) == 0
		       ? error + length + 2
		       : error;
}

static struct image *open_request(struct image_open_request *request,
				  const struct qimg_open *open)
{
	struct image *image = NULL;
	char *error = NULL;
	int err = image_open(request, &image, &error, NULL);

	if (err == 0)
		return image;
	cli_error("%s%sCould not open '%s': %s%s",
		  open->wanted_by ? open->wanted_by : "",
		  open->wanted_by ? ": " : "", open->name,
		  error	    ? without_path(error, request->path)
		  : err < 0 ? strerror(-err)
			    : "the image is corrupt",
		  open->wanted_by ? "\nCould not open backing image." : "");
	free(error);
	return NULL;
}

struct image *qimg_open(const struct qimg_open *open)
{
	static const char *const formats[] = {"driver", NULL};
	struct image_secret chosen[MAX_SECRETS * MAX_SECRET_DEPTH + 1];
	struct image_options options;
	struct image_open_request request = {
		.read_only = open->read_only,
		.direct = open->cache.direct,
		.no_backing = open->no_backing,
		.writable_depth = open->writable_depth,
		.allowed = everywhere,
		.snapshot = open->snapshot,
		.check = open->check,
		.share = open->share,
		.secrets = chosen,
		.no_key = open->no_key,
	};
	struct image *image = NULL;

	if (open->image_opts && open->format) {
		cli_error("--image-opts and --format are mutually exclusive");
		return NULL;
	}
	if (!parse_name(open->name, open->image_opts, &options))
		return NULL;
	if (check_settings(&options, open->name) &&
	    choose_secrets(&options, chosen)) {
		request.path = filename_of(&options, open->name);
		request.format = open->format ? open->format
					      : first_of(&options, formats);
		if (!request.format || strcmp(request.format, "file") == 0 ||
		    spec_store_is_driver(request.format))
			request.format = options.count && request.format
						 ? "raw"
						 : "probe";
		request.offset = image_options_number(&options, "offset", 0);
		request.length = image_options_number(&options, "size", 0);
		request.direct |=
			image_options_bool(&options, "cache.direct", false);
		if (!request.path)
			cli_error("%s: names no file: file.filename is missing",
				  open->name);
		else if (strcmp(request.format, "probe") != 0 &&
			 !image_find_format(request.format))
			cli_error("Unknown driver '%s'", request.format);
		else if (!spec_store_is_meant(&options, open->name) ||
			 (request.store =
				  spec_store_open(&options, open->name)))
			image = open_request(&request, open);
	}
	image_options_deinit(&options);
	return image;
}

/* The id is only one snapshot's. */
static const char *id_or_name(const struct image_options *options)
{
	static const char *const names[] = {"snapshot.id", "snapshot.name",
					    NULL};

	for (size_t i = 0; i < options->count; i++) {
		const char *name = options->settings[i].name;

		if (strcmp(name, names[0]) != 0 &&
		    strcmp(name, names[1]) != 0) {
			cli_error("Invalid parameter '%s'", name);
			return NULL;
		}
	}
	return first_of(options, names);
}

char *qimg_snapshot_name(const char *text)
{
	struct image_options options = {0};
	const char *chosen = text;
	char *name;

	if (strncmp(text, "snapshot.", 9) == 0)
		chosen = image_options_parse(&options, text, NULL)
				 ? NULL
				 : id_or_name(&options);
	name = chosen ? strdup(chosen) : NULL;
	if (!name)
		cli_error("Failed in parsing snapshot param '%s'", text);
	image_options_deinit(&options);
	return name;
}

bool qimg_close(struct image *image, const char *name)
{
	int err = image_close(image);

	if (err)
		cli_error("%s: what was changed could not be made stable: %s",
			  name, err < 0 ? strerror(-err) : "corrupt");
	return err == 0;
}

const char *qimg_image_reason(const struct image *image, int err)
{
	const char *why = image ? image_error(image) : NULL;

	if ((err > 0 || err == -EIO) && why && *why)
		return why;
	return err > 0 ? "the image is corrupt" : strerror(-err);
}

int qimg_image_error(struct image *image, const char *name, int err,
		     const char *what)
{
	const char *why = image_error(image);

	if (why && *why)
		return cli_error("%s: %s: %s", name, what, why);
	return cli_error("%s: %s: %s", name, what,
			 err < 0 ? strerror(-err) : "the image is corrupt");
}
