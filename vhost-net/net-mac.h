/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An address of IEEE 802 as people write it: six pairs of hexadecimal digits with
 * colons between.
 *
 * Pure; any thread.
 */
#ifndef VHOST_NET_NET_MAC_H
#define VHOST_NET_NET_MAC_H

#include <stdint.h>

enum {
	NET_MAC_BYTES = 6,
};

/* The address that @text begins with, of any kind: what stands behind it, or NULL if
 * there is none. */
const char *net_mac_parse(const char *text,
			  uint8_t ret_mac[static NET_MAC_BYTES]);

#endif
