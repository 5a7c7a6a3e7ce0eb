/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file, read again while frames pass: what it has more or
 * less than when it was last read is added and removed, and what differs
 * changes. A port that only forwards otherwise (VLANs, limits, stations, group,
 * guard, ACLs, mirror, shape) keeps its guest; one whose device differs is made anew.
 *
 * Ports that came over the control socket, and are not in the file, stay.
 *
 * Control thread only.
 */
#ifndef VSWITCH_RELOAD_H
#define VSWITCH_RELOAD_H

#include "vswitch/vswitch.h"

enum {
	RELOAD_ERROR_BYTES = CONFIG_FILE_ERROR_BYTES,
};

struct reload_counts {
	unsigned added, removed, changed;
	unsigned replaced; /* made anew */
};

/*
 * All or nothing: after an error the switch runs as before, with guests, numbers,
 * counters and stations. Only if a socket cannot be had again guests of ports that
 * were halted, because others were to have their sockets, have to connect again. A
 * negative errno, with a sentence.
 */
int reload(struct vswitch *vswitch, struct reload_counts *ret_counts,
	   char ret_error[static RELOAD_ERROR_BYTES]);

/* Whether a port can become @after without being made anew. */
bool reload_can_change(const struct port_config *running,
		       const struct port_config *after);

#endif
