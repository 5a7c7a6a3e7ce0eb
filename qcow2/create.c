/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/create.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "qcow2/header.h"
#include "qcow2/refcount.h"

enum {
	DEFAULT_CLUSTER_BITS = 16,
	DEFAULT_REFCOUNT_ORDER = 4,
	HEADER_BYTES = sizeof(struct qcow2_wire_header),
};

/* Where everything lies, in clusters: header, table, blocks, L1, in a row. */
struct layout {
	const struct qcow2_create_options *o;
	unsigned version;
	unsigned cluster_bits;
	unsigned refcount_order;
	uint64_t l1_entries;
	uint64_t reftable_clusters;
	uint64_t blocks;
	uint64_t l1_clusters;
	uint64_t total;
};

static const struct qcow2_wire_feature feature_names[] = {
	{QCOW2_FEATURE_INCOMPATIBLE, 0, "dirty bit"},
	{QCOW2_FEATURE_INCOMPATIBLE, 1, "corrupt bit"},
	{QCOW2_FEATURE_INCOMPATIBLE, 2, "external data file"},
	{QCOW2_FEATURE_INCOMPATIBLE, 3, "compression type"},
	{QCOW2_FEATURE_INCOMPATIBLE, 4, "extended L2 entries"},
	{QCOW2_FEATURE_COMPATIBLE, 0, "lazy refcounts"},
	{QCOW2_FEATURE_AUTOCLEAR, 0, "bitmaps"},
	{QCOW2_FEATURE_AUTOCLEAR, 1, "raw external data"},
};

static int check_options(const struct qcow2_create_options *o, struct layout *l,
			 char **ret_error)
{
	uint32_t cluster = o->cluster_bytes ? o->cluster_bytes
					    : 1u << DEFAULT_CLUSTER_BITS;
	unsigned bits = o->refcount_bits ? o->refcount_bits
					 : 1u << DEFAULT_REFCOUNT_ORDER;

	l->version = o->version ? o->version : 3;
	if (l->version != 2 && l->version != 3)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: the version must be 2 or 3");
	if (!is_power_of_two(cluster) ||
	    cluster < 1u << QCOW2_MIN_CLUSTER_BITS ||
	    cluster > 1u << QCOW2_MAX_CLUSTER_BITS)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: the cluster size must be a power of "
				  "two from 512 bytes to 2 MiB");
	if (!is_power_of_two(bits) || bits > 64)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: refcounts must have 1, 2, 4, 8, 16, "
				  "32 or 64 bits");
	if (l->version == 2 && (bits != 16 || o->lazy_refcounts ||
				o->compression != QCOW2_COMPRESSION_ZLIB))
		return store_fail(ret_error, -EINVAL,
				  "qcow2: version 2 has 16-bit refcounts, zlib "
				  "compression and no lazy refcounts");
	if (o->compression > QCOW2_COMPRESSION_ZSTD)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: unknown compression type");
	if (o->backing_format && !o->backing_name)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: a backing format without a backing "
				  "file");
	if (o->size_bytes > INT64_MAX)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: the size is too large");
	l->o = o;
	l->cluster_bits = (unsigned)__builtin_ctz(cluster);
	l->refcount_order = (unsigned)__builtin_ctz(bits);
	return 0;
}

/* Blocks and table describe themselves, too: until nothing is added. */
static int lay_out(struct layout *l, char **ret_error)
{
	uint64_t cluster = UINT64_C(1) << l->cluster_bits;
	uint64_t per_block = UINT64_C(1)
			     << (l->cluster_bits + 3 - l->refcount_order);
	uint64_t total;

	l->l1_entries = qcow2_l1_entries_for(l->o->size_bytes, l->cluster_bits);
	if (l->l1_entries > QCOW2_MAX_L1_BYTES / 8)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: an image of this size needs larger "
				  "clusters than %llu bytes",
				  (unsigned long long)cluster);
	l->l1_clusters =
		MAX(div_round_up(l->l1_entries * 8, cluster), UINT64_C(1));
	do {
		total = l->total;
		l->blocks = MAX(div_round_up(total, per_block), UINT64_C(1));
		l->reftable_clusters = div_round_up(l->blocks * 8, cluster);
		l->total =
			1 + l->reftable_clusters + l->blocks + l->l1_clusters;
	} while (l->total != total);
	return 0;
}

static size_t put_extension(uint8_t *at, uint32_t type, const void *data,
			    size_t length)
{
	put_be32(at, type);
	put_be32(at + 4, length);
	memcpy(at + 8, data, length);
	return 8 + align_up(length, 8);
}

/* The optional rest of the first cluster. */
static int fill_extensions(const struct layout *l, uint8_t *head,
			   char **ret_error)
{
	const struct qcow2_create_options *o = l->o;
	size_t size = (size_t)1 << l->cluster_bits;
	size_t at = l->version == 2 ? QCOW2_HEADER_BYTES_V2 : HEADER_BYTES;
	size_t format = o->backing_format ? strlen(o->backing_format) : 0;
	size_t name = o->backing_name ? strlen(o->backing_name) : 0;
	size_t wanted = at + 8 + name;

	if (format)
		wanted += 8 + align_up(format, 8);
	if (name > QCOW2_MAX_BACKING_NAME ||
	    format > QCOW2_MAX_BACKING_FORMAT || wanted > size)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: the backing file's name or format is "
				  "too long");
	if (format)
		at += put_extension(head + at, QCOW2_EXT_BACKING_FORMAT,
				    o->backing_format, format);
	if (l->version == 3 && wanted + 8 + sizeof(feature_names) <= size)
		at += put_extension(head + at, QCOW2_EXT_FEATURE_NAMES,
				    feature_names, sizeof(feature_names));
	at += 8;
	if (name) {
		struct qcow2_wire_header *h = (void *)head;

		memcpy(head + at, o->backing_name, name);
		h->backing_file_offset = htobe64(at);
		h->backing_file_size = htobe32(name);
	}
	return 0;
}

static void fill_header(const struct layout *l, uint8_t *head)
{
	struct qcow2_wire_header h = {
		.magic = htobe32(QCOW2_MAGIC),
		.version = htobe32(l->version),
		.cluster_bits = htobe32(l->cluster_bits),
		.size = htobe64(l->o->size_bytes),
		.l1_size = htobe32(l->l1_entries),
		.l1_table_offset =
			htobe64((1 + l->reftable_clusters + l->blocks)
				<< l->cluster_bits),
		.refcount_table_offset =
			htobe64(UINT64_C(1) << l->cluster_bits),
		.refcount_table_clusters = htobe32(l->reftable_clusters),
		.refcount_order = htobe32(l->refcount_order),
		.header_length = htobe32(HEADER_BYTES),
		.compression_type = l->o->compression,
	};

	if (l->o->compression != QCOW2_COMPRESSION_ZLIB)
		h.incompatible_features = htobe64(QCOW2_INCOMPAT_COMPRESSION);
	if (l->o->lazy_refcounts)
		h.compatible_features = htobe64(QCOW2_COMPAT_LAZY_REFCOUNTS);
	memcpy(head, &h,
	       l->version == 2 ? (size_t)QCOW2_HEADER_BYTES_V2 : sizeof(h));
}

static int write_refcounts(struct store *store, const struct layout *l,
			   uint8_t *cluster)
{
	size_t size = (size_t)1 << l->cluster_bits;
	uint64_t per_cluster = size / 8;
	uint64_t per_block = UINT64_C(1)
			     << (l->cluster_bits + 3 - l->refcount_order);
	uint64_t first_block = 1 + l->reftable_clusters;
	int err = 0;

	for (uint64_t i = 0; i < l->reftable_clusters && err == 0; i++) {
		memset(cluster, 0, size);
		for (uint64_t e = 0; e < per_cluster; e++)
			if (i * per_cluster + e < l->blocks)
				put_be64(cluster + e * 8,
					 (first_block + i * per_cluster + e)
						 << l->cluster_bits);
		err = store_write(store, (1 + i) << l->cluster_bits, cluster,
				  size);
	}
	for (uint64_t i = 0; i < l->blocks && err == 0; i++) {
		memset(cluster, 0, size);
		for (uint64_t e = 0; e < per_block; e++)
			if (i * per_block + e < l->total)
				qcow2_refcount_set(cluster, l->refcount_order,
						   e, 1);
		err = store_write(store, (first_block + i) << l->cluster_bits,
				  cluster, size);
	}
	return err;
}

static int write_l1(struct store *store, const struct layout *l,
		    uint8_t *cluster)
{
	uint64_t first = 1 + l->reftable_clusters + l->blocks;
	size_t size = (size_t)1 << l->cluster_bits;
	int err = 0;

	memset(cluster, 0, size);
	for (uint64_t i = 0; i < l->l1_clusters && err == 0; i++)
		err = store_write(store, (first + i) << l->cluster_bits,
				  cluster, size);
	return err;
}

static int write_all(struct store *store, const struct layout *l,
		     uint8_t *cluster, char **ret_error)
{
	size_t size = (size_t)1 << l->cluster_bits;
	int err = 0;

	memset(cluster, 0, size);
	fill_header(l, cluster);
	err = fill_extensions(l, cluster, ret_error);
	if (err == 0 && store->can_grow)
		err = store_resize(store, 0);
	if (err == 0)
		err = write_refcounts(store, l, cluster);
	if (err == 0)
		err = write_l1(store, l, cluster);
	if (err == 0)
		err = store_flush(store);
	if (err)
		return err;
	/* The header comes last: without it this is no image. */
	memset(cluster, 0, size);
	fill_header(l, cluster);
	(void)fill_extensions(l, cluster, ret_error);
	err = store_write(store, 0, cluster, size);
	return err ? err : store_flush(store);
}

int qcow2_create(struct store *store,
		 const struct qcow2_create_options *options, char **ret_error)
{
	struct layout l = {0};
	uint8_t *cluster;
	int err = check_options(options, &l, ret_error);

	if (err == 0)
		err = lay_out(&l, ret_error);
	if (err)
		return err;
	cluster = aligned_alloc(4096,
				align_up(UINT64_C(1) << l.cluster_bits, 4096));
	if (!cluster)
		return -ENOMEM;
	err = write_all(store, &l, cluster, ret_error);
	free(cluster);
	if (err)
		store_fail(ret_error, err, "%s: cannot be made: %s",
			   store->name, strerror(-err));
	return err;
}
