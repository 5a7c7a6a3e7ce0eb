/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-mac.h"

#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"

static void addresses_are_read_in_both_cases(void **state)
{
	static const uint8_t wanted[] = {0x52, 0x54, 0x00, 0xab, 0xcd, 0xef};
	uint8_t mac[NET_MAC_BYTES];

	assert_string_equal(net_mac_parse("52:54:00:ab:CD:eF", mac), "");
	assert_memory_equal(mac, wanted, sizeof(wanted));
	assert_string_equal(net_mac_parse("52:54:00:ab:cd:ef/24", mac), "/24");
	assert_memory_equal(mac, wanted, sizeof(wanted));
}

static void every_pair_of_digits_has_its_value(void **state)
{
	static const char digits[] = "0123456789abcdef";
	char text[] = "00:00:00:00:00:00";
	uint8_t mac[NET_MAC_BYTES];

	for (unsigned i = 0; i < 256; i++) {
		text[15] = digits[i >> 4];
		text[16] = digits[i & 15];
		assert_non_null(net_mac_parse(text, mac));
		assert_int_equal(mac[5], i);
		assert_int_equal(mac[0], 0);
	}
}

static void what_is_no_address_is_none(void **state)
{
	static const char *const texts[] = {
		"",
		"5",
		"52:54:00:12:34",
		"52:54:00:12:34:",
		"52:54:00:12:34:5",
		"52:54:00:12:34:-1",
		"52:54:00:12:34:+1",
		"52:54:00:12:34: 1",
		" 2:54:00:12:34:56",
		"0x:54:00:12:34:56",
		"52:54:00:12:34:5g",
		"52-54-00-12-34-56",
		"525400123456",
		"52:54:00:12::3456",
		"2:4:0:2:4:6",
	};
	uint8_t mac[NET_MAC_BYTES];

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		if (net_mac_parse(texts[i], mac))
			fail_msg("\"%s\" is taken for an address", texts[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_in_both_cases),
		cmocka_unit_test(every_pair_of_digits_has_its_value),
		cmocka_unit_test(what_is_no_address_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
