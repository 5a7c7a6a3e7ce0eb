/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-mac.h"

#include <stddef.h>
#include <string.h>

/* Not by a scan for numbers, for which a sign or a space is as good as a digit. */
static int digit(char c)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;

	if (!at)
		return -1;
	return at - digits < 16 ? at - digits : at - digits - 6;
}

const char *net_mac_parse(const char *text,
			  uint8_t ret_mac[static NET_MAC_BYTES])
{
	for (unsigned i = 0; i < NET_MAC_BYTES; i++) {
		int high, low;

		if (i > 0 && *text++ != ':')
			return NULL;
		high = digit(text[0]);
		low = high < 0 ? -1 : digit(text[1]);
		if (low < 0)
			return NULL;
		ret_mac[i] = high << 4 | low;
		text += 2;
	}
	return text;
}
