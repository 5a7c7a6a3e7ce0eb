/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would become of a frame, and why: it goes through forward_burst, as any
 * frame, but between copies of the ports that send to nobody. Limits, guards,
 * counters of rules and stations remain as they are.
 *
 * Control thread only.
 */
#ifndef VSWITCH_TRACE_H
#define VSWITCH_TRACE_H

#include "vswitch/acl.h"
#include "vswitch/vswitch.h"

enum trace_place {
	TRACE_NOT_ASKED, /* the frame was never to go there */
	TRACE_GETS,
	TRACE_MIRRORED,
	TRACE_REFUSED, /* see why */
};

struct trace_port {
	enum trace_place place;
	enum forward_drop why;
	uint32_t bytes; /* as it gets them */
	bool is_tagged;
	uint16_t tag_vlan;	   /* of its first tag */
	char rule[ACL_NAME_BYTES]; /* of its list that let it out or did not */
};

struct trace {
	/* What stopped it for all ports; FORWARD_PASS: nothing did. */
	enum forward_drop why;
	uint16_t vlan;
	enum fdb_learned learned; /* unless something stopped it before */
	bool floods;
	char rule[ACL_NAME_BYTES]; /* of the ingress's list; "": none fitted */
	struct trace_port ports[CONFIG_MAX_PORTS];
};

/* Of a frame of @length bytes, NET_ETHERNET_BYTES to NET_MAX_FRAME_BYTES, that
 * would come in at port @number, which there is. -ENOMEM. */
int trace_frame(struct vswitch *vswitch, unsigned number, const uint8_t *bytes,
		size_t length, struct trace *ret_trace);

#endif
