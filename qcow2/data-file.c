/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/data-file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* @name as seen from the folder of @image; to be freed. */
static char *beside(const char *image, const char *name)
{
	const char *slash = strrchr(image, '/');
	char *path;

	if (*name == '/' || !slash)
		return strdup(name);
	if (asprintf(&path, "%.*s%s", (int)(slash + 1 - image), image, name) <
	    0)
		return NULL;
	return path;
}

static bool is_same(const char *a, const char *b)
{
	struct stat x, y;

	if (strcmp(a, b) == 0)
		return true;
	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* The image is not there yet if it is made under another name. */
static int check_others(const struct image_create_request *request,
			const struct qcow2_create_options *o, const char *path,
			char **ret_error)
{
	char *backing;
	bool same;

	if (is_same(path, request->path) || is_same(path, request->store->name))
		return store_fail(ret_error, -EINVAL,
				  "qcow2: data_file names the image itself");
	if (!o->backing_name)
		return 0;
	backing = beside(request->path, o->backing_name);
	if (!backing)
		return -ENOMEM;
	same = is_same(path, backing);
	free(backing);
	return same ? store_fail(ret_error, -EINVAL,
				 "qcow2: data_file names the backing file")
		    : 0;
}

int qcow2_data_file_make(const struct image_create_request *request,
			 const struct qcow2_create_options *o,
			 struct store **ret_store, char **ret_error)
{
	struct store *store = NULL;
	char *path;
	int err;

	if (strchr(o->data_name, ':'))
		return store_fail(ret_error, -EINVAL,
				  "qcow2: data_file wants a plain path, not "
				  "\"%s\"",
				  o->data_name);
	path = beside(request->path, o->data_name);
	if (!path)
		return -ENOMEM;
	err = check_others(request, o, path, ret_error);
	if (err == 0)
		err = store_create_file(path, true, &store, ret_error);
	if (err == 0)
		err = store_resize(store, o->size_bytes);
	if (err == 0)
		err = store_flush(store);
	free(path);
	if (err == 0)
		*ret_store = store;
	else
		store_free(store);
	return err;
}
