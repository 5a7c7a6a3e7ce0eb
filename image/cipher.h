/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encryption of a disk by sectors of 512 bytes, each on its own: a block
 * cipher in a mode, whose initial vector is made from the sector's number. The
 * names and what they mean are those of LUKS and of QEMU:
 *
 *	algorithm	aes-128|192|256, serpent-…, twofish-…, cast5-128
 *	mode		xts (two keys of that length), cbc, ctr, ecb
 *	initial vector	plain (the low 32 bits of the number), plain64, essiv
 *			(plain64, encrypted with a hash of the key)
 *
 * AES comes from libcrypto. What OpenSSL 3 has no more, and AES-192 in XTS,
 * comes from libgcrypt, and Twofish with 192 bits from nettle, where the build
 * found them, and is refused by name where it did not.
 *
 * A cipher may be used by several threads at once: each takes a lane, with
 * contexts whose keys are set up already, so nothing is allocated per request.
 */
#ifndef IMAGE_CIPHER_H
#define IMAGE_CIPHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CIPHER_SECTOR_BYTES = 512,
	CIPHER_MAX_KEY_BYTES = 64,
	CIPHER_MAX_HASH_BYTES = 64,
};

enum cipher_algorithm {
	CIPHER_AES_128,
	CIPHER_AES_192,
	CIPHER_AES_256,
	CIPHER_SERPENT_128,
	CIPHER_SERPENT_192,
	CIPHER_SERPENT_256,
	CIPHER_TWOFISH_128,
	CIPHER_TWOFISH_192,
	CIPHER_TWOFISH_256,
	CIPHER_CAST5_128,
	CIPHER_ALGORITHMS,
};

enum cipher_mode {
	CIPHER_ECB,
	CIPHER_CBC,
	CIPHER_XTS,
	CIPHER_CTR,
	CIPHER_MODES,
};

enum cipher_iv {
	CIPHER_PLAIN,
	CIPHER_PLAIN64,
	CIPHER_ESSIV,
	CIPHER_IVS,
};

enum cipher_hash {
	CIPHER_MD5,
	CIPHER_SHA1,
	CIPHER_SHA224,
	CIPHER_SHA256,
	CIPHER_SHA384,
	CIPHER_SHA512,
	CIPHER_RIPEMD160,
	CIPHER_HASHES,
};

struct cipher_spec {
	enum cipher_algorithm algorithm;
	enum cipher_mode mode;
	enum cipher_iv iv;
	enum cipher_hash iv_hash; /* ESSIV */
};

/* Each by its number, as QEMU spells it: "aes-256", "xts", "plain64". */
const char *cipher_algorithm_name(enum cipher_algorithm algorithm);
const char *cipher_mode_name(enum cipher_mode mode);
const char *cipher_iv_name(enum cipher_iv iv);
const char *cipher_hash_name(enum cipher_hash hash);

/* The other way round: 0 or -EINVAL. */
int cipher_algorithm_find(const char *name, enum cipher_algorithm *ret);
int cipher_mode_find(const char *name, enum cipher_mode *ret);
int cipher_iv_find(const char *name, enum cipher_iv *ret);
int cipher_hash_find(const char *name, enum cipher_hash *ret);

/* The algorithm of family "aes" and the like with keys of @key_bytes. */
int cipher_family_find(const char *family, size_t key_bytes,
		       enum cipher_algorithm *ret);
/* The family's name, into a buffer of 16. */
void cipher_family_name(enum cipher_algorithm algorithm, char ret_name[16]);

/* Of the whole key: twice the algorithm's for XTS. */
size_t cipher_key_bytes(const struct cipher_spec *spec);

size_t cipher_hash_bytes(enum cipher_hash hash);

/* 0 or -ENOTSUP, if the library lacks it. @ret has cipher_hash_bytes. */
int cipher_digest(enum cipher_hash hash, const void *data, size_t bytes,
		  uint8_t *ret);

/* PBKDF2 with HMAC. 0, -ENOTSUP or -ENOMEM. */
int cipher_pbkdf2(enum cipher_hash hash, const void *passphrase,
		  size_t passphrase_bytes, const void *salt, size_t salt_bytes,
		  uint32_t iterations, uint8_t *ret_key, size_t key_bytes);

/* Overwrites keys in a way that no compiler leaves out. */
void cipher_wipe(void *data, size_t bytes);

struct image_cipher;

/*
 * @position_is_host: sectors are counted where they lie in the store, not where
 * the guest sees them. @key has cipher_key_bytes, and is not kept. 0, -ENOMEM,
 * or -ENOTSUP with *@ret_error for what does not go together or is not there.
 */
int image_cipher_new(const struct cipher_spec *spec, const uint8_t *key,
		     bool position_is_host, struct image_cipher **ret_cipher,
		     char **ret_error);

/*
 * Of an image whose key was not given: everything that would have to be
 * encrypted or decrypted is refused with -EACCES.
 */
int image_cipher_new_locked(struct image_cipher **ret_cipher);

/* Accepts NULL. */
void image_cipher_free(struct image_cipher *cipher);

bool image_cipher_is_locked(const struct image_cipher *cipher);
bool image_cipher_position_is_host(const struct image_cipher *cipher);

/*
 * @bytes, whole sectors from number @sector on, in place. 0, -EACCES or -EIO.
 */
int image_cipher_encrypt(struct image_cipher *cipher, uint64_t sector,
			 void *data, size_t bytes);
int image_cipher_decrypt(struct image_cipher *cipher, uint64_t sector,
			 void *data, size_t bytes);

/*
 * Held while a part of a sector is read, decrypted, changed, encrypted and
 * written: two requests for two parts of one sector do not lose each other.
 */
void image_cipher_lock_edges(struct image_cipher *cipher);
void image_cipher_unlock_edges(struct image_cipher *cipher);

#endif
