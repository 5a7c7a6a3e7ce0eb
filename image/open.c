/* SPDX-License-Identifier: Apache-2.0 */
#include "image/open.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "image/manage.h"

static const struct image_format *formats[IMAGE_MAX_FORMATS] = {&raw_format};
static size_t format_count = 1;

void image_register_format(const struct image_format *format)
{
	if (image_find_format(format->name))
		return;
	assert(format_count < ARRAY_SIZE(formats));
	formats[format_count++] = format;
}

const struct image_format *image_find_format(const char *name)
{
	for (size_t i = 0; i < format_count; i++)
		if (strcmp(formats[i]->name, name) == 0)
			return formats[i];
	return NULL;
}

void image_format_names(const char *ret_names[IMAGE_MAX_FORMATS + 1])
{
	for (size_t i = 0; i < format_count; i++)
		ret_names[i] = formats[i]->name;
	ret_names[format_count] = NULL;
}

const struct image_format *image_probe(const void *head, size_t size)
{
	for (size_t i = 0; i < format_count; i++)
		if (formats[i]->probe(head, size))
			return formats[i];
	return &raw_format;
}

/* One image of the chain on its way to being opened. */
struct link {
	const struct image_open_request *request;
	const char *path;
	const char *format; /* as image_open_request.format */
	bool read_only;
	unsigned depth;
	struct image *top;   /* of the chain; NULL: it is this one */
	struct image *above; /* that names it; NULL: the top */
};

static int read_head(struct store *store, void *head, size_t *ret_size,
		     char **ret_error)
{
	size_t size = MIN(store->size_bytes, (uint64_t)IMAGE_PROBE_BYTES);
	int err = store_read(store, 0, head, size);

	if (err < 0 && store_reason(store))
		return store_fail(ret_error, err, "%s", store_reason(store));
	if (err < 0)
		return store_fail(ret_error, err, "%s: cannot be read: %s",
				  store->name, strerror(-err));
	*ret_size = size;
	return 0;
}

static void set_hint(const char *path, const struct image_format *guess,
		     char **ret_hint)
{
	if (guess == &raw_format || !ret_hint)
		return;
	if (asprintf(ret_hint,
		     "%s is taken as raw but begins like a %s image; if it is "
		     "one, say --format=%s",
		     path, guess->name, guess->name) < 0)
		*ret_hint = NULL;
}

static int choose_format(const struct link *link, struct store *store,
			 const struct image_format **ret_format,
			 char **ret_error, char **ret_hint)
{
	char head[IMAGE_PROBE_BYTES];
	size_t size = 0;
	int err;

	if (link->format && strcmp(link->format, "probe") != 0) {
		*ret_format = image_find_format(link->format);
		if (*ret_format)
			return 0;
		return store_fail(ret_error, -EINVAL,
				  "%s: there is no format \"%s\"", link->path,
				  link->format);
	}
	err = read_head(store, head, &size, ret_error);
	if (err < 0)
		return err;
	*ret_format = image_probe(head, size);
	if (!link->format) {
		set_hint(link->path, *ret_format, ret_hint);
		*ret_format = &raw_format;
	}
	return 0;
}

/* Those of the image at @depth; ends with one without data. */
static void choose_secrets(const struct image_secret *secrets, unsigned depth,
			   struct image_secret ret[IMAGE_MAX_SECRETS + 1])
{
	unsigned count = 0;

	for (; secrets && secrets->data && count < IMAGE_MAX_SECRETS; secrets++)
		if (secrets->depth == depth)
			ret[count++] = *secrets;
	ret[count] = (struct image_secret){0};
}

static bool is_file(const struct store *store, const struct stat *file)
{
	struct stat other;

	return fstat(store->fd, &other) == 0 && other.st_dev == file->st_dev &&
	       other.st_ino == file->st_ino;
}

static bool lies_in(const struct image *image, const struct stat *file)
{
	for (size_t i = 0; i < image_store_count(image); i++) {
		const struct store *store = image_store_at(image, i);

		if (store && is_file(store, file))
			return true;
	}
	return false;
}

/* True if an image of the chain, or its data, lies in the file at @path. */
static bool is_in_chain(const struct image *top, const char *path)
{
	struct stat file;

	for (const struct image *i = top; i; i = i->backing)
		if (i->store->is_remote && strcmp(i->store->name, path) == 0)
			return true;

	if (stat(path, &file) < 0)
		return false;
	for (; top; top = top->backing)
		if (lies_in(top, &file))
			return true;
	return false;
}

static bool is_address(const struct image_open_request *request,
		       const char *name)
{
	return request->remote && request->remote->is_address(name);
}

/*
 * Where the file lies that @image names as @name. A server could name any file
 * of ours and be handed its content.
 */
static int resolve_file(const struct image_open_request *request,
			const struct image *image, const char *name,
			char **ret_path, char **ret_error)
{
	if (image->store->is_remote)
		return store_fail(ret_error, -EACCES,
				  "%s lies on a server and names the file "
				  "\"%s\", which is not opened for it",
				  image->store->name, name);
	return image_resolve(image->store->name, name, request->allowed,
			     ret_path, ret_error);
}

/* See image_open_request.unfinished. */
static int resolve_data(const struct link *link, const struct image *image,
			const char *name, char **ret_path, char **ret_error)
{
	const char *suffix = link->above ? NULL : link->request->unfinished;
	char *made;
	int err;

	if (!suffix)
		return resolve_file(link->request, image, name, ret_path,
				    ret_error);
	if (asprintf(&made, "%s%s", name, suffix) < 0)
		return -ENOMEM;
	err = resolve_file(link->request, image, made, ret_path, NULL);
	free(made);
	return err == -ENOENT ? resolve_file(link->request, image, name,
					     ret_path, ret_error)
			      : err;
}

/* Opens a file that @image names as a place of its data. */
static int open_file(const struct link *link, struct image *image, size_t index,
		     char **ret_error)
{
	const struct image_file *file = &image->files[index];
	const struct store_file_options options = {
		.read_only = image->read_only || file->read_only,
		.direct = link->request->direct,
		.no_lock = link->request->share,
		.no_links = true,
	};
	struct store *store = NULL;
	char *path = NULL;
	int err = resolve_data(link, image, file->name, &path, ret_error);

	if (err < 0)
		return err;
	if (is_in_chain(image, path) || is_in_chain(link->top, path))
		err = store_fail(ret_error, -ELOOP,
				 "%s names the data file \"%s\", in which an "
				 "image of the chain lies",
				 image->store->name, file->name);
	if (err == 0)
		err = store_open_file(path, &options, &store, ret_error);
	if (err == 0)
		err = image_attach(image, index, store, ret_error);
	if (err != 0)
		store_free(store);
	free(path);
	return err;
}

/* See struct image_file: an image may do without some. */
static int open_any_file(const struct link *link, struct image *image,
			 size_t index, char **ret_error)
{
	struct image_file *file = &image->files[index];
	char *error = NULL;
	int err;

	if (!file->optional)
		return open_file(link, image, index, ret_error);
	err = open_file(link, image, index, &error);
	if (err == 0)
		return 0;
	file->missing = error ? error : strdup("it cannot be opened");
	return file->missing ? 0 : -ENOMEM;
}

static int open_remote(const struct link *link, struct store **ret_store,
		       char **ret_error)
{
	const struct image_open_request *request = link->request;
	const struct image_remote_options options = {
		.read_only = link->read_only,
		.open_timeout_ns = request->open_timeout_ns,
		.reply_timeout_ns = request->reply_timeout_ns,
	};
	char *address = NULL;
	int err;

	if (!link->above && (request->offset || request->length))
		return store_fail(ret_error, -ENOTSUP,
				  "%s: no slice can be had of an export",
				  link->path);
	/* What an image names was resolved and judged. */
	if (link->above)
		return request->remote->open(link->path, &options, ret_store,
					     ret_error);
	err = request->remote->resolve(link->path, false, &address, ret_error);
	if (err == 0)
		err = request->remote->open(address, &options, ret_store,
					    ret_error);
	free(address);
	return err;
}

static int open_store(const struct link *link, struct store **ret_store,
		      char **ret_error)
{
	const struct image_open_request *request = link->request;
	const struct store_file_options file = {
		.read_only = link->read_only,
		.direct = request->direct,
		.offset = link->above ? 0 : request->offset,
		.length = link->above ? 0 : request->length,
		.no_lock = request->share,
		/* Links were resolved and judged: none may come in between. */
		.no_links = link->above != NULL,
	};

	if (is_address(request, link->path))
		return open_remote(link, ret_store, ret_error);
	return store_open_file(link->path, &file, ret_store, ret_error);
}

static int open_link(const struct link *link, struct image **ret_image,
		     char **ret_error, char **ret_hint)
{
	const struct image_open_request *request = link->request;
	struct image_secret secrets[IMAGE_MAX_SECRETS + 1];
	const struct image_open_options options = {
		.read_only = link->read_only,
		.cache_bytes = request->cache_bytes,
		.check = request->check && !link->above,
		.snapshot = link->above ? NULL : request->snapshot,
		.snapshot_id = link->above ? NULL : request->snapshot_id,
		.snapshot_name = link->above ? NULL : request->snapshot_name,
		.secrets = secrets,
		.no_key = request->no_key,
	};
	const struct image_format *format;
	struct store *store = link->above ? NULL : request->store;
	int err = 0;

	choose_secrets(request->secrets, link->depth, secrets);
	if (!store)
		err = open_store(link, &store, ret_error);
	if (err < 0)
		return err;
	err = choose_format(link, store, &format, ret_error, ret_hint);
	if (err == 0 && image_wants_snapshot(&options) &&
	    (!format->manage || !format->manage->snapshot_list))
		err = store_fail(ret_error, -ENOTSUP,
				 "%s: %s images have no snapshots", link->path,
				 format->name);
	if (err == 0)
		err = format->open(store, &options, ret_image, ret_error);
	if (err != 0) {
		if (store_reason(store))
			store_fail(ret_error, err, "%s", store_reason(store));
		store_free(store);
		return store_fail(ret_error, err, "%s: cannot be opened%s%s",
				  link->path, err < 0 ? ": " : "",
				  err < 0 ? strerror(-err) : "");
	}
	for (size_t i = 0; i < (*ret_image)->file_count && err == 0; i++)
		err = open_any_file(link, *ret_image, i, ret_error);
	if (err != 0) {
		(*ret_image)->format->close(*ret_image);
		*ret_image = NULL;
	}
	return err;
}

/* The format of @image's backing file: what it says, or a guess if allowed. */
static int backing_format(const struct image_open_request *request,
			  const struct image *image, const char **ret_format,
			  char **ret_error)
{
	bool may_guess =
		request->format && strcmp(request->format, "probe") == 0;

	*ret_format = image->backing_format;
	if (*ret_format && strcmp(*ret_format, "probe") != 0)
		return 0;
	*ret_format = "probe";
	if (may_guess)
		return 0;
	return store_fail(ret_error, -EINVAL,
			  "%s does not say which format its backing file "
			  "\"%s\" has; --format=probe would let it be guessed",
			  image->store->name, image->backing_name);
}

static int resolve_backing(const struct image_open_request *request,
			   const struct image *above, char **ret_path,
			   char **ret_error)
{
	if (is_address(request, above->backing_name))
		return image_resolve_remote(
			above->store->name, above->backing_name,
			request->remote, request->allowed, ret_path, ret_error);
	return resolve_file(request, above, above->backing_name, ret_path,
			    ret_error);
}

/* Opens what @above, the last of the chain that begins with @top, names. */
static int open_backing(const struct image_open_request *request,
			struct image *top, struct image *above, unsigned depth,
			char **ret_error)
{
	struct link link = {.request = request,
			    .read_only = depth != request->writable_depth,
			    .depth = depth,
			    .top = top,
			    .above = above};
	char *path = NULL;
	int err;

	err = backing_format(request, above, &link.format, ret_error);
	if (err == 0)
		err = resolve_backing(request, above, &path, ret_error);
	if (err < 0)
		return err;
	link.path = path;
	if (is_in_chain(top, path))
		err = store_fail(ret_error, -ELOOP,
				 "Backing file '%s' creates an infinite loop.",
				 path);
	else
		err = open_link(&link, &above->backing, ret_error, NULL);
	free(path);
	return err;
}

static int open_chain(const struct image_open_request *request,
		      struct image *top, char **ret_error)
{
	struct image *last = top;

	for (unsigned count = 1; last->backing_name; count++) {
		int err;

		if (count == IMAGE_MAX_CHAIN)
			return store_fail(ret_error, -ELOOP,
					  "%s: the chain of backing files has "
					  "more than %u images",
					  last->store->name, IMAGE_MAX_CHAIN);
		err = open_backing(request, top, last, count, ret_error);
		if (err == 0 && last->format->check_backing)
			err = last->format->check_backing(last, ret_error);
		if (err != 0)
			return err;
		last = last->backing;
	}
	return 0;
}

int image_open(const struct image_open_request *request,
	       struct image **ret_image, char **ret_error, char **ret_hint)
{
	const struct link link = {
		.request = request,
		.path = request->path,
		.format = request->format,
		.read_only = request->read_only,
	};
	struct image *image;
	int err;

	err = open_link(&link, &image, ret_error, ret_hint);
	if (err != 0)
		return err;
	if (!request->no_backing)
		err = open_chain(request, image, ret_error);
	if (err != 0) {
		image_close(image);
		return err;
	}
	*ret_image = image;
	return 0;
}

static int run_step(struct image *image, const struct image_step *step)
{
	switch (step->kind) {
	case IMAGE_STEP_WRITE:
		return store_write(step->store, step->offset, step->data,
				   step->length);
	case IMAGE_STEP_BARRIER:
		return image_sync_stores(image);
	case IMAGE_STEP_RESIZE:
		return store_resize(step->store, step->offset);
	case IMAGE_STEP_PUNCH:
		(void)store_punch(step->store, step->offset, step->length);
		return 0;
	}
	return -EINVAL;
}

static int flush_once(struct image *image, bool *ret_again)
{
	struct image_plan plan;
	int err = image_flush_begin(image, &plan);

	if (err != 0)
		return err == IMAGE_E_BUSY ? -EBUSY : err;
	for (size_t i = 0; i < plan.count && err == 0; i++)
		err = run_step(image, &plan.steps[i]);
	image_flush_end(image, &plan, err);
	*ret_again = plan.again;
	if (err == 0)
		image_reclaim(image, image_flushes(image));
	return err;
}

int image_flush_sync(struct image *image)
{
	bool again = false;
	int err = flush_once(image, &again);

	return err && again ? flush_once(image, &again) : err;
}

int image_close(struct image *image)
{
	int err = 0;

	while (image) {
		struct image *backing = image->backing;

		if (!image->read_only && image_is_dirty(image)) {
			int flushed = image_flush_sync(image);

			err = err ? err : flushed;
		}
		image->format->close(image);
		image = backing;
	}
	return err;
}
