/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a burst of frames that came in at a port. IEEE 802.1Q, 8.6
 * "The Forwarding Process".
 *
 * The first pass judges every frame by its private head: VLAN, source (which
 * the forwarding database learns), destination, limits. The second goes from
 * egress to egress and hands each all that it gets at once. Frames for several
 * ports are lent to one after the other; where a port wants another tag, a copy
 * of the head is changed.
 *
 * A frame goes to a port once. Frames of one source, destination and VLAN stay
 * in order: they are judged alike within a burst.
 *
 * No allocation, no lock but the database's for what it did not know. The
 * thread that serves the ingress, which is a reader of the database's RCU.
 */
#ifndef VSWITCH_FORWARD_H
#define VSWITCH_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limit.h"
#include "vhost-net/net-rx.h"
#include "vswitch/acl.h"
#include "vswitch/fdb.h"
#include "vswitch/vlan.h"

/* Why a frame went nowhere, or not to some port. */
enum forward_drop {
	FORWARD_PASS,
	FORWARD_TAGGED,	   /* VLAN_DROP_TAGGED, … */
	FORWARD_UNTAGGED,  /* … */
	FORWARD_VLAN,	   /* … or the egress is not in the VLAN */
	FORWARD_SOURCE,	   /* from a group's address */
	FORWARD_SPOOFED,   /* from another port's station */
	FORWARD_RESERVED,  /* to an address that bridges keep (8.6.3) */
	FORWARD_LIMIT,	   /* more than the port may send */
	FORWARD_STORM,	   /* more than it may send to many */
	FORWARD_SAME_PORT, /* the station is where it came from */
	FORWARD_ISOLATED,  /* a port of the same group */
	FORWARD_OVERSIZE,  /* with one more tag */
	FORWARD_GUARD_MAC, /* GUARD_MAC and on, in their order */
	FORWARD_GUARD_ARP,
	FORWARD_GUARD_ND,
	FORWARD_GUARD_IP,
	FORWARD_GUARD_TYPE,
	FORWARD_ACL_IN,	    /* a rule of the port that it came in at */
	FORWARD_ACL_OUT,    /* one of a port that it would leave by */
	FORWARD_ACL_HIDDEN, /* what rules look at cannot be read */
	FORWARD_MIRROR,	    /* from a port that only listens */
	FORWARD_DROPS,
};

/* As metrics call it: "same-port". */
const char *forward_drop_name(enum forward_drop drop);

/* Frames that may go to many ports. */
enum forward_storm {
	FORWARD_BROADCAST,
	FORWARD_MULTICAST,
	FORWARD_UNKNOWN, /* nobody was heard with this address */
	FORWARD_STORMS,
};

struct guard;
struct mirror_set;
struct shaper;
struct sniffer_set;

/* A port, as forwarding sees it. What is not a limit does not change while a
 * burst is forwarded: the control thread changes it while all are between
 * two (port_configure). */
struct forward_port {
	uint16_t number; /* its place in the table */
	/* Ports of one group do not reach each other; 0: no group. */
	uint16_t group;
	/* Only the stations that it was given (fdb_set_static) may send. */
	bool is_locked;
	/* It gets what a mirror copies, and nothing else; it sends nothing. */
	bool listens;
	struct vlan_port vlan;
	struct limit frames, bytes; /* that it may send */
	struct limit storms[FORWARD_STORMS];
	struct guard *guard;	      /* who it may say it is; NULL: anybody */
	struct shaper *shaper;	      /* of what it is sent; NULL: none */
	struct acl *acl_in, *acl_out; /* what passes; NULL: all */
	/*
	 * Hints that it will be sent frames, first of all for its rings to be
	 * fetched and then for the places of @count frames. Both or none; any
	 * serving thread.
	 */
	void (*expect)(struct forward_port *port);
	void (*expect_frames)(struct forward_port *port, unsigned count);
	/*
	 * Delivers @count frames, at most NET_BURST, which are the caller's
	 * again afterwards. Any serving thread.
	 */
	void (*send)(struct forward_port *port,
		     const struct net_rx_frame *const *frames, unsigned count);
};

/*
 * All ports by number. Places are set and cleared by the control thread, which
 * waits for a turn of every serving thread before it frees a port.
 */
struct forward_table {
	struct forward_port *ports[FDB_PORTS]; /* NULL: none */
	unsigned end; /* from here on there are none; never falls */
	const struct mirror_set *mirrors;   /* NULL: none */
	const struct sniffer_set *sniffers; /* NULL: none */
};

struct forward_bucket {
	struct forward_port *port;
	unsigned count;
	const struct net_rx_frame *frames[NET_BURST];
};

/* Frames that follow each other, of the same stations, VLAN and tag: what is decided
 * of the first holds for all, as long as it is a port. */
struct forward_run {
	uint8_t first, count;
};

/* One for each serving thread. */
struct forward {
	struct fdb *fdb;		   /* borrowed */
	const struct forward_table *table; /* borrowed */
	unsigned thread;		   /* its number, for sniffers */
	/* Nothing is learned: vswitch/trace.h. What would be is in `learned`, as
	 * long as a frame comes so far. */
	bool is_trial;
	enum fdb_learned learned;

	/* Of the burst at hand. */
	unsigned count;
	struct vlan_frame vlans[NET_BURST];
	fdb_key from[NET_BURST], to[NET_BURST];
	uint16_t egress
		[NET_BURST]; /* a port's number, or one of forward-burst.h */
	/* Of those that have not been dropped when stations are looked up. */
	struct forward_run runs[NET_BURST];
	unsigned run_count;
	uint64_t repeats; /* a bit for each that is like the one before */
	int32_t places[NET_BURST]; /* of runs */
	unsigned floods;
	unsigned bucket_count;
	uint8_t bucket_of[FDB_PORTS]; /* 1 more than its index; 0: none yet */
	struct forward_bucket buckets[NET_BURST];
	struct forward_bucket flood;
	struct net_rx_frame copies[NET_BURST];
	const struct sniffer_set *sniffers;
	const struct mirror_set *mirrors;
	uint8_t mirrored[NET_BURST]; /* a bit for each that has the frame */
	uint64_t keyed; /* a bit for each of those keys that are made */
	struct acl_key keys[NET_BURST];
};

/* Whether a frame of @vlan from @in may go to @out, and how it changes then. */
enum forward_drop forward_leaves(const struct forward_port *in,
				 const struct forward_port *out,
				 const struct vlan_frame *vlan,
				 struct vlan_edit *ret_edit);

void forward_init(struct forward *forward, struct fdb *fdb,
		  const struct forward_table *table);

/* Sends @port frames as fast as it may get them. */
void forward_send(struct forward_port *port,
		  const struct net_rx_frame *const *frames, unsigned count,
		  uint64_t now_ns);

/*
 * Forwards the @count frames, at most NET_BURST, that came in at @in; their
 * heads may be changed. Counts in @drops, by enum forward_drop.
 */
void forward_burst(struct forward *forward, struct forward_port *in,
		   struct net_rx_frame *frames, unsigned count, uint64_t now_ns,
		   uint64_t drops[static FORWARD_DROPS]);

#endif
