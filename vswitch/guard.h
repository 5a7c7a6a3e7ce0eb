/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a port may say it is: anti-spoofing. Judged is what it sends, by the
 * frame's source, by the IP source and by what ARP (RFC 826) and neighbour
 * discovery (RFC 4861) have others believe.
 *
 * The port sends from one MAC address, and names no other as its own. With
 * addresses it sends nothing but IPv4, IPv6 and ARP, and from these addresses,
 * but for what somebody sends who has none yet: DHCP, ARP probes, duplicate
 * address detection, router solicitations and reports of groups. Unless it is
 * a router it sends no router advertisements and no redirects (RFC 6105).
 *
 * What cannot be read cannot be judged, and does not pass: headers that are not
 * whole, extension headers that do not end in sight (RFC 7113), neighbour
 * discovery in fragments (RFC 6980).
 *
 * guard_judge: any serving thread. A guard does not change while it is used.
 */
#ifndef VSWITCH_GUARD_H
#define VSWITCH_GUARD_H

#include "vhost-net/net-rx.h"
#include "vswitch/prefix.h"

enum guard_verdict {
	GUARD_PASS,
	GUARD_MAC,  /* from another MAC address */
	GUARD_ARP,  /* ARP that says what is not so */
	GUARD_ND,   /* neighbour discovery that does */
	GUARD_IP,   /* from another IP address, or not to be read */
	GUARD_TYPE, /* neither IP nor ARP */
	GUARD_VERDICTS,
};

enum {
	GUARD_MAX_ADDRESSES = 64,
	GUARD_MAC_BYTES = 6,
};

struct guard {
	/* The port's MAC address in the upper 48 bits, as an fdb_key has it.
	 * 0: whichever it sends from first. */
	uint64_t mac;
	bool is_router;
	unsigned count; /* 0: any address */
	struct prefix addresses[GUARD_MAX_ADDRESSES];
};

enum guard_verdict guard_judge(struct guard *guard,
			       const struct net_rx_frame *frame);

#endif
