/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain LUKS file: the payload behind the header is the disk, and the guest's
 * sectors are those of the cipher.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/luks.h"
#include "image/open.h"

struct luks_image {
	struct image image;
	struct luks luks;
};

static struct luks_image *luks_of(struct image *image)
{
	return container_of(image, struct luks_image, image);
}

static struct luks_area whole(struct store *store)
{
	return (struct luks_area){.store = store, .bytes = store->size_bytes};
}

static int unlock(struct luks_image *l, const struct image_open_options *o,
		  char **ret_error)
{
	const struct luks_area area = whole(l->image.store);
	struct luks_key key;
	int err;

	if (o->no_key)
		return image_cipher_new_locked(&l->image.cipher);
	err = luks_unlock_any(&area, &l->luks, o->secrets, &key, ret_error);
	if (err == 0)
		err = luks_cipher(&l->luks, &key, false, &l->image.cipher,
				  ret_error);
	luks_wipe_key(&key);
	return err;
}

static int open_image(struct store *store, const struct image_open_options *o,
		      struct image **ret_image, char **ret_error)
{
	const struct luks_area area = whole(store);
	struct luks_image *l = calloc(1, sizeof(*l));
	uint64_t start;
	int err;

	if (!l)
		return -ENOMEM;
	image_init(&l->image, &luks_format, store);
	err = luks_read(&area, &l->luks, ret_error);
	if (err == 0)
		err = unlock(l, o, ret_error);
	if (err != 0) {
		l->image.store = l->image.data_store = NULL;
		image_deinit(&l->image);
		free(l);
		return err;
	}
	start = (uint64_t)l->luks.payload_sector * CIPHER_SECTOR_BYTES;
	l->image.size_bytes =
		align_down(store->size_bytes - start, CIPHER_SECTOR_BYTES);
	l->image.read_only = o->read_only;
	*ret_image = &l->image;
	return 0;
}

static void close_image(struct image *image)
{
	image_deinit(image);
	free(luks_of(image));
}

static int map(struct image *image, enum image_op op, uint64_t offset,
	       uint64_t length, struct image_extent *ret)
{
	uint64_t start = (uint64_t)luks_of(image)->luks.payload_sector *
			 CIPHER_SECTOR_BYTES;

	ret->kind = IMAGE_DATA;
	ret->length = length;
	ret->store = image->store;
	ret->host_offset = start + offset;
	return 0;
}

static int flush_begin(struct image *image, struct image_plan *ret_plan)
{
	static struct image_step barrier = {.kind = IMAGE_STEP_BARRIER};

	*ret_plan = (struct image_plan){.steps = &barrier, .count = 1};
	return 0;
}

/* As with raw files, plans share one constant step. */
static void flush_end(struct image *image, struct image_plan *plan, int result)
{
}

static int create(const struct image_create_request *request, char **ret_error)
{
	struct luks_create_options o;
	struct luks_area area = {.store = request->store};
	int err = luks_create_options(request->options, "", request->secrets,
				      &o, ret_error);

	if (err < 0)
		return err;
	if (request->backing_name)
		return store_fail(ret_error, -EINVAL,
				  "a LUKS file has no backing file");
	area.bytes = luks_header_bytes(&o.spec);
	if (request->size_bytes > INT64_MAX - area.bytes ||
	    !is_aligned(request->size_bytes, CIPHER_SECTOR_BYTES))
		return store_fail(ret_error, -EINVAL,
				  "the size of a LUKS file is a multiple of "
				  "512 bytes");
	if (request->store->can_grow)
		err = store_resize(request->store,
				   area.bytes + request->size_bytes);
	else if (request->store->size_bytes - area.bytes < request->size_bytes)
		err = -ENOSPC;
	return err < 0 ? err : luks_create(&area, &o, ret_error);
}

/* What nobody wrote is encrypted as well: there are no holes. */
static int measure(const struct image_create_request *request,
		   struct image *source, struct image_measure *ret,
		   char **ret_error)
{
	struct luks_create_options o;
	uint64_t size =
		source ? align_up(source->size_bytes, CIPHER_SECTOR_BYTES)
		       : request->size_bytes;
	int err = luks_create_options(request->options, "", request->secrets,
				      &o, ret_error);

	if (err < 0)
		return err;
	size += luks_header_bytes(&o.spec);
	*ret = (struct image_measure){.required = size,
				      .fully_allocated = size};
	return 0;
}

static int facts(struct image *image, struct image_facts *ret)
{
	return luks_facts(&luks_of(image)->luks, "", false, ret);
}

static int amend(struct image *image, const struct image_amend_request *request)
{
	const struct luks_area area = whole(image->store);
	char *error = NULL;
	int err = luks_amend(&area, &luks_of(image)->luks, "", request, &error);

	if (error)
		image_set_error(image, err, "%s", error);
	free(error);
	return err;
}

static const struct image_option options[] = {
	{"key-secret", IMAGE_OPTION_STRING, IMAGE_OPTION_CREATE,
	 "ID of the secret that holds the passphrase", NULL, NULL},
	{"cipher-alg", IMAGE_OPTION_STRING, IMAGE_OPTION_CREATE,
	 "the cipher and the length of its key", NULL, "aes-256"},
	{"cipher-mode", IMAGE_OPTION_STRING, IMAGE_OPTION_CREATE,
	 "the cipher's mode", "xts|cbc|ctr|ecb", "xts"},
	{"ivgen-alg", IMAGE_OPTION_STRING, IMAGE_OPTION_CREATE,
	 "how initial vectors are made", "plain|plain64|essiv", "plain64"},
	{"ivgen-hash-alg", IMAGE_OPTION_STRING, IMAGE_OPTION_CREATE,
	 "the hash that essiv takes of the key", NULL, "sha256"},
	{"hash-alg", IMAGE_OPTION_STRING, IMAGE_OPTION_CREATE,
	 "the hash of key slots", NULL, "sha256"},
	{"iter-time", IMAGE_OPTION_NUMBER,
	 IMAGE_OPTION_CREATE | IMAGE_OPTION_AMEND,
	 "milliseconds that trying a passphrase shall take", NULL, "2000"},
	{"state", IMAGE_OPTION_STRING, IMAGE_OPTION_AMEND,
	 "what becomes of the key slots", "active|inactive", NULL},
	{"keyslot", IMAGE_OPTION_NUMBER, IMAGE_OPTION_AMEND,
	 "the key slot to change", NULL, NULL},
	{"old-secret", IMAGE_OPTION_STRING, IMAGE_OPTION_AMEND,
	 "ID of the secret that opens the image, or the slots to erase", NULL,
	 NULL},
	{"new-secret", IMAGE_OPTION_STRING, IMAGE_OPTION_AMEND,
	 "ID of the secret for a new key slot", NULL, NULL},
	{.name = NULL},
};

static const struct image_manage manage = {
	.options = options,
	.create = create,
	.measure = measure,
	.facts = facts,
	.amend = amend,
};

const struct image_format luks_format = {
	.name = "luks",
	.map_is_constant = true,
	.manage = &manage,
	.probe = luks_probe,
	.open = open_image,
	.close = close_image,
	.map = map,
	.flush_begin = flush_begin,
	.flush_end = flush_end,
};
