/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/ova.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/bytes.h"

enum {
	MAX_MANIFEST_BYTES = 1 << 20,
	CHUNK_BYTES = 1 << 20,
};

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

static int fail(char **ret_error, const char *archive, int err)
{
	return store_fail(ret_error, err, "%s: %s", archive,
			  err == -EBADMSG ? "it is no whole tar archive"
					  : strerror(-err));
}

/* @wanted by name, or the one whose name ends so. */
struct search {
	const char *wanted; /* or NULL */
	const char *end;
	struct tar_member found;
	unsigned count;
	bool is_ova; /* begins with a descriptor */
};

static int search(struct store *store, struct search *s, char **ret_error)
{
	struct tar_member *m = calloc(1, sizeof(*m));
	uint64_t at = 0;
	int err = m ? 0 : -ENOMEM;

	for (unsigned i = 0; i < TAR_MAX_MEMBERS && err == 0; i++) {
		err = tar_next(store, &at, m);
		if (err)
			break;
		if (i == 0)
			s->is_ova = ends_with(m->name, ".ovf");
		if (s->wanted ? strcmp(m->name, s->wanted) == 0
			      : ends_with(m->name, s->end)) {
			if (s->count++ == 0)
				s->found = *m;
		}
	}
	free(m);
	return err < 0 ? fail(ret_error, store->name, err) : 0;
}

static int open_archive(const char *path, struct store **ret, char **ret_error)
{
	const struct store_file_options options = {
		.read_only = true,
		.no_lock = true,
	};

	return store_open_file(path, &options, ret, ret_error);
}

static int check_found(struct store *store, const struct search *s,
		       char **ret_error)
{
	uint8_t magic[4] = {0};
	int err = 0;

	if (!s->is_ova)
		return store_fail(ret_error, -EINVAL,
				  "%s: it is no OVA: its first file is no OVF "
				  "descriptor",
				  store->name);
	if (s->count == 0)
		return store_fail(ret_error, -ENOENT,
				  "%s: there is no disk %s in it", store->name,
				  s->wanted ? s->wanted : "(*.vmdk)");
	if (s->count > 1)
		return store_fail(
			ret_error, -EINVAL,
			"%s: there are several disks in it; say which "
			"one: %s/%s",
			store->name, store->name, s->found.name);
	if (s->found.bytes >= sizeof(magic))
		err = store_read(store, s->found.offset, magic, sizeof(magic));
	if (err == 0 && memcmp(magic, "KDMV", 4) != 0)
		return store_fail(ret_error, -EINVAL,
				  "%s: its disk %s is no sparse VMDK disk",
				  store->name, s->found.name);
	return err;
}

int ova_find(const char *path, char **ret_archive, struct tar_member *ret,
	     char **ret_error)
{
	struct search *s = calloc(1, sizeof(*s));
	struct store *store = NULL;
	char *archive = NULL;
	int err = -ENOMEM;

	if (s)
		archive = split(path, &s->wanted);
	if (archive) {
		s->end = ".vmdk";
		err = open_archive(archive, &store, ret_error);
	}
	if (err == 0)
		err = search(store, s, ret_error);
	if (err == 0)
		err = check_found(store, s, ret_error);
	if (err == 0) {
		*ret = s->found;
		*ret_archive = archive;
	} else {
		free(archive);
	}
	store_free(store);
	free(s);
	return err;
}

/* --- The manifest ------------------------------------------------------- */

/* "SHA256(NAME)= DIGEST": false for a line of another file. */
static bool parse_line(const char *line, const char *name,
		       const EVP_MD **ret_kind, const char **ret_digest)
{
	size_t length = strcspn(line, "(");
	const char *at = line + length + 1;
	char kind[16];

	if (length == 0 || length >= sizeof(kind) || line[length] != '(' ||
	    strncmp(at, name, strlen(name)) != 0)
		return false;
	at += strlen(name);
	if (strncmp(at, ")=", 2) != 0)
		return false;
	snprintf(kind, sizeof(kind), "%.*s", (int)length, line);
	*ret_kind = EVP_get_digestbyname(kind);
	*ret_digest = at + 2 + strspn(at + 2, " \t");
	return true;
}

static int digest(struct store *store, const struct tar_member *m,
		  const EVP_MD *kind, char *ret_hex)
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned bytes = 0;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t *chunk = malloc(CHUNK_BYTES);
	int err = context && chunk && EVP_DigestInit_ex(context, kind, NULL)
			  ? 0
			  : -ENOMEM;

	for (uint64_t at = 0; at < m->bytes && err == 0;) {
		size_t now = MIN(m->bytes - at, (uint64_t)CHUNK_BYTES);

		err = store_read(store, m->offset + at, chunk, now);
		if (err == 0 && !EVP_DigestUpdate(context, chunk, now))
			err = -EIO;
		at += now;
	}
	if (err == 0 && !EVP_DigestFinal_ex(context, sum, &bytes))
		err = -EIO;
	for (unsigned i = 0; i < bytes; i++)
		snprintf(ret_hex + 2 * i, 3, "%02x", sum[i]);
	EVP_MD_CTX_free(context);
	free(chunk);
	return err;
}

/* Of one line that is about @disk. */
static int check_digest(struct store *store, const struct tar_member *disk,
			const EVP_MD *kind, const char *expected,
			char **ret_error)
{
	char got[2 * EVP_MAX_MD_SIZE + 1] = "";
	size_t length;
	int err;

	if (!kind)
		return store_fail(
			ret_error, -ENOTSUP,
			"%s: the manifest has a digest of %s of a kind "
			"that is not known",
			store->name, disk->name);
	err = digest(store, disk, kind, got);
	if (err)
		return fail(ret_error, store->name, err);
	length = strlen(got);
	if (strncasecmp(got, expected, length) == 0 &&
	    strspn(expected, "0123456789abcdefABCDEF") == length)
		return 0;
	return store_fail(ret_error, -EBADMSG,
			  "%s: %s is not what the manifest says: its digest is "
			  "%s",
			  store->name, disk->name, got);
}

static int check_manifest(struct store *store, const struct tar_member *disk,
			  char *text, char **ret_error)
{
	char *rest = text;
	int err = 0;

	for (char *line; err == 0 && (line = strsep(&rest, "\r\n"));) {
		const EVP_MD *kind;
		const char *expected;

		if (parse_line(line, disk->name, &kind, &expected))
			err = check_digest(store, disk, kind, expected,
					   ret_error);
	}
	return err;
}

static int read_manifest(struct store *store, const struct tar_member *m,
			 char **ret_text, char **ret_error)
{
	char *text;
	int err;

	if (m->bytes > MAX_MANIFEST_BYTES)
		return store_fail(ret_error, -EFBIG,
				  "%s: the manifest has more than %u bytes",
				  store->name, MAX_MANIFEST_BYTES);
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

int ova_verify(const char *archive, const struct tar_member *disk,
	       char **ret_error)
{
	struct search *s = calloc(1, sizeof(*s));
	struct store *store = NULL;
	char *text = NULL;
	int err = s ? open_archive(archive, &store, ret_error) : -ENOMEM;

	if (err == 0) {
		s->end = ".mf";
		err = search(store, s, ret_error);
	}
	if (err == 0 && s->count)
		err = read_manifest(store, &s->found, &text, ret_error);
	if (err == 0 && text)
		err = check_manifest(store, disk, text, ret_error);
	free(text);
	store_free(store);
	free(s);
	return err;
}
