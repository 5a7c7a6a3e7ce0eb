/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/vswitch.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

static_assert((int)CONFIG_MAX_PORTS <= (int)FDB_PORTS,
	      "each port has a number");

/* A port's place in the table, whether or not there is one. */
struct slot {
	struct port *port;
	struct port_config *config; /* of one that was added; owned */
	struct loop_message freeing;
};

struct vswitch {
	struct vswitch_config config;
	struct rte_rcu_qsbr *rcu;
	struct fdb *fdb;
	struct lcore *lcores[CONFIG_MAX_LCORES];
	struct port_owner owner;
	struct forward_table table;
	struct slot slots[CONFIG_MAX_PORTS];
	int timer_fd;
	struct loop_watch *timer;
};

/* --- stations ---------------------------------------------------------------- */

static void second_passed(void *arg, int revents)
{
	struct vswitch *vswitch = arg;
	uint64_t times;

	while (read(vswitch->timer_fd, &times, sizeof(times)) > 0)
		;
	fdb_age(vswitch->fdb, clock_ns() / NS_PER_SECOND);
}

static int start_timer(struct vswitch *vswitch)
{
	const struct itimerspec each_second = {
		.it_interval.tv_sec = 1,
		.it_value.tv_sec = 1,
	};

	vswitch->timer_fd =
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (vswitch->timer_fd < 0 ||
	    timerfd_settime(vswitch->timer_fd, 0, &each_second, NULL) < 0)
		return -errno;
	return loop_watch_new(vswitch->config.control, vswitch->timer_fd,
			      POLLIN, second_passed, vswitch, &vswitch->timer);
}

static int make_fdb(struct vswitch *vswitch)
{
	const struct config *config = vswitch->config.config;
	const struct fdb_config fdb = {
		.name = "stations",
		.capacity = config->fdb_capacity,
		.age_seconds = config->fdb_age,
		.rcu = vswitch->rcu,
	};

	return fdb_new(&fdb, &vswitch->fdb);
}

static int make_rcu(struct vswitch *vswitch)
{
	vswitch->rcu =
		rte_zmalloc("rcu", rte_rcu_qsbr_get_memsize(CONFIG_MAX_LCORES),
			    RTE_CACHE_LINE_SIZE);
	if (!vswitch->rcu)
		return -ENOMEM;
	rte_rcu_qsbr_init(vswitch->rcu, CONFIG_MAX_LCORES);
	return 0;
}

/* --- ports ------------------------------------------------------------------- */

static const char *group_of(const struct slot *slot)
{
	return slot->port ? slot->port->config->group : NULL;
}

/* Ports of one group have one number, which nobody else has: that of the first
 * of them. */
static uint16_t number_group(const struct vswitch *vswitch, const char *name)
{
	bool taken[CONFIG_MAX_PORTS + 2] = {true};
	uint16_t number = 1;

	if (!name)
		return 0;
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const char *group = group_of(&vswitch->slots[i]);

		if (group && strcmp(group, name) == 0)
			return vswitch->slots[i].port->forward.group;
		if (group)
			taken[vswitch->slots[i].port->forward.group] = true;
	}
	while (taken[number])
		number++;
	return number;
}

static int give_stations(struct vswitch *vswitch, const struct port *port)
{
	const struct port_config *config = port->config;
	int err = 0;

	fdb_set_limit(vswitch->fdb, port->forward.number, config->max_stations);
	for (unsigned i = 0; i < config->stations_count && err == 0; i++) {
		uint8_t mac[6];

		config_mac(config->stations[i], mac);
		err = fdb_set_static(vswitch->fdb,
				     fdb_key_of(mac, port->forward.vlan.native),
				     port->forward.number);
	}
	return err;
}

/* Opens what needs rights, and takes the place. */
static int open_port(struct vswitch *vswitch, const struct port_config *config,
		     uint16_t number, char *ret_error)
{
	struct slot *slot = &vswitch->slots[number];
	struct port *port;
	int err = port_new(config, &vswitch->owner, number, &port);

	if (err < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: %s", config->name,
			 strerror(-err));
		return err;
	}
	port->forward.group = number_group(vswitch, config->group);
	if (port->ops->open)
		err = port->ops->open(port, ret_error);
	if (err < 0) {
		port_free(port);
		return err;
	}
	slot->port = port;
	return 0;
}

/* Frames may come: the port can be reached before it sends. */
static int start_port(struct vswitch *vswitch, uint16_t number, char *ret_error)
{
	struct port *port = vswitch->slots[number].port;
	struct forward_table *table = &vswitch->table;
	int err = give_stations(vswitch, port);

	if (err < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "%s: its stations find no place: give fdb-capacity a "
			 "larger number",
			 port->config->name);
		return err;
	}
	store_release(&table->ports[number], &port->forward);
	if (number >= table->end)
		store_release(&table->end, number + 1u);
	return port->ops->start(port, ret_error);
}

static void run_freeing(struct loop_message *message)
{
	struct slot *slot = container_of(message, struct slot, freeing);
	struct port *port = slot->port;

	slot->port = NULL;
	port_free(port);
	port_config_free(slot->config);
	slot->config = NULL;
}

/* Whoever finds it in the table has done with it when this returns. */
static void stop_port(struct vswitch *vswitch, uint16_t number)
{
	struct port *port = vswitch->slots[number].port;

	port->ops->stop(port);
	store_release(&vswitch->table.ports[number], NULL);
	port_sync(&vswitch->owner);
	fdb_flush(vswitch->fdb, number, 0, true);
	port_sync(&vswitch->owner);
}

static int find_place(const struct vswitch *vswitch)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		if (!vswitch->slots[i].port)
			return i;
	return -ENOSPC;
}

static int find_clash(const struct vswitch *vswitch,
		      const struct port_config *config, char *ret_error)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);
		const char *key =
			port ? port_config_clash(config, port->config) : NULL;

		if (!key)
			continue;
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "%s: the port %s has it already", key,
			 port->config->name);
		return -EEXIST;
	}
	return 0;
}

int vswitch_add_port(struct vswitch *vswitch, struct port_config *config,
		     char ret_error[static PORT_ERROR_BYTES])
{
	int err = find_clash(vswitch, config, ret_error);
	int number = find_place(vswitch);

	if (err < 0)
		return err;
	if (number < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "there are %u ports already", CONFIG_MAX_PORTS);
		return number;
	}
	err = open_port(vswitch, config, number, ret_error);
	if (err < 0)
		return err;
	err = start_port(vswitch, number, ret_error);
	if (err < 0) {
		stop_port(vswitch, number);
		run_freeing(&vswitch->slots[number].freeing);
		return err;
	}
	vswitch->slots[number].config = config;
	return 0;
}

int vswitch_find_port(const struct vswitch *vswitch, const char *name,
		      uint16_t *ret_number)
{
	for (unsigned i = 0; i < vswitch->table.end; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port && strcmp(port->config->name, name) == 0) {
			*ret_number = i;
			return 0;
		}
	}
	return -ENOENT;
}

/* Freed behind what its threads have posted already. */
int vswitch_remove_port(struct vswitch *vswitch, const char *name)
{
	uint16_t number;
	int err = vswitch_find_port(vswitch, name, &number);

	if (err < 0)
		return err;
	stop_port(vswitch, number);
	loop_post(vswitch->config.control, &vswitch->slots[number].freeing);
	return 0;
}

/* --- policies ---------------------------------------------------------------- */

int vswitch_set_guard(struct vswitch *vswitch, uint16_t number,
		      const struct guard_config *config)
{
	struct port *port = vswitch->slots[number].port;
	struct guard *guard = NULL, *old = port->forward.guard;
	int err = 0;

	if (config)
		err = config_guard(config, port->config->mac, &guard);
	if (err < 0)
		return err;
	store_release(&port->forward.guard, guard);
	port_sync(&vswitch->owner);
	free(old);
	return 0;
}

/* --- the switch -------------------------------------------------------------- */

static int make_lcores(struct vswitch *vswitch)
{
	const unsigned count = vswitch->config.config->lcores;

	while (vswitch->owner.lcore_count < count) {
		const struct lcore_config config = {
			.number = vswitch->owner.lcore_count,
			.poll = vswitch->config.poll,
			.fdb = vswitch->fdb,
			.table = &vswitch->table,
			.rcu = vswitch->rcu,
		};
		int err = lcore_new(
			&config, &vswitch->lcores[vswitch->owner.lcore_count]);

		if (err < 0)
			return err;
		vswitch->owner.lcore_count++;
	}
	return 0;
}

int vswitch_new(const struct vswitch_config *config,
		struct vswitch **ret_vswitch,
		char ret_error[static PORT_ERROR_BYTES])
{
	struct vswitch *vswitch = calloc(1, sizeof(*vswitch));
	int err = vswitch ? 0 : -ENOMEM;

	if (err == 0) {
		vswitch->config = *config;
		vswitch->timer_fd = -1;
		vswitch->owner.control = config->control;
		vswitch->owner.lcores = vswitch->lcores;
		for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
			vswitch->slots[i].freeing.run = run_freeing;
		err = make_rcu(vswitch);
	}
	if (err == 0)
		err = make_fdb(vswitch);
	if (err < 0)
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "there is no memory for the stations: give "
			 "fdb-capacity a smaller number");
	for (unsigned i = 0; err == 0 && i < config->config->ports_count; i++)
		err = open_port(vswitch, &config->config->ports[i], i,
				ret_error);
	if (err < 0) {
		vswitch_free(vswitch);
		return err;
	}
	*ret_vswitch = vswitch;
	return 0;
}

int vswitch_start(struct vswitch *vswitch,
		  char ret_error[static PORT_ERROR_BYTES])
{
	int err = make_lcores(vswitch);

	if (err == 0)
		err = start_timer(vswitch);
	if (err < 0)
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "the serving threads cannot be started: %s",
			 strerror(-err));
	for (unsigned i = 0; i < CONFIG_MAX_PORTS && err == 0; i++)
		if (vswitch->slots[i].port)
			err = start_port(vswitch, i, ret_error);
	return err;
}

void vswitch_free(struct vswitch *vswitch)
{
	if (!vswitch)
		return;
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		if (vswitch_port(vswitch, i))
			stop_port(vswitch, i);
	for (unsigned i = 0; i < vswitch->owner.lcore_count; i++)
		lcore_free(vswitch->lcores[i]);
	/* What they have posted is run here, or never. */
	loop_reap(vswitch->config.control);
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		if (vswitch->slots[i].port)
			run_freeing(&vswitch->slots[i].freeing);
	loop_watch_free(vswitch->timer);
	fd_close(&vswitch->timer_fd);
	fdb_free(vswitch->fdb);
	rte_free(vswitch->rcu);
	free(vswitch);
}

const struct port *vswitch_port(const struct vswitch *vswitch, unsigned number)
{
	/* One that is being freed is in its slot, but not in the table. */
	return number < CONFIG_MAX_PORTS && vswitch->table.ports[number]
		       ? vswitch->slots[number].port
		       : NULL;
}

void vswitch_count(const struct vswitch *vswitch, const struct port *port,
		   struct port_counters *ret_counters)
{
	struct port *counted = vswitch->slots[port->forward.number].port;

	*ret_counters = (struct port_counters){0};
	counted->ops->count(counted, ret_counters);
}

struct fdb *vswitch_fdb(struct vswitch *vswitch)
{
	return vswitch->fdb;
}
