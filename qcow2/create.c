/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/create.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "qcow2/header-layout.h"
#include "qcow2/refcount.h"

enum {
	DEFAULT_CLUSTER_BITS = 16,
	DEFAULT_REFCOUNT_ORDER = 4,
};

/* Where everything lies, in clusters: header, table, blocks, L1, LUKS, in a row. */
struct layout {
	const struct qcow2_create_options *o;
	unsigned version;
	unsigned cluster_bits;
	unsigned refcount_order;
	uint64_t l1_entries;
	uint64_t reftable_clusters;
	uint64_t blocks;
	uint64_t l1_clusters;
	uint64_t crypt_bytes;
	uint64_t total;
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
	if (l->version == 2 &&
	    (bits != 16 || o->lazy_refcounts || o->extended_l2 ||
	     o->compression != QCOW2_COMPRESSION_ZLIB))
		return store_fail(ret_error, -EINVAL,
				  "qcow2: version 2 has 16-bit refcounts, zlib "
				  "compression, no lazy refcounts and no "
				  "extended L2 entries");
	if (o->extended_l2 &&
	    cluster < 1u << QCOW2_MIN_EXTENDED_L2_CLUSTER_BITS)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: extended L2 entries want clusters of "
				  "16 KiB or more");
	if (o->compression > QCOW2_COMPRESSION_ZSTD)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: unknown compression type");
	if (o->backing_format && !o->backing_name)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: a backing format without a backing "
				  "file");
	if (o->data_name &&
	    (l->version < 3 || strlen(o->data_name) > QCOW2_MAX_DATA_NAME))
		return store_fail(ret_error, -EINVAL,
				  "qcow2: an external data file wants version "
				  "3 and a shorter name");
	if ((o->backing_name &&
	     strlen(o->backing_name) > QCOW2_MAX_BACKING_NAME) ||
	    (o->backing_format &&
	     strlen(o->backing_format) > QCOW2_MAX_BACKING_FORMAT))
		return store_fail(ret_error, -EINVAL,
				  "qcow2: the backing file's name or format is "
				  "too long");
	if (o->size_bytes > INT64_MAX)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: the size is too large");
	l->o = o;
	l->cluster_bits = (unsigned)__builtin_ctz(cluster);
	l->refcount_order = (unsigned)__builtin_ctz(bits);
	return 0;
}

static uint64_t expected_reftable_clusters(const struct layout *l,
					   uint64_t per_block)
{
	uint64_t blocks = div_round_up(l->o->expected_clusters, per_block);

	return div_round_up(MIN(blocks * 8, (uint64_t)QCOW2_MAX_REFTABLE_BYTES),
			    UINT64_C(1) << l->cluster_bits);
}

/* Blocks and table describe themselves, too: until nothing is added. */
static int lay_out(struct layout *l, char **ret_error)
{
	uint64_t cluster = UINT64_C(1) << l->cluster_bits;
	uint64_t per_block = UINT64_C(1)
			     << (l->cluster_bits + 3 - l->refcount_order);
	uint64_t expected = expected_reftable_clusters(l, per_block);
	uint64_t total;

	l->l1_entries = qcow2_l1_entries_for(l->o->size_bytes, l->cluster_bits,
					     l->o->extended_l2);
	if (l->l1_entries > QCOW2_MAX_L1_BYTES / 8)
		return store_fail(ret_error, -EINVAL,
				  "The image size is too large for file format "
				  "'qcow2' (try using a larger cluster size)");
	l->l1_clusters = div_round_up(l->l1_entries * 8, cluster);
	if (l->o->encrypted)
		l->crypt_bytes = luks_header_bytes(&l->o->luks.spec);
	do {
		total = l->total;
		l->blocks = MAX(div_round_up(total, per_block), UINT64_C(1));
		l->reftable_clusters =
			MAX(div_round_up(l->blocks * 8, cluster), expected);
		l->total = 1 + l->reftable_clusters + l->blocks +
			   l->l1_clusters +
			   div_round_up(l->crypt_bytes, cluster);
	} while (l->total != total);
	return 0;
}

static uint64_t crypt_offset(const struct layout *l)
{
	return (1 + l->reftable_clusters + l->blocks + l->l1_clusters)
	       << l->cluster_bits;
}

static int fill_header(const struct layout *l, uint8_t *cluster,
		       char **ret_error)
{
	const struct qcow2_create_options *o = l->o;
	/* The names are borrowed. */
	struct qcow2_header h = {
		.version = l->version,
		.cluster_bits = l->cluster_bits,
		.refcount_order = l->refcount_order,
		.compression = o->compression,
		.size_bytes = o->size_bytes,
		.l1_offset = l->l1_clusters
				     ? (1 + l->reftable_clusters + l->blocks)
					       << l->cluster_bits
				     : 0,
		.l1_entries = l->l1_entries,
		.reftable_offset = UINT64_C(1) << l->cluster_bits,
		.reftable_clusters = l->reftable_clusters,
		.backing_name = (char *)o->backing_name,
		.backing_format = (char *)o->backing_format,
		.data_name = (char *)o->data_name,
	};
	size_t size = (size_t)1 << l->cluster_bits;
	int err;

	if (o->encrypted) {
		h.crypt_method = QCOW2_CRYPT_LUKS;
		h.crypt_offset = crypt_offset(l);
		h.crypt_bytes = l->crypt_bytes;
	}
	if (o->compression != QCOW2_COMPRESSION_ZLIB)
		h.incompatible |= QCOW2_INCOMPAT_COMPRESSION;
	if (o->extended_l2)
		h.incompatible |= QCOW2_INCOMPAT_EXTENDED_L2;
	if (o->data_name)
		h.incompatible |= QCOW2_INCOMPAT_DATA_FILE;
	if (o->data_name && o->data_raw)
		h.autoclear |= QCOW2_AUTOCLEAR_RAW_DATA;
	if (o->lazy_refcounts)
		h.compatible |= QCOW2_COMPAT_LAZY_REFCOUNTS;
	memset(cluster, 0, size);
	err = qcow2_header_lay_out(&h, cluster, size);
	if (err == -ENOSPC)
		return store_fail(
			ret_error, -EINVAL,
			"qcow2: the names of backing file, format "
			"and data file are too long for clusters of %zu bytes",
			size);
	return err;
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

/* A file ends where the table does, as QEMU's: the rest reads as zeroes. */
static int write_l1(struct store *store, const struct layout *l,
		    uint8_t *cluster)
{
	uint64_t at = (1 + l->reftable_clusters + l->blocks) << l->cluster_bits;
	uint64_t size = UINT64_C(1) << l->cluster_bits;
	uint64_t left = store->can_grow ? l->l1_entries * UINT64_C(8)
					: l->l1_clusters << l->cluster_bits;
	int err = 0;

	memset(cluster, 0, size);
	for (; left > 0 && err == 0; at += size) {
		uint64_t part = MIN(left, size);

		err = store_write(store, at, cluster, part);
		left -= part;
	}
	return err;
}

/* Of its key slots only the first is written: the rest must be there. */
static int write_luks(struct store *store, const struct layout *l,
		      char **ret_error)
{
	const struct luks_area area = {
		.store = store,
		.offset = crypt_offset(l),
		.bytes = l->crypt_bytes,
	};
	int err = 0;

	if (store->can_grow)
		err = store_resize(store, l->total << l->cluster_bits);
	return err ? err : luks_create(&area, &l->o->luks, ret_error);
}

static int write_all(struct store *store, const struct layout *l,
		     uint8_t *cluster, char **ret_error)
{
	size_t size = (size_t)1 << l->cluster_bits;
	int err = 0;

	err = fill_header(l, cluster, ret_error);
	if (err == 0 && store->can_grow)
		err = store_resize(store, 0);
	if (err == 0)
		err = write_refcounts(store, l, cluster);
	if (err == 0)
		err = write_l1(store, l, cluster);
	if (err == 0 && l->o->encrypted)
		err = write_luks(store, l, ret_error);
	if (err == 0)
		err = store_flush(store);
	if (err)
		return err;
	/* The header comes last: without it this is no image. */
	err = fill_header(l, cluster, ret_error);
	if (err == 0)
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
