/* SPDX-License-Identifier: Apache-2.0 */
/* Which ports listen to which, by their numbers. */
#include <errno.h>
#include <stdio.h>

#include "base/barrier.h"
#include "vswitch/vswitch-internal.h"

/* @listener hears what it wants, as bit @m. */
static void add_mirror(const struct vswitch *vswitch,
		       const struct port *listener, unsigned m,
		       struct mirror_set *set)
{
	const struct mirror_config *mirror = listener->config->mirror;
	struct vlan_port vlans = {0};
	uint16_t number;

	set->to[m] = listener->forward.number;
	for (unsigned i = 0; i < mirror->ports_count; i++) {
		if (vswitch_find_port(vswitch, mirror->ports[i], &number) < 0)
			continue;
		if (mirror->direction != MIRROR_OUT)
			set->in[number] |= 1 << m;
		if (mirror->direction != MIRROR_IN)
			set->out[number] |= 1 << m;
	}
	config_mirror_vlans(mirror, &vlans);
	for (unsigned i = 0; i < VLAN_IDS; i++)
		if (vlans.members[i / 64] >> i % 64 & 1)
			set->vlans[i] |= 1 << m;
}

static unsigned count_mirrors(const struct vswitch *vswitch)
{
	unsigned count = 0;

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		count += port && port->config->mirror;
	}
	return count;
}

void vswitch_set_mirrors(struct vswitch *vswitch)
{
	struct forward_table *table = &vswitch->table;
	struct mirror_set *set =
		&vswitch->mirrors[table->mirrors == &vswitch->mirrors[0]];

	if (!table->mirrors && count_mirrors(vswitch) == 0)
		return;
	*set = (struct mirror_set){0};
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port && port->config->mirror && set->count < MIRROR_MAX)
			add_mirror(vswitch, port, set->count++, set);
	}
	store_release(&table->mirrors, set->count > 0 ? set : NULL);
	port_sync(&vswitch->owner);
}

int vswitch_check_mirror(const struct vswitch *vswitch,
			 const struct port_config *config, bool has_one,
			 char *ret_error)
{
	if (!config->mirror || has_one || count_mirrors(vswitch) < MIRROR_MAX)
		return 0;
	snprintf(ret_error, PORT_ERROR_BYTES, "mirror: there are %u already",
		 MIRROR_MAX);
	return -ENOSPC;
}
