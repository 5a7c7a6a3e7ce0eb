/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/vswitch.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "vswitch/balance.h"
#include "vswitch/mirror.h"
#include "vswitch/sniffer.h"

static_assert((int)CONFIG_MAX_PORTS <= (int)FDB_PORTS,
	      "each port has a number");

/* A port's place in the table, whether or not there is one. */
struct slot {
	struct port *port;
	struct port_config *config; /* owned */
	bool is_leaving;	    /* until it is freed */
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
	struct mirror_set mirrors[2]; /* in turn */
	struct sniffers sniffers;
	struct balance balance;
	bool is_started;
	uint64_t generation;
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
	balance_second(&vswitch->balance, vswitch);
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

static fdb_key station_of(const struct port_config *config, unsigned i)
{
	struct vlan_port vlan;
	uint8_t mac[6];

	config_vlan(config, &vlan);
	config_mac(config->stations[i], mac);
	return fdb_key_of(mac, vlan.native);
}

/* All or none of them. */
static int give_stations(struct vswitch *vswitch,
			 const struct port_config *config, uint16_t number,
			 char *ret_error)
{
	unsigned given = 0;
	int err = 0;

	for (; given < config->stations_count && err == 0; given += err == 0)
		err = fdb_set_static(vswitch->fdb, station_of(config, given),
				     number);
	if (err == 0)
		return 0;
	snprintf(ret_error, PORT_ERROR_BYTES,
		 "%s: its stations find no place: give fdb-capacity a larger "
		 "number",
		 config->name);
	while (given > 0)
		fdb_remove(vswitch->fdb, station_of(config, --given));
	return err;
}

static int open_with_stations(struct vswitch *vswitch, struct port *port,
			      char *ret_error)
{
	const struct port_config *config = port->config;
	const uint16_t number = port->forward.number;
	int err = give_stations(vswitch, config, number, ret_error);

	if (err < 0)
		return err;
	fdb_set_limit(vswitch->fdb, number, config->max_stations);
	if (port->ops->open)
		err = port->ops->open(port, ret_error);
	if (err < 0)
		fdb_flush(vswitch->fdb, number, 0, true);
	return err;
}

/* Opens what needs rights, and takes the place; and @config on success. */
static int open_port(struct vswitch *vswitch, struct port_config *config,
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
	err = open_with_stations(vswitch, port, ret_error);
	if (err < 0) {
		port_free(port);
		return err;
	}
	slot->port = port;
	slot->config = config;
	slot->is_leaving = false;
	vswitch->generation++;
	return 0;
}

/* --- mirrors ----------------------------------------------------------------- */

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

/* Ports came, went or listen to others: numbers are not what they were. */
static void set_mirrors(struct vswitch *vswitch)
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

static int check_mirror(const struct vswitch *vswitch,
			const struct port_config *config, bool has_one,
			char *ret_error)
{
	if (!config->mirror || has_one || count_mirrors(vswitch) < MIRROR_MAX)
		return 0;
	snprintf(ret_error, PORT_ERROR_BYTES, "mirror: there are %u already",
		 MIRROR_MAX);
	return -ENOSPC;
}

/* Frames may come: the port can be reached before it sends. */
static int start_port(struct vswitch *vswitch, uint16_t number, char *ret_error)
{
	struct port *port = vswitch->slots[number].port;
	struct forward_table *table = &vswitch->table;
	int err;

	store_release(&table->ports[number], &port->forward);
	if (number >= table->end)
		store_release(&table->end, number + 1u);
	set_mirrors(vswitch);
	err = port_shape(port, &port->config->shape);
	if (err < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: shape: %s",
			 port->config->name, strerror(-err));
		return err;
	}
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

	vswitch->slots[number].is_leaving = true;
	vswitch->generation++;
	sniffers_end(&vswitch->sniffers, number);
	port->ops->stop(port);
	store_release(&vswitch->table.ports[number], NULL);
	port_sync(&vswitch->owner);
	fdb_flush(vswitch->fdb, number, 0, true);
	set_mirrors(vswitch);
	port_sync(&vswitch->owner);
	port_unshape(port);
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
	err = check_mirror(vswitch, config, false, ret_error);
	if (err == 0)
		err = open_port(vswitch, config, number, ret_error);
	if (err < 0 || !vswitch->is_started)
		return err;
	err = start_port(vswitch, number, ret_error);
	if (err < 0) {
		stop_port(vswitch, number);
		vswitch->slots[number].config = NULL;
		run_freeing(&vswitch->slots[number].freeing);
	}
	return err;
}

int vswitch_find_port(const struct vswitch *vswitch, const char *name,
		      uint16_t *ret_number)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
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

/* As the port is, with what differs in @mixed, which is only copied. */
static int change_to(struct vswitch *vswitch, const struct port_config *mixed)
{
	char error[PORT_ERROR_BYTES];
	struct port_config *copy;
	int err = port_config_copy(mixed, &copy);

	if (err < 0)
		return err;
	err = vswitch_change_port(vswitch, copy, error);
	if (err < 0)
		port_config_free(copy);
	return err;
}

int vswitch_set_guard(struct vswitch *vswitch, uint16_t number,
		      const struct guard_config *config)
{
	struct port_config mixed = *vswitch->slots[number].config;

	mixed.guard = (struct guard_config *)config;
	return change_to(vswitch, &mixed);
}

int vswitch_set_acl(struct vswitch *vswitch, uint16_t number,
		    const struct acl_config *config)
{
	struct port_config mixed = *vswitch->slots[number].config;

	mixed.acl = *config;
	return change_to(vswitch, &mixed);
}

/* --- what forwarding goes by ------------------------------------------------- */

static bool has_station(const struct port_config *config, fdb_key key)
{
	for (unsigned i = 0; i < config->stations_count; i++)
		if (station_of(config, i) == key)
			return true;
	return false;
}

/* Only this thread takes stations away: a place that was found stays. */
static bool is_on_port(const struct vswitch *vswitch, fdb_key key,
		       uint16_t number)
{
	int32_t place;

	fdb_look_up(vswitch->fdb, &key, 1, &place);
	return fdb_port(vswitch->fdb, place) == number;
}

/* Forgets the stations of @of that @but has not, nor another port by now. */
static void take_stations(struct vswitch *vswitch, uint16_t number,
			  const struct port_config *of,
			  const struct port_config *but)
{
	for (unsigned i = 0; i < of->stations_count; i++) {
		fdb_key key = station_of(of, i);

		if (!has_station(but, key) && is_on_port(vswitch, key, number))
			fdb_remove(vswitch->fdb, key);
	}
}

struct change {
	struct port *port;
	const struct port_config *config;
	uint16_t group;
	struct port_policy policy; /* the new one, and then the old */
};

static void run_change(void *arg)
{
	struct change *change = arg;

	port_configure(change->port, change->config, &change->policy);
	change->port->forward.group = change->group;
}

int vswitch_change_port(struct vswitch *vswitch, struct port_config *config,
			char ret_error[static PORT_ERROR_BYTES])
{
	struct change change = {.config = config};
	struct port_config *before;
	struct vlan_port vlan;
	uint16_t number;
	int err = vswitch_find_port(vswitch, config->name, &number);

	if (err < 0)
		return err;
	before = vswitch->slots[number].config;
	err = check_mirror(vswitch, config, before->mirror, ret_error);
	if (err < 0)
		return err;
	err = port_policy_make(config, &change.policy);
	if (err < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "%s: there is no memory for its guard and ACLs",
			 config->name);
		return err;
	}
	err = give_stations(vswitch, config, number, ret_error);
	if (err < 0) {
		port_policy_free(&change.policy);
		/* What both have has gone with the others. */
		give_stations(vswitch, before, number, ret_error);
		return err;
	}
	change.port = vswitch->slots[number].port;
	err = port_shape(change.port, &config->shape);
	if (err < 0) {
		port_policy_free(&change.policy);
		take_stations(vswitch, number, config, before);
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: shape: %s",
			 config->name, strerror(-err));
		return err;
	}
	change.group = number_group(vswitch, config->group);
	vlan = change.port->forward.vlan;
	port_quiet(&vswitch->owner, run_change, &change);
	port_policy_free(&change.policy);
	take_stations(vswitch, number, before, config);
	fdb_set_limit(vswitch->fdb, number, config->max_stations);
	if (config->locked || config->mirror ||
	    memcmp(&vlan, &change.port->forward.vlan, sizeof(vlan)) != 0)
		fdb_flush(vswitch->fdb, number, 0, false);
	vswitch->slots[number].config = config;
	vswitch->generation++;
	port_config_free(before);
	set_mirrors(vswitch);
	return 0;
}

/* --- the switch -------------------------------------------------------------- */

/* -1: any. */
static int cpu_of(const struct config *config, unsigned lcore)
{
	return config->cpus_count > 0 ? config->cpus[lcore % config->cpus_count]
				      : -1;
}

static int check_cpus(const struct config *config, char *ret_error)
{
	cpu_set_t allowed;

	if (config->cpus_count == 0)
		return 0;
	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return -errno;
	for (unsigned i = 0; i < config->cpus_count; i++) {
		if (config->cpus[i] < CPU_SETSIZE &&
		    CPU_ISSET(config->cpus[i], &allowed))
			continue;
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "cpus: %u: the switch may not run there, or there is "
			 "none",
			 config->cpus[i]);
		return -EINVAL;
	}
	return 0;
}

static int make_lcores(struct vswitch *vswitch)
{
	const unsigned count = vswitch->config.config->lcores;

	while (vswitch->owner.lcore_count < count) {
		const struct lcore_config config = {
			.number = vswitch->owner.lcore_count,
			.poll = vswitch->config.poll,
			.cpu = cpu_of(vswitch->config.config,
				      vswitch->owner.lcore_count),
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

/* The file's are of one piece; a port's is its own. */
static int open_copy(struct vswitch *vswitch, unsigned number, char *ret_error)
{
	const struct port_config *config =
		&vswitch->config.config->ports[number];
	struct port_config *copy;
	int err = port_config_copy(config, &copy);

	if (err < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: %s", config->name,
			 strerror(-err));
		return err;
	}
	err = open_port(vswitch, copy, number, ret_error);
	if (err < 0)
		port_config_free(copy);
	return err;
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
		sniffers_init(&vswitch->sniffers, &vswitch->owner,
			      &vswitch->table);
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
		err = open_copy(vswitch, i, ret_error);
	if (err < 0) {
		/* It is the caller's still. */
		if (vswitch)
			vswitch->config.config = NULL;
		vswitch_free(vswitch);
		return err;
	}
	*ret_vswitch = vswitch;
	return 0;
}

int vswitch_start(struct vswitch *vswitch,
		  char ret_error[static PORT_ERROR_BYTES])
{
	int err = check_cpus(vswitch->config.config, ret_error);

	if (err < 0)
		return err;
	err = make_lcores(vswitch);
	if (err == 0)
		err = start_timer(vswitch);
	if (err < 0)
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "the serving threads cannot be started: %s",
			 strerror(-err));
	for (unsigned i = 0; i < CONFIG_MAX_PORTS && err == 0; i++)
		if (vswitch->slots[i].port)
			err = start_port(vswitch, i, ret_error);
	vswitch->is_started = err == 0;
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
	sniffers_deinit(&vswitch->sniffers);
	loop_watch_free(vswitch->timer);
	balance_deinit(&vswitch->balance);
	fd_close(&vswitch->timer_fd);
	fdb_free(vswitch->fdb);
	rte_free(vswitch->rcu);
	config_free(vswitch->config.config);
	free(vswitch);
}

const struct port *vswitch_port(const struct vswitch *vswitch, unsigned number)
{
	/* One that is being freed is in its slot still. */
	return number < CONFIG_MAX_PORTS && !vswitch->slots[number].is_leaving
		       ? vswitch->slots[number].port
		       : NULL;
}

void vswitch_count(const struct vswitch *vswitch, const struct port *port,
		   struct port_counters *ret_counters,
		   struct port_counters *ret_pairs)
{
	port_count(vswitch->slots[port->forward.number].port, ret_counters,
		   ret_pairs);
}

struct fdb *vswitch_fdb(struct vswitch *vswitch)
{
	return vswitch->fdb;
}

unsigned vswitch_lcore_count(const struct vswitch *vswitch)
{
	return vswitch->owner.lcore_count;
}

struct lcore *vswitch_lcore(const struct vswitch *vswitch, unsigned number)
{
	return vswitch->lcores[number];
}

const struct forward_table *vswitch_table(const struct vswitch *vswitch)
{
	return &vswitch->table;
}

struct balance *vswitch_balance(struct vswitch *vswitch)
{
	return &vswitch->balance;
}

struct sniffers *vswitch_sniffers(struct vswitch *vswitch)
{
	return &vswitch->sniffers;
}

struct source *vswitch_source(const struct vswitch *vswitch, unsigned number,
			      unsigned pair)
{
	struct port *port = vswitch->slots[number].port;

	if (!vswitch_port(vswitch, number) || !vswitch->is_started ||
	    !port->ops->source || pair >= port->config->queues)
		return NULL;
	return port->ops->source(port, pair);
}

uint64_t vswitch_generation(const struct vswitch *vswitch)
{
	return vswitch->generation;
}

/* --- what it was told --------------------------------------------------------- */

const struct config *vswitch_config(const struct vswitch *vswitch)
{
	return vswitch->config.config;
}

const char *vswitch_config_path(const struct vswitch *vswitch)
{
	return vswitch->config.path;
}

void vswitch_set_config(struct vswitch *vswitch, struct config *config)
{
	fdb_set_age(vswitch->fdb, config->fdb_age);
	config_free(vswitch->config.config);
	vswitch->config.config = config;
}

char *vswitch_write(const struct vswitch *vswitch)
{
	struct port_config ports[CONFIG_MAX_PORTS];
	struct config now = *vswitch->config.config;

	now.ports = ports;
	now.ports_count = 0;
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port)
			ports[now.ports_count++] = *port->config;
	}
	return config_write(&now);
}
