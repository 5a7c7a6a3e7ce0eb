/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where stations are before a reload, for the case that it fails: ports that came
 * take their static ones, and one that changes or is halted forgets whom it has
 * learned.
 */
#ifndef VSWITCH_RELOAD_STATIONS_H
#define VSWITCH_RELOAD_STATIONS_H

#include "vswitch/vswitch.h"

/* Zeroed: none. */
struct reload_stations {
	struct fdb_station *stations; /* owned */
	size_t count, room;
	bool lacks_memory;
};

/* -ENOMEM. */
int reload_stations_keep(struct vswitch *vswitch, struct reload_stations *kept);
/* To the ports of their numbers, which are the same; learned ones as old as they
 * are, unless they were heard meanwhile. */
void reload_stations_restore(const struct reload_stations *kept,
			     struct vswitch *vswitch);
void reload_stations_free(struct reload_stations *kept);

#endif
