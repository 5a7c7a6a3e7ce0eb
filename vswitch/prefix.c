/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/prefix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned width(const struct prefix *prefix)
{
	return prefix->is_ipv6 ? PREFIX_IPV6_BYTES * 8 : PREFIX_IPV4_BYTES * 8;
}

/* The bits of byte @at that count. */
static uint8_t mask(const struct prefix *prefix, unsigned at)
{
	if (prefix->bits >= (at + 1) * 8)
		return UINT8_MAX;
	if (prefix->bits <= at * 8)
		return 0;
	return UINT8_MAX << (8 - prefix->bits % 8);
}

static int read_bits(const char *text, struct prefix *prefix)
{
	unsigned bits;
	char end;

	if (text[0] < '0' || text[0] > '9' ||
	    sscanf(text, "%3u%c", &bits, &end) != 1 || bits > width(prefix))
		return -EINVAL;
	prefix->bits = bits;
	return 0;
}

int prefix_read(const char *text, struct prefix *ret_prefix)
{
	const size_t length = strcspn(text, "/");
	struct prefix prefix = {.is_ipv6 = memchr(text, ':', length)};
	char address[PREFIX_TEXT_BYTES];

	if (length >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, length);
	address[length] = '\0';
	if (inet_pton(prefix.is_ipv6 ? AF_INET6 : AF_INET, address,
		      prefix.bytes) != 1)
		return -EINVAL;
	prefix.bits = width(&prefix);
	if (text[length] && read_bits(text + length + 1, &prefix) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < width(&prefix) / 8; i++)
		if (prefix.bytes[i] & ~mask(&prefix, i))
			return -EINVAL;
	*ret_prefix = prefix;
	return 0;
}

void prefix_print(const struct prefix *prefix,
		  char ret_text[static PREFIX_TEXT_BYTES])
{
	char address[INET6_ADDRSTRLEN];

	inet_ntop(prefix->is_ipv6 ? AF_INET6 : AF_INET, prefix->bytes, address,
		  sizeof(address));
	if (prefix->bits == width(prefix))
		snprintf(ret_text, PREFIX_TEXT_BYTES, "%s", address);
	else
		snprintf(ret_text, PREFIX_TEXT_BYTES, "%s/%u", address,
			 prefix->bits);
}

bool prefix_holds(const struct prefix *prefix, const uint8_t *address)
{
	for (unsigned i = 0; i * 8 < prefix->bits; i++)
		if ((address[i] & mask(prefix, i)) != prefix->bytes[i])
			return false;
	return true;
}
