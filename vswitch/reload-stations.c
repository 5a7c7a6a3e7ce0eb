/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/reload-stations.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"

enum {
	FIRST_ROOM = 64,
};

static bool grow(struct reload_stations *kept)
{
	const size_t room = MAX(2 * kept->room, (size_t)FIRST_ROOM);
	struct fdb_station *stations =
		reallocarray(kept->stations, room, sizeof(*stations));

	if (!stations)
		return false;
	kept->stations = stations;
	kept->room = room;
	return true;
}

static void keep(void *arg, const struct fdb_station *station)
{
	struct reload_stations *kept = arg;

	if (kept->count == kept->room && !grow(kept))
		kept->lacks_memory = true;
	else
		kept->stations[kept->count++] = *station;
}

int reload_stations_keep(struct vswitch *vswitch, struct reload_stations *kept)
{
	fdb_for_each(vswitch_fdb(vswitch), keep, kept);
	return kept->lacks_memory ? -ENOMEM : 0;
}

void reload_stations_restore(const struct reload_stations *kept,
			     struct vswitch *vswitch)
{
	struct fdb *fdb = vswitch_fdb(vswitch);

	for (size_t i = 0; i < kept->count; i++) {
		const struct fdb_station *s = &kept->stations[i];

		if (!vswitch_port(vswitch, s->port))
			continue;
		if (s->is_static)
			fdb_set_static(fdb, s->key, s->port);
		else if (fdb_judge(fdb, s->key, s->port) == FDB_NEW)
			fdb_learn(fdb, s->key, s->port, s->heard);
	}
}

void reload_stations_free(struct reload_stations *kept)
{
	free(kept->stations);
}
