/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the state share. state.c saves now and then what state-gather.c
 * makes of the switch, into the file of state-file.c; what is read there at the
 * start, state-restore.c gives to the switch. Only these look in here.
 */
#ifndef VSWITCH_STATE_PARTS_H
#define VSWITCH_STATE_PARTS_H

#include <sys/types.h>

#include "vswitch/state-format.h"
#include "vswitch/vswitch.h"

/* --- state-file.c ------------------------------------------------------------ */

/* As state_open: a descriptor with a lock on it, which is the caller's. */
int state_file_open(const char *path);

/* Where in the file the state of that number is: over the last but one. */
off_t state_file_place(uint64_t sequence);

/* The bytes of the later state that is whole, to be freed; NULL: there is none, and
 * the log says why if there should be. @path names the file there. */
uint8_t *state_file_read(int fd, const char *path, struct state_view *ret_view);

/* --- state-restore.c --------------------------------------------------------- */

/* As state_restore; @path names the file in the log. */
void state_restore_view(const char *path, struct vswitch *vswitch,
			const struct state_view *view);

/* --- state-gather.c ---------------------------------------------------------- */

/* Seconds of CLOCK_REALTIME: of all clocks that which a restart does not end. */
uint64_t state_realtime(void);

/* Sealed, with that number, to be freed; NULL: there is no memory. */
uint8_t *state_gather(struct vswitch *vswitch, uint64_t sequence,
		      size_t *ret_length);

#endif
