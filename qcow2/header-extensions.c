/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/header-extensions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "image/image.h"

#define refuse qcow2_head_refuse

/* One extension, whose data lies inside the cluster. */
struct extension {
	uint32_t type;
	uint32_t length;
	const uint8_t *data;
};

/*
 * The extension at *@at, which moves on: 1, 0 at the end of them all, or
 * IMAGE_E_CORRUPT's negative if it does not fit before @end.
 */
static int take_extension(const struct qcow2_head *head, size_t end, size_t *at,
			  struct extension *ret)
{
	if (!range_fits(*at, 8, end))
		return 0;
	ret->type = get_be32(head->bytes + *at);
	ret->length = get_be32(head->bytes + *at + 4);
	ret->data = head->bytes + *at + 8;
	if (ret->type == QCOW2_EXT_END)
		return 0;
	if (ret->length > end - *at - 8)
		return -IMAGE_E_CORRUPT;
	*at += 8 + align_up((uint64_t)ret->length, 8);
	return 1;
}

/* What a person is told must be printable: the name came from the file. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

bool qcow2_head_name_feature(const struct qcow2_head *head, unsigned bit,
			     char ret_name[QCOW2_FEATURE_NAME_CHARS])
{
	size_t at = head->header_bytes;
	struct extension e;

	ret_name[0] = '\0';
	while (take_extension(head, head->size, &at, &e) > 0) {
		/* The last entry's name may end with the extension. */
		for (uint32_t i = 0;
		     e.type == QCOW2_EXT_FEATURE_NAMES && i + 2 < e.length;
		     i += 48) {
			const uint8_t *entry = e.data + i;

			if (entry[0] == QCOW2_FEATURE_INCOMPATIBLE &&
			    entry[1] == bit && entry[2])
				snprintf(ret_name, QCOW2_FEATURE_NAME_CHARS,
					 "%.*s",
					 (int)MIN(e.length - i - 2,
						  UINT32_C(46)),
					 (const char *)entry + 2);
		}
	}
	make_printable(ret_name);
	return ret_name[0] != '\0';
}

static int refuse_twice(const struct qcow2_head *head, const char *what)
{
	return refuse(head, IMAGE_E_CORRUPT,
		      "the header extension for %s is there twice", what);
}

static int take_string(const struct qcow2_head *head, const struct extension *e,
		       const char *what, uint32_t limit, char **ret)
{
	if (*ret)
		return refuse_twice(head, what);
	if (e->length > limit)
		return refuse(head, IMAGE_E_CORRUPT,
			      "%s has a name of %u bytes; at most %u are "
			      "allowed",
			      what, e->length, limit);
	if (memchr(e->data, 0, e->length))
		return refuse(head, IMAGE_E_CORRUPT,
			      "the name of %s holds a zero byte", what);
	*ret = strndup((const char *)e->data, e->length);
	return *ret ? 0 : -ENOMEM;
}

/* Adds bytes to a piece of the header that is kept as it is. */
static int keep(uint8_t **kept, size_t *kept_bytes, const void *data,
		size_t bytes)
{
	uint8_t *grown = realloc(*kept, *kept_bytes + bytes + 1);

	if (!grown)
		return -ENOMEM;
	memcpy(grown + *kept_bytes, data, bytes);
	*kept = grown;
	*kept_bytes += bytes;
	return 0;
}

/*
 * Disowned by somebody who changed the image and knew nothing of bitmaps (the
 * autoclear bit is gone), the extension means nothing any more.
 */
static int take_bitmaps(const struct qcow2_head *head,
			enum qcow2_header_use use, const struct extension *e,
			struct qcow2_header *h)
{
	struct qcow2_wire_bitmaps wire;
	uint32_t count;
	uint64_t bytes, offset;

	if (h->bitmap_count)
		return refuse_twice(head, "bitmaps");
	if (e->length != sizeof(wire))
		return refuse(head, IMAGE_E_CORRUPT,
			      "the bitmaps extension has %u bytes, not 24",
			      e->length);
	if (!(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	memcpy(&wire, e->data, sizeof(wire));
	count = get_be32(&wire.nb_bitmaps);
	bytes = get_be64(&wire.directory_size);
	offset = get_be64(&wire.directory_offset);
	if (count == 0 || count > QCOW2_MAX_BITMAPS || wire.reserved)
		return refuse(head, IMAGE_E_CORRUPT,
			      "%u bitmaps; 1 to 65535 are allowed", count);
	if (bytes == 0 || bytes > QCOW2_MAX_BITMAP_DIRECTORY_BYTES)
		return refuse(head, IMAGE_E_CORRUPT,
			      "the bitmap directory has %llu bytes",
			      (unsigned long long)bytes);
	h->bitmap_count = count;
	h->bitmap_directory_bytes = bytes;
	h->bitmap_directory_offset = offset;
	/* Repairs give up a directory that is not in the file. */
	return qcow2_head_check_table(head, h, "bitmap directory", offset,
				      use == QCOW2_HEADER_CHECK ? 0 : bytes);
}

static int take_encryption(const struct qcow2_head *head,
			   const struct extension *e, struct qcow2_header *h)
{
	if (h->crypt_bytes)
		return refuse_twice(head, "encryption");
	if (h->crypt_method != QCOW2_CRYPT_LUKS)
		return refuse(head, IMAGE_E_CORRUPT,
			      "an encryption header without LUKS encryption");
	if (e->length != sizeof(struct qcow2_wire_encryption))
		return refuse(head, IMAGE_E_CORRUPT,
			      "the encryption extension has %u bytes, not 16",
			      e->length);
	h->crypt_offset = get_be64(e->data);
	h->crypt_bytes = get_be64(e->data + 8);
	if (h->crypt_bytes == 0 || h->crypt_bytes > QCOW2_MAX_CRYPT_BYTES)
		return refuse(head, IMAGE_E_CORRUPT,
			      "the encryption header has %llu bytes",
			      (unsigned long long)h->crypt_bytes);
	return qcow2_head_check_table(head, h, "encryption header",
				      h->crypt_offset, h->crypt_bytes);
}

static int take_unknown(const struct extension *e, struct qcow2_header *h)
{
	static const uint8_t zeroes[8];
	uint64_t padding = align_up((uint64_t)e->length, 8) - e->length;
	int err = keep(&h->unknown, &h->unknown_bytes, e->data - 8,
		       8 + (size_t)e->length);

	/* The last one's padding may lie past the end: it has no meaning. */
	if (err == 0)
		err = keep(&h->unknown, &h->unknown_bytes, zeroes, padding);
	return err;
}

static int take(const struct qcow2_head *head, enum qcow2_header_use use,
		const struct extension *e, struct qcow2_header *h)
{
	switch (e->type) {
	case QCOW2_EXT_BACKING_FORMAT:
		/* Of several the last one counts, as for QEMU. */
		free(h->backing_format);
		h->backing_format = NULL;
		return take_string(head, e, "the backing file's format",
				   QCOW2_MAX_BACKING_FORMAT,
				   &h->backing_format);
	case QCOW2_EXT_DATA_FILE:
		return take_string(head, e, "the external data file",
				   QCOW2_MAX_DATA_NAME, &h->data_name);
	case QCOW2_EXT_BITMAPS:
		return take_bitmaps(head, use, e, h);
	case QCOW2_EXT_ENCRYPTION:
		return take_encryption(head, e, h);
	case QCOW2_EXT_FEATURE_NAMES:
		if (h->feature_names)
			return refuse_twice(head, "feature names");
		return keep(&h->feature_names, &h->feature_names_bytes, e->data,
			    e->length);
	case QCOW2_EXT_FILLER:
		return 0;
	default:
		return take_unknown(e, h);
	}
}

int qcow2_head_parse_extensions(const struct qcow2_head *head,
				enum qcow2_header_use use,
				struct qcow2_header *h)
{
	uint64_t end = QCOW2_HEAD_FIELD(head, 64, backing_file_offset);
	size_t at = head->header_bytes;
	struct extension e = {0};
	int more, err = 0;

	/* parse_backing saw to it that the offset lies in the cluster. */
	if (end == 0)
		end = head->size;
	while (err == 0 && (more = take_extension(head, end, &at, &e)) != 0) {
		if (more < 0)
			return refuse(head, IMAGE_E_CORRUPT,
				      "header extension 0x%08x is too long "
				      "(%u bytes)",
				      e.type, e.length);
		err = take(head, use, &e, h);
	}
	if (err == 0 && h->crypt_method == QCOW2_CRYPT_LUKS &&
	    h->crypt_bytes == 0)
		err = refuse(head, IMAGE_E_CORRUPT,
			     "LUKS encryption without its header");
	return err;
}
