/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/header.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/image.h"
#include "qcow2/header-extensions.h"

/* What O_DIRECT may ask of a buffer. */
static const size_t ALIGNMENT = 4096;

#define FIELD  QCOW2_HEAD_FIELD
#define refuse qcow2_head_refuse

int qcow2_head_refuse(const struct qcow2_head *head, int outcome,
		      const char *format, ...)
{
	char reason[256];
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	if (asprintf(head->ret_error, "%s: qcow2: %s", head->store->name,
		     reason) < 0)
		*head->ret_error = NULL;
	return outcome;
}

uint64_t qcow2_l1_entries_for(uint64_t size_bytes, unsigned cluster_bits,
			      bool extended)
{
	/* One L2 table holds a cluster's worth of entries. */
	unsigned bits = cluster_bits + cluster_bits - (extended ? 4 : 3);

	return (size_bytes >> bits) +
	       ((size_bytes & ((UINT64_C(1) << bits) - 1)) != 0);
}

int qcow2_head_check_table(const struct qcow2_head *head,
			   const struct qcow2_header *h, const char *what,
			   uint64_t offset, uint64_t length)
{
	uint64_t cluster = UINT64_C(1) << h->cluster_bits;
	uint64_t file = head->store->size_bytes;

	if (!is_aligned(offset, cluster))
		return refuse(head, IMAGE_E_CORRUPT,
			      "the %s at offset %llu is not aligned to a "
			      "cluster",
			      what, (unsigned long long)offset);
	if (length == 0)
		return 0;
	if (offset == 0 || file > UINT64_MAX - cluster ||
	    !range_fits(offset, length, align_up(file, cluster)))
		return refuse(head, IMAGE_E_CORRUPT,
			      "the %s (%llu bytes at offset %llu) is not "
			      "inside the file",
			      what, (unsigned long long)length,
			      (unsigned long long)offset);
	return 0;
}

static int parse_geometry(const struct qcow2_head *head,
			  enum qcow2_header_use use, struct qcow2_header *h)
{
	uint64_t needed;

	h->size_bytes = FIELD(head, 64, size);
	h->l1_entries = FIELD(head, 32, l1_size);
	h->l1_offset = FIELD(head, 64, l1_table_offset);
	h->reftable_offset = FIELD(head, 64, refcount_table_offset);
	h->reftable_clusters = FIELD(head, 32, refcount_table_clusters);
	h->snapshot_count = FIELD(head, 32, nb_snapshots);
	h->snapshots_offset = FIELD(head, 64, snapshots_offset);

	if (h->size_bytes > INT64_MAX)
		return refuse(head, IMAGE_E_CORRUPT, "the size is too large");
	needed = qcow2_l1_entries_for(h->size_bytes, h->cluster_bits,
				      h->incompatible &
					      QCOW2_INCOMPAT_EXTENDED_L2);
	/* QEMU's words, which its tests compare. */
	if (needed > QCOW2_MAX_L1_BYTES / 8)
		return store_fail(head->ret_error, IMAGE_E_CORRUPT,
				  "%s: Image is too big", head->store->name);
	if (h->l1_entries > QCOW2_MAX_L1_BYTES / 8)
		return refuse(head, IMAGE_E_CORRUPT,
			      "the L1 table is larger than 32 MiB");
	if (h->l1_entries < needed)
		return refuse(head, IMAGE_E_CORRUPT,
			      "the L1 table (%u entries) is too small for the "
			      "image's size",
			      h->l1_entries);
	h->l1_used = needed;
	if (h->reftable_clusters == 0)
		return refuse(head, IMAGE_E_CORRUPT, "no refcount table");
	if (h->reftable_clusters > (uint32_t)QCOW2_MAX_REFTABLE_BYTES >>
	    h->cluster_bits)
		return refuse(head, IMAGE_E_CORRUPT,
			      "the refcount table is larger than 8 MiB");
	if (h->snapshot_count > QCOW2_MAX_SNAPSHOTS &&
	    use != QCOW2_HEADER_CHECK)
		return refuse(head, IMAGE_E_CORRUPT,
			      "more than 65536 snapshots");
	return 0;
}

static int check_tables(const struct qcow2_head *head,
			const struct qcow2_header *h, enum qcow2_header_use use)
{
	uint64_t l1_bytes = align_up(h->l1_entries * UINT64_C(8),
				     UINT64_C(1) << h->cluster_bits);
	uint64_t reftable_bytes = (uint64_t)h->reftable_clusters
				  << h->cluster_bits;
	int err;

	err = qcow2_head_check_table(head, h, "L1 table", h->l1_offset,
				     h->l1_entries * UINT64_C(8));
	if (err == 0)
		err = qcow2_head_check_table(head, h, "refcount table",
					     h->reftable_offset,
					     reftable_bytes);
	/* Each entry of the snapshot table has at least 40 bytes. */
	if (err == 0)
		err = qcow2_head_check_table(
			head, h, "snapshot table",
			h->snapshot_count ? h->snapshots_offset : 0,
			use == QCOW2_HEADER_CHECK
				? 0
				: h->snapshot_count * UINT64_C(40));
	if (err == 0 && use != QCOW2_HEADER_CHECK &&
	    ranges_overlap(h->l1_offset, l1_bytes, h->reftable_offset,
			   reftable_bytes))
		err = refuse(head, IMAGE_E_CORRUPT,
			     "the L1 table and the refcount table overlap");
	return err;
}

/* By the image's own names; a mask of those that it has no names for. */
static int refuse_features(const struct qcow2_head *head, uint64_t unknown)
{
	char names[1024] = "", name[QCOW2_FEATURE_NAME_CHARS];
	size_t used = 0;

	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t mask = UINT64_C(1) << bit;

		if (!(unknown & mask) || used > sizeof(names) - 128 ||
		    !qcow2_head_name_feature(head, bit, name))
			continue;
		used += (size_t)snprintf(names + used, sizeof(names) - used,
					 "%s%s", used ? ", " : "", name);
		unknown &= ~mask;
	}
	if (unknown)
		snprintf(names + used, sizeof(names) - used,
			 "%sUnknown incompatible feature: %" PRIx64,
			 used ? ", " : "", unknown);
	return store_fail(head->ret_error, IMAGE_E_UNSUPPORTED,
			  "%s: Unsupported qcow2 feature(s): %s",
			  head->store->name, names);
}

static int check_features(const struct qcow2_head *head,
			  const struct qcow2_header *h,
			  enum qcow2_header_use use)
{
	const uint64_t known = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT |
			       QCOW2_INCOMPAT_DATA_FILE |
			       QCOW2_INCOMPAT_COMPRESSION |
			       QCOW2_INCOMPAT_EXTENDED_L2;
	uint64_t unknown = h->incompatible & ~known;

	if (unknown)
		return refuse_features(head, unknown);
	if (use == QCOW2_HEADER_WRITE &&
	    (h->incompatible & QCOW2_INCOMPAT_CORRUPT))
		return refuse(head, IMAGE_E_UNSUPPORTED,
			      "it is marked corrupt: open it read-only, or "
			      "repair it (qimg check -r all)");
	return 0;
}

static int parse_version_3(struct qcow2_head *head, struct qcow2_header *h)
{
	uint64_t length = FIELD(head, 32, header_length);

	if (length < QCOW2_HEADER_BYTES_V3 || length % 8 != 0 ||
	    length > head->size)
		return refuse(head, IMAGE_E_CORRUPT,
			      "the header's length is %llu",
			      (unsigned long long)length);
	head->header_bytes = length;
	h->additional_bytes = length - QCOW2_HEADER_BYTES_V3;
	h->additional = malloc(h->additional_bytes + 1);
	if (!h->additional)
		return -ENOMEM;
	memcpy(h->additional, head->bytes + QCOW2_HEADER_BYTES_V3,
	       h->additional_bytes);
	h->incompatible = FIELD(head, 64, incompatible_features);
	h->compatible = FIELD(head, 64, compatible_features);
	h->autoclear = FIELD(head, 64, autoclear_features);
	h->refcount_order = FIELD(head, 32, refcount_order);
	if (length > QCOW2_HEADER_BYTES_V3)
		h->compression = head->wire.compression_type;
	return 0;
}

static int check_version_3(const struct qcow2_head *head,
			   const struct qcow2_header *h)
{
	bool flagged = h->incompatible & QCOW2_INCOMPAT_COMPRESSION;

	if (h->refcount_order > QCOW2_MAX_REFCOUNT_ORDER)
		return refuse(head, IMAGE_E_CORRUPT,
			      "refcounts of more than 64 bits");
	if (flagged != (h->compression != QCOW2_COMPRESSION_ZLIB))
		return refuse(head, IMAGE_E_CORRUPT,
			      "the compression type and its feature bit "
			      "disagree");
	if (h->compression > QCOW2_COMPRESSION_ZSTD)
		return refuse(head, IMAGE_E_UNSUPPORTED,
			      "compression type %u is not known here",
			      (unsigned)h->compression);
	if ((h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA) &&
	    !(h->incompatible & QCOW2_INCOMPAT_DATA_FILE))
		return refuse(head, IMAGE_E_CORRUPT,
			      "a raw external data file, and none is used");
	if ((h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) &&
	    h->cluster_bits < QCOW2_MIN_EXTENDED_L2_CLUSTER_BITS)
		return refuse(head, IMAGE_E_CORRUPT,
			      "extended L2 entries want clusters of 16 KiB or "
			      "more");
	return 0;
}

static int check_encryption(const struct qcow2_head *head,
			    struct qcow2_header *h)
{
	uint32_t method = FIELD(head, 32, crypt_method);

	if (method > QCOW2_CRYPT_LUKS)
		return refuse(head, IMAGE_E_UNSUPPORTED,
			      "encryption method %u is not known here", method);
	h->crypt_method = method;
	return 0;
}

static int parse_backing(const struct qcow2_head *head, struct qcow2_header *h)
{
	uint64_t offset = FIELD(head, 64, backing_file_offset);
	uint32_t length = FIELD(head, 32, backing_file_size);

	if (offset == 0)
		return 0;
	if (length > QCOW2_MAX_BACKING_NAME)
		return refuse(head, IMAGE_E_CORRUPT,
			      "the backing file's name has %u bytes; at most "
			      "1023 are allowed",
			      length);
	if (offset < head->header_bytes ||
	    !range_fits(offset, length, head->size))
		return refuse(head, IMAGE_E_CORRUPT,
			      "the backing file's name is not inside the first "
			      "cluster");
	if (length == 0)
		return 0;
	if (memchr(head->bytes + offset, 0, length))
		return refuse(head, IMAGE_E_CORRUPT,
			      "the backing file's name holds a zero byte");
	h->backing_name = strndup((char *)head->bytes + offset, length);
	return h->backing_name ? 0 : -ENOMEM;
}

static int parse(struct qcow2_head *head, enum qcow2_header_use use,
		 struct qcow2_header *h)
{
	int err = 0;

	head->header_bytes = QCOW2_HEADER_BYTES_V2;
	h->refcount_order = 4;
	if (h->version == 3)
		err = parse_version_3(head, h);
	/* First: what we do not know may change the meaning of the rest. */
	if (err == 0)
		err = check_features(head, h, use);
	if (err == 0)
		err = check_version_3(head, h);
	if (err == 0)
		err = check_encryption(head, h);
	if (err == 0)
		err = parse_geometry(head, use, h);
	if (err == 0)
		err = check_tables(head, h, use);
	if (err == 0)
		err = parse_backing(head, h);
	if (err == 0)
		err = qcow2_head_parse_extensions(head, use, h);
	if (err == 0 && (h->incompatible & QCOW2_INCOMPAT_DATA_FILE) &&
	    !h->data_name)
		err = refuse(head, IMAGE_E_UNSUPPORTED,
			     "it has an external data file and does not say "
			     "which");
	return err;
}

static int read_head(struct qcow2_head *head, struct qcow2_header *h)
{
	uint32_t cluster_bits;
	int err;

	if (head->store->size_bytes < QCOW2_HEADER_BYTES_V2)
		return refuse(head, IMAGE_E_CORRUPT, "the file is too short");
	head->bytes = aligned_alloc(ALIGNMENT, ALIGNMENT);
	if (!head->bytes)
		return -ENOMEM;
	err = store_read(head->store, 0, head->bytes, 512);
	if (err < 0)
		return refuse(head, err, "the header cannot be read: %s",
			      strerror(-err));
	memcpy(&head->wire, head->bytes, sizeof(head->wire));
	if (FIELD(head, 32, magic) != QCOW2_MAGIC)
		return refuse(head, IMAGE_E_CORRUPT, "no qcow2 image");
	h->version = FIELD(head, 32, version);
	if (h->version != 2 && h->version != 3)
		return refuse(head, IMAGE_E_UNSUPPORTED,
			      "version %u is not known here", h->version);
	cluster_bits = FIELD(head, 32, cluster_bits);
	if (cluster_bits < QCOW2_MIN_CLUSTER_BITS ||
	    cluster_bits > QCOW2_MAX_CLUSTER_BITS)
		return refuse(head, IMAGE_E_CORRUPT,
			      "clusters of 2^%u bytes; 2^9 to 2^21 are allowed",
			      cluster_bits);
	h->cluster_bits = cluster_bits;
	head->size = (size_t)1 << cluster_bits;
	free(head->bytes);
	head->bytes = aligned_alloc(ALIGNMENT, MAX(head->size, ALIGNMENT));
	if (!head->bytes)
		return -ENOMEM;
	err = store_read(head->store, 0, head->bytes, head->size);
	if (err < 0)
		return refuse(head, err, "the header cannot be read: %s",
			      strerror(-err));
	return 0;
}

int qcow2_header_read(struct store *store, enum qcow2_header_use use,
		      struct qcow2_header *ret_header, char **ret_error)
{
	struct qcow2_head head = {.store = store, .ret_error = ret_error};
	struct qcow2_header h = {0};
	int err;

	err = read_head(&head, &h);
	if (err == 0)
		err = parse(&head, use, &h);
	free(head.bytes);
	if (err != 0) {
		qcow2_header_deinit(&h);
		return err;
	}
	*ret_header = h;
	return 0;
}

void qcow2_header_deinit(struct qcow2_header *header)
{
	free(header->backing_name);
	free(header->backing_format);
	free(header->data_name);
	free(header->feature_names);
	free(header->unknown);
	free(header->additional);
	*header = (struct qcow2_header){0};
}
