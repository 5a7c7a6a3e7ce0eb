/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a list of the ports that run to one of those that are wanted, in this
 * order: who has to make room is retired, and forwards on; all that are new are
 * opened, and those that are in nobody's way started; what forwards otherwise
 * changes; of those that are retired are halted whose sockets others want, and these
 * are started. What is only removed goes last, since that cannot fail. From a step
 * that failed the way back is: what came goes, who is retired is recalled, what
 * changed changes back.
 */
#include "vswitch/reload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vswitch/reload-plan.h"
#include "vswitch/reload-stations.h"

struct reloading {
	struct vswitch *vswitch;
	struct reload_ports before, wanted;
	/* By number. */
	bool was_here[CONFIG_MAX_PORTS], is_started[CONFIG_MAX_PORTS];
	struct reload_stations stations; /* before */
};

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
static int check_clashes(const struct reloading *r, char *ret_error)
{
	const struct reload_ports *wanted = &r->wanted;

	if (wanted->count > CONFIG_MAX_PORTS)
		return fail(r->vswitch, "ports",
			    "too many, with those that were added since",
			    ret_error);
	for (unsigned i = 0; i < wanted->count; i++)
		for (unsigned j = 0; j < i; j++)
			if (port_config_clash(wanted->configs[i],
					      wanted->configs[j]))
				return fail(
					r->vswitch, wanted->configs[j]->name,
					"its socket, TAP or device is another "
					"port's, which was added since",
					ret_error);
	return 0;
}

/* A TAP, an interface or a device cannot be opened again once privileges are given
 * up: there would be no way back. */
static int check_taps(const struct reloading *r, char *ret_error)
{
	for (unsigned i = 0; i < r->before.count; i++) {
		const struct port_config *config = r->before.configs[i];

		if (config->kind != PORT_VHOST_USER &&
		    reload_makes_room(config, &r->wanted))
			return fail(r->vswitch, config->name,
				    "only a restart can change what a TAP, an "
				    "interface or a DPDK device is opened with",
				    ret_error);
	}
	return 0;
}

/* --- the steps --------------------------------------------------------------- */

static void retire_ports(struct reloading *r)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(r->vswitch, i);

		if (port && reload_makes_room(port->config, &r->wanted))
			vswitch_retire_port(r->vswitch, i);
	}
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

static int open_ports(struct reloading *r, char *ret_error)
{
	uint16_t number;
	int err = 0;

	for (unsigned i = 0; i < r->wanted.count && err == 0; i++) {
		const struct port_config *config = r->wanted.configs[i];

		if (vswitch_find_port(r->vswitch, config->name, &number) < 0)
			err = step(r->vswitch, config, vswitch_open_port,
				   ret_error);
	}
	return err;
}

/* A retired port has open what @config names. */
static bool waits(const struct vswitch *vswitch,
		  const struct port_config *config)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *retired = vswitch_retired_port(vswitch, i);

		if (retired && reload_same_device(retired->config, config))
			return true;
	}
	return false;
}

/* Of those that were opened, all that can be. */
static int start_ports(struct reloading *r, char *ret_error)
{
	int err = 0;

	for (unsigned i = 0; i < CONFIG_MAX_PORTS && err == 0; i++) {
		const struct port *port = vswitch_port(r->vswitch, i);

		if (!port || r->was_here[i] || r->is_started[i] ||
		    waits(r->vswitch, port->config))
			continue;
		err = vswitch_start_port(r->vswitch, i, ret_error);
		r->is_started[i] = true;
	}
	return err;
}

static int change_ports(struct vswitch *vswitch,
			const struct reload_ports *wanted, char *ret_error)
{
	int err = 0;

	for (unsigned i = 0; i < CONFIG_MAX_PORTS && err == 0; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port && reload_judge(port->config, wanted) == RELOAD_CHANGE)
			err = step(vswitch, reload_find(wanted, port->name),
				   vswitch_change_port, ret_error);
	}
	return err;
}

static bool has_wanted_device(const struct reloading *r,
			      const struct port *port)
{
	for (unsigned i = 0; i < r->wanted.count; i++)
		if (reload_same_device(port->config, r->wanted.configs[i]))
			return true;
	return false;
}

static void halt_ports(struct reloading *r)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_retired_port(r->vswitch, i);

		if (port && has_wanted_device(r, port))
			vswitch_halt_port(r->vswitch, i);
	}
}

static void remove_gone(struct reloading *r)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(r->vswitch, i);

		if (port &&
		    reload_judge(port->config, &r->wanted) == RELOAD_GONE)
			vswitch_remove_port(r->vswitch, port->name);
	}
}

static int go(struct reloading *r, char *ret_error)
{
	int err;

	retire_ports(r);
	err = open_ports(r, ret_error);
	if (err == 0)
		err = start_ports(r, ret_error);
	if (err == 0)
		err = change_ports(r->vswitch, &r->wanted, ret_error);
	if (err < 0)
		return err;
	halt_ports(r);
	err = start_ports(r, ret_error);
	if (err < 0)
		return err;
	vswitch_dismiss_ports(r->vswitch);
	remove_gone(r);
	return 0;
}

static void go_back(struct reloading *r)
{
	char error[PORT_ERROR_BYTES];

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(r->vswitch, i);

		if (port && !r->was_here[i])
			vswitch_remove_port(r->vswitch, port->name);
	}
	vswitch_recall_ports(r->vswitch);
	if (change_ports(r->vswitch, &r->before, error) < 0)
		log_error("the way back failed, too: %s", error);
	reload_stations_restore(&r->stations, r->vswitch);
}

/* --- all of it --------------------------------------------------------------- */

static int list(struct reloading *r, const struct config *after)
{
	int err = reload_list_running(r->vswitch, &r->before);

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		r->was_here[i] = vswitch_port(r->vswitch, i);
	if (err == 0)
		err = reload_list_wanted(r->vswitch, after, &r->before,
					 &r->wanted);
	if (err == 0)
		err = reload_stations_keep(r->vswitch, &r->stations);
	return err;
}

static int reload_ports(struct vswitch *vswitch, const struct config *after,
			struct reload_counts *ret_counts, char *ret_error)
{
	struct reloading r = {.vswitch = vswitch};
	int err = list(&r, after);

	if (err < 0)
		snprintf(ret_error, RELOAD_ERROR_BYTES, "%s", strerror(-err));
	if (err == 0)
		err = check_clashes(&r, ret_error);
	if (err == 0)
		err = check_taps(&r, ret_error);
	if (err == 0) {
		err = go(&r, ret_error);
		if (err < 0)
			go_back(&r);
	}
	if (err == 0)
		reload_count(&r.before, &r.wanted, ret_counts);
	reload_stations_free(&r.stations);
	reload_free_ports(&r.before);
	reload_free_ports(&r.wanted);
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
