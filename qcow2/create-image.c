/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "qcow2/core.h"
#include "qcow2/create-options.h"
#include "qcow2/data-file.h"
#include "qcow2/fill.h"
#include "qcow2/manage.h"
#include "qcow2/qcow2.h"

/* The file's own space, behind everything that is mapped. */
static int reserve_space(struct store *store)
{
	int err;

	if (store->fd < 0)
		return 0;
	do
		err = posix_fallocate(store->fd, (off_t)store->fd_offset,
				      (off_t)store->size_bytes);
	while (err == EINTR);
	return -err;
}

static int map_everything(struct qcow2 *q, enum image_preallocation how)
{
	struct store *store = q->image.store, *data = q->image.data_store;
	bool written = how == IMAGE_PREALLOCATION_FULL;
	int err =
		q->image.backing_name
			? qcow2_fill_absent(q, written)
			: qcow2_fill_zeroes(q, 0, q->image.size_bytes, written);

	if (err == 0)
		err = qcow2_settle(q);
	if (err == 0 && store->can_grow)
		err = store_resize(store, q->end_cluster << q->cluster_bits);
	if (err == 0 && how == IMAGE_PREALLOCATION_FALLOC)
		err = reserve_space(data);
	if (err == 0 && data != store)
		err = store_flush(data);
	return err ? err : store_flush(store);
}

static int preallocate(const struct image_create_request *request,
		       const struct qcow2_create_options *o, struct store *data,
		       enum image_preallocation how, char **ret_error)
{
	struct image_secret secrets[2] = {
		{.data = o->luks.passphrase, .bytes = o->luks.passphrase_bytes},
		{.data = NULL},
	};
	const struct image_open_options options = {
		.secrets = o->encrypted ? secrets : NULL,
	};
	struct store *store = request->store;
	struct image *image;
	int err = qcow2_format.open(store, &options, &image, ret_error);

	if (err)
		return err;
	if (data)
		err = image_attach(image, 0, data, ret_error);
	if (data && err == 0)
		qcow2_of(image)->raw_zero_from = 0;
	if (err == 0)
		err = map_everything(qcow2_of(image), how);
	if (err)
		store_fail(ret_error, err, "%s: cannot be preallocated: %s",
			   store->name,
			   err < 0 ? strerror(-err) : image_error(image));
	/* All is written; the stores go back to the caller. */
	image->read_only = true;
	image->store = image->data_store = NULL;
	if (data)
		image->files[0].store = NULL;
	image->format->close(image);
	return err;
}

int qcow2_create_image(const struct image_create_request *request,
		       char **ret_error)
{
	struct qcow2_create_options o;
	enum image_preallocation preallocation;
	struct store *data = NULL;
	int err = qcow2_create_options_take(request, &o, &preallocation,
					    ret_error);

	if (err == 0 && !o.data_name &&
	    preallocation != IMAGE_PREALLOCATION_OFF)
		o.expected_clusters = qcow2_full_bytes(&o) / o.cluster_bytes;
	if (err == 0 && o.data_name)
		err = qcow2_data_file_make(request, &o, &data, ret_error);
	if (err == 0)
		err = qcow2_create(request->store, &o, ret_error);
	if (err == 0 && preallocation != IMAGE_PREALLOCATION_OFF)
		err = preallocate(request, &o, data, preallocation, ret_error);
	store_free(data);
	return err;
}
