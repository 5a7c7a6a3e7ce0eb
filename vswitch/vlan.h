/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual LANs: to which one a frame belongs that came in at a port, and with
 * which tag it leaves at another. IEEE 802.1Q, 6.9 "Support of the EISS" and
 * 8.6.1, 8.6.2 (ingress and egress filtering).
 *
 *	access	takes and gives untagged frames, all of one VLAN
 *	trunk	takes and gives tagged frames of its VLANs; untagged ones are
 *		of the native VLAN, if it has one
 *	tunnel	whatever comes in, tagged or not, is the content of one VLAN:
 *		it leaves a trunk with one more tag (QinQ)
 *
 * Which tags are a trunk's own is told by their type (TPID): those of another
 * type are content. A tag for VLAN 0 carries a priority and no VLAN (9.6).
 *
 * Content that begins with a tag never leaves a trunk as if that tag were the
 * trunk's: such a frame of the native VLAN is tagged after all. Else a guest
 * could send into VLANs of the network behind by putting two tags on a frame.
 *
 * Pure; any thread.
 */
#ifndef VSWITCH_VLAN_H
#define VSWITCH_VLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost-net/net-rx.h"

enum {
	VLAN_NONE = 0,
	VLAN_MIN = 1,
	VLAN_MAX = 4094,
	VLAN_IDS = 4096,
	VLAN_TPID = 0x8100,	    /* customer tags */
	VLAN_SERVICE_TPID = 0x88a8, /* service tags, 802.1ad */
};

enum vlan_mode {
	VLAN_ACCESS,
	VLAN_TRUNK,
	VLAN_TUNNEL,
};

struct vlan_port {
	enum vlan_mode mode;
	/* Access, tunnel: the VLAN. Trunk: that of untagged frames, or
	 * VLAN_NONE: they are dropped. */
	uint16_t native;
	/* Trunk: frames of the native VLAN leave tagged, too. */
	bool tags_native;
	/* Trunk: the type of its tags. 0: VLAN_TPID. */
	uint16_t tpid;
	/* Trunk: its VLANs, beside the native one. Tunnel: the customer's
	 * VLANs that it takes, a bit each; untagged content is VLAN 0. */
	uint64_t members[VLAN_IDS / 64];
};

/* What is wrong with @port, or NULL. */
const char *vlan_port_check(const struct vlan_port *port);

void vlan_port_add(struct vlan_port *port, uint16_t vlan);
void vlan_port_add_all(struct vlan_port *port); /* 0 to VLAN_MAX */

enum vlan_drop {
	VLAN_PASS,
	VLAN_DROP_TAGGED,   /* at an access port */
	VLAN_DROP_UNTAGGED, /* at a trunk without a native VLAN */
	VLAN_DROP_MEMBER,   /* the port is not in this VLAN */
};

/* A frame, as the switch sees it. */
struct vlan_frame {
	uint16_t vlan;
	/* The first tag says the VLAN, or a priority: it is ours to change. */
	bool tagged;
	uint16_t tpid;	  /* of that tag */
	uint16_t tci;	  /* of that tag; else 0 */
	uint16_t content; /* the type of what follows: perhaps one more tag's */
};

enum vlan_drop vlan_ingress(const struct vlan_port *port,
			    const struct net_rx_frame *frame,
			    struct vlan_frame *ret);

/* How a frame's head has to change before it leaves. */
struct vlan_edit {
	enum {
		VLAN_KEEP,
		VLAN_POP,
		VLAN_PUSH,
		VLAN_SET,
	} what;
	uint16_t tpid, tci; /* of the tag it leaves with: PUSH, SET */
};

/* False: @port has no part in the frame's VLAN. */
bool vlan_egress(const struct vlan_port *port, const struct vlan_frame *frame,
		 struct vlan_edit *ret);

/*
 * Changes @frame, which is not lent to anybody meanwhile: head, layout, and
 * what the virtio-net header says about places. False, and nothing is changed,
 * if the frame would get longer than NET_MAX_FRAME_BYTES.
 */
bool vlan_apply(struct net_rx_frame *frame, const struct vlan_edit *edit);

#endif
