/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/spec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/option.h"
#include "image/store-nbd.h"
#include "tools/qimg/format-options.h"
#include "tools/qimg/ova.h"
#include "tools/qimg/spec-faults.h"
#include "tools/qimg/spec-name.h"
#include "tools/qimg/spec-nbd.h"
#include "tools/qimg/spec-store.h"

enum {
	MAX_SECRETS = IMAGE_MAX_SECRETS,
	MAX_SECRET_DEPTH = 4, /* how far down a setting names a secret */
	MAX_SECRET_BYTES = 1 << 20,
};

/* The user's own tool opens what the user's images name. */
static const char *const everywhere[] = {"/", "nbd:", "nbds:", NULL};

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

/* What a name stands for, as settings; faults are told apart. */
static bool parse_name(const char *name, bool image_opts,
		       struct image_options *ret,
		       struct spec_faults *ret_faults)
{
	*ret = (struct image_options){0};
	if (spec_name_parse(name, image_opts, ret) &&
	    spec_faults_take(ret, name, ret_faults))
		return true;
	image_options_deinit(ret);
	return false;
}

static const char *first_of(const struct image_options *options,
			    const char *const *names)
{
	const char *value = NULL;

	for (; !value && *names; names++)
		value = image_options_string(options, *names, NULL);
	return value;
}

/* What is meant, a path or the address of an export; NULL: a message. */
static char *place_of(const struct image_options *options, const char *name)
{
	static const char *const names[] = {"file.filename", "filename",
					    "file.file.filename", NULL};
	static const char *const drivers[] = {"file.driver", "driver", NULL};
	const char *path = name, *driver = first_of(options, drivers);
	char *place, *error = NULL;

	if (spec_store_is_meant(options, name))
		return strdup(name);
	if (spec_nbd_is_meant(options))
		return spec_nbd_address(options, name);
	if (options->count)
		path = first_of(options, names);
	if (!path) {
		cli_error("%s: names no file: file.filename is missing", name);
		return NULL;
	}
	if (spec_name_path(path) != path)
		return spec_name_plain(spec_name_path(path));
	if ((driver && strcmp(driver, "file") == 0) ||
	    !nbd_remote.is_address(path))
		return spec_name_plain(path);
	if (nbd_remote.resolve(path, false, &place, &error) == 0)
		return place;
	cli_error("Could not open '%s': %s", name,
		  error ? error : "out of memory");
	free(error);
	return NULL;
}

char *qimg_path(const char *name, bool image_opts)
{
	struct image_options options;
	struct spec_faults faults;
	char *path;

	if (!parse_name(name, image_opts, &options, &faults))
		return NULL;
	path = place_of(&options, name);
	image_options_deinit(&options);
	return path;
}

bool qimg_is_remote(const char *path)
{
	return nbd_remote.is_address(path);
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

		found |= spec_nbd_is_meant(options) &&
			 spec_nbd_has_setting(setting);
		/* null: it has none */
		if (strcmp(setting, "backing") == 0)
			found = !*options->settings[i].value;
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
static bool choose_secrets(const struct image_options *options, bool no_key,
			   struct image_secret *chosen)
{
	bool named[MAX_SECRET_DEPTH] = {false};
	size_t count = 0;

	for (size_t i = 0; i < options->count; i++) {
		unsigned depth;
		const char *name =
			skip_backing(options->settings[i].name, &depth);

		if (depth >= MAX_SECRET_DEPTH || !names_secret(name) ||
		    named[depth] || no_key)
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
	if (err == -ELOOP && error) {
		cli_error("%s", error);
		free(error);
		return NULL;
	}
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

/* What format the settings or -f say; of a protocol's name none. */
static const char *format_of(const struct image_options *options,
			     const char *format)
{
	static const char *const drivers[] = {"driver", NULL};

	if (!format)
		format = first_of(options, drivers);
	if (!format)
		return "probe";
	if (strcmp(format, "file") == 0 || spec_store_is_driver(format) ||
	    (strcmp(format, "nbd") == 0 && spec_nbd_is_meant(options)))
		return options->count ? "raw" : "probe";
	return format;
}

/*
 * A disk in an archive is a slice of that. Only its reader may go on: the
 * archive's manifest knows how it was.
 */
static bool find_in_ova(struct image_open_request *request,
			const struct qimg_open *open, char **ret_archive,
			uint64_t *ret_capacity)
{
	struct ova_disk disk;
	char *error = NULL;
	int err;

	if (!open->read_only)
		return !cli_error("%s: a disk in an OVA can only be read",
				  open->name);
	err = ova_find(request->path, ret_archive, &disk, &error);
	if (err == 0 && open->verify_ova)
		err = ova_verify(*ret_archive, &disk.member, &error);
	if (err)
		cli_error("Could not open '%s': %s", open->name,
			  error ? error : strerror(-err));
	free(error);
	if (err)
		return false;
	request->path = *ret_archive;
	request->format = "vmdk";
	request->offset = disk.member.offset;
	request->length = disk.member.bytes;
	/* Nothing else is opened for it, whatever it names. */
	request->allowed = NULL;
	*ret_capacity = disk.capacity_bytes;
	return true;
}

/* "ova" is no format: what is in it has one. */
static bool is_in_ova(const struct image_open_request *request)
{
	return strcmp(request->format, "ova") == 0 ||
	       (strcmp(request->format, "probe") == 0 && !request->offset &&
		!request->length && ova_is_name(request->path) &&
		!nbd_remote.is_address(request->path));
}

/* Who imports the archive makes a disk as large as the descriptor says. */
static void warn_of_capacity(const char *name, uint64_t said, uint64_t has)
{
	cli_warning(
		"%s: the archive's descriptor says that the disk has %" PRIu64
		" bytes, and it has %" PRIu64,
		name, said, has);
}

static struct image *open_place(struct image_open_request *request,
				const struct image_options *options,
				const struct spec_faults *faults,
				const struct qimg_open *open)
{
	char *place = place_of(options, open->name);
	struct image *image = NULL;
	char *archive = NULL;
	uint64_t capacity = 0;

	if (!place)
		return NULL;
	request->path = place;
	if (is_in_ova(request) &&
	    !find_in_ova(request, open, &archive, &capacity)) {
		free(archive);
		free(place);
		return NULL;
	}
	if (strcmp(request->format, "probe") != 0 &&
	    !image_find_format(request->format))
		cli_error("Unknown driver '%s'%s", request->format,
			  format_nearest(request->format));
	else if (spec_nbd_timeouts(options, open->name, request) &&
		 spec_store_open(options, faults, open->name, request))
		image = open_request(request, open);
	if (image && faults->count)
		store_arm_faults(request->store);
	if (image && capacity && capacity != image->size_bytes)
		warn_of_capacity(open->name, capacity, image->size_bytes);
	free(archive);
	free(place);
	return image;
}

struct image *qimg_open(const struct qimg_open *open)
{
	struct image_secret chosen[MAX_SECRETS * MAX_SECRET_DEPTH + 1];
	struct image_options options;
	struct spec_faults faults;
	struct image_open_request request = {
		.read_only = open->read_only,
		.direct = open->cache.direct,
		.unfinished = open->unfinished,
		.no_backing = open->no_backing,
		.writable_depth = open->writable_depth,
		.allowed = everywhere,
		.remote = &nbd_remote,
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
	if (!parse_name(open->name, open->image_opts, &options, &faults))
		return NULL;
	if (open->snapshot) {
		request.snapshot = open->snapshot->any;
		request.snapshot_id = open->snapshot->id;
		request.snapshot_name = open->snapshot->name;
	}
	if (check_settings(&options, open->name) &&
	    choose_secrets(&options, open->no_key, chosen)) {
		request.format = format_of(&options, open->format);
		request.offset = image_options_number(&options, "offset", 0);
		request.length = image_options_number(&options, "size", 0);
		request.direct |=
			image_options_bool(&options, "cache.direct", false);
		request.no_backing |=
			image_options_string(&options, "backing", NULL) != NULL;
		image = open_place(&request, &options, &faults, open);
	}
	image_options_deinit(&options);
	return image;
}

static bool check_snapshot(const struct image_options *options)
{
	for (size_t i = 0; i < options->count; i++) {
		const char *name = options->settings[i].name;

		if (strcmp(name, "snapshot.id") == 0 ||
		    strcmp(name, "snapshot.name") == 0)
			continue;
		cli_error("Invalid parameter '%s'", name);
		return false;
	}
	return true;
}

bool qimg_snapshot_parse(const char *text, struct qimg_snapshot *ret)
{
	*ret = (struct qimg_snapshot){0};
	if (!text || strncmp(text, "snapshot.", 9) != 0) {
		ret->any = text;
		return true;
	}
	if (image_options_parse(&ret->options, text, NULL) ||
	    !check_snapshot(&ret->options)) {
		cli_error("Failed in parsing snapshot param '%s'", text);
		qimg_snapshot_deinit(ret);
		return false;
	}
	ret->id = image_options_string(&ret->options, "snapshot.id", NULL);
	ret->name = image_options_string(&ret->options, "snapshot.name", NULL);
	return true;
}

void qimg_snapshot_deinit(struct qimg_snapshot *snapshot)
{
	image_options_deinit(&snapshot->options);
	*snapshot = (struct qimg_snapshot){0};
}

bool qimg_close(struct image *image, const char *name)
{
	int err = image_close(image);

	if (err)
		cli_error("%s: what was changed could not be made stable: %s",
			  name, err < 0 ? strerror(-err) : "corrupt");
	return err == 0;
}

int qimg_end(struct image *image, const char *name, int status)
{
	if (status == 0)
		return qimg_close(image, name) ? 0 : 1;
	(void)image_close(image);
	return status;
}

/* What a store of the chain has to say of it. */
static const char *reason_of_store(const struct image *image)
{
	for (; image; image = image->backing)
		for (size_t i = 0; i < image_store_count(image); i++) {
			struct store *store = image_store_at(image, i);

			if (store && store_reason(store))
				return store_reason(store);
		}
	return NULL;
}

const char *qimg_image_reason(const struct image *image, int err)
{
	const char *why = image ? image_error(image) : NULL;
	const char *reason = err < 0 ? reason_of_store(image) : NULL;

	if (reason)
		return reason;
	if ((err > 0 || err == -EIO) && why && *why)
		return why;
	return err > 0 ? "the image is corrupt" : strerror(-err);
}

const char *qimg_image_words(const struct image *image, int err)
{
	const char *why = image_error(image);

	if (why && *why)
		return why;
	return err < 0 ? strerror(-err) : "the image is corrupt";
}

int qimg_image_error(struct image *image, const char *name, int err,
		     const char *what)
{
	const char *why = image_error(image);
	const char *reason = err < 0 ? reason_of_store(image) : NULL;

	if (reason)
		why = without_path(reason, name);
	if (!why || !*why)
		why = qimg_image_words(image, err);
	return cli_error("%s: %s: %s", name, what, why);
}
