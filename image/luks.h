/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LUKS version 1: a header that says how a payload is encrypted, and eight key
 * slots, each of which holds the master key under a passphrase, spread over
 * thousands of stripes so that erasing a slot loses it for certain. See the
 * "LUKS On-Disk Format Specification", version 1.2.
 *
 * The header lies in an area of a store: at the beginning of a plain LUKS
 * file, or in clusters of a QCOW2 image. Its sectors count from the area's
 * beginning. Nothing here allocates more than a slot's key material, and every
 * field of a header that was read is within the limits below.
 *
 * All I/O is synchronous. 0, a negative errno, IMAGE_E_CORRUPT or
 * IMAGE_E_UNSUPPORTED; *@ret_error, to be freed, says what was wrong.
 */
#ifndef IMAGE_LUKS_H
#define IMAGE_LUKS_H

#include "image/cipher.h"
#include "image/manage.h"

enum {
	LUKS_SLOTS = 8,
	LUKS_STRIPES = 4000,
	LUKS_SALT_BYTES = 32,
	LUKS_DIGEST_BYTES = 20,
	LUKS_HEADER_BYTES = 592,
	LUKS_KEYS_OFFSET =
		4096, /* of the first slot's material, as we make it */
	LUKS_MIN_ITERATIONS = 1000,
	/* A minute or so; a header must not keep us for days. */
	LUKS_MAX_ITERATIONS = 1 << 27,
	LUKS_MAX_PAYLOAD_SECTOR = 1 << 20, /* headers of up to 512 MiB */
	LUKS_DEFAULT_ITER_MS = 2000,
};

struct luks_area {
	struct store *store;
	uint64_t offset; /* of the header in @store */
	uint64_t bytes;	 /* that belong to it there */
};

struct luks_slot {
	bool active;
	uint32_t iterations;
	uint8_t salt[LUKS_SALT_BYTES];
	uint32_t key_sector;
	uint32_t stripes;
};

struct luks {
	struct cipher_spec spec;
	enum cipher_hash hash;
	uint32_t payload_sector;
	uint32_t key_bytes; /* cipher_key_bytes(&spec) */
	uint8_t digest[LUKS_DIGEST_BYTES];
	uint8_t digest_salt[LUKS_SALT_BYTES];
	uint32_t digest_iterations;
	char uuid[41];
	struct luks_slot slots[LUKS_SLOTS];
};

/* What a passphrase opens; wiped by luks_wipe_key. */
struct luks_key {
	uint8_t bytes[CIPHER_MAX_KEY_BYTES];
};

bool luks_probe(const void *head, size_t size);

int luks_read(const struct luks_area *area, struct luks *ret_luks,
	      char **ret_error);

/* The header's fields as they are now. */
int luks_write(const struct luks_area *area, const struct luks *luks);

/*
 * -EACCES if no slot opens with the passphrase. *@ret_slot, which may be NULL,
 * is the slot that did.
 */
int luks_unlock(const struct luks_area *area, const struct luks *luks,
		const void *passphrase, size_t passphrase_bytes,
		struct luks_key *ret_key, unsigned *ret_slot, char **ret_error);

/* Whether @passphrase opens this one slot: 0 or -EACCES, or another error. */
int luks_unlock_slot(const struct luks_area *area, const struct luks *luks,
		     unsigned slot, const void *passphrase,
		     size_t passphrase_bytes, struct luks_key *ret_key);

void luks_wipe_key(struct luks_key *key);

/*
 * Puts the key into @slot under a passphrase that takes @iter_ms to try: the
 * material is stable before the header says that it is there.
 */
int luks_set_slot(const struct luks_area *area, struct luks *luks,
		  unsigned slot, const struct luks_key *key,
		  const void *passphrase, size_t passphrase_bytes,
		  uint64_t iter_ms, char **ret_error);

/* The header lets the slot go, stably; then its material is overwritten. */
int luks_erase_slot(const struct luks_area *area, struct luks *luks,
		    unsigned slot);

/* The cipher of the payload, whose sector 0 is position 0. */
int luks_cipher(const struct luks *luks, const struct luks_key *key,
		bool position_is_host, struct image_cipher **ret_cipher,
		char **ret_error);

struct luks_create_options {
	struct cipher_spec spec;
	enum cipher_hash hash;
	uint64_t iter_ms;
	const void *passphrase;
	size_t passphrase_bytes;
};

/*
 * From the options "cipher-alg", "cipher-mode", "ivgen-alg", "ivgen-hash-alg",
 * "hash-alg", "iter-time" and "key-secret", each after @prefix ("encrypt.").
 * -EINVAL for names that are not known; the passphrase is @secrets' own.
 */
int luks_create_options(const struct image_options *options, const char *prefix,
			const struct image_secret *secrets,
			struct luks_create_options *ret, char **ret_error);

/* Bytes of a new header with its slots: where the payload begins. */
uint64_t luks_header_bytes(const struct cipher_spec *spec);

/* Makes a header with one slot in @area, of luks_header_bytes. */
int luks_create(const struct luks_area *area,
		const struct luks_create_options *options, char **ret_error);

/* The secret that @options call @name, or NULL with an error. */
const struct image_secret *luks_find_secret(const struct image_options *options,
					    const char *prefix,
					    const char *name,
					    const struct image_secret *secrets,
					    char **ret_error);

/*
 * Tries each of @secrets (NULL: none). -EACCES with a sentence if there is none
 * or none fits.
 */
int luks_unlock_any(const struct luks_area *area, const struct luks *luks,
		    const struct image_secret *secrets,
		    struct luks_key *ret_key, char **ret_error);

/*
 * "state", "new-secret", "old-secret", "keyslot", "iter-time" after @prefix:
 * adds or erases slots, with @request->force over slots in use and to the last.
 */
int luks_amend(const struct luks_area *area, struct luks *luks,
	       const char *prefix, const struct image_amend_request *request,
	       char **ret_error);

/*
 * As QEMU tells them, in its order, each after @prefix; "format" is there if
 * it is @with_format. 0 or -ENOMEM.
 */
int luks_facts(const struct luks *luks, const char *prefix, bool with_format,
	       struct image_facts *facts);

#endif
