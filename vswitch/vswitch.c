/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/vswitch-internal.h"

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

#include "base/clock.h"
#include "base/fd.h"

static_assert((int)CONFIG_MAX_PORTS <= (int)FDB_PORTS,
	      "each port has a number");

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
	err = vswitch_open_at(vswitch, copy, number, ret_error);
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
			vswitch->slots[i].freeing.run = vswitch_free_slot;
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
			err = vswitch_start_port(vswitch, i, ret_error);
	vswitch->is_started = err == 0;
	return err;
}

void vswitch_free(struct vswitch *vswitch)
{
	if (!vswitch)
		return;
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		if (vswitch_port(vswitch, i))
			vswitch_stop_port(vswitch, i);
	for (unsigned i = 0; i < vswitch->owner.lcore_count; i++)
		lcore_free(vswitch->lcores[i]);
	/* What they have posted is run here, or never. */
	loop_reap(vswitch->config.control);
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++)
		if (vswitch->slots[i].port)
			vswitch_free_slot(&vswitch->slots[i].freeing);
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
	return number < CONFIG_MAX_PORTS &&
			       vswitch->slots[number].state == SLOT_USED
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
