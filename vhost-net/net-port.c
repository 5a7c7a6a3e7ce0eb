/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-port.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vhost-net/net-link-watch.h"
#include "vhost-net/net-thread.h"
#include "vhost/kick.h"

/* One queue's place, whether or not it runs. */
struct slot {
	struct net_port *port;
	struct netdev_queue *queue; /* NULL: not started */
	int kick_fd;
	struct loop_message broke; /* from the serving thread to us */
	bool broke_posted;
};

struct net_port {
	struct net_port_config config;
	struct netdev *netdev;
	struct net_limits limits;
	struct net_thread **threads;
	unsigned thread_count;
	struct slot *slots;
	unsigned slot_count;
	struct net_link_watch *link; /* NULL: not watched */
	struct loop_message gone;
	bool gone_posted;
};

static struct net_thread *thread_of(const struct net_port *port, unsigned index)
{
	return port->threads[netdev_index_pair(index) % port->thread_count];
}

static void complain(const struct net_port *port, const char *what, int err)
{
	char text[128];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(-err));
	port->config.complain(port->config.arg, text);
}

/* Frames are to come to the queues that the guest reads. */
static void steer(struct net_port *port, unsigned index)
{
	struct net_wire *wire = port->config.wire;
	const struct netdev_queue *queue = port->slots[index].queue;
	int err;

	if (netdev_index_sends(index))
		return;
	err = wire->ops->attach(wire, netdev_index_pair(index),
				queue && netdev_queue_is_enabled(queue));
	if (err < 0)
		complain(port, "a queue of the device cannot be switched", err);
}

static int queue_start(void *arg, struct netdev_queue *queue, int kick_fd)
{
	struct net_port *port = arg;
	const unsigned index = netdev_queue_index(queue);
	struct slot *slot = &port->slots[index];
	int err = net_thread_attach(thread_of(port, index), queue, kick_fd);

	if (err < 0)
		return err;
	slot->kick_fd = kick_fd;
	slot->queue = queue;
	steer(port, index);
	return 0;
}

static void queue_stop(void *arg, struct netdev_queue *queue)
{
	struct net_port *port = arg;
	const unsigned index = netdev_queue_index(queue);
	struct slot *slot = &port->slots[index];

	if (!slot->queue)
		return;
	slot->queue = NULL;
	steer(port, index);
	net_thread_detach(thread_of(port, index), queue);
	kick_drain(slot->kick_fd);
}

static void queue_enabled(void *arg, struct netdev_queue *queue)
{
	struct net_port *port = arg;
	const unsigned index = netdev_queue_index(queue);

	steer(port, index);
	net_thread_wake(thread_of(port, index));
}

static void features_set(void *arg, uint64_t features)
{
	struct net_port *port = arg;
	struct net_wire *wire = port->config.wire;
	int err = wire->ops->offload(wire, features);

	if (err < 0)
		complain(port, "the device does not take the guest's offloads",
			 err);
}

static int mtu_set(void *arg, uint16_t mtu)
{
	struct net_port *port = arg;

	return mtu > port->config.wire->mtu ? -EINVAL : 0;
}

/* The control thread's is behind those of the threads. */
static struct capture_lane *lane_of(const struct net_port *port,
				    unsigned thread)
{
	struct capture *capture = port->config.capture;

	return capture ? capture_lane(capture, thread) : NULL;
}

static int announce(void *arg, const uint8_t mac[NET_MAC_BYTES])
{
	struct net_port *port = arg;

	return port->config.wire->ops->announce(
		port->config.wire, mac, lane_of(port, port->thread_count));
}

static const struct netdev_owner owner = {
	.queue_start = queue_start,
	.queue_stop = queue_stop,
	.queue_enabled = queue_enabled,
	.features_set = features_set,
	.mtu_set = mtu_set,
	.announce = announce,
};

/* By now the queue may have been stopped, or started anew. */
static void run_broke(struct loop_message *message)
{
	struct slot *slot = container_of(message, struct slot, broke);
	struct net_port *port = slot->port;

	store_release(&slot->broke_posted, false);
	if (slot->queue)
		port->config.queue_broke(port->config.arg, slot - port->slots);
}

/* Serving thread. */
static void queue_broke(void *arg, struct netdev_queue *queue)
{
	struct net_port *port = arg;
	struct slot *slot = &port->slots[netdev_queue_index(queue)];

	if (!exchange_acq_rel(&slot->broke_posted, true))
		loop_post(port->config.control, &slot->broke);
}

static void run_gone(struct loop_message *message)
{
	struct net_port *port = container_of(message, struct net_port, gone);

	port->config.wire_gone(port->config.arg);
}

/* Serving thread; each of them may find out. */
static void wire_gone(void *arg)
{
	struct net_port *port = arg;

	if (!exchange_acq_rel(&port->gone_posted, true))
		loop_post(port->config.control, &port->gone);
}

static void link_changed(void *arg)
{
	struct net_port *port = arg;
	const enum net_link_state state = net_link_watch_state(port->link);

	if (state == NET_LINK_GONE)
		port->config.wire_gone(port->config.arg);
	else if (netdev_set_link(port->netdev, state == NET_LINK_UP))
		port->config.space_changed(port->config.arg);
}

static int watch_link(struct net_port *port)
{
	const int ifindex = port->config.wire->ifindex;
	int err;

	if (ifindex == 0)
		return 0;
	err = net_link_watch_new(port->config.control, ifindex, link_changed,
				 port, &port->link);
	if (err == 0)
		link_changed(port);
	return err;
}

static int make_threads(struct net_port *port,
			const struct net_options *options)
{
	port->threads = calloc(options->threads, sizeof(*port->threads));
	if (!port->threads)
		return -ENOMEM;
	while (port->thread_count < options->threads) {
		const struct net_thread_config config = {
			.poll = options->daemon.poll,
			.lane = lane_of(port, port->thread_count),
			.number = port->thread_count,
			.wire = port->config.wire,
			.limits = &port->limits,
			.queue_broke = queue_broke,
			.wire_gone = wire_gone,
			.arg = port,
		};
		int err = net_thread_new(&config,
					 &port->threads[port->thread_count]);

		if (err < 0)
			return err;
		port->thread_count++;
	}
	return 0;
}

static int make_netdev(struct net_port *port, const struct net_options *options)
{
	const struct net_wire *wire = port->config.wire;
	struct netdev_config config = {
		.name = wire->name,
		.pairs = options->pairs,
		.mtu = MIN(wire->mtu, (uint32_t)NETDEV_MAX_MTU),
		.has_mac = options->has_mac,
		.without = wire->without,
		.owner = &owner,
		.arg = port,
	};

	memcpy(config.mac, options->mac, sizeof(config.mac));
	return netdev_new(&config, &port->netdev);
}

static int make_slots(struct net_port *port, const struct net_options *options)
{
	port->slot_count = 2 * options->pairs;
	port->slots = calloc(port->slot_count, sizeof(*port->slots));
	if (!port->slots)
		return -ENOMEM;
	for (unsigned i = 0; i < port->slot_count; i++) {
		port->slots[i].port = port;
		port->slots[i].broke.run = run_broke;
	}
	return 0;
}

int net_port_new(const struct net_port_config *config,
		 struct net_port **ret_port)
{
	struct net_port *port = calloc(1, sizeof(*port));
	int err;

	if (!port)
		return -ENOMEM;
	port->config = *config;
	port->gone.run = run_gone;
	err = net_limits_set(&port->limits, &config->options->rates);
	if (err == 0)
		err = make_slots(port, config->options);
	if (err == 0)
		err = make_netdev(port, config->options);
	if (err == 0)
		err = watch_link(port);
	if (err == 0)
		err = make_threads(port, config->options);
	port->config.options = NULL;
	if (err < 0) {
		net_port_free(port);
		return err;
	}
	*ret_port = port;
	return 0;
}

void net_port_free(struct net_port *port)
{
	if (!port)
		return;
	for (unsigned i = 0; i < port->thread_count; i++)
		net_thread_free(port->threads[i]);
	free(port->threads);
	net_link_watch_free(port->link);
	netdev_free(port->netdev);
	free(port->slots);
	free(port);
}

struct vhost_device *net_port_vhost(struct net_port *port)
{
	return netdev_vhost(port->netdev);
}

/* What one thread's queues have counted. */
struct count {
	struct net_port *port;
	unsigned thread;
	struct netdev_counters *counters;
	uint64_t refused;
};

/* Serving thread. */
static void count_thread(void *arg)
{
	struct count *count = arg;
	struct net_port *port = count->port;
	struct net_thread *thread = port->threads[count->thread];

	for (unsigned i = 0; i < port->slot_count; i++) {
		struct netdev_queue *queue = netdev_queue(port->netdev, i);

		if (queue && thread_of(port, i) == thread)
			netdev_queue_count(queue, count->counters);
	}
	count->refused += net_thread_refused(thread);
}

void net_port_count(struct net_port *port, struct netdev_counters *ret_counters,
		    uint64_t *ret_refused)
{
	struct count count = {.port = port, .counters = ret_counters};

	*ret_counters = (struct netdev_counters){0};
	for (; count.thread < port->thread_count; count.thread++)
		net_thread_run(port->threads[count.thread], count_thread,
			       &count);
	*ret_refused = count.refused;
}
