/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One of many guests of a switch, for `vbench switch`: a front-end, a pair of
 * rings, and frames that say who they are for. Behind a guest is any number of
 * stations; each has an address of its own.
 *
 * Nothing blocks. One thread for all guests of a switch.
 */
#ifndef TOOLS_VBENCH_SWITCH_GUEST_H
#define TOOLS_VBENCH_SWITCH_GUEST_H

#include "tools/vbench/switch-options.h"

enum {
	SWITCH_GUEST_BURST = 32,
	SWITCH_TO_ALL = UINT16_MAX, /* as a guest's number */
};

struct switch_guest;

/* Who a frame came from, … */
struct switch_arrival {
	uint16_t from;
	bool is_stray; /* … and whether it was for somebody else */
};

/* With a line on stderr if it fails. @number is less than the options' guests. */
int switch_guest_new(const struct switch_bench_options *options,
		     unsigned number, struct switch_guest **ret_guest);
void switch_guest_free(struct switch_guest *guest); /* accepts NULL */

/* From its station @from to station @to of guest @number. False: all frames are
 * under way, or the ring is full. Nobody sees it before the next publish. */
bool switch_guest_send(struct switch_guest *guest, uint32_t from,
		       uint16_t number, uint32_t to);
void switch_guest_publish(struct switch_guest *guest);

/* Takes back what was sent. A negative errno of a device that errs. */
int switch_guest_reap(struct switch_guest *guest);

/* Takes up to @max (at most SWITCH_GUEST_BURST) frames of ours: how many came. */
int switch_guest_receive(struct switch_guest *guest,
			 struct switch_arrival *ret_arrivals, unsigned max);

/* The process behind the socket; 0: unknown. */
int switch_guest_backend_pid(const struct switch_guest *guest);

#endif
