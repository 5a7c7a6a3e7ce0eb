/* SPDX-License-Identifier: Apache-2.0 */
/* AES, hashes and key derivation from libcrypto. */
#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "image/cipher-backend.h"

static const EVP_CIPHER *find_cipher(enum cipher_algorithm algorithm,
				     enum cipher_mode mode)
{
	typedef const EVP_CIPHER *getter(void);
	static getter *const table[3][CIPHER_MODES] = {
		{EVP_aes_128_ecb, EVP_aes_128_cbc, EVP_aes_128_xts,
		 EVP_aes_128_ctr},
		{EVP_aes_192_ecb, EVP_aes_192_cbc, NULL, EVP_aes_192_ctr},
		{EVP_aes_256_ecb, EVP_aes_256_cbc, EVP_aes_256_xts,
		 EVP_aes_256_ctr},
	};

	if (algorithm > CIPHER_AES_256 || !table[algorithm][mode])
		return NULL;
	return table[algorithm][mode]();
}

static void *context_new(enum cipher_algorithm algorithm, enum cipher_mode mode,
			 bool encrypts, const uint8_t *key, size_t key_bytes)
{
	const EVP_CIPHER *cipher = find_cipher(algorithm, mode);
	EVP_CIPHER_CTX *context = cipher ? EVP_CIPHER_CTX_new() : NULL;

	if (!context)
		return NULL;
	if (EVP_CipherInit_ex(context, cipher, NULL, key, NULL, encrypts) !=
		    1 ||
	    EVP_CIPHER_CTX_set_padding(context, 0) != 1) {
		EVP_CIPHER_CTX_free(context);
		return NULL;
	}
	return context;
}

static void context_free(void *context)
{
	EVP_CIPHER_CTX_free(context);
}

static bool crypt(void *context, bool encrypts, const uint8_t *iv, void *data,
		  size_t bytes)
{
	int length = 0;

	return EVP_CipherInit_ex(context, NULL, NULL, NULL, iv, -1) == 1 &&
	       EVP_CipherUpdate(context, data, &length, data, (int)bytes) ==
		       1 &&
	       (size_t)length == bytes;
}

const struct cipher_backend cipher_openssl = {
	.context_new = context_new,
	.context_free = context_free,
	.crypt = crypt,
};

static const EVP_MD *find_hash(enum cipher_hash hash)
{
	switch (hash) {
	case CIPHER_MD5:
		return EVP_md5();
	case CIPHER_SHA1:
		return EVP_sha1();
	case CIPHER_SHA224:
		return EVP_sha224();
	case CIPHER_SHA256:
		return EVP_sha256();
	case CIPHER_SHA384:
		return EVP_sha384();
	case CIPHER_SHA512:
		return EVP_sha512();
	case CIPHER_RIPEMD160:
		return EVP_ripemd160();
	case CIPHER_HASHES:
		break;
	}
	return NULL;
}

int cipher_digest(enum cipher_hash hash, const void *data, size_t bytes,
		  uint8_t *ret)
{
	return EVP_Digest(data, bytes, ret, NULL, find_hash(hash), NULL) == 1
		       ? 0
		       : -ENOTSUP;
}

int cipher_pbkdf2(enum cipher_hash hash, const void *passphrase,
		  size_t passphrase_bytes, const void *salt, size_t salt_bytes,
		  uint32_t iterations, uint8_t *ret_key, size_t key_bytes)
{
	if (iterations == 0 || iterations > INT_MAX ||
	    passphrase_bytes > INT_MAX)
		return -EINVAL;
	return PKCS5_PBKDF2_HMAC(passphrase, (int)passphrase_bytes, salt,
				 (int)salt_bytes, (int)iterations,
				 find_hash(hash), (int)key_bytes, ret_key) == 1
		       ? 0
		       : -ENOTSUP;
}

void cipher_wipe(void *data, size_t bytes)
{
	OPENSSL_cleanse(data, bytes);
}
