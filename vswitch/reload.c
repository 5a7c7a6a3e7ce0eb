/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a list of the ports that run to one of those that are wanted, in this
 * order: who has to make room is retired, and forwards on; what is in nobody's way
 * comes; what forwards otherwise changes; of those that are retired are halted whose
 * sockets others want, and these come. What is only removed goes last, since that
 * cannot fail. From a step that failed the way back is: what came goes, who is
 * retired is recalled, what changed changes back.
 */
#include "vswitch/reload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vswitch/reload-plan.h"
#include "vswitch/reload-stations.h"

/* What the switch was like. */
struct before {
	struct reload_ports ports;
	bool numbers[CONFIG_MAX_PORTS]; /* that ports have */
	struct reload_stations stations;
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
static int check_clashes(const struct vswitch *vswitch,
			 const struct reload_ports *wanted, char *ret_error)
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
		      const struct reload_ports *running,
		      const struct reload_ports *wanted, char *ret_error)
{
	for (unsigned i = 0; i < running->count; i++) {
		const struct port_config *config = running->configs[i];

		if (config->kind != PORT_VHOST_USER &&
		    reload_makes_room(config, wanted))
			return fail(vswitch, config->name,
				    "only a restart can change what a TAP or a "
				    "DPDK device is opened with",
				    ret_error);
	}
	return 0;
}

/* --- the steps --------------------------------------------------------------- */

static void retire_ports(struct vswitch *vswitch,
			 const struct reload_ports *wanted)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port && reload_makes_room(port->config, wanted))
			vswitch_retire_port(vswitch, i);
	}
}

static bool has_wanted_device(const struct port *port,
			      const struct reload_ports *wanted)
{
	for (unsigned i = 0; i < wanted->count; i++)
		if (reload_same_device(port->config, wanted->configs[i]))
			return true;
	return false;
}

static void halt_ports(struct vswitch *vswitch,
		       const struct reload_ports *wanted)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_retired_port(vswitch, i);

		if (port && has_wanted_device(port, wanted))
			vswitch_halt_port(vswitch, i);
	}
}

static void remove_gone(struct vswitch *vswitch,
			const struct reload_ports *wanted)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port && reload_judge(port->config, wanted) == RELOAD_GONE)
			vswitch_remove_port(vswitch, port->name);
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

static bool is_in_the_way(const struct vswitch *vswitch,
			  const struct port_config *config)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);
		const struct port *retired = vswitch_retired_port(vswitch, i);

		if (port && port_config_clash(port->config, config))
			return true;
		if (retired && reload_same_device(retired->config, config))
			return true;
	}
	return false;
}

/* Of what is wanted and does not run, all that can be. */
static int add_ports(struct vswitch *vswitch, const struct reload_ports *wanted,
		     char *ret_error)
{
	int err = 0;

	for (unsigned i = 0; i < wanted->count && err == 0; i++)
		if (!is_in_the_way(vswitch, wanted->configs[i]))
			err = step(vswitch, wanted->configs[i],
				   vswitch_add_port, ret_error);
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

static int go_to(struct vswitch *vswitch, const struct reload_ports *wanted,
		 char *ret_error)
{
	int err;

	retire_ports(vswitch, wanted);
	err = add_ports(vswitch, wanted, ret_error);
	if (err == 0)
		err = change_ports(vswitch, wanted, ret_error);
	if (err < 0)
		return err;
	halt_ports(vswitch, wanted);
	err = add_ports(vswitch, wanted, ret_error);
	if (err < 0)
		return err;
	vswitch_dismiss_ports(vswitch);
	remove_gone(vswitch, wanted);
	return 0;
}

static void go_back(struct vswitch *vswitch, const struct before *before)
{
	char error[PORT_ERROR_BYTES];

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		if (vswitch_port(vswitch, i) && !before->numbers[i])
			vswitch_remove_port(vswitch,
					    vswitch_port(vswitch, i)->name);
	vswitch_recall_ports(vswitch);
	if (change_ports(vswitch, &before->ports, error) < 0)
		log_error("the way back failed, too: %s", error);
	reload_stations_restore(&before->stations, vswitch);
}

static int list(struct vswitch *vswitch, const struct config *after,
		struct before *before, struct reload_ports *wanted)
{
	int err = reload_list_running(vswitch, &before->ports);

	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		before->numbers[i] = vswitch_port(vswitch, i);
	if (err == 0)
		err = reload_list_wanted(vswitch, after, &before->ports,
					 wanted);
	if (err == 0)
		err = reload_stations_keep(vswitch, &before->stations);
	return err;
}

static int reload_ports(struct vswitch *vswitch, const struct config *after,
			struct reload_counts *ret_counts, char *ret_error)
{
	struct before before = {0};
	struct reload_ports wanted = {0};
	int err = list(vswitch, after, &before, &wanted);

	if (err < 0)
		snprintf(ret_error, RELOAD_ERROR_BYTES, "%s", strerror(-err));
	if (err == 0)
		err = check_clashes(vswitch, &wanted, ret_error);
	if (err == 0)
		err = check_taps(vswitch, &before.ports, &wanted, ret_error);
	if (err == 0) {
		err = go_to(vswitch, &wanted, ret_error);
		if (err < 0)
			go_back(vswitch, &before);
	}
	if (err == 0)
		reload_count(&before.ports, &wanted, ret_counts);
	reload_stations_free(&before.stations);
	reload_free_ports(&before.ports);
	reload_free_ports(&wanted);
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
