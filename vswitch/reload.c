/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a list of the ports that run to one of those that are wanted, in this
 * order: what is in nobody's way comes, what forwards otherwise changes, what
 * has to make room goes, and others come in its place. What is only removed goes
 * last, since that cannot fail. The way back from a step that failed is the same
 * way to the list of before.
 */
#include "vswitch/reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* Ports, each owned. */
struct ports {
	struct port_config *configs[2 * CONFIG_MAX_PORTS];
	unsigned count;
};

enum verdict {
	SAME,
	CHANGE,
	REPLACE,
	GONE, /* no port is wanted by this name */
};

/* --- lists ------------------------------------------------------------------- */

static void free_ports(struct ports *ports)
{
	for (unsigned i = 0; i < ports->count; i++)
		port_config_free(ports->configs[i]);
	ports->count = 0;
}

static int append(struct ports *ports, const struct port_config *config)
{
	int err = port_config_copy(config, &ports->configs[ports->count]);

	ports->count += err == 0;
	return err;
}

static const struct port_config *find(const struct ports *ports,
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

static int list_running(const struct vswitch *vswitch, struct ports *running)
{
	int err = 0;

	for (unsigned i = 0; i < CONFIG_MAX_PORTS && err == 0; i++)
		if (vswitch_port(vswitch, i))
			err = append(running, vswitch_port(vswitch, i)->config);
	return err;
}

/* The file's, and those of the running ones that no file ever had. */
static int list_wanted(const struct vswitch *vswitch,
		       const struct config *after, const struct ports *running,
		       struct ports *wanted)
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

static enum verdict judge(const struct port_config *running,
			  const struct ports *wanted)
{
	const struct port_config *after = find(wanted, running->name);

	if (!after)
		return GONE;
	if (are_same(running, after))
		return SAME;
	return reload_can_change(running, after) ? CHANGE : REPLACE;
}

static bool has_clash(const struct ports *wanted,
		      const struct port_config *config)
{
	for (unsigned i = 0; i < wanted->count; i++)
		if (port_config_clash(wanted->configs[i], config))
			return true;
	return false;
}

static bool makes_room(const struct port_config *running,
		       const struct ports *wanted)
{
	enum verdict verdict = judge(running, wanted);

	return verdict == REPLACE ||
	       (verdict == GONE && has_clash(wanted, running));
}

/* --- before anything happens ------------------------------------------------- */

static int fail(const struct vswitch *vswitch, const char *key,
		const char *what, char *ret_error)
{
	snprintf(ret_error, RELOAD_ERROR_BYTES, "%.200s: %.64s: %.200s",
		 vswitch_config_path(vswitch), key, what);
	return -EINVAL;
}

static int check_switch(const struct vswitch *vswitch,
			const struct config *after, char *ret_error)
{
	static const char restart[] = "only a restart can change it";
	const struct config *before = vswitch_config(vswitch);

	if (before->lcores != after->lcores)
		return fail(vswitch, "lcores", restart, ret_error);
	if (before->hugepages != after->hugepages)
		return fail(vswitch, "hugepages", restart, ret_error);
	if (before->cpus_count != after->cpus_count ||
	    (after->cpus_count > 0 &&
	     memcmp(before->cpus, after->cpus,
		    after->cpus_count * sizeof(*after->cpus)) != 0))
		return fail(vswitch, "cpus", restart, ret_error);
	if (before->fdb_capacity != after->fdb_capacity)
		return fail(vswitch, "fdb-capacity", restart, ret_error);
	return 0;
}

/* Each pair that is wanted, with those that came over the control socket. */
static int check_clashes(const struct vswitch *vswitch,
			 const struct ports *wanted, char *ret_error)
{
	if (wanted->count > CONFIG_MAX_PORTS)
		return fail(vswitch, "ports",
			    "too many, with those that were "
			    "added since",
			    ret_error);
	for (unsigned i = 0; i < wanted->count; i++)
		for (unsigned j = 0; j < i; j++)
			if (port_config_clash(wanted->configs[i],
					      wanted->configs[j]))
				return fail(
					vswitch, wanted->configs[j]->name,
					"its socket, TAP or device is another "
					"port's, which was added since",
					ret_error);
	return 0;
}

/* A TAP or a device cannot be opened again once privileges are given up: there
 * would be no way back. */
static int check_taps(const struct vswitch *vswitch,
		      const struct ports *running, const struct ports *wanted,
		      char *ret_error)
{
	for (unsigned i = 0; i < running->count; i++) {
		const struct port_config *config = running->configs[i];

		if (config->kind != PORT_VHOST_USER &&
		    makes_room(config, wanted))
			return fail(vswitch, config->name,
				    "only a restart can change what a TAP or a "
				    "DPDK device is opened with",
				    ret_error);
	}
	return 0;
}

/* --- the steps --------------------------------------------------------------- */

static void remove_if(struct vswitch *vswitch, const struct ports *wanted,
		      bool (*chosen)(const struct port_config *running,
				     const struct ports *wanted))
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port && chosen(port->config, wanted))
			vswitch_remove_port(vswitch, port->name);
	}
}

static bool is_gone(const struct port_config *running,
		    const struct ports *wanted)
{
	return judge(running, wanted) == GONE;
}

/* Takes a step with a copy of @config. */
static int step(struct vswitch *vswitch, const struct port_config *config,
		int (*take)(struct vswitch *vswitch, struct port_config *config,
			    char *ret_error),
		char *ret_error)
{
	struct port_config *copy;
	int err = port_config_copy(config, &copy);

	if (err < 0) {
		snprintf(ret_error, RELOAD_ERROR_BYTES, "%s", strerror(-err));
		return err;
	}
	err = take(vswitch, copy, ret_error);
	if (err < 0)
		port_config_free(copy);
	return err;
}

static bool is_in_the_way(const struct vswitch *vswitch,
			  const struct port_config *config)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port && port_config_clash(port->config, config))
			return true;
	}
	return false;
}

/* Of what is wanted and does not run, all that can be. */
static int add_ports(struct vswitch *vswitch, const struct ports *wanted,
		     char *ret_error)
{
	int err = 0;

	for (unsigned i = 0; i < wanted->count && err == 0; i++)
		if (!is_in_the_way(vswitch, wanted->configs[i]))
			err = step(vswitch, wanted->configs[i],
				   vswitch_add_port, ret_error);
	return err;
}

static int change_ports(struct vswitch *vswitch, const struct ports *wanted,
			char *ret_error)
{
	int err = 0;

	for (unsigned i = 0; i < CONFIG_MAX_PORTS && err == 0; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port && judge(port->config, wanted) == CHANGE)
			err = step(vswitch, find(wanted, port->name),
				   vswitch_change_port, ret_error);
	}
	return err;
}

static int go_to(struct vswitch *vswitch, const struct ports *wanted,
		 char *ret_error)
{
	int err = add_ports(vswitch, wanted, ret_error);

	if (err == 0)
		err = change_ports(vswitch, wanted, ret_error);
	if (err < 0)
		return err;
	remove_if(vswitch, wanted, makes_room);
	err = add_ports(vswitch, wanted, ret_error);
	if (err == 0)
		remove_if(vswitch, wanted, is_gone);
	return err;
}

static int go_or_stay(struct vswitch *vswitch, const struct ports *running,
		      const struct ports *wanted, char *ret_error)
{
	char error[PORT_ERROR_BYTES];
	int err = go_to(vswitch, wanted, ret_error);

	if (err < 0 && go_to(vswitch, running, error) < 0)
		log_error("the way back failed, too: %s", error);
	return err;
}

static void count(const struct ports *running, const struct ports *wanted,
		  struct reload_counts *ret)
{
	unsigned verdicts[GONE + 1] = {0};

	for (unsigned i = 0; i < running->count; i++)
		verdicts[judge(running->configs[i], wanted)]++;
	*ret = (struct reload_counts){
		.added = wanted->count + verdicts[GONE] - running->count,
		.removed = verdicts[GONE],
		.changed = verdicts[CHANGE],
		.replaced = verdicts[REPLACE],
	};
}

static int reload_ports(struct vswitch *vswitch, const struct config *after,
			struct reload_counts *ret_counts, char *ret_error)
{
	struct ports running = {0}, wanted = {0};
	int err = list_running(vswitch, &running);

	if (err == 0)
		err = list_wanted(vswitch, after, &running, &wanted);
	if (err < 0)
		snprintf(ret_error, RELOAD_ERROR_BYTES, "%s", strerror(-err));
	if (err == 0)
		err = check_clashes(vswitch, &wanted, ret_error);
	if (err == 0)
		err = check_taps(vswitch, &running, &wanted, ret_error);
	if (err == 0)
		err = go_or_stay(vswitch, &running, &wanted, ret_error);
	if (err == 0)
		count(&running, &wanted, ret_counts);
	free_ports(&running);
	free_ports(&wanted);
	return err;
}

int reload(struct vswitch *vswitch, struct reload_counts *ret_counts,
	   char ret_error[static RELOAD_ERROR_BYTES])
{
	struct config *after;
	int err = config_read(vswitch_config_path(vswitch), &after, ret_error);

	if (err < 0)
		return err;
	err = check_switch(vswitch, after, ret_error);
	if (err == 0)
		err = reload_ports(vswitch, after, ret_counts, ret_error);
	if (err < 0) {
		config_free(after);
		return err;
	}
	vswitch_set_config(vswitch, after);
	return 0;
}
