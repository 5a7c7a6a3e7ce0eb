/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of forwarding share: a burst on its way from the first pass
 * (forward-judge.c) to the second (forward-deliver.c). Only these and forward.c
 * look in here.
 */
#ifndef VSWITCH_FORWARD_BURST_H
#define VSWITCH_FORWARD_BURST_H

#include <rte_branch_prediction.h>

#include "base/barrier.h"
#include "vswitch/forward.h"

/* Beside the numbers of ports. */
enum {
	NOWHERE = UINT16_MAX,
	EVERYWHERE = UINT16_MAX - 1,
};

/* A burst and what is done with it. */
struct burst {
	struct forward *f;
	struct forward_port *in;
	struct net_rx_frame *frames;
	uint64_t now_ns;
	uint64_t *drops;
};

static inline void burst_drop(struct burst *b, unsigned i,
			      enum forward_drop why)
{
	b->drops[why]++;
	b->f->egress[i] = NOWHERE;
}

static inline bool is_going(const struct forward *f, unsigned i)
{
	return f->egress[i] != NOWHERE;
}

/* Of the frame number @i or a copy of it. Made once, however many lists look at
 * it: no tag is part of it. */
static inline const struct acl_key *
burst_key(struct burst *b, const struct net_rx_frame *frame, unsigned i)
{
	struct forward *f = b->f;

	if (!(f->keyed >> i & 1)) {
		acl_key_of(frame, f->vlans[i].vlan, &f->keys[i]);
		f->keyed |= UINT64_C(1) << i;
	}
	return &f->keys[i];
}

/* Frames of the burst that listening ports are sent, by the bits of @wants. */
void burst_sniff_mirrors(struct burst *b,
			 const struct net_rx_frame *const *frames,
			 const uint8_t *wants, unsigned count);

/* The first pass: where each frame goes, forward.egress says then. */
void burst_judge(struct burst *b);
/* The second: it is there. */
void burst_deliver(struct burst *b);

#endif
