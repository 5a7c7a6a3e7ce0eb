/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A range of IP addresses: "10.0.0.0/8", "fe80::/10", "10.1.2.3".
 *
 * Pure; any thread.
 */
#ifndef VSWITCH_PREFIX_H
#define VSWITCH_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

enum {
	PREFIX_TEXT_BYTES = 50, /* the longest, with its end */
	PREFIX_IPV4_BYTES = 4,
	PREFIX_IPV6_BYTES = 16,
};

struct prefix {
	bool is_ipv6;
	uint8_t bits;			  /* of the address that count */
	uint8_t bytes[PREFIX_IPV6_BYTES]; /* the others are 0 */
};

/* -EINVAL if @text is none, or has ones where they do not count. */
int prefix_read(const char *text, struct prefix *ret_prefix);
void prefix_print(const struct prefix *prefix,
		  char ret_text[static PREFIX_TEXT_BYTES]);

/* Whether @address, of the prefix's kind, lies in it. */
bool prefix_holds(const struct prefix *prefix, const uint8_t *address);

#endif
