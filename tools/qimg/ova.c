/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/ova.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "tools/qimg/ova-private.h"
#include "tools/qimg/ovf.h"

static bool ends_with(const char *name, const char *end)
{
	size_t length = strlen(name), rest = strlen(end);

	return length > rest && strcasecmp(name + length - rest, end) == 0;
}

bool ova_is_name(const char *path)
{
	const char *inner = strcasestr(path, ".ova/");
	struct stat st;

	return ends_with(path, ".ova") || (inner && stat(path, &st) < 0);
}

/* "ARCHIVE.ova/DISK" in two; *@ret_disk, in @path, is NULL if there is none. */
static char *split(const char *path, const char **ret_disk)
{
	struct stat st;

	*ret_disk = NULL;
	if (stat(path, &st) == 0)
		return strdup(path);
	for (const char *at = strcasestr(path, ".ova/"); at;
	     at = strcasestr(at + 1, ".ova/")) {
		char *archive = strndup(path, (size_t)(at + 4 - path));

		if (!archive)
			return NULL;
		if (stat(archive, &st) == 0 && S_ISREG(st.st_mode)) {
			*ret_disk = at + 5;
			return archive;
		}
		free(archive);
	}
	return strdup(path);
}

/* --- Members ------------------------------------------------------------ */

int ova_fail(char **ret_error, const char *archive, int err)
{
	return store_fail(ret_error, err, "%s: %s", archive,
			  err == -EBADMSG ? "it is no whole tar archive"
					  : strerror(-err));
}

static const char *without_dot(const char *name)
{
	return strncmp(name, "./", 2) == 0 ? name + 2 : name;
}

int ova_search(struct store *store, struct ova_search *s, char **ret_error)
{
	struct tar_member *m = calloc(1, sizeof(*m));
	uint64_t at = 0;
	int err = m ? 0 : -ENOMEM;

	for (unsigned i = 0; i < TAR_MAX_MEMBERS && err == 0; i++) {
		err = tar_next(store, &at, m);
		if (err)
			break;
		if (i == 0)
			s->first = *m;
		if (s->wanted ? strcmp(without_dot(m->name),
				       without_dot(s->wanted)) == 0
			      : s->end && ends_with(m->name, s->end)) {
			if (s->count++ == 0)
				s->found = *m;
		}
	}
	free(m);
	return err < 0 ? ova_fail(ret_error, store->name, err) : 0;
}

int ova_open_archive(const char *path, struct store **ret, char **ret_error)
{
	const struct store_file_options options = {
		.read_only = true,
		.no_lock = true,
	};

	return store_open_file(path, &options, ret, ret_error);
}

int ova_read_text(struct store *store, const struct tar_member *m, size_t most,
		  char **ret_text, char **ret_error)
{
	char *text;
	int err;

	if (m->bytes > most)
		return store_fail(ret_error, -EFBIG,
				  "%s: %s has more than %zu bytes", store->name,
				  m->name, most);
	text = calloc(1, m->bytes + 1);
	if (!text)
		return -ENOMEM;
	err = store_read(store, m->offset, text, m->bytes);
	if (err)
		free(text);
	else
		*ret_text = text;
	return err;
}

/* --- The descriptor ----------------------------------------------------- */

/* Of the archive's first file. */
static int read_descriptor(struct store *store, const struct tar_member *first,
			   struct ovf *ret, char **ret_error)
{
	char *text = NULL, *error = NULL;
	int err;

	if (!ends_with(first->name, ".ovf"))
		return store_fail(ret_error, -EINVAL,
				  "%s: it is no OVA: its first file is no OVF "
				  "descriptor",
				  store->name);
	err = ova_read_text(store, first, OVF_MAX_BYTES, &text, ret_error);
	if (err == 0)
		err = ovf_parse(text, first->bytes, ret, &error);
	if (error)
		store_fail(ret_error, err, "%s: %s: %s", store->name,
			   first->name, error);
	free(error);
	free(text);
	return err;
}

/* The only one that lies in a file. */
static int only_disk(struct store *store, const struct ovf *ovf,
		     const struct ovf_disk **ret, char **ret_error)
{
	const struct ovf_disk *only = NULL;

	for (size_t i = 0; i < ovf->count; i++) {
		if (!ovf->disks[i].file)
			continue;
		if (only)
			return store_fail(ret_error, -EINVAL,
					  "%s: there are several disks in it; "
					  "say which one: %s/%s",
					  store->name, store->name, only->file);
		only = &ovf->disks[i];
	}
	if (!only)
		return store_fail(ret_error, -ENOENT,
				  "%s: its descriptor knows of no disk in it; "
				  "one that is there is named %s/FILE",
				  store->name, store->name);
	*ret = only;
	return 0;
}

/* By its file's name, or its id; NULL: the descriptor does not know it. */
static const struct ovf_disk *find_disk(const struct ovf *ovf,
					const char *wanted)
{
	for (size_t i = 0; i < ovf->count; i++)
		if (ovf->disks[i].file &&
		    strcmp(without_dot(ovf->disks[i].file),
			   without_dot(wanted)) == 0)
			return &ovf->disks[i];
	for (size_t i = 0; i < ovf->count; i++)
		if (ovf->disks[i].file && strcmp(ovf->disks[i].id, wanted) == 0)
			return &ovf->disks[i];
	return NULL;
}

static int check_disk(struct store *store, const struct ovf_disk *disk,
		      char **ret_error)
{
	if (disk->is_compressed)
		return store_fail(ret_error, -ENOTSUP,
				  "%s: its disk %s is compressed as a whole; "
				  "take it out of the archive and unpack it",
				  store->name, disk->file);
	if (disk->is_chunked)
		return store_fail(ret_error, -ENOTSUP,
				  "%s: its disk %s lies in several files; take "
				  "them out of the archive and join them",
				  store->name, disk->file);
	return 0;
}

/* @s->wanted becomes the name of its file; and what is known of its size. */
static int choose_disk(struct store *store, const struct ovf *ovf,
		       struct ova_search *s, uint64_t *ret_capacity,
		       char **ret_error)
{
	const struct ovf_disk *disk = NULL;
	int err = 0;

	if (s->wanted)
		disk = find_disk(ovf, s->wanted);
	else
		err = only_disk(store, ovf, &disk, ret_error);
	if (err || !disk)
		return err;
	s->wanted = disk->file;
	*ret_capacity = disk->capacity_bytes;
	return check_disk(store, disk, ret_error);
}

/* --- The disk ----------------------------------------------------------- */

static int check_found(struct store *store, const struct ova_search *s,
		       char **ret_error)
{
	uint8_t magic[4] = {0};
	int err = 0;

	if (s->count == 0)
		return store_fail(ret_error, -ENOENT,
				  "%s: there is no disk %s in it", store->name,
				  s->wanted);
	if (s->count > 1)
		return store_fail(ret_error, -EINVAL,
				  "%s: there are two files %s in it",
				  store->name, s->wanted);
	if (s->found.bytes >= sizeof(magic))
		err = store_read(store, s->found.offset, magic, sizeof(magic));
	if (err == 0 && memcmp(magic, "KDMV", 4) != 0)
		return store_fail(ret_error, -EINVAL,
				  "%s: its disk %s is no sparse VMDK disk",
				  store->name, s->found.name);
	return err;
}

static int find(struct store *store, struct ova_search *s, struct ova_disk *ret,
		char **ret_error)
{
	struct ovf ovf = {0};
	uint64_t capacity = 0;
	int err = ova_search(store, s, ret_error);

	if (err == 0)
		err = read_descriptor(store, &s->first, &ovf, ret_error);
	if (err == 0)
		err = choose_disk(store, &ovf, s, &capacity, ret_error);
	s->count = 0;
	if (err == 0)
		err = ova_search(store, s, ret_error);
	if (err == 0)
		err = check_found(store, s, ret_error);
	if (err == 0)
		*ret = (struct ova_disk){
			.member = s->found,
			.capacity_bytes = capacity,
		};
	ovf_deinit(&ovf);
	return err;
}

int ova_find(const char *path, char **ret_archive, struct ova_disk *ret,
	     char **ret_error)
{
	struct ova_search *s = calloc(1, sizeof(*s));
	struct store *store = NULL;
	char *archive = NULL;
	int err = -ENOMEM;

	if (s)
		archive = split(path, &s->wanted);
	if (archive)
		err = ova_open_archive(archive, &store, ret_error);
	if (err == 0)
		err = find(store, s, ret, ret_error);
	if (err == 0)
		*ret_archive = archive;
	else
		free(archive);
	store_free(store);
	free(s);
	return err;
}
