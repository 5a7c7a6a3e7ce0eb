/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tools/qimg/inspect.h"

/* Devices, other processes, the system's own files. */
static const char *const system_folders[] = {
	"/dev", "/proc", "/sys", "/etc", "/run", "/root", "/boot", "/var/run",
};

static bool is_within(const char *path, const char *folder)
{
	size_t length = strlen(folder);

	if (length == 1)
		return true; /* the root */
	return strncmp(path, folder, length) == 0 &&
	       (path[length] == '\0' || path[length] == '/');
}

/* Takes "//", "/./" and "/../" out of an absolute path, by words alone. */
static void normalise(char *path)
{
	char *to = path;

	for (const char *from = path; *from;) {
		size_t length;

		from += strspn(from, "/");
		length = strcspn(from, "/");
		if (length == 2 && strncmp(from, "..", 2) == 0) {
			while (to > path && *--to != '/')
				;
		} else if (length && !(length == 1 && *from == '.')) {
			*to++ = '/';
			memmove(to, from, length);
			to += length;
		}
		from += length;
	}
	if (to == path)
		*to++ = '/';
	*to = '\0';
}

/* The folder of the image itself, which is open already; to be freed. */
static char *folder_of(const char *image_path)
{
	char *real = realpath(image_path, NULL);
	char *slash = real ? strrchr(real, '/') : NULL;

	if (slash)
		slash[slash == real] = '\0';
	return real;
}

static void judge_path(json_t *reference, const char *name, const char *folder,
		       const char *image_path)
{
	char path[2 * PATH_MAX], itself[2 * PATH_MAX];
	const char *slash = strrchr(image_path, '/');
	bool in_system = false;

	if (snprintf(path, sizeof(path), "%s/%s", *name == '/' ? "" : folder,
		     name) >= (int)sizeof(path))
		return;
	normalise(path);
	snprintf(itself, sizeof(itself), "%s/%s", folder,
		 slash ? slash + 1 : image_path);
	normalise(itself);
	for (size_t i = 0; i < ARRAY_SIZE(system_folders); i++)
		in_system |= is_within(path, system_folders[i]);
	json_object_set_new(reference, "path", json_string(path));
	json_object_set_new(reference, "absolute", json_boolean(*name == '/'));
	json_object_set_new(reference, "outside-folder",
			    json_boolean(!is_within(path, folder)));
	json_object_set_new(reference, "system", json_boolean(in_system));
	json_object_set_new(reference, "itself",
			    json_boolean(strcmp(path, itself) == 0));
}

void inspect_name(json_t *reference, const char *image_path)
{
	const char *name = inspect_string(reference, "name");
	/* As QEMU reads names: what stands before a ':' in the first part. */
	bool protocol = name[strcspn(name, ":/")] == ':';
	char *folder = folder_of(image_path);

	json_object_set_new(reference, "protocol", json_boolean(protocol));
	if (!protocol && *name && folder)
		judge_path(reference, name, folder, image_path);
	free(folder);
}
