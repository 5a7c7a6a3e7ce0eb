/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of what passes the switch, for a port that listens: what some ports
 * send, what they are sent, all of some VLANs. A frame comes to such a port once,
 * with the tag that it has at that place, or not at all if nobody is there to
 * take it: nothing waits for a mirror.
 *
 * Copied is what the switch let in (guard, ACL, limits), before it may be held
 * back as a storm, and what leaves by a port that is listened to.
 *
 * A set does not change while it is used: the control thread fills another one,
 * puts it in its place, and waits for a turn of all serving threads.
 */
#ifndef VSWITCH_MIRROR_H
#define VSWITCH_MIRROR_H

#include "vswitch/forward.h"

enum {
	MIRROR_MAX = 8, /* a bit each */
};

struct mirror_set {
	unsigned count;
	uint16_t to[MIRROR_MAX]; /* the ports that listen */
	uint8_t in[FDB_PORTS];	 /* who wants what the port sends */
	uint8_t out[FDB_PORTS];	 /* who wants what it is sent */
	uint8_t vlans[VLAN_IDS]; /* who wants all of the VLAN */
};

/* Sends each listening port those of @count frames, at most NET_BURST, whose
 * @wants have its bit. Serving threads. */
void mirror_send(const struct mirror_set *set,
		 const struct forward_table *table,
		 const struct net_rx_frame *const *frames, const uint8_t *wants,
		 unsigned count, uint64_t now_ns);

#endif
