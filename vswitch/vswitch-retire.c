/* SPDX-License-Identifier: Apache-2.0 */
/* Ports that make room for others, and come back if these cannot be had. */
#include "vswitch/vswitch-internal.h"

void vswitch_retire_port(struct vswitch *vswitch, uint16_t number)
{
	vswitch->slots[number].state = SLOT_RETIRED;
	vswitch->generation++;
}

void vswitch_halt_port(struct vswitch *vswitch, uint16_t number)
{
	vswitch_stop_port(vswitch, number);
	vswitch->slots[number].state = SLOT_HALTED;
}

const struct port *vswitch_retired_port(const struct vswitch *vswitch,
					unsigned number)
{
	return vswitch->slots[number].state == SLOT_RETIRED
		       ? vswitch->slots[number].port
		       : NULL;
}

static void recall(struct vswitch *vswitch, uint16_t number)
{
	struct vswitch_slot *slot = &vswitch->slots[number];
	const bool was_halted = slot->state == SLOT_HALTED;
	char error[PORT_ERROR_BYTES];

	slot->state = SLOT_USED;
	vswitch->generation++;
	if (!was_halted || vswitch_start_port(vswitch, number, error) == 0)
		return;
	log_error("the port %s does not come back: %s", slot->config->name,
		  error);
	vswitch_end_port(vswitch, number);
}

static bool is_retired(const struct vswitch_slot *slot)
{
	return slot->state == SLOT_RETIRED || slot->state == SLOT_HALTED;
}

void vswitch_recall_ports(struct vswitch *vswitch)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		if (is_retired(&vswitch->slots[i]))
			recall(vswitch, i);
	vswitch_set_mirrors(vswitch);
}

void vswitch_dismiss_ports(struct vswitch *vswitch)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		if (is_retired(&vswitch->slots[i]))
			vswitch_end_port(vswitch, i);
}
