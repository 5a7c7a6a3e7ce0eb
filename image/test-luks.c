/* SPDX-License-Identifier: Apache-2.0 */
/* Headers that lie: each limit is named. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/luks.h"
#include "tests/cmocka.h"

enum {
	SLOT = 208,
	SLOT_BYTES = 48,
};

static struct luks_area area;
static uint8_t good[LUKS_HEADER_BYTES];

static int make(void **state)
{
	const struct luks_create_options o = {
		.spec = {CIPHER_AES_256, CIPHER_XTS, CIPHER_PLAIN64, 0},
		.hash = CIPHER_SHA256,
		.iter_ms = 1,
		.passphrase = "abc",
		.passphrase_bytes = 3,
	};

	area.bytes = luks_header_bytes(&o.spec) + 4096;
	if (store_new_memory(area.bytes, &area.store) < 0 ||
	    luks_create(&area, &o, NULL) != 0)
		return -1;
	return store_read(area.store, 0, good, sizeof(good));
}

static int drop(void **state)
{
	store_free(area.store);
	return 0;
}

static void restore(void)
{
	store_write(area.store, 0, good, sizeof(good));
}

static void refuses(size_t at, const void *bytes, size_t length,
		    const char *words)
{
	struct luks luks;
	char *error = NULL;

	restore();
	store_write(area.store, at, bytes, length);
	assert_true(luks_read(&area, &luks, &error) > 0);
	if (!strstr(error, words))
		fail_msg("\"%s\" instead of \"%s\"", error, words);
	free(error);
	restore();
	assert_int_equal(luks_read(&area, &luks, NULL), 0);
}

static void refuses_number(size_t at, uint32_t value, const char *words)
{
	uint8_t bytes[4];

	put_be32(bytes, value);
	refuses(at, bytes, sizeof(bytes), words);
}

static void a_header_with_a_lie_is_refused_by_name(void **state)
{
	refuses(0, "X", 1, "no header");
	refuses(6, "\0\2", 2, "version 2");
	refuses(8, "des\0", 4, "cipher \"des\"");
	refuses(40, "xyz-plain64", 11, "cipher mode \"xyz-plain64\"");
	refuses(40, "cbc-essiv\0\0", 11, "cipher mode");
	refuses(40, "xts-plain64:sha256", 18, "cipher mode");
	refuses(72, "whirlpool", 9, "hash \"whirlpool\"");
	refuses_number(104, 1 << 21, "payload begins");
	refuses_number(104, UINT32_MAX, "payload begins");
	refuses_number(104, area.bytes / 512 + 1, "payload begins");
	refuses_number(104, 100, "between the header and the payload");
	refuses_number(108, 0, "master key of 0");
	refuses_number(108, 65, "master key of 65");
	refuses_number(108, 63, "key of 63");
	refuses_number(164, 0, "digest wants 0");
	refuses_number(164, (1 << 27) + 1, "digest wants");
}

static void a_key_slot_with_a_lie_is_refused_by_name(void **state)
{
	size_t third = SLOT + 2 * SLOT_BYTES;

	refuses_number(SLOT, 7, "slot 0 is neither");
	refuses_number(SLOT + 4, 0, "slot 0 wants 0");
	refuses_number(SLOT + 4, UINT32_MAX, "slot 0 wants");
	refuses_number(third + 44, 4001, "slot 2 has 4001 stripes");
	refuses_number(third + 44, 0, "slot 2 has 0 stripes");
	refuses_number(third + 40, 1, "slot 2 is not between");
	refuses_number(third + 40, UINT32_MAX, "slot 2 is not between");
	refuses_number(third + 40, 9, "slots 0 and 2 overlap");
}

static void a_header_longer_than_its_room_is_refused(void **state)
{
	struct luks_area cut = area;
	struct luks luks;

	cut.bytes = LUKS_HEADER_BYTES - 1;
	assert_int_equal(luks_read(&cut, &luks, NULL), IMAGE_E_CORRUPT);
	cut.bytes = LUKS_KEYS_OFFSET;
	assert_int_equal(luks_read(&cut, &luks, NULL), IMAGE_E_CORRUPT);
}

static void only_the_passphrase_opens_a_slot(void **state)
{
	struct luks luks;
	struct luks_key key, again;
	unsigned slot = 9;
	uint8_t byte;

	assert_int_equal(luks_read(&area, &luks, NULL), 0);
	assert_int_equal(luks_unlock(&area, &luks, "abc", 3, &key, &slot, NULL),
			 0);
	assert_int_equal(slot, 0);
	assert_int_equal(luks_unlock(&area, &luks, "ab", 2, &again, NULL, NULL),
			 -EACCES);
	assert_int_equal(luks_unlock(&area, &luks, "", 0, &again, NULL, NULL),
			 -EACCES);
	/* Any bit of the material that is wrong loses the key. */
	store_read(area.store, LUKS_KEYS_OFFSET + 100000, &byte, 1);
	byte ^= 1;
	store_write(area.store, LUKS_KEYS_OFFSET + 100000, &byte, 1);
	assert_int_equal(
		luks_unlock(&area, &luks, "abc", 3, &again, NULL, NULL),
		-EACCES);
	byte ^= 1;
	store_write(area.store, LUKS_KEYS_OFFSET + 100000, &byte, 1);
}

static void an_erased_slot_leaves_nothing(void **state)
{
	struct luks luks, stale;
	struct luks_key key;

	assert_int_equal(luks_read(&area, &luks, NULL), 0);
	stale = luks;
	assert_int_equal(luks_unlock(&area, &luks, "abc", 3, &key, NULL, NULL),
			 0);
	assert_int_equal(
		luks_set_slot(&area, &luks, 7, &key, "next", 4, 1, NULL), 0);
	assert_int_equal(luks_erase_slot(&area, &luks, 0), 0);
	/* Not even with the header as it was. */
	assert_int_equal(luks_unlock(&area, &stale, "abc", 3, &key, NULL, NULL),
			 -EACCES);
	assert_int_equal(luks_read(&area, &luks, NULL), 0);
	assert_int_equal(luks_unlock(&area, &luks, "next", 4, &key, NULL, NULL),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_with_a_lie_is_refused_by_name),
		cmocka_unit_test(a_key_slot_with_a_lie_is_refused_by_name),
		cmocka_unit_test(a_header_longer_than_its_room_is_refused),
		cmocka_unit_test(only_the_passphrase_opens_a_slot),
		cmocka_unit_test(an_erased_slot_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, make, drop);
}
