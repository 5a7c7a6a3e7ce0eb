/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/crypt.h"

#include <errno.h>
#include <stdlib.h>

enum {
	AES_KEY_BYTES = 16,
};

static struct luks_area area_of(const struct qcow2 *q)
{
	return (struct luks_area){
		.store = q->image.store,
		.offset = q->header.crypt_offset,
		.bytes = q->header.crypt_bytes,
	};
}

static int open_luks(struct qcow2 *q, const struct image_open_options *o,
		     char **ret_error)
{
	const struct luks_area area = area_of(q);
	struct luks luks;
	struct luks_key key;
	int err = luks_read(&area, &luks, ret_error);

	if (err)
		return err;
	err = luks_unlock_any(&area, &luks, o->secrets, &key, ret_error);
	if (err == 0)
		err = luks_cipher(&luks, &key, true, &q->image.cipher,
				  ret_error);
	luks_wipe_key(&key);
	return err;
}

/* There is nothing that would tell a wrong passphrase. */
static int open_aes(struct qcow2 *q, const struct image_open_options *o,
		    char **ret_error)
{
	const struct cipher_spec spec = {
		.algorithm = CIPHER_AES_128,
		.mode = CIPHER_CBC,
		.iv = CIPHER_PLAIN64,
	};
	uint8_t key[AES_KEY_BYTES] = {0};
	int err;

	if (!o->read_only)
		return store_fail(ret_error, -EROFS,
				  "the legacy AES encryption is only read: "
				  "open the image read-only, and convert it "
				  "to one with LUKS");
	memcpy(key, o->secrets->data, MIN(o->secrets->bytes, sizeof(key)));
	err = image_cipher_new(&spec, key, false, &q->image.cipher, ret_error);
	cipher_wipe(key, sizeof(key));
	return err;
}

int qcow2_crypt_open(struct qcow2 *q, const struct image_open_options *o,
		     char **ret_error)
{
	bool has_secret = o->secrets && o->secrets->data;

	if (q->header.crypt_method == QCOW2_CRYPT_NONE)
		return 0;
	if (o->no_key || (o->check && !has_secret))
		return image_cipher_new_locked(&q->image.cipher);
	if (!has_secret)
		return store_fail(ret_error, -EACCES,
				  "encrypted: give its passphrase with "
				  "--object secret,id=ID,file=PATH and the "
				  "image option encrypt.key-secret=ID");
	if (q->header.crypt_method == QCOW2_CRYPT_AES)
		return open_aes(q, o, ret_error);
	return open_luks(q, o, ret_error);
}

static int take_error(struct qcow2 *q, int err, char *error)
{
	if (error)
		image_set_error(&q->image, err, "%s", error);
	free(error);
	return err;
}

int qcow2_crypt_facts(struct qcow2 *q, struct image_facts *facts)
{
	const struct luks_area area = area_of(q);
	char *error = NULL;
	struct luks luks;
	int err;

	if (q->header.crypt_method == QCOW2_CRYPT_NONE)
		return 0;
	err = image_facts_add(facts, "encrypt", IMAGE_FACT_GROUP, "%s", "");
	if (err == 0 && q->header.crypt_method == QCOW2_CRYPT_AES)
		return image_facts_add(facts, "encrypt.format",
				       IMAGE_FACT_STRING, "aes");
	if (err == 0) {
		err = luks_read(&area, &luks, &error);
		err = take_error(q, err, error);
	}
	return err ? err : luks_facts(&luks, "encrypt.", true, facts);
}

bool qcow2_crypt_is_amended(const struct image_options *options)
{
	for (size_t i = 0; i < options->count; i++)
		if (strncmp(options->settings[i].name, "encrypt.", 8) == 0)
			return true;
	return false;
}

int qcow2_crypt_amend(struct qcow2 *q,
		      const struct image_amend_request *request)
{
	const struct luks_area area = area_of(q);
	char *error = NULL;
	struct luks luks;
	int err;

	if (q->header.crypt_method != QCOW2_CRYPT_LUKS)
		return image_set_error(&q->image, -ENOTSUP,
				       "the image has no key slots: it is not "
				       "encrypted with LUKS");
	err = luks_read(&area, &luks, &error);
	if (err == 0)
		err = luks_amend(&area, &luks, "encrypt.", request, &error);
	return take_error(q, err, error);
}
