/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of what `vbench net` measures: the guest of a back-end (front-end,
 * rings, buffers), or the wire, a packet socket on an interface of the host.
 *
 * Frames are made once and sent again and again with a new stamp; received
 * buffers are offered again at once. Nothing blocks.
 */
#ifndef TOOLS_VBENCH_NET_END_H
#define TOOLS_VBENCH_NET_END_H

#include "tools/vbench/net-frame.h"
#include "tools/vbench/net-options.h"

enum {
	NET_END_BURST = 32,
};

struct net_end;

struct net_arrival {
	uint32_t bytes;	  /* of the frame, without virtio-net header */
	uint64_t sent_ns; /* 0: it carries no stamp */
};

/* @way: that of the frames it sends. With a line on stderr if it fails. */
int net_end_guest(const struct net_bench_options *options,
		  const char *socket_path, enum net_way way,
		  struct net_end **ret_end);
int net_end_wire(const struct net_bench_options *options, const char *interface,
		 enum net_way way, struct net_end **ret_end);
void net_end_free(struct net_end *end); /* accepts NULL */

/* Sends up to @count frames with these stamps: how many went. */
int net_end_send(struct net_end *end, const uint64_t *sent_ns, unsigned count);

/* Takes up to @max (at most NET_END_BURST) frames of ours: how many came. */
int net_end_receive(struct net_end *end, struct net_arrival *ret_arrivals,
		    unsigned max);

/* Whether a frame came from each of its stations: those that are sent first. */
bool net_end_is_announced(const struct net_end *end);

/* Of what was sent so far, frames whose buffers came back. */
uint64_t net_end_given_back(const struct net_end *end);

/* The process behind the socket; 0: none, or unknown. */
int net_end_backend_pid(const struct net_end *end);

#endif
