/* SPDX-License-Identifier: Apache-2.0 */
/* Options, secrets and facts, as QEMU's tools name them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/luks.h"

static const char *get(const struct image_options *options, const char *prefix,
		       const char *name, const char *absent)
{
	char full[64];

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	return image_options_string(options, full, absent);
}

static uint64_t get_number(const struct image_options *options,
			   const char *prefix, const char *name,
			   uint64_t absent)
{
	char full[64];

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	return image_options_number(options, full, absent);
}

static const struct image_secret *
find_secret(const struct image_secret *secrets, const char *id)
{
	for (; secrets && secrets->data; secrets++)
		if (secrets->id && strcmp(secrets->id, id) == 0)
			return secrets;
	return NULL;
}

const struct image_secret *luks_find_secret(const struct image_options *options,
					    const char *prefix,
					    const char *name,
					    const struct image_secret *secrets,
					    char **ret_error)
{
	const char *id = get(options, prefix, name, NULL);
	const struct image_secret *secret =
		id ? find_secret(secrets, id) : NULL;

	if (!id)
		store_fail(ret_error, -EINVAL,
			   "encrypted: give its passphrase with the option "
			   "%s%s",
			   prefix, name);
	else if (!secret)
		store_fail(ret_error, -EINVAL, "No secret with id '%s'", id);
	return secret;
}

static int parse_spec(const struct image_options *options, const char *prefix,
		      struct cipher_spec *spec, char **ret_error)
{
	const char *algorithm = get(options, prefix, "cipher-alg", "aes-256");
	const char *mode = get(options, prefix, "cipher-mode", "xts");
	const char *iv = get(options, prefix, "ivgen-alg", "plain64");
	const char *hash = get(options, prefix, "ivgen-hash-alg", "sha256");

	if (cipher_algorithm_find(algorithm, &spec->algorithm) < 0)
		return store_fail(ret_error, -EINVAL,
				  "there is no cipher algorithm \"%s\"",
				  algorithm);
	if (cipher_mode_find(mode, &spec->mode) < 0)
		return store_fail(ret_error, -EINVAL,
				  "there is no cipher mode \"%s\"", mode);
	if (cipher_iv_find(iv, &spec->iv) < 0)
		return store_fail(ret_error, -EINVAL,
				  "there is no generator of initial vectors "
				  "\"%s\"",
				  iv);
	if (cipher_hash_find(hash, &spec->iv_hash) < 0)
		return store_fail(ret_error, -EINVAL, "there is no hash \"%s\"",
				  hash);
	return 0;
}

int luks_create_options(const struct image_options *options, const char *prefix,
			const struct image_secret *secrets,
			struct luks_create_options *ret, char **ret_error)
{
	const char *hash = get(options, prefix, "hash-alg", "sha256");
	struct luks_create_options o = {0};
	const struct image_secret *secret;
	int err = parse_spec(options, prefix, &o.spec, ret_error);

	if (err < 0)
		return err;
	if (cipher_hash_find(hash, &o.hash) < 0)
		return store_fail(ret_error, -EINVAL, "there is no hash \"%s\"",
				  hash);
	o.iter_ms =
		get_number(options, prefix, "iter-time", LUKS_DEFAULT_ITER_MS);
	if (o.iter_ms == 0)
		return store_fail(ret_error, -EINVAL,
				  "%siter-time must not be 0", prefix);
	secret = luks_find_secret(options, prefix, "key-secret", secrets,
				  ret_error);
	if (!secret)
		return -EINVAL;
	o.passphrase = secret->data;
	o.passphrase_bytes = secret->bytes;
	*ret = o;
	return 0;
}

int luks_unlock_any(const struct luks_area *area, const struct luks *luks,
		    const struct image_secret *secrets,
		    struct luks_key *ret_key, char **ret_error)
{
	int err = -EACCES;

	if (!secrets || !secrets->data)
		return store_fail(ret_error, -EACCES,
				  "encrypted: give its passphrase with "
				  "--object secret,id=ID,file=PATH and the "
				  "image option key-secret=ID");
	for (; secrets->data && err == -EACCES; secrets++)
		err = luks_unlock(area, luks, secrets->data, secrets->bytes,
				  ret_key, NULL, NULL);
	if (err == -EACCES)
		return store_fail(ret_error, err,
				  "encrypted: the passphrase opens none of its "
				  "key slots");
	return err == 0 ? 0
			: store_fail(ret_error, err,
				     "encrypted: its key cannot be had: %s",
				     strerror(-err));
}

static unsigned count_active(const struct luks *luks)
{
	unsigned count = 0;

	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		count += luks->slots[i].active;
	return count;
}

static int free_slot(const struct luks *luks, unsigned *ret_slot)
{
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		if (!luks->slots[i].active) {
			*ret_slot = i;
			return 0;
		}
	}
	return -ENOSPC;
}

/* @slot: LUKS_SLOTS means that none was named. */
static int add_slot(const struct luks_area *area, struct luks *luks,
		    const char *prefix, unsigned slot,
		    const struct image_amend_request *request, char **ret_error)
{
	const struct image_secret *new_secret, *old_secret = NULL;
	struct luks_key key;
	int err = 0;

	new_secret = luks_find_secret(request->options, prefix, "new-secret",
				      request->secrets, ret_error);
	if (!new_secret)
		return -EINVAL;
	if (get(request->options, prefix, "old-secret", NULL)) {
		old_secret =
			luks_find_secret(request->options, prefix, "old-secret",
					 request->secrets, ret_error);
		if (!old_secret)
			return -EINVAL;
	}
	if (slot == LUKS_SLOTS && free_slot(luks, &slot) < 0)
		return store_fail(ret_error, -ENOSPC,
				  "Can't add a keyslot - all keyslots are in "
				  "use");
	if (luks->slots[slot].active && !request->force)
		return store_fail(ret_error, -EEXIST,
				  "Refusing to overwrite active keyslot %u - "
				  "please erase it first",
				  slot);
	if (old_secret)
		err = luks_unlock(area, luks, old_secret->data,
				  old_secret->bytes, &key, NULL, ret_error);
	else
		err = luks_unlock_any(area, luks, request->secrets, &key,
				      ret_error);
	if (err == 0)
		err = luks_set_slot(area, luks, slot, &key, new_secret->data,
				    new_secret->bytes,
				    get_number(request->options, prefix,
					       "iter-time",
					       LUKS_DEFAULT_ITER_MS),
				    ret_error);
	luks_wipe_key(&key);
	return err;
}

/* Which of the slots open with @secret; 0 for none. */
static int slots_of(const struct luks_area *area, const struct luks *luks,
		    const struct image_secret *secret, unsigned *ret_mask)
{
	struct luks_key key;
	int err = 0;

	*ret_mask = 0;
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		err = luks_unlock_slot(area, luks, i, secret->data,
				       secret->bytes, &key);
		luks_wipe_key(&key);
		if (err == 0)
			*ret_mask |= 1u << i;
		else if (err != -EACCES)
			return err;
	}
	return 0;
}

static int choose_slots(const struct luks_area *area, const struct luks *luks,
			const char *prefix, unsigned slot,
			const struct image_amend_request *request,
			unsigned *ret_mask, char **ret_error)
{
	const struct image_secret *secret;
	unsigned mask;
	int err;

	if (!get(request->options, prefix, "old-secret", NULL)) {
		if (slot == LUKS_SLOTS)
			return store_fail(ret_error, -EINVAL,
					  "to erase key slots, give %skeyslot "
					  "or %sold-secret",
					  prefix, prefix);
		if (!luks->slots[slot].active && !request->force)
			return store_fail(ret_error, -EINVAL,
					  "key slot %u is free already", slot);
		*ret_mask = 1u << slot;
		return 0;
	}
	secret = luks_find_secret(request->options, prefix, "old-secret",
				  request->secrets, ret_error);
	if (!secret)
		return -EINVAL;
	err = slots_of(area, luks, secret, &mask);
	if (err < 0)
		return err;
	if (slot < LUKS_SLOTS)
		mask &= 1u << slot;
	if (mask == 0)
		return store_fail(ret_error, -EACCES,
				  "No keyslots match given (old) password for "
				  "erase operation");
	*ret_mask = mask;
	return 0;
}

/* QEMU's words, which its tests compare, as those about key slots above. */
static int refuse_last(const struct image_options *options, const char *prefix,
		       unsigned slot, char **ret_error)
{
	if (get(options, prefix, "old-secret", NULL))
		return store_fail(ret_error, -EPERM,
				  "All the active keyslots match the (old) "
				  "password that was given and erasing them "
				  "will erase all the data in the image "
				  "irreversibly - refusing operation");
	return store_fail(ret_error, -EPERM,
			  "Attempt to erase the only active keyslot %u which "
			  "will erase all the data in the image irreversibly - "
			  "refusing operation",
			  slot);
}

static int erase_slots(const struct luks_area *area, struct luks *luks,
		       const char *prefix, unsigned slot,
		       const struct image_amend_request *request,
		       char **ret_error)
{
	unsigned mask = 0, active = 0;
	int err = choose_slots(area, luks, prefix, slot, request, &mask,
			       ret_error);

	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		active += luks->slots[i].active && (mask & 1u << i);
	if (err == 0 && active == count_active(luks) && !request->force)
		return refuse_last(request->options, prefix, slot, ret_error);
	for (unsigned i = 0; i < LUKS_SLOTS && err == 0; i++)
		if (mask & 1u << i)
			err = luks_erase_slot(area, luks, i);
	return err;
}

int luks_amend(const struct luks_area *area, struct luks *luks,
	       const char *prefix, const struct image_amend_request *request,
	       char **ret_error)
{
	const struct image_options *options = request->options;
	const char *state = get(options, prefix, "state", "");
	uint64_t slot = get_number(options, prefix, "keyslot", LUKS_SLOTS);

	if (get(options, prefix, "keyslot", NULL) && slot >= LUKS_SLOTS)
		return store_fail(ret_error, -EINVAL,
				  "key slots have the numbers 0 to 7");
	if (strcmp(state, "active") == 0)
		return add_slot(area, luks, prefix, slot, request, ret_error);
	if (strcmp(state, "inactive") != 0)
		return store_fail(ret_error, -EINVAL,
				  "%sstate must be active or inactive", prefix);
	if (get(options, prefix, "new-secret", NULL) ||
	    get(options, prefix, "iter-time", NULL))
		return store_fail(ret_error, -EINVAL,
				  "%snew-secret and %siter-time are for a "
				  "slot that becomes active",
				  prefix, prefix);
	return erase_slots(area, luks, prefix, slot, request, ret_error);
}

/* A fact "PREFIXname". */
#define ADD(name, kind, ...)                                                  \
	do {                                                                  \
		snprintf(full, sizeof(full), "%s%s", prefix, name);           \
		if (err == 0)                                                 \
			err = image_facts_add(facts, full, IMAGE_FACT_##kind, \
					      __VA_ARGS__);                   \
	} while (0)

static int slot_facts(const struct luks_slot *slot, const char *prefix,
		      struct image_facts *facts)
{
	char full[96];
	int err = 0;

	ADD("active", BOOL, "%s", slot->active ? "true" : "false");
	if (slot->active)
		ADD("iters", NUMBER, "%u", slot->iterations);
	ADD("key-offset", NUMBER, "%llu",
	    (unsigned long long)slot->key_sector * CIPHER_SECTOR_BYTES);
	if (slot->active)
		ADD("stripes", NUMBER, "%u", slot->stripes);
	return err;
}

static int slots_facts(const struct luks *luks, const char *prefix,
		       struct image_facts *facts)
{
	char full[96], name[16], slot_prefix[48];
	int err = 0;

	ADD("slots", LIST, "%s", "");
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		snprintf(name, sizeof(name), "slots.%u", i);
		ADD(name, GROUP, "%s", "");
		snprintf(slot_prefix, sizeof(slot_prefix), "%s%s.", prefix,
			 name);
		if (err == 0)
			err = slot_facts(&luks->slots[i], slot_prefix, facts);
	}
	return err;
}

int luks_facts(const struct luks *luks, const char *prefix, bool with_format,
	       struct image_facts *facts)
{
	const struct cipher_spec *spec = &luks->spec;
	char full[96];
	int err = 0;

	ADD("ivgen-alg", STRING, "%s", cipher_iv_name(spec->iv));
	ADD("hash-alg", STRING, "%s", cipher_hash_name(luks->hash));
	ADD("cipher-alg", STRING, "%s", cipher_algorithm_name(spec->algorithm));
	ADD("uuid", STRING, "%s", luks->uuid);
	if (with_format)
		ADD("format", STRING, "luks");
	if (spec->iv == CIPHER_ESSIV)
		ADD("ivgen-hash-alg", STRING, "%s",
		    cipher_hash_name(spec->iv_hash));
	ADD("cipher-mode", STRING, "%s", cipher_mode_name(spec->mode));
	if (err == 0)
		err = slots_facts(luks, prefix, facts);
	ADD("payload-offset", NUMBER, "%llu",
	    (unsigned long long)luks->payload_sector * CIPHER_SECTOR_BYTES);
	ADD("master-key-iters", NUMBER, "%u", luks->digest_iterations);
	return err;
}
