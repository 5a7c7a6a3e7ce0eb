/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet socket on an interface of the host, for the end of `vbench net` that
 * is no guest: net_end's, which see. packet(7).
 */
#ifndef TOOLS_VBENCH_NET_WIRE_H
#define TOOLS_VBENCH_NET_WIRE_H

#include "tools/vbench/net-end.h"

struct net_wire;

/* Needs CAP_NET_RAW. A negative errno. */
int net_wire_new(const struct net_bench_options *options, const char *interface,
		 enum net_way way, struct net_wire **ret_wire);
void net_wire_free(struct net_wire *wire); /* accepts NULL */

/* What finds no room in the interface's queue counts as sent, and is lost. */
int net_wire_send(struct net_wire *wire, const uint64_t *sent_ns,
		  unsigned count);
int net_wire_receive(struct net_wire *wire, struct net_arrival *ret_arrivals,
		     unsigned max);

#endif
