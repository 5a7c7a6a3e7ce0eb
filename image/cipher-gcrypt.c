/* SPDX-License-Identifier: Apache-2.0 */
/* The block ciphers that OpenSSL 3 left behind, from libgcrypt. */
#include <gcrypt.h>
#include <pthread.h>
#include <stdlib.h>

#include "image/cipher-backend.h"

struct context {
	gcry_cipher_hd_t handle;
	enum cipher_mode mode;
	size_t block_bytes;
};

static int find_algorithm(enum cipher_algorithm algorithm)
{
	static const int table[CIPHER_ALGORITHMS] = {
		[CIPHER_AES_128] = GCRY_CIPHER_AES128,
		[CIPHER_AES_192] = GCRY_CIPHER_AES192,
		[CIPHER_AES_256] = GCRY_CIPHER_AES256,
		[CIPHER_SERPENT_128] = GCRY_CIPHER_SERPENT128,
		[CIPHER_SERPENT_192] = GCRY_CIPHER_SERPENT192,
		[CIPHER_SERPENT_256] = GCRY_CIPHER_SERPENT256,
		[CIPHER_TWOFISH_128] = GCRY_CIPHER_TWOFISH128,
		[CIPHER_TWOFISH_192] = 0, /* libgcrypt has none */
		[CIPHER_TWOFISH_256] = GCRY_CIPHER_TWOFISH,
		[CIPHER_CAST5_128] = GCRY_CIPHER_CAST5,
	};

	return table[algorithm];
}

static int find_mode(enum cipher_mode mode)
{
	static const int table[CIPHER_MODES] = {
		[CIPHER_ECB] = GCRY_CIPHER_MODE_ECB,
		[CIPHER_CBC] = GCRY_CIPHER_MODE_CBC,
		[CIPHER_XTS] = GCRY_CIPHER_MODE_XTS,
		[CIPHER_CTR] = GCRY_CIPHER_MODE_CTR,
	};

	return table[mode];
}

/* Keys of disks are wiped by us: no locked pool, which would run out. */
static void initialise(void)
{
	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return;
	gcry_check_version(NULL);
	gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
	gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
}

static void context_free(void *opaque)
{
	struct context *context = opaque;

	if (!context)
		return;
	if (context->handle)
		gcry_cipher_close(context->handle);
	free(context);
}

static void *context_new(enum cipher_algorithm algorithm, enum cipher_mode mode,
			 bool encrypts, const uint8_t *key, size_t key_bytes)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int number = find_algorithm(algorithm);
	struct context *context;

	pthread_once(&once, initialise);
	context = number ? calloc(1, sizeof(*context)) : NULL;
	if (!context)
		return NULL;
	context->mode = mode;
	context->block_bytes = gcry_cipher_get_algo_blklen(number);
	if (gcry_cipher_open(&context->handle, number, find_mode(mode), 0) ||
	    gcry_cipher_setkey(context->handle, key, key_bytes)) {
		context_free(context);
		return NULL;
	}
	return context;
}

static bool crypt(void *opaque, bool encrypts, const uint8_t *iv, void *data,
		  size_t bytes)
{
	struct context *context = opaque;
	gcry_error_t err = 0;

	if (context->mode == CIPHER_CTR)
		err = gcry_cipher_setctr(context->handle, iv,
					 context->block_bytes);
	else if (context->mode != CIPHER_ECB)
		err = gcry_cipher_setiv(context->handle, iv,
					context->block_bytes);
	if (err)
		return false;
	err = encrypts ? gcry_cipher_encrypt(context->handle, data, bytes, NULL,
					     0)
		       : gcry_cipher_decrypt(context->handle, data, bytes, NULL,
					     0);
	return err == 0;
}

const struct cipher_backend cipher_gcrypt = {
	.context_new = context_new,
	.context_free = context_free,
	.crypt = crypt,
};
