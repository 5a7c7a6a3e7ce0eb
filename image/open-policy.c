/* SPDX-License-Identifier: Apache-2.0 */
/* Which files and addresses an image can make us open: those that are allowed. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/open.h"

/* As QEMU reads names: what stands before a ':' in the first part. */
static bool has_scheme(const char *name)
{
	return name[strcspn(name, ":/")] == ':';
}

/* @name as seen from the folder of the image that names it. */
static int join(const char *image_path, const char *name, char *ret_path)
{
	const char *slash = strrchr(image_path, '/');
	int folder = name[0] == '/' || !slash ? 0 : slash + 1 - image_path;
	int length = snprintf(ret_path, PATH_MAX, "%.*s%s", folder, image_path,
			      name);

	return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static bool is_within(const char *path, const char *allowed)
{
	char resolved[PATH_MAX];
	size_t length;

	if (!realpath(allowed, resolved))
		return false;
	length = strlen(resolved);
	if (length > 0 && resolved[length - 1] == '/')
		length--; /* the root */
	return strncmp(path, resolved, length) == 0 &&
	       (path[length] == '\0' || path[length] == '/');
}

static bool is_allowed(const char *path, const char *const *allowed)
{
	for (; allowed && *allowed; allowed++)
		if (is_within(path, *allowed))
			return true;
	return false;
}

int image_resolve(const char *image_path, const char *name,
		  const char *const *allowed, char **ret_path, char **ret_error)
{
	char joined[PATH_MAX];
	char *resolved;
	int err;

	if (name[0] == '\0' || has_scheme(name))
		return store_fail(ret_error, -EACCES,
				  "%s names the file \"%s\", which is not a "
				  "plain path",
				  image_path, name);
	err = join(image_path, name, joined);
	if (err < 0)
		return store_fail(ret_error, err,
				  "%s names a file with too long a path",
				  image_path);
	resolved = realpath(joined, NULL);
	if (!resolved)
		return store_fail(ret_error, -errno,
				  "%s names the file \"%s\": %s: %s",
				  image_path, name, joined, strerror(errno));
	if (!is_allowed(resolved, allowed)) {
		store_fail(ret_error, -EACCES,
			   "%s names the file \"%s\", which it may not have "
			   "opened; --allow-file=%s would allow it",
			   image_path, name, resolved);
		free(resolved);
		return -EACCES;
	}
	*ret_path = resolved;
	return 0;
}

/* "nbd:" allows "nbd://…" and "nbd+unix://…": all that nbd is spoken to. */
static bool is_scheme_of(const char *allowed, const char *address)
{
	size_t length = strcspn(allowed, ":");
	size_t scheme = strcspn(address, ":+");

	return allowed[length] == ':' && allowed[length + 1] == '\0' &&
	       length == scheme && strncmp(allowed, address, length) == 0;
}

static bool is_allowed_address(const struct image_remote *remote,
			       const char *address, const char *const *allowed)
{
	for (; allowed && *allowed; allowed++) {
		char *resolved = NULL;
		bool found = is_scheme_of(*allowed, address);

		if (!found && remote->is_address(*allowed) &&
		    remote->resolve(*allowed, false, &resolved, NULL) == 0)
			found = strcmp(resolved, address) == 0;
		free(resolved);
		if (found)
			return true;
	}
	return false;
}

int image_resolve_remote(const char *image_path, const char *name,
			 const struct image_remote *remote,
			 const char *const *allowed, char **ret_address,
			 char **ret_error)
{
	char *address = NULL, *why = NULL;
	int err = remote->resolve(name, true, &address, &why);

	if (err)
		store_fail(ret_error, err, "%s names the file %s", image_path,
			   why ? why : strerror(-err));
	else if (!is_allowed_address(remote, address, allowed))
		err = store_fail(
			ret_error, -EACCES,
			"%s names the address \"%s\", which it may not "
			"have opened; --allow-file=%s would allow it",
			image_path, name, address);
	free(why);
	if (err)
		free(address);
	else
		*ret_address = address;
	return err;
}
