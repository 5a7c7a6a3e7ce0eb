/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing what an image was made with. Each option is a change of its own, and
 * a crash between two leaves the first one made.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "qcow2/create-options.h"
#include "qcow2/crypt.h"
#include "qcow2/header-write.h"
#include "qcow2/manage.h"
#include "qcow2/refcount-width.h"
#include "qcow2/snapshot-table.h"
#include "qcow2/zero-flags.h"

static const char no_lazy[] =
	"Lazy refcounts only supported with compatibility level 1.1 and above "
	"(use compat=1.1 or greater)";

static int refuse(struct qcow2 *q, const char *why)
{
	return image_set_error(&q->image, -ENOTSUP, "%s", why);
}

/* Version 2 has no place for what these say. */
static int check_snapshots(struct qcow2 *q)
{
	struct qcow2_snapshot_table table;
	int err = qcow2_snapshot_table_read(q, &table);

	if (err)
		return err;
	for (uint32_t i = 0; i < table.count && err == 0; i++)
		if (table.all[i].size_bytes != q->header.size_bytes ||
		    table.all[i].state_bytes > UINT32_MAX)
			err = refuse(q, "Internal snapshots prevent downgrade "
					"of image");
	qcow2_snapshot_table_deinit(&table);
	return err;
}

static int check_downgrade(struct qcow2 *q)
{
	const struct qcow2_header *h = &q->header;

	if (h->refcount_order != 4)
		return refuse(q, "compat=0.10 requires refcount_bits=16");
	if (h->incompatible & QCOW2_INCOMPAT_DATA_FILE)
		return refuse(q, "Cannot downgrade an image with a data file");
	if (h->incompatible & ~QCOW2_INCOMPAT_DIRTY)
		return image_set_error(&q->image, -ENOTSUP,
				       "Cannot downgrade an image with "
				       "incompatible features 0x%" PRIx64
				       " set",
				       h->incompatible & ~QCOW2_INCOMPAT_DIRTY);
	if (h->bitmap_count)
		return refuse(q, "version 2 (compat=0.10) has no bitmaps; "
				 "remove them first");
	return check_snapshots(q);
}

static int change_header(struct qcow2 *q, const struct qcow2_header *wanted)
{
	struct qcow2_header before = q->header;

	q->header = *wanted;
	return qcow2_header_replace(q, &before, NULL);
}

static int set_version(struct qcow2 *q, unsigned version,
		       const struct image_amend_request *request)
{
	struct qcow2_header wanted = q->header;
	int err = 0;

	if (version == q->header.version)
		return 0;
	if (version < 3)
		err = check_downgrade(q);
	if (err == 0 && version < 3)
		err = qcow2_remove_zero_flags(q, request);
	if (err)
		return err;
	wanted = q->header;
	wanted.version = version;
	wanted.incompatible = wanted.compatible = wanted.autoclear = 0;
	return change_header(q, &wanted);
}

static int set_lazy(struct qcow2 *q, bool lazy)
{
	struct qcow2_header wanted = q->header;

	if (lazy && q->header.version < 3)
		return refuse(q, no_lazy);
	if (lazy)
		wanted.compatible |= QCOW2_COMPAT_LAZY_REFCOUNTS;
	else
		wanted.compatible &= ~QCOW2_COMPAT_LAZY_REFCOUNTS;
	if (wanted.compatible == q->header.compatible)
		return 0;
	return change_header(q, &wanted);
}

static int amend_version(struct qcow2 *q,
			 const struct image_amend_request *request)
{
	const struct image_options *o = request->options;
	const char *compat = image_options_string(o, "compat", NULL);
	bool lazy = image_options_bool(o, "lazy_refcounts",
				       q->header.compatible &
					       QCOW2_COMPAT_LAZY_REFCOUNTS);
	unsigned version =
		compat ? qcow2_version_of(compat) : q->header.version;
	int err;

	if (version < 3 && lazy &&
	    image_options_string(o, "lazy_refcounts", NULL))
		return refuse(q, no_lazy);
	err = set_version(q, version, request);
	return err || version < 3 ? err : set_lazy(q, lazy);
}

/* Only what the header says; the file itself is left alone. */
static int set_data_name(struct qcow2 *q, const char *name)
{
	char *ours = strdup(name), *images = strdup(name);
	char *before = q->header.data_name;
	int err = ours && images ? 0 : -ENOMEM;

	if (err == 0) {
		q->header.data_name = ours;
		err = qcow2_header_update(q);
	}
	if (err) {
		q->header.data_name = before;
		free(ours);
		free(images);
		return err;
	}
	free(before);
	free(q->image.files[0].name);
	q->image.files[0].name = images;
	return 0;
}

static int amend_data_file(struct qcow2 *q, const struct image_options *o)
{
	const char *name = image_options_string(o, "data_file", NULL);
	uint64_t now = q->header.autoclear & QCOW2_AUTOCLEAR_RAW_DATA;
	bool raw = image_options_bool(o, "data_file_raw", now);
	struct qcow2_header wanted = q->header;
	int err = 0;

	if (name && !q->data_file)
		return image_set_error(&q->image, -EINVAL,
				       "data-file can only be set for images "
				       "that use an external data file");
	if (name && (!*name || strlen(name) > QCOW2_MAX_DATA_NAME))
		return image_set_error(&q->image, -EINVAL,
				       "data_file wants a name of 1 to %d "
				       "bytes",
				       QCOW2_MAX_DATA_NAME);
	if (raw && !now)
		return image_set_error(&q->image, -EINVAL,
				       "data-file-raw cannot be set on "
				       "existing images");
	wanted.autoclear &= ~QCOW2_AUTOCLEAR_RAW_DATA;
	if (now && !raw)
		err = change_header(q, &wanted);
	return err == 0 && name ? set_data_name(q, name) : err;
}

static int amend_backing(struct qcow2 *q, const struct image_options *o)
{
	const char *name = image_options_string(o, "backing_file", NULL);
	const char *format = image_options_string(o, "backing_fmt", NULL);

	if (!name && !format)
		return 0;
	return qcow2_set_backing(&q->image, name ? name : q->image.backing_name,
				 format ? format : q->image.backing_format);
}

static int amend_size(struct qcow2 *q, const struct image_options *o)
{
	uint64_t bytes = image_options_number(o, "size", q->image.size_bytes);

	if (bytes == q->image.size_bytes)
		return 0;
	return image_resize(&q->image, bytes, IMAGE_PREALLOCATION_OFF);
}

static int amend_refcounts(struct qcow2 *q, const struct image_options *o)
{
	uint64_t now = UINT64_C(1) << q->header.refcount_order;
	uint64_t bits = image_options_number(o, "refcount_bits", now);

	if (bits == now)
		return 0;
	if (!is_power_of_two(bits) || bits > 64)
		return image_set_error(&q->image, -EINVAL,
				       "Refcount width must be a power of two "
				       "and may not exceed 64 bits");
	if (q->header.version < 3)
		return image_set_error(&q->image, -EINVAL,
				       "Refcount widths other than 16 bits "
				       "require compatibility level 1.1 or "
				       "above (use compat=1.1 or greater)");
	return qcow2_set_refcount_order(q, (unsigned)__builtin_ctzll(bits));
}

int qcow2_amend(struct image *image, const struct image_amend_request *request)
{
	struct qcow2 *q = qcow2_of(image);
	int err = qcow2_settle(q);

	if (err == 0 && qcow2_crypt_is_amended(request->options))
		err = qcow2_crypt_amend(q, request);
	/* Either may be what makes the other possible. */
	if (err == 0 && q->header.version >= 3)
		err = amend_refcounts(q, request->options);
	if (err == 0)
		err = amend_version(q, request);
	if (err == 0)
		err = amend_refcounts(q, request->options);
	if (err == 0)
		err = amend_data_file(q, request->options);
	if (err == 0)
		err = amend_backing(q, request->options);
	if (err == 0)
		err = amend_size(q, request->options);
	if (err == 0 && request->progress)
		request->progress(request->opaque, 1, 1);
	return err;
}
