/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A header as it is found: what is accepted keeps its limits, survives being
 * written, and, if that does not take long, is tried with a passphrase.
 */
#include <stdlib.h>
#include <string.h>

#include "image/luks.h"

enum {
	MAX_BYTES = 4 << 20,
	QUICK = 4, /* iterations */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct luks_area *area, const struct luks *luks)
{
	struct luks again;

	if (luks_write(area, luks) != 0 || luks_read(area, &again, NULL) != 0 ||
	    memcmp(&again.spec, &luks->spec, sizeof(again.spec)) != 0 ||
	    memcmp(again.slots, luks->slots, sizeof(again.slots)) != 0)
		abort();
}

static void try_unlock(const struct luks_area *area, const struct luks *luks)
{
	struct luks_key key;

	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		if (luks->slots[i].active &&
		    luks->slots[i].iterations <= QUICK &&
		    luks->digest_iterations <= QUICK)
			(void)luks_unlock_slot(area, luks, i, "abc", 3, &key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct luks_area area = {.bytes = MAX_BYTES};
	struct luks luks;
	char *error = NULL;

	if (size > MAX_BYTES || store_new_memory(MAX_BYTES, &area.store) < 0)
		return 0;
	if (size > 0)
		(void)store_write(area.store, 0, data, size);
	if (luks_read(&area, &luks, &error) == 0) {
		check_again(&area, &luks);
		try_unlock(&area, &luks);
	} else if (!error) {
		abort();
	}
	free(error);
	store_free(area.store);
	return 0;
}
