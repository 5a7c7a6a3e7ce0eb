/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key slots. A slot's material is the master key split into stripes so that
 * all of them are needed to have it back ("anti-forensic"), encrypted with a key
 * that PBKDF2 makes of the passphrase.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#include "base/bytes.h"
#include "image/luks.h"

static size_t material_bytes(const struct luks *luks)
{
	return align_up((uint64_t)luks->key_bytes * LUKS_STRIPES,
			CIPHER_SECTOR_BYTES);
}

static uint8_t *new_material(const struct luks *luks)
{
	size_t bytes = align_up(material_bytes(luks), 4096);
	uint8_t *material = aligned_alloc(4096, bytes);

	if (!material)
		return NULL;
	memset(material, 0, bytes);
	(void)madvise(material, bytes, MADV_DONTDUMP);
	return material;
}

static void free_material(const struct luks *luks, uint8_t *material)
{
	size_t bytes = align_up(material_bytes(luks), 4096);

	if (!material)
		return;
	cipher_wipe(material, bytes);
	(void)madvise(material, bytes, MADV_DODUMP);
	free(material);
}

static int fill_random(void *to, size_t bytes)
{
	uint8_t *at = to;

	while (bytes > 0) {
		ssize_t got = getrandom(at, bytes, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		at += got;
		bytes -= got;
	}
	return 0;
}

void luks_wipe_key(struct luks_key *key)
{
	cipher_wipe(key, sizeof(*key));
}

/* Each hash-sized piece becomes the hash of its number and itself. */
static int diffuse(enum cipher_hash hash, uint8_t *block, size_t bytes)
{
	size_t piece = cipher_hash_bytes(hash);
	uint8_t in[4 + CIPHER_MAX_HASH_BYTES], out[CIPHER_MAX_HASH_BYTES];
	uint32_t number = 0;
	int err = 0;

	for (size_t at = 0; at < bytes && err == 0; at += piece, number++) {
		size_t length = MIN(piece, bytes - at);

		put_be32(in, number);
		memcpy(in + 4, block + at, length);
		err = cipher_digest(hash, in, 4 + length, out);
		memcpy(block + at, out, length);
	}
	cipher_wipe(in, sizeof(in));
	cipher_wipe(out, sizeof(out));
	return err;
}

/* Folds @stripes of the material into @block, which begins as zeroes. */
static int fold(const struct luks *luks, const uint8_t *material,
		unsigned stripes, uint8_t *block)
{
	int err = 0;

	for (unsigned i = 0; i < stripes && err == 0; i++) {
		for (uint32_t k = 0; k < luks->key_bytes; k++)
			block[k] ^= material[(size_t)i * luks->key_bytes + k];
		err = diffuse(luks->hash, block, luks->key_bytes);
	}
	return err;
}

static int merge(const struct luks *luks, const uint8_t *material,
		 struct luks_key *ret_key)
{
	const uint8_t *last =
		material + (size_t)(LUKS_STRIPES - 1) * luks->key_bytes;
	int err;

	memset(ret_key, 0, sizeof(*ret_key));
	err = fold(luks, material, LUKS_STRIPES - 1, ret_key->bytes);
	for (uint32_t k = 0; k < luks->key_bytes; k++)
		ret_key->bytes[k] ^= last[k];
	return err;
}

static int split(const struct luks *luks, const struct luks_key *key,
		 uint8_t *material)
{
	size_t before = (size_t)(LUKS_STRIPES - 1) * luks->key_bytes;
	uint8_t block[CIPHER_MAX_KEY_BYTES] = {0};
	int err = fill_random(material, before);

	if (err == 0)
		err = fold(luks, material, LUKS_STRIPES - 1, block);
	for (uint32_t k = 0; k < luks->key_bytes; k++)
		material[before + k] = key->bytes[k] ^ block[k];
	cipher_wipe(block, sizeof(block));
	return err;
}

/* The cipher of a slot's material. */
static int slot_cipher(const struct luks *luks, const struct luks_slot *slot,
		       const void *passphrase, size_t passphrase_bytes,
		       struct image_cipher **ret_cipher, char **ret_error)
{
	struct luks_key key;
	int err = cipher_pbkdf2(luks->hash, passphrase, passphrase_bytes,
				slot->salt, LUKS_SALT_BYTES, slot->iterations,
				key.bytes, luks->key_bytes);

	if (err < 0)
		err = store_fail(ret_error, err,
				 "LUKS: the hash %s is not offered by the "
				 "libraries here",
				 cipher_hash_name(luks->hash));
	else
		err = image_cipher_new(&luks->spec, key.bytes, true, ret_cipher,
				       ret_error);
	luks_wipe_key(&key);
	return err;
}

static int digest_of(const struct luks *luks, const struct luks_key *key,
		     uint8_t ret[LUKS_DIGEST_BYTES])
{
	return cipher_pbkdf2(luks->hash, key->bytes, luks->key_bytes,
			     luks->digest_salt, LUKS_SALT_BYTES,
			     luks->digest_iterations, ret, LUKS_DIGEST_BYTES);
}

static int read_material(const struct luks_area *area, const struct luks *luks,
			 const struct luks_slot *slot,
			 struct image_cipher *cipher, uint8_t *material)
{
	uint64_t offset =
		area->offset + (uint64_t)slot->key_sector * CIPHER_SECTOR_BYTES;
	size_t bytes = material_bytes(luks);
	int err = store_read(area->store, offset, material, bytes);

	return err < 0 ? err : image_cipher_decrypt(cipher, 0, material, bytes);
}

static int check_key(const struct luks *luks, const struct luks_key *key)
{
	uint8_t digest[LUKS_DIGEST_BYTES];
	int err = digest_of(luks, key, digest);

	if (err < 0)
		return err;
	return memcmp(digest, luks->digest, sizeof(digest)) == 0 ? 0 : -EACCES;
}

static int unlock_slot(const struct luks_area *area, const struct luks *luks,
		       unsigned number, const void *passphrase, size_t bytes,
		       struct luks_key *ret_key, char **ret_error)
{
	const struct luks_slot *slot = &luks->slots[number];
	struct image_cipher *cipher = NULL;
	uint8_t *material = NULL;
	int err;

	if (!slot->active)
		return -EACCES;
	err = slot_cipher(luks, slot, passphrase, bytes, &cipher, ret_error);
	if (err == 0)
		material = new_material(luks);
	if (err == 0 && !material)
		err = -ENOMEM;
	if (err == 0)
		err = read_material(area, luks, slot, cipher, material);
	if (err == 0)
		err = merge(luks, material, ret_key);
	if (err == 0)
		err = check_key(luks, ret_key);
	free_material(luks, material);
	image_cipher_free(cipher);
	if (err != 0)
		luks_wipe_key(ret_key);
	return err;
}

int luks_unlock_slot(const struct luks_area *area, const struct luks *luks,
		     unsigned slot, const void *passphrase,
		     size_t passphrase_bytes, struct luks_key *ret_key)
{
	return unlock_slot(area, luks, slot, passphrase, passphrase_bytes,
			   ret_key, NULL);
}

int luks_unlock(const struct luks_area *area, const struct luks *luks,
		const void *passphrase, size_t passphrase_bytes,
		struct luks_key *ret_key, unsigned *ret_slot, char **ret_error)
{
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		int err = unlock_slot(area, luks, i, passphrase,
				      passphrase_bytes, ret_key, ret_error);

		if (err == 0 && ret_slot)
			*ret_slot = i;
		if (err != -EACCES)
			return err;
	}
	return store_fail(ret_error, -EACCES,
			  "encrypted: the passphrase opens none of its key "
			  "slots");
}

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

/* How many iterations take @ms, for a key of @bytes. */
static int count_iterations(const struct luks *luks, size_t bytes, uint64_t ms,
			    uint32_t *ret)
{
	uint8_t key[CIPHER_MAX_KEY_BYTES];
	uint32_t tried = LUKS_MIN_ITERATIONS;
	uint64_t spent = 0, wanted;

	/* Long enough to be measured, short enough not to be felt. */
	for (;; tried *= 2) {
		uint64_t start = cpu_ns();
		int err = cipher_pbkdf2(luks->hash, "measure", 7, "salt", 4,
					tried, key, bytes);

		if (err < 0)
			return err;
		spent = MAX(cpu_ns() - start, UINT64_C(1));
		if (spent > 20 * 1000000 || tried > LUKS_MAX_ITERATIONS / 2)
			break;
	}
	ms = MIN(ms, UINT64_C(1000000));
	wanted = (uint64_t)((double)tried * (double)ms * 1e6 / (double)spent);
	*ret = MAX(MIN(wanted, (uint64_t)LUKS_MAX_ITERATIONS),
		   (uint64_t)LUKS_MIN_ITERATIONS);
	return 0;
}

static int write_material(const struct luks_area *area, const struct luks *luks,
			  const struct luks_slot *slot, uint8_t *material)
{
	uint64_t offset =
		area->offset + (uint64_t)slot->key_sector * CIPHER_SECTOR_BYTES;
	int err = store_write(area->store, offset, material,
			      material_bytes(luks));

	return err < 0 ? err : store_flush(area->store);
}

static int write_header(const struct luks_area *area, const struct luks *luks)
{
	int err = luks_write(area, luks);

	return err < 0 ? err : store_flush(area->store);
}

/* Encrypts the split key and writes it. */
static int write_key(const struct luks_area *area, const struct luks *luks,
		     const struct luks_slot *slot, const struct luks_key *key,
		     struct image_cipher *cipher)
{
	uint8_t *material = new_material(luks);
	int err = material ? split(luks, key, material) : -ENOMEM;

	if (err == 0)
		err = image_cipher_encrypt(cipher, 0, material,
					   material_bytes(luks));
	if (err == 0)
		err = write_material(area, luks, slot, material);
	free_material(luks, material);
	return err;
}

int luks_set_slot(const struct luks_area *area, struct luks *luks,
		  unsigned number, const struct luks_key *key,
		  const void *passphrase, size_t passphrase_bytes,
		  uint64_t iter_ms, char **ret_error)
{
	struct luks_slot *slot = &luks->slots[number];
	struct luks_slot before = *slot;
	struct image_cipher *cipher = NULL;
	int err = fill_random(slot->salt, sizeof(slot->salt));

	if (err == 0)
		err = count_iterations(luks, luks->key_bytes, iter_ms,
				       &slot->iterations);
	if (err == 0)
		err = slot_cipher(luks, slot, passphrase, passphrase_bytes,
				  &cipher, ret_error);
	if (err == 0)
		err = write_key(area, luks, slot, key, cipher);
	image_cipher_free(cipher);
	slot->active = true;
	if (err == 0)
		err = write_header(area, luks);
	if (err != 0)
		*slot = before;
	return err;
}

int luks_erase_slot(const struct luks_area *area, struct luks *luks,
		    unsigned number)
{
	struct luks_slot *slot = &luks->slots[number];
	uint8_t *material = new_material(luks);
	int err = material ? fill_random(material, material_bytes(luks))
			   : -ENOMEM;

	if (err == 0) {
		slot->active = false;
		slot->iterations = 0;
		memset(slot->salt, 0, sizeof(slot->salt));
		err = write_header(area, luks);
	}
	if (err == 0)
		err = write_material(area, luks, slot, material);
	free_material(luks, material);
	return err;
}

int luks_cipher(const struct luks *luks, const struct luks_key *key,
		bool position_is_host, struct image_cipher **ret_cipher,
		char **ret_error)
{
	return image_cipher_new(&luks->spec, key->bytes, position_is_host,
				ret_cipher, ret_error);
}

/* --- A new header ------------------------------------------------------ */

/* Slots begin where pages of 4 KiB do. */
static uint64_t slot_step(const struct cipher_spec *spec)
{
	return align_up(cipher_key_bytes(spec) * LUKS_STRIPES,
			LUKS_KEYS_OFFSET);
}

uint64_t luks_header_bytes(const struct cipher_spec *spec)
{
	return LUKS_KEYS_OFFSET + LUKS_SLOTS * slot_step(spec);
}

static int make_uuid(char ret_uuid[41])
{
	uint8_t b[16];
	int err = fill_random(b, sizeof(b));
	size_t at = 0;

	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	for (unsigned i = 0; i < sizeof(b); i++) {
		static const char digits[] = "0123456789abcdef";

		if (i == 4 || i == 6 || i == 8 || i == 10)
			ret_uuid[at++] = '-';
		ret_uuid[at++] = digits[b[i] >> 4];
		ret_uuid[at++] = digits[b[i] & 15];
	}
	ret_uuid[at] = '\0';
	return err;
}

/* Everything of the header but its slots' keys. */
static int make_header(const struct luks_create_options *o,
		       const struct luks_key *key, struct luks *luks)
{
	int err;

	luks->spec = o->spec;
	luks->hash = o->hash;
	luks->key_bytes = cipher_key_bytes(&o->spec);
	luks->payload_sector =
		luks_header_bytes(&o->spec) / CIPHER_SECTOR_BYTES;
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		luks->slots[i].stripes = LUKS_STRIPES;
		luks->slots[i].key_sector =
			(LUKS_KEYS_OFFSET + i * slot_step(&o->spec)) /
			CIPHER_SECTOR_BYTES;
	}
	err = fill_random(luks->digest_salt, LUKS_SALT_BYTES);
	if (err == 0)
		err = make_uuid(luks->uuid);
	/* Who has the key needs no protection from guessing it. */
	if (err == 0)
		err = count_iterations(luks, LUKS_DIGEST_BYTES, o->iter_ms / 8,
				       &luks->digest_iterations);
	if (err == 0)
		err = digest_of(luks, key, luks->digest);
	return err;
}

int luks_create(const struct luks_area *area,
		const struct luks_create_options *options, char **ret_error)
{
	struct image_cipher *cipher = NULL;
	struct luks luks = {0};
	struct luks_key key;
	int err = fill_random(key.bytes, sizeof(key.bytes));

	/* What is not to be had is refused before anything is written. */
	if (err == 0)
		err = image_cipher_new(&options->spec, key.bytes, true, &cipher,
				       ret_error);
	image_cipher_free(cipher);
	if (err == 0)
		err = make_header(options, &key, &luks);
	if (err == 0)
		err = luks_set_slot(area, &luks, 0, &key, options->passphrase,
				    options->passphrase_bytes, options->iter_ms,
				    ret_error);
	luks_wipe_key(&key);
	return err;
}
