/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/header-layout.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"

enum {
	END_BYTES = sizeof(struct qcow2_wire_extension),
	/* Fields that we know past the shortest header. */
	OUR_ADDITIONAL_BYTES =
		sizeof(struct qcow2_wire_header) - QCOW2_HEADER_BYTES_V3,
};

static const struct qcow2_wire_feature known_names[] = {
	{QCOW2_FEATURE_INCOMPATIBLE, 0, "dirty bit"},
	{QCOW2_FEATURE_INCOMPATIBLE, 1, "corrupt bit"},
	{QCOW2_FEATURE_INCOMPATIBLE, 2, "external data file"},
	{QCOW2_FEATURE_INCOMPATIBLE, 3, "compression type"},
	{QCOW2_FEATURE_INCOMPATIBLE, 4, "extended L2 entries"},
	{QCOW2_FEATURE_COMPATIBLE, 0, "lazy refcounts"},
	{QCOW2_FEATURE_AUTOCLEAR, 0, "bitmaps"},
	{QCOW2_FEATURE_AUTOCLEAR, 1, "raw external data"},
};

size_t qcow2_header_fixed_bytes(const struct qcow2_header *h)
{
	if (h->version < 3)
		return QCOW2_HEADER_BYTES_V2;
	return QCOW2_HEADER_BYTES_V3 +
	       MAX(h->additional_bytes, (size_t)OUR_ADDITIONAL_BYTES);
}

void qcow2_header_put_fixed(const struct qcow2_header *h, uint8_t *to)
{
	size_t bytes = qcow2_header_fixed_bytes(h);
	struct qcow2_wire_header wire = {
		.magic = htobe32(QCOW2_MAGIC),
		.version = htobe32(h->version),
		.cluster_bits = htobe32(h->cluster_bits),
		.size = htobe64(h->size_bytes),
		.crypt_method = htobe32(h->crypt_method),
		.l1_size = htobe32(h->l1_entries),
		.l1_table_offset = htobe64(h->l1_offset),
		.refcount_table_offset = htobe64(h->reftable_offset),
		.refcount_table_clusters = htobe32(h->reftable_clusters),
		.nb_snapshots = htobe32(h->snapshot_count),
		.snapshots_offset = htobe64(h->snapshots_offset),
		.incompatible_features = htobe64(h->incompatible),
		.compatible_features = htobe64(h->compatible),
		.autoclear_features = htobe64(h->autoclear),
		.refcount_order = htobe32(h->refcount_order),
		.header_length = htobe32(bytes),
	};

	if (h->version < 3) {
		memcpy(to, &wire, QCOW2_HEADER_BYTES_V2);
		return;
	}
	memset(to, 0, bytes);
	memcpy(to, &wire, QCOW2_HEADER_BYTES_V3);
	if (h->additional_bytes)
		memcpy(to + QCOW2_HEADER_BYTES_V3, h->additional,
		       h->additional_bytes);
	to[offsetof(struct qcow2_wire_header, compression_type)] =
		h->compression;
}

void qcow2_header_put_name(uint8_t *to, uint64_t offset, uint32_t length)
{
	put_be64(to + offsetof(struct qcow2_wire_header, backing_file_offset),
		 offset);
	put_be32(to + offsetof(struct qcow2_wire_header, backing_file_size),
		 length);
}

static bool is_known_name(const uint8_t *entry)
{
	for (size_t i = 0; i < ARRAY_SIZE(known_names); i++)
		if (entry[0] == known_names[i].type &&
		    entry[1] == known_names[i].bit)
			return true;
	return false;
}

bool qcow2_header_names_known(const struct qcow2_header *h)
{
	for (size_t at = 0; at < h->feature_names_bytes;
	     at += sizeof(struct qcow2_wire_feature))
		if (h->feature_names_bytes - at <
			    sizeof(struct qcow2_wire_feature) ||
		    !is_known_name(h->feature_names + at))
			return false;
	return true;
}

static uint8_t *put_extension(uint8_t *at, uint32_t type, const void *data,
			      size_t length)
{
	put_be32(at, type);
	put_be32(at + 4, length);
	memcpy(at + 8, data, length);
	memset(at + 8 + length, 0, align_up(length, 8) - length);
	return at + 8 + align_up(length, 8);
}

static uint8_t *put_encryption(const struct qcow2_header *h, uint8_t *at)
{
	const struct qcow2_wire_encryption wire = {
		.offset = htobe64(h->crypt_offset),
		.length = htobe64(h->crypt_bytes),
	};

	return put_extension(at, QCOW2_EXT_ENCRYPTION, &wire, sizeof(wire));
}

static uint8_t *put_bitmaps(const struct qcow2_header *h, uint8_t *at)
{
	const struct qcow2_wire_bitmaps wire = {
		.nb_bitmaps = htobe32(h->bitmap_count),
		.directory_size = htobe64(h->bitmap_directory_bytes),
		.directory_offset = htobe64(h->bitmap_directory_offset),
	};

	return put_extension(at, QCOW2_EXT_BITMAPS, &wire, sizeof(wire));
}

/* Names that say nothing new make way for ours, which may be more. */
static uint8_t *put_names(const struct qcow2_header *h, uint8_t *at)
{
	if (qcow2_header_names_known(h))
		return put_extension(at, QCOW2_EXT_FEATURE_NAMES, known_names,
				     sizeof(known_names));
	return put_extension(at, QCOW2_EXT_FEATURE_NAMES, h->feature_names,
			     h->feature_names_bytes);
}

static uint8_t *put_string(uint8_t *at, uint32_t type, const char *text)
{
	return put_extension(at, type, text, strlen(text));
}

/* What changes now and then comes first, into the first 512 bytes. */
int qcow2_header_extensions(const struct qcow2_header *h, bool names,
			    uint8_t **ret_extensions, size_t *ret_bytes)
{
	size_t most = 6 * 16 + QCOW2_MAX_BACKING_FORMAT + QCOW2_MAX_DATA_NAME +
		      sizeof(struct qcow2_wire_bitmaps) +
		      sizeof(struct qcow2_wire_encryption) +
		      sizeof(known_names) + h->feature_names_bytes +
		      h->unknown_bytes;
	uint8_t *all = malloc(most);
	uint8_t *at = all;

	if (!all)
		return -ENOMEM;
	if (h->backing_format)
		at = put_string(at, QCOW2_EXT_BACKING_FORMAT,
				h->backing_format);
	if (h->crypt_bytes)
		at = put_encryption(h, at);
	if (h->bitmap_count)
		at = put_bitmaps(h, at);
	if (h->data_name)
		at = put_string(at, QCOW2_EXT_DATA_FILE, h->data_name);
	if (names && h->version >= 3)
		at = put_names(h, at);
	if (h->unknown_bytes)
		memcpy(at, h->unknown, h->unknown_bytes);
	at += h->unknown_bytes;
	*ret_extensions = all;
	*ret_bytes = at - all;
	return 0;
}

static int lay_out(const struct qcow2_header *h, bool names, uint8_t *cluster,
		   size_t size)
{
	size_t name = h->backing_name ? strlen(h->backing_name) : 0;
	size_t fixed = qcow2_header_fixed_bytes(h);
	size_t bytes, end;
	uint8_t *extensions;
	int err = qcow2_header_extensions(h, names, &extensions, &bytes);

	if (err)
		return err;
	end = fixed + bytes + END_BYTES;
	if (end + name <= size) {
		qcow2_header_put_fixed(h, cluster);
		memcpy(cluster + fixed, extensions, bytes);
		if (name) {
			memcpy(cluster + end, h->backing_name, name);
			qcow2_header_put_name(cluster, end, name);
		}
	}
	free(extensions);
	return end + name <= size ? 0 : -ENOSPC;
}

int qcow2_header_lay_out(const struct qcow2_header *h, uint8_t *cluster,
			 size_t size)
{
	int err = lay_out(h, true, cluster, size);

	if (err == -ENOSPC && qcow2_header_names_known(h))
		err = lay_out(h, false, cluster, size);
	return err;
}
