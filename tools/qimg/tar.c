/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/tar.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"

/* POSIX.1-1988, "ustar". */
struct wire_header {
	char name[100];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char checksum[8];
	char type;
	char link[100];
	char magic[6];
	char version[2];
	char owner[32];
	char group[32];
	char major[8];
	char minor[8];
	char prefix[155];
	char padding[12];
};

static_assert(sizeof(struct wire_header) == TAR_BLOCK_BYTES, "tar header");

enum {
	MAX_EXTENDED_BYTES =
		65536, /* of a member that describes the next one */
	/* Of members that are passed over between two that are told of. */
	MAX_PASSED_OVER = 65536,
};

/* What a member before it says of the next one. */
struct extended {
	char name[TAR_NAME_BYTES]; /* or empty */
	bool has_bytes;
	uint64_t bytes;
};

/* --- Reading ------------------------------------------------------------ */

/* Octal digits, or 256 as the base where the first bit is set. */
static bool parse_number(const char *from, size_t length, uint64_t *ret)
{
	const uint8_t *bytes = (const uint8_t *)from;
	uint64_t value = bytes[0] & 0x7f;
	size_t i = 1;

	if (bytes[0] & 0x80) {
		for (; i < length; i++) {
			if (value >> 55)
				return false;
			value = value << 8 | bytes[i];
		}
		*ret = value;
		return true;
	}
	for (value = 0, i = 0; i < length && from[i] == ' '; i++)
		;
	for (; i < length && from[i] >= '0' && from[i] <= '7'; i++)
		value = value << 3 | (uint64_t)(from[i] - '0');
	*ret = value;
	return i == length || from[i] == '\0' || from[i] == ' ';
}

static unsigned sum(const struct wire_header *h)
{
	const uint8_t *bytes = (const uint8_t *)h;
	unsigned total = 0;

	for (size_t i = 0; i < sizeof(*h); i++) {
		size_t at = offsetof(struct wire_header, checksum);

		total += i >= at && i < at + sizeof(h->checksum) ? ' '
								 : bytes[i];
	}
	return total;
}

static bool is_sound(const struct wire_header *h)
{
	uint64_t checksum;

	return memcmp(h->magic, "ustar", 5) == 0 &&
	       parse_number(h->checksum, sizeof(h->checksum), &checksum) &&
	       checksum == sum(h);
}

bool tar_is_header(const void *block)
{
	struct wire_header h;

	memcpy(&h, block, sizeof(h));
	return is_sound(&h);
}

/* -ENAMETOOLONG unless all of it has room. */
static int copy_name(char *ret, const char *from, size_t length)
{
	length = strnlen(from, length);
	if (length >= TAR_NAME_BYTES)
		return -ENAMETOOLONG;
	memcpy(ret, from, length);
	ret[length] = '\0';
	return 0;
}

static int parse_pax_size(const char *value, struct extended *e)
{
	char *end;

	errno = 0;
	e->bytes = strtoull(value, &end, 10);
	e->has_bytes = true;
	return errno || *end != '\n' || e->bytes > INT64_MAX ? -EBADMSG : 0;
}

/* "LENGTH KEY=VALUE\n" of pax, again and again; there is a zero behind. */
static int parse_pax(const char *text, size_t bytes, struct extended *e)
{
	int err = 0;

	while (bytes > 0 && *text && err == 0) {
		char *end;
		unsigned long length = strtoul(text, &end, 10);
		const char *key = end + 1, *last = text + length - 1;

		if (*end != ' ' || length > bytes ||
		    (size_t)(key - text) >= length || *last != '\n')
			return -EBADMSG;
		if (strncmp(key, "path=", 5) == 0 && key + 5 <= last)
			err = copy_name(e->name, key + 5,
					(size_t)(last - key - 5));
		if (strncmp(key, "size=", 5) == 0)
			err = parse_pax_size(key + 5, e);
		text += length;
		bytes -= length;
	}
	return err;
}

static int read_extended(struct store *store, uint64_t offset, uint64_t bytes,
			 char type, struct extended *e)
{
	char *text;
	int err;

	if (bytes > MAX_EXTENDED_BYTES)
		return -EBADMSG;
	text = calloc(1, bytes + 1);
	if (!text)
		return -ENOMEM;
	err = store_read(store, offset, text, bytes);
	if (err == 0)
		err = type == 'L' ? copy_name(e->name, text, bytes)
				  : parse_pax(text, bytes, e);
	free(text);
	return err;
}

static int read_header(struct store *store, uint64_t at, struct wire_header *h)
{
	int err;

	if (!range_fits(at, sizeof(*h), store->size_bytes))
		return 1;
	err = store_read(store, at, h, sizeof(*h));
	if (err)
		return err;
	if (bytes_are_zero(h, sizeof(*h)))
		return 1;
	return is_sound(h) ? 0 : -EBADMSG;
}

static int set_name(const struct wire_header *h, const struct extended *e,
		    char *ret)
{
	int prefix = (int)strnlen(h->prefix, sizeof(h->prefix));
	bool posix = h->magic[5] == '\0' && prefix > 0;

	if (*e->name)
		return copy_name(ret, e->name, sizeof(e->name));
	snprintf(ret, TAR_NAME_BYTES, "%.*s%s%.*s", posix ? prefix : 0,
		 h->prefix, posix ? "/" : "",
		 (int)strnlen(h->name, sizeof(h->name)), h->name);
	return 0;
}

int tar_next(struct store *store, uint64_t *at, struct tar_member *ret)
{
	struct extended e = {.has_bytes = false};

	for (unsigned i = 0; i < MAX_PASSED_OVER; i++) {
		struct wire_header h;
		uint64_t bytes, offset = *at + TAR_BLOCK_BYTES;
		int err = read_header(store, *at, &h);

		if (err)
			return err;
		if (!parse_number(h.size, sizeof(h.size), &bytes))
			return -EBADMSG;
		if (e.has_bytes && h.type != 'x' && h.type != 'L')
			bytes = e.bytes;
		if (!range_fits(offset, bytes, store->size_bytes))
			return -EBADMSG;
		*at = offset + align_up(bytes, (uint64_t)TAR_BLOCK_BYTES);
		if (h.type == '0' || h.type == '\0' || h.type == '7') {
			ret->offset = offset;
			ret->bytes = bytes;
			return set_name(&h, &e, ret->name);
		}
		if (h.type == 'x' || h.type == 'L')
			err = read_extended(store, offset, bytes, h.type, &e);
		else
			e = (struct extended){.has_bytes = false};
		if (err)
			return err;
	}
	return -EBADMSG;
}

/* --- Writing ------------------------------------------------------------ */

/* Where eleven octal digits do not suffice: 256 as the base, as GNU does. */
static void set_size(struct wire_header *h, uint64_t bytes)
{
	if (bytes < UINT64_C(1) << 33) {
		snprintf(h->size, sizeof(h->size), "%011llo",
			 (unsigned long long)bytes);
		return;
	}
	h->size[0] = (char)0x80;
	for (size_t i = 0; i < 8; i++)
		h->size[sizeof(h->size) - 1 - i] = (char)(bytes >> (8 * i));
}

int tar_make_header(const char *name, uint64_t bytes,
		    uint8_t ret[TAR_BLOCK_BYTES])
{
	struct wire_header h = {.type = '0'};

	if (strlen(name) > sizeof(h.name))
		return -ENAMETOOLONG;
	memcpy(h.name, name, strlen(name));
	memcpy(h.mode, "0000644", 8);
	memcpy(h.uid, "0000000", 8);
	memcpy(h.gid, "0000000", 8);
	set_size(&h, bytes);
	snprintf(h.mtime, sizeof(h.mtime), "%011llo",
		 (unsigned long long)time(NULL));
	memcpy(h.magic, "ustar", 6);
	memcpy(h.version, "00", 2);
	memcpy(h.owner, "root", 4);
	memcpy(h.group, "root", 4);
	snprintf(h.checksum, sizeof(h.checksum), "%06o", sum(&h));
	h.checksum[7] = ' ';
	memcpy(ret, &h, sizeof(h));
	return 0;
}
