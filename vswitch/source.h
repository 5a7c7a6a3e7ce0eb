/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where frames come from: one queue of a port, which one serving thread asks
 * in turn with others (vswitch/lcore.h). What a source has counted is read on
 * that thread.
 */
#ifndef VSWITCH_SOURCE_H
#define VSWITCH_SOURCE_H

#include "vswitch/forward.h"

struct lcore;
struct source;

/* What a descriptor is worth. */
enum source_trust {
	SOURCE_SURE, /* it tells of all frames */
	/* A device's, which has not told of any yet: as if there were none. */
	SOURCE_DOUBTED,
	SOURCE_HEARD, /* it has: to look is needed seldom */
};

/* On the serving thread. */
struct source_ops {
	/* A burst of at most NET_BURST frames, lent until done. */
	unsigned (*receive)(struct source *source,
			    struct net_rx_frame **ret_frames);
	/* It is asked soon: a hint. And a cheap look: may there be frames?
	 * Both may be NULL. */
	void (*expect)(struct source *source);
	bool (*look)(struct source *source);
	/* After each receive. */
	void (*done)(struct source *source);
	/* source->fd became readable; may be NULL. */
	void (*ready)(struct source *source);
	/* Asks to be told of new frames through fd: true if there are some
	 * already. And no more. Both may be NULL. */
	bool (*sleep)(struct source *source);
	void (*awake)(struct source *source);
};

struct source {
	const struct source_ops *ops;
	struct forward_port *port;
	int fd; /* to be watched; -1: look now and then, from now on */
	enum source_trust trust;
	uint64_t drops[FORWARD_DROPS];

	/* The control thread's: who serves it, or will when it is attached;
	 * NULL: whom its port says (port_home). */
	struct lcore *home;
	bool is_placed; /* by a person: it is not moved by load */

	/* The serving thread's. */
	struct lcore *lcore;  /* NULL: none serves it */
	uint64_t busy_cycles; /* read by anybody */
	struct source *next;
	struct loop_watch *watch;
};

#endif
