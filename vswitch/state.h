/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a switch knows beside its configuration, kept over a restart: where
 * stations are and when each was heard, and the ports that came over the control
 * socket.
 *
 * It lies in one file that is opened once, before file names are given up, and
 * written in turn at two places: whatever end we come to, one of them is whole.
 * Writing is the kernel's business meanwhile: nobody waits for the disk.
 *
 * Control thread only.
 */
#ifndef VSWITCH_STATE_H
#define VSWITCH_STATE_H

#include "vswitch/vswitch.h"

struct state;

/*
 * Opens the file at @path, borrowed, or makes it. -EWOULDBLOCK: another switch
 * has it; or any negative errno of open.
 */
int state_open(const char *path, struct state **ret_state);

/*
 * Gives a switch that has not started what the file says of its ports, and opens
 * those that it lacks. What cannot be read or used is named in the log, and left
 * out.
 */
void state_restore(struct state *state, struct vswitch *vswitch);

/* Saves from now on: what was added or removed within a second, all else now
 * and then. Borrows both. A negative errno. */
int state_start(struct state *state, struct vswitch *vswitch,
		struct loop *loop);

/* If it was started saves once more, and waits for that. Accepts NULL. */
void state_close(struct state *state);

#endif
