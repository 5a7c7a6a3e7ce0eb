/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reload has to do: the list of the ports that run, the list of those that
 * are wanted, and what becomes of each. Nothing happens here.
 */
#ifndef VSWITCH_RELOAD_PLAN_H
#define VSWITCH_RELOAD_PLAN_H

#include "vswitch/reload.h"

/* Each owned. */
struct reload_ports {
	struct port_config *configs[2 * CONFIG_MAX_PORTS];
	unsigned count;
};

enum reload_verdict {
	RELOAD_SAME,
	RELOAD_CHANGE,
	RELOAD_REPLACE,
	RELOAD_GONE, /* no port is wanted by this name */
};

/* Both add to what is there. -ENOMEM. */
int reload_list_running(const struct vswitch *vswitch,
			struct reload_ports *running);
/* The file's, and those of the running ones that no file ever had. */
int reload_list_wanted(const struct vswitch *vswitch,
		       const struct config *after,
		       const struct reload_ports *running,
		       struct reload_ports *wanted);
void reload_free_ports(struct reload_ports *ports);

/* The one of that name, or NULL. */
const struct port_config *reload_find(const struct reload_ports *ports,
				      const char *name);

enum reload_verdict reload_judge(const struct port_config *running,
				 const struct reload_ports *wanted);
/* Whether one that is wanted has the name of the port, or what it has open. */
bool reload_makes_room(const struct port_config *running,
		       const struct reload_ports *wanted);
/* Whether both have the same open, whatever their names are. */
bool reload_same_device(const struct port_config *a,
			const struct port_config *b);

void reload_count(const struct reload_ports *running,
		  const struct reload_ports *wanted, struct reload_counts *ret);

#endif
