/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/port.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/barrier.h"
#include "vswitch/guard.h"

static int new_of_kind(enum port_kind kind, struct port **ret_port)
{
	switch (kind) {
	case PORT_VHOST_USER:
		return vhost_port_new(ret_port);
	case PORT_DPDK:
		return ethdev_port_new(ret_port);
	case PORT_XDP:
		return xdp_port_new(ret_port);
	default:
		return tap_port_new(ret_port);
	}
}

int port_new(const struct port_config *config, const struct port_owner *owner,
	     uint16_t number, struct port **ret_port)
{
	struct port_policy policy;
	struct port *port;
	int err = new_of_kind(config->kind, &port);

	if (err < 0)
		return err;
	port->owner = owner;
	port->forward.number = number;
	snprintf(port->name, sizeof(port->name), "%s", config->name);
	err = port_policy_make(config, &policy);
	if (err < 0) {
		port_free(port);
		return err;
	}
	port_configure(port, config, &policy);
	*ret_port = port;
	return 0;
}

int port_policy_make(const struct port_config *config,
		     struct port_policy *ret_policy)
{
	const struct acl_config *acl = &config->acl;
	struct port_policy policy = {0};
	int err = 0;

	if (config->guard)
		err = config_guard(config->guard, config->mac, &policy.guard);
	if (err == 0)
		err = config_acl(acl->in, acl->in_count, &policy.acl_in);
	if (err == 0)
		err = config_acl(acl->out, acl->out_count, &policy.acl_out);
	if (err < 0) {
		port_policy_free(&policy);
		return err;
	}
	*ret_policy = policy;
	return 0;
}

void port_policy_free(struct port_policy *policy)
{
	free(policy->guard);
	acl_free(policy->acl_in);
	acl_free(policy->acl_out);
}

void port_configure(struct port *port, const struct port_config *config,
		    struct port_policy *policy)
{
	const struct port_policy old = port->policy;

	port->policy = *policy;
	*policy = old;
	port->forward.guard = port->policy.guard;
	port->forward.acl_in = port->policy.acl_in;
	port->forward.acl_out = port->policy.acl_out;
	port->config = config;
	port->forward.is_locked = config->locked;
	port->forward.listens = config->mirror;
	config_vlan(config, &port->forward.vlan);
	config_limits(config, &port->forward);
}

static int make_shaper(struct port *port, const struct shape_config *config)
{
	struct shaper *shaper;
	int err = shaper_new(&port->forward, &shaper);

	if (err < 0)
		return err;
	err = config_shape(config, shaper);
	if (err == 0)
		err = lcore_attach(port_lcore(port, 0), shaper_source(shaper));
	if (err < 0) {
		shaper_free(shaper);
		return err;
	}
	store_release(&port->forward.shaper, shaper);
	return 0;
}

int port_shape(struct port *port, const struct shape_config *config)
{
	if (port->forward.shaper)
		return config_shape(config, port->forward.shaper);
	return config->rate ? make_shaper(port, config) : 0;
}

void port_unshape(struct port *port)
{
	struct shaper *shaper = port->forward.shaper;

	if (!shaper)
		return;
	store_release(&port->forward.shaper, NULL);
	port_sync(port->owner);
	lcore_detach(port_lcore(port, 0), shaper_source(shaper));
	shaper_free(shaper);
}

static void add_pair(struct port_counters *to, const struct port_counters *from)
{
	to->net.rx_frames += from->net.rx_frames;
	to->net.rx_bytes += from->net.rx_bytes;
	to->net.tx_frames += from->net.tx_frames;
	to->net.tx_bytes += from->net.tx_bytes;
	for (unsigned i = 0; i < NET_FAULTS; i++) {
		to->net.rx_faults[i] += from->net.rx_faults[i];
		to->net.tx_faults[i] += from->net.tx_faults[i];
	}
	for (unsigned i = 0; i < FORWARD_DROPS; i++)
		to->drops[i] += from->drops[i];
	for (unsigned i = 0; i < OFFLOADS; i++)
		to->offloads[i] += from->offloads[i];
}

void port_count(struct port *port, struct port_counters *ret_counters,
		struct port_counters *ret_pairs)
{
	*ret_counters = (struct port_counters){0};
	for (unsigned i = 0; i < port->config->queues; i++) {
		struct port_counters pair = {0};

		port->ops->count_pair(port, i, &pair);
		add_pair(ret_counters, &pair);
		if (ret_pairs)
			ret_pairs[i] = pair;
	}
	port->ops->count_rest(port, ret_counters);
	if (port->forward.shaper)
		shaper_count(port->forward.shaper, &ret_counters->shaped);
}

void port_free(struct port *port)
{
	port_policy_free(&port->policy);
	port->ops->free(port);
}

void port_sync(const struct port_owner *owner)
{
	for (unsigned i = 0; i < owner->lcore_count; i++)
		lcore_run(owner->lcores[i], NULL, NULL);
}

struct quiet {
	const struct port_owner *owner;
	unsigned next;
	void (*run)(void *arg);
	void *arg;
};

/* Each thread waits for the next one: the last has all others waiting. */
static void hush(void *arg)
{
	struct quiet *quiet = arg;
	const struct port_owner *owner = quiet->owner;

	if (quiet->next == owner->lcore_count)
		quiet->run(quiet->arg);
	else
		lcore_run(owner->lcores[quiet->next++], hush, quiet);
}

void port_quiet(const struct port_owner *owner, void (*run)(void *arg),
		void *arg)
{
	struct quiet quiet = {.owner = owner, .run = run, .arg = arg};

	hush(&quiet);
}

void port_complain(struct port *port, const char *what)
{
	log_ratelimited(&port->log_limit, LOG_LEVEL_WARNING, "%s: %s",
			port->config->name, what);
}
