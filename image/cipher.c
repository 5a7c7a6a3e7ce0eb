/* SPDX-License-Identifier: Apache-2.0 */
#include "image/cipher.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/cipher-backend.h"
#include "image/store.h"

enum {
	LANES = 16, /* threads that work at the same time without waiting */
};

/* What one thread works with; the lock is nearly always free. */
struct lane {
	_Alignas(64) pthread_mutex_t lock;
	void *contexts[2]; /* to decrypt, to encrypt */
	void *essiv;
};

struct image_cipher {
	struct cipher_spec spec;
	const struct cipher_backend *backend;
	const struct cipher_backend *essiv_backend;
	bool locked;
	bool position_is_host;
	size_t block_bytes;
	pthread_mutex_t edges;
	struct lane lanes[LANES];
};

struct algorithm {
	const char *name;
	size_t key_bytes;
	size_t block_bytes;
};

static const struct algorithm algorithms[CIPHER_ALGORITHMS] = {
	[CIPHER_AES_128] = {"aes-128", 16, 16},
	[CIPHER_AES_192] = {"aes-192", 24, 16},
	[CIPHER_AES_256] = {"aes-256", 32, 16},
	[CIPHER_SERPENT_128] = {"serpent-128", 16, 16},
	[CIPHER_SERPENT_192] = {"serpent-192", 24, 16},
	[CIPHER_SERPENT_256] = {"serpent-256", 32, 16},
	[CIPHER_TWOFISH_128] = {"twofish-128", 16, 16},
	[CIPHER_TWOFISH_192] = {"twofish-192", 24, 16},
	[CIPHER_TWOFISH_256] = {"twofish-256", 32, 16},
	[CIPHER_CAST5_128] = {"cast5-128", 16, 8},
};

static const char *const mode_names[CIPHER_MODES] = {
	[CIPHER_ECB] = "ecb",
	[CIPHER_CBC] = "cbc",
	[CIPHER_XTS] = "xts",
	[CIPHER_CTR] = "ctr",
};

static const char *const iv_names[CIPHER_IVS] = {
	[CIPHER_PLAIN] = "plain",
	[CIPHER_PLAIN64] = "plain64",
	[CIPHER_ESSIV] = "essiv",
};

static const struct {
	const char *name;
	size_t bytes;
} hashes[CIPHER_HASHES] = {
	[CIPHER_MD5] = {"md5", 16},
	[CIPHER_SHA1] = {"sha1", 20},
	[CIPHER_SHA224] = {"sha224", 28},
	[CIPHER_SHA256] = {"sha256", 32},
	[CIPHER_SHA384] = {"sha384", 48},
	[CIPHER_SHA512] = {"sha512", 64},
	[CIPHER_RIPEMD160] = {"ripemd160", 20},
};

const char *cipher_algorithm_name(enum cipher_algorithm algorithm)
{
	return algorithms[algorithm].name;
}

const char *cipher_mode_name(enum cipher_mode mode)
{
	return mode_names[mode];
}

const char *cipher_iv_name(enum cipher_iv iv)
{
	return iv_names[iv];
}

const char *cipher_hash_name(enum cipher_hash hash)
{
	return hashes[hash].name;
}

size_t cipher_hash_bytes(enum cipher_hash hash)
{
	return hashes[hash].bytes;
}

int cipher_algorithm_find(const char *name, enum cipher_algorithm *ret)
{
	for (unsigned i = 0; i < CIPHER_ALGORITHMS; i++) {
		if (strcmp(name, algorithms[i].name) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int find_name(const char *const *names, unsigned count, const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return (int)i;
	return -EINVAL;
}

int cipher_mode_find(const char *name, enum cipher_mode *ret)
{
	int found = find_name(mode_names, CIPHER_MODES, name);

	if (found >= 0)
		*ret = found;
	return MIN(found, 0);
}

int cipher_iv_find(const char *name, enum cipher_iv *ret)
{
	int found = find_name(iv_names, CIPHER_IVS, name);

	if (found >= 0)
		*ret = found;
	return MIN(found, 0);
}

int cipher_hash_find(const char *name, enum cipher_hash *ret)
{
	for (unsigned i = 0; i < CIPHER_HASHES; i++) {
		if (strcmp(name, hashes[i].name) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

int cipher_family_find(const char *family, size_t key_bytes,
		       enum cipher_algorithm *ret)
{
	size_t length = strlen(family);

	for (unsigned i = 0; i < CIPHER_ALGORITHMS; i++) {
		if (strncmp(algorithms[i].name, family, length) == 0 &&
		    algorithms[i].name[length] == '-' &&
		    algorithms[i].key_bytes == key_bytes) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

void cipher_family_name(enum cipher_algorithm algorithm, char ret_name[16])
{
	const char *name = algorithms[algorithm].name;
	size_t length = strcspn(name, "-");

	memcpy(ret_name, name, length);
	ret_name[length] = '\0';
}

size_t cipher_key_bytes(const struct cipher_spec *spec)
{
	size_t bytes = algorithms[spec->algorithm].key_bytes;

	return spec->mode == CIPHER_XTS ? 2 * bytes : bytes;
}

/* The library that has it, or NULL; sees that by trying. */
static const struct cipher_backend *
find_backend(enum cipher_algorithm algorithm, enum cipher_mode mode,
	     const uint8_t *key, size_t key_bytes)
{
	static const struct cipher_backend *const backends[] = {
		&cipher_openssl,
#ifdef HAVE_GCRYPT
		&cipher_gcrypt,
#endif
#ifdef HAVE_NETTLE
		&cipher_nettle,
#endif
	};

	for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
		void *context = backends[i]->context_new(algorithm, mode, true,
							 key, key_bytes);

		if (!context)
			continue;
		backends[i]->context_free(context);
		return backends[i];
	}
	return NULL;
}

/* The cipher of the same family whose key is as long as the hash. */
static int essiv_algorithm(const struct cipher_spec *spec,
			   enum cipher_algorithm *ret)
{
	char family[16];

	cipher_family_name(spec->algorithm, family);
	return cipher_family_find(family, hashes[spec->iv_hash].bytes, ret);
}

static int check(const struct cipher_spec *spec, char **ret_error)
{
	const struct algorithm *algorithm = &algorithms[spec->algorithm];
	enum cipher_algorithm found;

	if (spec->mode == CIPHER_XTS &&
	    algorithm->block_bytes != CIPHER_MAX_BLOCK_BYTES)
		return store_fail(ret_error, -ENOTSUP,
				  "%s has no mode xts, which wants blocks of "
				  "16 bytes",
				  algorithm->name);
	if (spec->iv == CIPHER_ESSIV && essiv_algorithm(spec, &found) < 0)
		return store_fail(ret_error, -ENOTSUP,
				  "essiv with %s does not go with %s: no key "
				  "of that cipher has the hash's %zu bytes",
				  hashes[spec->iv_hash].name, algorithm->name,
				  hashes[spec->iv_hash].bytes);
	return 0;
}

static int make_lanes(struct image_cipher *cipher, const uint8_t *key)
{
	const struct cipher_spec *spec = &cipher->spec;
	size_t bytes = cipher_key_bytes(spec);

	for (unsigned i = 0; i < LANES; i++)
		for (unsigned encrypts = 0; encrypts < 2; encrypts++) {
			void *context = cipher->backend->context_new(
				spec->algorithm, spec->mode, encrypts, key,
				bytes);

			if (!context)
				return -ENOMEM;
			cipher->lanes[i].contexts[encrypts] = context;
		}
	return 0;
}

static int make_essiv_lanes(struct image_cipher *cipher,
			    enum cipher_algorithm algorithm,
			    const uint8_t *salt, size_t bytes)
{
	const struct cipher_backend *backend =
		find_backend(algorithm, CIPHER_ECB, salt, bytes);

	if (!backend)
		return -ENOTSUP;
	cipher->essiv_backend = backend;
	for (unsigned i = 0; i < LANES; i++) {
		cipher->lanes[i].essiv = backend->context_new(
			algorithm, CIPHER_ECB, true, salt, bytes);
		if (!cipher->lanes[i].essiv)
			return -ENOMEM;
	}
	return 0;
}

static int make_essiv(struct image_cipher *cipher, const uint8_t *key)
{
	const struct cipher_spec *spec = &cipher->spec;
	uint8_t salt[CIPHER_MAX_HASH_BYTES];
	enum cipher_algorithm algorithm;
	int err = essiv_algorithm(spec, &algorithm);

	if (err == 0)
		err = cipher_digest(spec->iv_hash, key, cipher_key_bytes(spec),
				    salt);
	if (err == 0)
		err = make_essiv_lanes(cipher, algorithm, salt,
				       hashes[spec->iv_hash].bytes);
	cipher_wipe(salt, sizeof(salt));
	return err;
}

static struct image_cipher *new_cipher(void)
{
	struct image_cipher *cipher =
		aligned_alloc(64, align_up(sizeof(*cipher), 64));

	if (!cipher)
		return NULL;
	memset(cipher, 0, sizeof(*cipher));
	pthread_mutex_init(&cipher->edges, NULL);
	for (unsigned i = 0; i < LANES; i++)
		pthread_mutex_init(&cipher->lanes[i].lock, NULL);
	return cipher;
}

int image_cipher_new(const struct cipher_spec *spec, const uint8_t *key,
		     bool position_is_host, struct image_cipher **ret_cipher,
		     char **ret_error)
{
	struct image_cipher *cipher;
	int err = check(spec, ret_error);

	if (err < 0)
		return err;
	cipher = new_cipher();
	if (!cipher)
		return -ENOMEM;
	cipher->spec = *spec;
	cipher->position_is_host = position_is_host;
	cipher->block_bytes = algorithms[spec->algorithm].block_bytes;
	cipher->backend = find_backend(spec->algorithm, spec->mode, key,
				       cipher_key_bytes(spec));
	err = cipher->backend ? make_lanes(cipher, key) : -ENOTSUP;
	if (err == 0 && spec->iv == CIPHER_ESSIV)
		err = make_essiv(cipher, key);
	if (err < 0) {
		image_cipher_free(cipher);
		return store_fail(ret_error, err,
				  "%s in mode %s with %s is not offered by the "
				  "libraries that this program was built with",
				  algorithms[spec->algorithm].name,
				  mode_names[spec->mode], iv_names[spec->iv]);
	}
	*ret_cipher = cipher;
	return 0;
}

int image_cipher_new_locked(struct image_cipher **ret_cipher)
{
	struct image_cipher *cipher = new_cipher();

	if (!cipher)
		return -ENOMEM;
	cipher->locked = true;
	*ret_cipher = cipher;
	return 0;
}

static void free_lane(struct image_cipher *cipher, struct lane *lane)
{
	for (unsigned i = 0; i < 2; i++)
		if (lane->contexts[i])
			cipher->backend->context_free(lane->contexts[i]);
	if (lane->essiv)
		cipher->essiv_backend->context_free(lane->essiv);
	pthread_mutex_destroy(&lane->lock);
}

void image_cipher_free(struct image_cipher *cipher)
{
	if (!cipher)
		return;
	for (unsigned i = 0; i < LANES; i++)
		free_lane(cipher, &cipher->lanes[i]);
	pthread_mutex_destroy(&cipher->edges);
	free(cipher);
}

bool image_cipher_is_locked(const struct image_cipher *cipher)
{
	return cipher->locked;
}

bool image_cipher_position_is_host(const struct image_cipher *cipher)
{
	return cipher->position_is_host;
}

void image_cipher_lock_edges(struct image_cipher *cipher)
{
	pthread_mutex_lock(&cipher->edges);
}

void image_cipher_unlock_edges(struct image_cipher *cipher)
{
	pthread_mutex_unlock(&cipher->edges);
}

/* This thread's lane: threads are numbered as they come. */
static struct lane *own_lane(struct image_cipher *cipher)
{
	static unsigned threads;
	static _Thread_local unsigned number;

	if (number == 0)
		number = 1 + __atomic_fetch_add(&threads, 1, __ATOMIC_RELAXED) %
				     LANES;
	return &cipher->lanes[number - 1];
}

/* The initial vector of @sector; a block of 8 bytes takes the first ones. */
static bool make_iv(const struct image_cipher *cipher, const struct lane *lane,
		    uint64_t sector, uint8_t iv[CIPHER_MAX_BLOCK_BYTES])
{
	memset(iv, 0, CIPHER_MAX_BLOCK_BYTES);
	if (cipher->spec.iv == CIPHER_PLAIN)
		sector = (uint32_t)sector;
	put_le64(iv, sector);
	if (cipher->spec.iv != CIPHER_ESSIV)
		return true;
	return cipher->essiv_backend->crypt(lane->essiv, true, NULL, iv,
					    cipher->block_bytes);
}

static bool crypt_sectors(const struct image_cipher *cipher,
			  const struct lane *lane, bool encrypts,
			  uint64_t sector, uint8_t *data, size_t bytes)
{
	uint8_t iv[CIPHER_MAX_BLOCK_BYTES];

	for (; bytes > 0; sector++) {
		if (!make_iv(cipher, lane, sector, iv) ||
		    !cipher->backend->crypt(lane->contexts[encrypts], encrypts,
					    iv, data, CIPHER_SECTOR_BYTES))
			return false;
		data += CIPHER_SECTOR_BYTES;
		bytes -= CIPHER_SECTOR_BYTES;
	}
	return true;
}

static int crypt(struct image_cipher *cipher, bool encrypts, uint64_t sector,
		 void *data, size_t bytes)
{
	struct lane *lane = own_lane(cipher);
	bool done;

	if (cipher->locked)
		return -EACCES;
	if (!is_aligned(bytes, CIPHER_SECTOR_BYTES))
		return -EINVAL;
	pthread_mutex_lock(&lane->lock);
	done = crypt_sectors(cipher, lane, encrypts, sector, data, bytes);
	pthread_mutex_unlock(&lane->lock);
	return done ? 0 : -EIO;
}

int image_cipher_encrypt(struct image_cipher *cipher, uint64_t sector,
			 void *data, size_t bytes)
{
	return crypt(cipher, true, sector, data, bytes);
}

int image_cipher_decrypt(struct image_cipher *cipher, uint64_t sector,
			 void *data, size_t bytes)
{
	return crypt(cipher, false, sector, data, bytes);
}
