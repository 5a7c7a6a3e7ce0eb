/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/reload-plan.h"

#include <stdlib.h>
#include <string.h>

/* --- lists ------------------------------------------------------------------- */

void reload_free_ports(struct reload_ports *ports)
{
	for (unsigned i = 0; i < ports->count; i++)
		port_config_free(ports->configs[i]);
	ports->count = 0;
}

static int append(struct reload_ports *ports, const struct port_config *config)
{
	int err = port_config_copy(config, &ports->configs[ports->count]);

	ports->count += err == 0;
	return err;
}

const struct port_config *reload_find(const struct reload_ports *ports,
				      const char *name)
{
	for (unsigned i = 0; i < ports->count; i++)
		if (strcmp(ports->configs[i]->name, name) == 0)
			return ports->configs[i];
	return NULL;
}

static bool has_port(const struct config *config, const char *name)
{
	for (unsigned i = 0; i < config->ports_count; i++)
		if (strcmp(config->ports[i].name, name) == 0)
			return true;
	return false;
}

int reload_list_running(const struct vswitch *vswitch,
			struct reload_ports *running)
{
	int err = 0;

	for (unsigned i = 0; i < CONFIG_MAX_PORTS && err == 0; i++)
		if (vswitch_port(vswitch, i))
			err = append(running, vswitch_port(vswitch, i)->config);
	return err;
}

int reload_list_wanted(const struct vswitch *vswitch,
		       const struct config *after,
		       const struct reload_ports *running,
		       struct reload_ports *wanted)
{
	const struct config *before = vswitch_config(vswitch);
	int err = 0;

	for (unsigned i = 0; i < after->ports_count && err == 0; i++)
		err = append(wanted, &after->ports[i]);
	for (unsigned i = 0; i < running->count && err == 0; i++) {
		const struct port_config *config = running->configs[i];

		if (!has_port(before, config->name) &&
		    !has_port(after, config->name))
			err = append(wanted, config);
	}
	return err;
}

/* --- what differs ------------------------------------------------------------ */

/* By all keys that there are: what is not known here needs a new port. */
static bool are_same(const struct port_config *a, const struct port_config *b)
{
	char *texts[] = {port_config_write(a), port_config_write(b)};
	bool same = texts[0] && texts[1] && strcmp(texts[0], texts[1]) == 0;

	free(texts[0]);
	free(texts[1]);
	return same;
}

/* Of a device that stays as it is: what vswitch_change_port can do. */
static void take_what_can_change(struct port_config *to,
				 const struct port_config *from)
{
	to->vlan_mode = from->vlan_mode;
	to->vlan = from->vlan;
	to->vlans = from->vlans;
	to->vlans_count = from->vlans_count;
	to->tags_native = from->tags_native;
	to->service_tags = from->service_tags;
	to->group = from->group;
	to->locked = from->locked;
	to->stations = from->stations;
	to->stations_count = from->stations_count;
	to->max_stations = from->max_stations;
	to->frames = from->frames;
	to->bytes = from->bytes;
	to->broadcast = from->broadcast;
	to->multicast = from->multicast;
	to->unknown = from->unknown;
	to->guard = from->guard;
	to->acl = from->acl;
	to->mirror = from->mirror;
	to->shape = from->shape;
}

bool reload_can_change(const struct port_config *running,
		       const struct port_config *after)
{
	struct port_config mixed = *after;

	take_what_can_change(&mixed, running);
	return are_same(running, &mixed);
}

enum reload_verdict reload_judge(const struct port_config *running,
				 const struct reload_ports *wanted)
{
	const struct port_config *after = reload_find(wanted, running->name);

	if (!after)
		return RELOAD_GONE;
	if (are_same(running, after))
		return RELOAD_SAME;
	return reload_can_change(running, after) ? RELOAD_CHANGE
						 : RELOAD_REPLACE;
}

/* The name that a TAP has for want of another one counts still. */
bool reload_same_device(const struct port_config *a,
			const struct port_config *b)
{
	struct port_config nameless = *a;
	char none[] = "";

	nameless.name = none;
	nameless.tap = a->tap ? a->tap : a->name;
	return port_config_clash(&nameless, b) != NULL;
}

static bool has_clash(const struct reload_ports *wanted,
		      const struct port_config *config)
{
	for (unsigned i = 0; i < wanted->count; i++)
		if (port_config_clash(wanted->configs[i], config))
			return true;
	return false;
}

bool reload_makes_room(const struct port_config *running,
		       const struct reload_ports *wanted)
{
	enum reload_verdict verdict = reload_judge(running, wanted);

	return verdict == RELOAD_REPLACE ||
	       (verdict == RELOAD_GONE && has_clash(wanted, running));
}

void reload_count(const struct reload_ports *running,
		  const struct reload_ports *wanted, struct reload_counts *ret)
{
	unsigned verdicts[RELOAD_GONE + 1] = {0};

	for (unsigned i = 0; i < running->count; i++)
		verdicts[reload_judge(running->configs[i], wanted)]++;
	*ret = (struct reload_counts){
		.added = wanted->count + verdicts[RELOAD_GONE] - running->count,
		.removed = verdicts[RELOAD_GONE],
		.changed = verdicts[RELOAD_CHANGE],
		.replaced = verdicts[RELOAD_REPLACE],
	};
}
