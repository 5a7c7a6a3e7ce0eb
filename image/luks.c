/* SPDX-License-Identifier: Apache-2.0 */
/* The header: read, judged, written. */
#include "image/luks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

static const uint8_t magic[8] = {'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1};

enum {
	SLOT_ACTIVE = 0x00ac71f3,
	SLOT_FREE = 0x0000dead,
	NAME_BYTES = 32,
	/* Where fields lie; big-endian. */
	AT_CIPHER = 8,
	AT_MODE = 40,
	AT_HASH = 72,
	AT_PAYLOAD = 104,
	AT_KEY_BYTES = 108,
	AT_DIGEST = 112,
	AT_DIGEST_SALT = 132,
	AT_DIGEST_ITERATIONS = 164,
	AT_UUID = 168,
	AT_SLOTS = 208,
	SLOT_BYTES = 48,
};

_Static_assert(AT_SLOTS + LUKS_SLOTS * SLOT_BYTES == LUKS_HEADER_BYTES, "");

bool luks_probe(const void *head, size_t size)
{
	return size >= sizeof(magic) && memcmp(head, magic, sizeof(magic)) == 0;
}

/* A field of 32 bytes, terminated and printable; others say "?". */
static void get_name(const uint8_t *field, char ret_name[NAME_BYTES + 1])
{
	memcpy(ret_name, field, NAME_BYTES);
	ret_name[NAME_BYTES] = '\0';
	for (char *c = ret_name; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

/* "xts-plain64", "cbc-essiv:sha256"; a mode alone has vectors of plain64. */
static int parse_mode(char *text, struct cipher_spec *spec)
{
	char *iv = strchr(text, '-');
	char *hash = iv ? strchr(iv, ':') : NULL;

	if (iv)
		*iv++ = '\0';
	if (hash)
		*hash++ = '\0';
	spec->iv = CIPHER_PLAIN64;
	if (cipher_mode_find(text, &spec->mode) < 0 ||
	    (iv && cipher_iv_find(iv, &spec->iv) < 0))
		return -EINVAL;
	if (spec->iv != CIPHER_ESSIV)
		return hash ? -EINVAL : 0;
	return hash ? cipher_hash_find(hash, &spec->iv_hash) : -EINVAL;
}

static int parse_cipher(const uint8_t *head, struct luks *luks,
			char **ret_error)
{
	char cipher[NAME_BYTES + 1], mode[NAME_BYTES + 1],
		whole[NAME_BYTES + 1], hash[NAME_BYTES + 1];
	size_t key_bytes = luks->key_bytes;

	get_name(head + AT_CIPHER, cipher);
	get_name(head + AT_MODE, mode);
	get_name(head + AT_HASH, hash);
	memcpy(whole, mode, sizeof(whole));
	if (parse_mode(mode, &luks->spec) < 0)
		return store_fail(ret_error, IMAGE_E_UNSUPPORTED,
				  "LUKS: the cipher mode \"%s\" is not known",
				  whole);
	if (luks->spec.mode == CIPHER_XTS)
		key_bytes = key_bytes % 2 ? 0 : key_bytes / 2;
	if (cipher_family_find(cipher, key_bytes, &luks->spec.algorithm) < 0)
		return store_fail(ret_error, IMAGE_E_UNSUPPORTED,
				  "LUKS: the cipher \"%s\" with a key of %u "
				  "bytes is not known",
				  cipher, luks->key_bytes);
	if (cipher_hash_find(hash, &luks->hash) < 0)
		return store_fail(ret_error, IMAGE_E_UNSUPPORTED,
				  "LUKS: the hash \"%s\" is not known", hash);
	return 0;
}

static uint64_t material_sectors(const struct luks *luks)
{
	return div_round_up((uint64_t)luks->key_bytes * LUKS_STRIPES,
			    CIPHER_SECTOR_BYTES);
}

static int check_slot(const struct luks *luks, unsigned number,
		      char **ret_error)
{
	const struct luks_slot *slot = &luks->slots[number];
	uint64_t sectors = material_sectors(luks);

	if (slot->stripes != LUKS_STRIPES)
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "LUKS: key slot %u has %u stripes; 4000 are "
				  "allowed",
				  number, slot->stripes);
	if (slot->key_sector <
		    div_round_up(LUKS_HEADER_BYTES, CIPHER_SECTOR_BYTES) ||
	    !range_fits(slot->key_sector, sectors, luks->payload_sector))
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "LUKS: key slot %u is not between the header "
				  "and the payload",
				  number);
	if (slot->active &&
	    (slot->iterations == 0 || slot->iterations > LUKS_MAX_ITERATIONS))
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "LUKS: key slot %u wants %u iterations; 1 to "
				  "%u are allowed",
				  number, slot->iterations,
				  (unsigned)LUKS_MAX_ITERATIONS);
	for (unsigned i = 0; i < number; i++)
		if (ranges_overlap(slot->key_sector, sectors,
				   luks->slots[i].key_sector, sectors))
			return store_fail(ret_error, IMAGE_E_CORRUPT,
					  "LUKS: key slots %u and %u overlap",
					  i, number);
	return 0;
}

static int parse_slots(const uint8_t *head, struct luks *luks, char **ret_error)
{
	int err = 0;

	for (unsigned i = 0; i < LUKS_SLOTS && err == 0; i++) {
		const uint8_t *at = head + AT_SLOTS + i * SLOT_BYTES;
		struct luks_slot *slot = &luks->slots[i];
		uint32_t state = get_be32(at);

		if (state != SLOT_ACTIVE && state != SLOT_FREE)
			return store_fail(ret_error, IMAGE_E_CORRUPT,
					  "LUKS: key slot %u is neither in use "
					  "nor free",
					  i);
		slot->active = state == SLOT_ACTIVE;
		slot->iterations = get_be32(at + 4);
		memcpy(slot->salt, at + 8, LUKS_SALT_BYTES);
		slot->key_sector = get_be32(at + 40);
		slot->stripes = get_be32(at + 44);
		err = check_slot(luks, i, ret_error);
	}
	return err;
}

static int check_sizes(const struct luks_area *area, const struct luks *luks,
		       char **ret_error)
{
	if (luks->key_bytes == 0 || luks->key_bytes > CIPHER_MAX_KEY_BYTES)
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "LUKS: a master key of %u bytes; 1 to 64 are "
				  "allowed",
				  luks->key_bytes);
	if (luks->payload_sector > LUKS_MAX_PAYLOAD_SECTOR ||
	    (uint64_t)luks->payload_sector * CIPHER_SECTOR_BYTES > area->bytes)
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "LUKS: the payload begins at sector %u, "
				  "outside of its room",
				  luks->payload_sector);
	if (luks->digest_iterations == 0 ||
	    luks->digest_iterations > LUKS_MAX_ITERATIONS)
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "LUKS: the master key's digest wants %u "
				  "iterations; 1 to %u are allowed",
				  luks->digest_iterations,
				  (unsigned)LUKS_MAX_ITERATIONS);
	return 0;
}

int luks_read(const struct luks_area *area, struct luks *ret_luks,
	      char **ret_error)
{
	uint8_t head[LUKS_HEADER_BYTES];
	struct luks luks = {0};
	int err = -EINVAL;

	if (area->bytes >= sizeof(head))
		err = store_read(area->store, area->offset, head, sizeof(head));
	if (err < 0 && area->bytes >= sizeof(head))
		return store_fail(ret_error, err,
				  "LUKS: the header cannot be read: %s",
				  strerror(-err));
	if (err < 0 || memcmp(head, magic, 6) != 0)
		return store_fail(ret_error, IMAGE_E_CORRUPT,
				  "LUKS: there is no header");
	if (get_be16(head + 6) != 1)
		return store_fail(ret_error, IMAGE_E_UNSUPPORTED,
				  "LUKS: version %u is not known",
				  get_be16(head + 6));
	luks.payload_sector = get_be32(head + AT_PAYLOAD);
	luks.key_bytes = get_be32(head + AT_KEY_BYTES);
	luks.digest_iterations = get_be32(head + AT_DIGEST_ITERATIONS);
	memcpy(luks.digest, head + AT_DIGEST, sizeof(luks.digest));
	memcpy(luks.digest_salt, head + AT_DIGEST_SALT, LUKS_SALT_BYTES);
	memcpy(luks.uuid, head + AT_UUID, sizeof(luks.uuid) - 1);
	for (char *c = luks.uuid; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	err = check_sizes(area, &luks, ret_error);
	if (err == 0)
		err = parse_cipher(head, &luks, ret_error);
	if (err == 0)
		err = parse_slots(head, &luks, ret_error);
	if (err == 0)
		*ret_luks = luks;
	return err;
}

static void put_names(uint8_t *head, const struct luks *luks)
{
	const struct cipher_spec *spec = &luks->spec;
	bool essiv = spec->iv == CIPHER_ESSIV;
	char family[16];

	cipher_family_name(spec->algorithm, family);
	snprintf((char *)head + AT_CIPHER, NAME_BYTES, "%s", family);
	snprintf((char *)head + AT_MODE, NAME_BYTES, "%s-%s%s%s",
		 cipher_mode_name(spec->mode), cipher_iv_name(spec->iv),
		 essiv ? ":" : "",
		 essiv ? cipher_hash_name(spec->iv_hash) : "");
	snprintf((char *)head + AT_HASH, NAME_BYTES, "%s",
		 cipher_hash_name(luks->hash));
}

int luks_write(const struct luks_area *area, const struct luks *luks)
{
	uint8_t head[LUKS_HEADER_BYTES] = {0};

	memcpy(head, magic, sizeof(magic));
	put_names(head, luks);
	put_be32(head + AT_PAYLOAD, luks->payload_sector);
	put_be32(head + AT_KEY_BYTES, luks->key_bytes);
	memcpy(head + AT_DIGEST, luks->digest, LUKS_DIGEST_BYTES);
	memcpy(head + AT_DIGEST_SALT, luks->digest_salt, LUKS_SALT_BYTES);
	put_be32(head + AT_DIGEST_ITERATIONS, luks->digest_iterations);
	memcpy(head + AT_UUID, luks->uuid, sizeof(luks->uuid) - 1);
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		const struct luks_slot *slot = &luks->slots[i];
		uint8_t *at = head + AT_SLOTS + i * SLOT_BYTES;

		put_be32(at, slot->active ? SLOT_ACTIVE : SLOT_FREE);
		put_be32(at + 4, slot->iterations);
		memcpy(at + 8, slot->salt, LUKS_SALT_BYTES);
		put_be32(at + 40, slot->key_sector);
		put_be32(at + 44, slot->stripes);
	}
	return store_write(area->store, area->offset, head, sizeof(head));
}
