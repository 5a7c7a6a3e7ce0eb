/* SPDX-License-Identifier: Apache-2.0 */
/* An OVA's manifest: digests of its files. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "tools/qimg/ova-private.h"

enum {
	MAX_MANIFEST_BYTES = 1 << 20,
	CHUNK_BYTES = 1 << 20,
};

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
		return ova_fail(ret_error, store->name, err);
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

int ova_verify(const char *archive, const struct tar_member *disk,
	       char **ret_error)
{
	struct ova_search *s = calloc(1, sizeof(*s));
	struct store *store = NULL;
	char *text = NULL;
	int err = s ? ova_open_archive(archive, &store, ret_error) : -ENOMEM;

	if (err == 0) {
		s->end = ".mf";
		err = ova_search(store, s, ret_error);
	}
	if (err == 0 && s->count)
		err = ova_read_text(store, &s->found, MAX_MANIFEST_BYTES, &text,
				    ret_error);
	if (err == 0 && text)
		err = check_manifest(store, disk, text, ret_error);
	free(text);
	store_free(store);
	free(s);
	return err;
}
