/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A switch whose port w has one end of a virtual cable, rle0, by AF_XDP. The other
 * end, rle1, is a socket (fixture_open_wire).
 */
#ifndef TESTS_SWITCH_XDP_H
#define TESTS_SWITCH_XDP_H

#include <linux/ethtool.h>

#include "tests/switch/fixture.h"

enum {
	XDP_STATION = 7,	  /* who is behind the wire */
	XDP_KERNEL_FRAMES = 2048, /* that the kernel has room for */
};

/* The line of w in the configuration, with @more of its keys. */
#define XDP_LINE(more) "  - {name: w, kind: xdp, interface: rle0" more "}\n"

/* One guest; two: without keys of their own. */
extern const char *const xdp_one[], *const xdp_two[];

void xdp_run(const char *command);

/* A new cable instead of the one before. */
void xdp_lay_wire(unsigned queues);

/*
 * Starts a switch with a control socket: @head stands before the ports, of which
 * @line has the first ones; the others are guests', p<n> with what @ports has more.
 */
void xdp_start(struct fixture *f, const char *head, const char *line,
	       const char *const *ports);
/* The same with a wire, whose far end is returned, and one guest, which is there. */
int xdp_set_out(struct fixture *f, const char *line);

/* Room for what comes before somebody looks. */
void xdp_make_room(int wire);
void xdp_send(int wire, const uint8_t *bytes, size_t length);
/* The next frame that comes out is this one. */
void xdp_expect(int wire, const uint8_t *bytes, size_t length);

/* A frame of guest 0's for all, and one for guest 0, arrive whole. */
void xdp_guest_to_wire(struct fixture *f, int wire, size_t bytes);
void xdp_wire_to_guest(struct fixture *f, int wire, size_t bytes);
/* Of several sizes. */
void xdp_both_ways(struct fixture *f, int wire);

/* SIOCETHTOOL. */
void xdp_ask_device(const char *interface, struct ethtool_value *value);

#endif
