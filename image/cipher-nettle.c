/* SPDX-License-Identifier: Apache-2.0 */
/* What libgcrypt lacks of QEMU's list: Twofish with a key of 192 bits. */
#include <nettle/cbc.h>
#include <nettle/ctr.h>
#include <nettle/twofish.h>
#include <nettle/xts.h>
#include <stdlib.h>
#include <string.h>

#include "image/cipher-backend.h"

struct context {
	enum cipher_mode mode;
	struct twofish_ctx data;
	struct twofish_ctx tweak; /* XTS */
};

static void context_free(void *context)
{
	free(context);
}

static void *context_new(enum cipher_algorithm algorithm, enum cipher_mode mode,
			 bool encrypts, const uint8_t *key, size_t key_bytes)
{
	size_t wanted = TWOFISH192_KEY_SIZE * (mode == CIPHER_XTS ? 2 : 1);
	struct context *context;

	if (algorithm != CIPHER_TWOFISH_192 || key_bytes != wanted)
		return NULL;
	context = calloc(1, sizeof(*context));
	if (!context)
		return NULL;
	context->mode = mode;
	twofish192_set_key(&context->data, key);
	if (mode == CIPHER_XTS)
		twofish192_set_key(&context->tweak, key + TWOFISH192_KEY_SIZE);
	return context;
}

static nettle_cipher_func *one_way(bool encrypts)
{
	return encrypts ? (nettle_cipher_func *)twofish_encrypt
			: (nettle_cipher_func *)twofish_decrypt;
}

static void crypt_cbc(const struct context *context, bool encrypts,
		      uint8_t *chained, void *data, size_t bytes)
{
	if (encrypts)
		cbc_encrypt(&context->data, one_way(true), TWOFISH_BLOCK_SIZE,
			    chained, bytes, data, data);
	else
		cbc_decrypt(&context->data, one_way(false), TWOFISH_BLOCK_SIZE,
			    chained, bytes, data, data);
}

static void crypt_xts(const struct context *context, bool encrypts,
		      const uint8_t *iv, void *data, size_t bytes)
{
	if (encrypts)
		xts_encrypt_message(&context->data, &context->tweak,
				    one_way(true), iv, bytes, data, data);
	else
		xts_decrypt_message(&context->data, &context->tweak,
				    one_way(false), one_way(true), iv, bytes,
				    data, data);
}

static bool crypt(void *opaque, bool encrypts, const uint8_t *iv, void *data,
		  size_t bytes)
{
	const struct context *context = opaque;
	uint8_t chained[TWOFISH_BLOCK_SIZE];

	/* nettle ends the program where it is given part of a block. */
	if (bytes % TWOFISH_BLOCK_SIZE)
		return false;
	if (context->mode != CIPHER_ECB)
		memcpy(chained, iv, sizeof(chained));
	switch (context->mode) {
	case CIPHER_ECB:
		one_way(encrypts)(&context->data, bytes, data, data);
		break;
	case CIPHER_CBC:
		crypt_cbc(context, encrypts, chained, data, bytes);
		break;
	case CIPHER_CTR:
		ctr_crypt(&context->data, one_way(true), TWOFISH_BLOCK_SIZE,
			  chained, bytes, data, data);
		break;
	case CIPHER_XTS:
		crypt_xts(context, encrypts, iv, data, bytes);
		break;
	default:
		return false;
	}
	return true;
}

const struct cipher_backend cipher_nettle = {
	.context_new = context_new,
	.context_free = context_free,
	.crypt = crypt,
};
