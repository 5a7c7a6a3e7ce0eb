/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine's port: a virtio-net device on a vhost-user socket.
 *
 * What the guest sends is a source of the thread that its pair belongs to. What
 * it receives may come from any thread, if there are several: each receive queue
 * has a lock. The queues that can take frames are listed in `receivers`; to change
 * the list the control thread empties it, waits for a turn of every thread, and
 * fills it.
 */
#include <errno.h>
#include <rte_spinlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vhost/endpoint.h"
#include "vhost/kick.h"
#include "vswitch/flow.h"
#include "vswitch/port.h"

/* One queue's place, whether or not it runs. */
struct queue {
	struct source source; /* of a queue that the guest sends by */
	struct vhost_port *port;
	struct netdev_queue *netdev_queue; /* NULL: not started */
	int kick_fd;
	rte_spinlock_t lock;	   /* of one that it receives by */
	struct loop_message broke; /* from a serving thread to us */
	bool broke_posted;
};

struct vhost_port {
	struct port port;
	struct netdev *netdev;
	struct endpoint *endpoint;
	struct queue *queues;
	unsigned queue_count;
	struct queue *receivers[CONFIG_MAX_QUEUES];
	unsigned receiver_count;
	uint64_t unreachable;
};

static struct vhost_port *from_port(struct port *port)
{
	return container_of(port, struct vhost_port, port);
}

/* --- broken rings ----------------------------------------------------------- */

/* By now the queue may have been stopped, or started anew. */
static void run_broke(struct loop_message *message)
{
	struct queue *queue = container_of(message, struct queue, broke);
	struct vhost_port *p = queue->port;
	/* A port that is being removed has no endpoint any more. */
	struct session *session =
		p->endpoint ? endpoint_session(p->endpoint) : NULL;

	store_release(&queue->broke_posted, false);
	if (!queue->netdev_queue || !session)
		return;
	session_queue_broken(session, queue - p->queues);
	port_complain(&p->port, session_error(session));
}

/* Serving thread: of a broken ring it says so once. */
static void look_at_ring(struct queue *queue)
{
	if (likely(!virtq_error(netdev_queue_virtq(queue->netdev_queue))))
		return;
	if (!exchange_acq_rel(&queue->broke_posted, true))
		loop_post(queue->port->port.owner->control, &queue->broke);
}

/* --- what the guest sends --------------------------------------------------- */

static struct queue *from_source(struct source *source)
{
	return container_of(source, struct queue, source);
}

static unsigned receive(struct source *source, struct net_rx_frame **ret_frames)
{
	return netdev_rx_burst(from_source(source)->netdev_queue, NET_BURST,
			       ret_frames);
}

static void done(struct source *source)
{
	struct queue *queue = from_source(source);

	netdev_rx_done(queue->netdev_queue);
	look_at_ring(queue);
}

static bool sleep_on_kick(struct source *source)
{
	return virtq_kicks_on(
		netdev_queue_virtq(from_source(source)->netdev_queue));
}

static void awake(struct source *source)
{
	virtq_kicks_off(netdev_queue_virtq(from_source(source)->netdev_queue));
}

static void expect(struct source *source)
{
	virtq_prefetch_ring(
		netdev_queue_virtq(from_source(source)->netdev_queue));
}

static bool look(struct source *source)
{
	return virtq_has_avail(
		netdev_queue_virtq(from_source(source)->netdev_queue));
}

static const struct source_ops source_ops = {
	.expect = expect,
	.look = look,
	.receive = receive,
	.done = done,
	.sleep = sleep_on_kick,
	.awake = awake,
};

/* Of a pair, whichever of its queues @index is. */
static struct lcore *home_of(struct vhost_port *p, unsigned index)
{
	const unsigned pair = netdev_index_pair(index);

	return port_home(&p->port, &p->queues[2 * pair + 1].source, pair);
}

/* --- what it receives ------------------------------------------------------- */

/* One thread alone sends to one queue after the other. */
static bool is_shared(const struct vhost_port *p)
{
	return p->port.owner->lcore_count > 1;
}

static void put_into(struct queue *queue,
		     const struct net_rx_frame *const *frames, unsigned count)
{
	netdev_tx_burst(queue->netdev_queue, frames, count);
	look_at_ring(queue);
}

static void send_to(struct queue *queue,
		    const struct net_rx_frame *const *frames, unsigned count)
{
	if (!is_shared(queue->port)) {
		put_into(queue, frames, count);
		return;
	}
	rte_spinlock_lock(&queue->lock);
	put_into(queue, frames, count);
	rte_spinlock_unlock(&queue->lock);
}

static void spread(struct vhost_port *p, unsigned receivers,
		   const struct net_rx_frame *const *frames, unsigned count)
{
	const struct net_rx_frame *share[NET_BURST];
	uint8_t choice[NET_BURST];
	uint64_t chosen = flow_choose(frames, count, receivers, choice);

	for (; chosen; chosen &= chosen - 1) {
		const unsigned q = __builtin_ctzll(chosen);
		unsigned n = 0;

		for (unsigned i = 0; i < count; i++)
			if (choice[i] == q)
				share[n++] = frames[i];
		send_to(p->receivers[q], share, n);
	}
}

/* Of the one queue that nobody else sends to; NULL: there are several. */
static struct virtq *only_receiver(struct forward_port *forward)
{
	struct vhost_port *p = from_port(port_of(forward));

	if (is_shared(p) || load_acquire(&p->receiver_count) != 1)
		return NULL;
	return netdev_queue_virtq(p->receivers[0]->netdev_queue);
}

static void expect_some(struct forward_port *forward)
{
	struct virtq *vq = only_receiver(forward);

	if (vq)
		virtq_prefetch_ring(vq);
}

static void expect_frames(struct forward_port *forward, unsigned count)
{
	struct virtq *vq = only_receiver(forward);

	if (vq)
		virtq_prefetch(vq, count, true);
}

static void send_frames(struct forward_port *forward,
			const struct net_rx_frame *const *frames,
			unsigned count)
{
	struct vhost_port *p = from_port(port_of(forward));
	const unsigned receivers = load_acquire(&p->receiver_count);

	if (receivers == 1)
		send_to(p->receivers[0], frames, count);
	else if (receivers > 1)
		spread(p, receivers, frames, count);
	else
		fetch_add_relaxed(&p->unreachable, count);
}

/* Nobody sends to any of them when this returns. */
static void empty_receivers(struct vhost_port *p)
{
	store_release(&p->receiver_count, 0);
	port_sync(p->port.owner);
}

static void list_receivers(struct vhost_port *p)
{
	unsigned count = 0;

	empty_receivers(p);
	for (unsigned i = 0; i < p->queue_count; i += 2)
		if (p->queues[i].netdev_queue &&
		    netdev_queue_is_enabled(p->queues[i].netdev_queue))
			p->receivers[count++] = &p->queues[i];
	store_release(&p->receiver_count, count);
}

/* --- the device's owner ----------------------------------------------------- */

static int queue_start(void *arg, struct netdev_queue *netdev_queue,
		       int kick_fd)
{
	struct vhost_port *p = arg;
	const unsigned index = netdev_queue_index(netdev_queue);
	struct queue *queue = &p->queues[index];
	int err = 0;

	queue->netdev_queue = netdev_queue;
	queue->kick_fd = kick_fd;
	virtq_kicks_off(netdev_queue_virtq(netdev_queue));
	if (!netdev_index_sends(index)) {
		list_receivers(p);
		return 0;
	}
	queue->source.fd = kick_fd;
	err = lcore_attach(home_of(p, index), &queue->source);
	if (err < 0)
		queue->netdev_queue = NULL;
	return err;
}

static void queue_stop(void *arg, struct netdev_queue *netdev_queue)
{
	struct vhost_port *p = arg;
	const unsigned index = netdev_queue_index(netdev_queue);
	struct queue *queue = &p->queues[index];

	if (!queue->netdev_queue)
		return;
	if (netdev_index_sends(index))
		lcore_detach(home_of(p, index), &queue->source);
	else
		empty_receivers(p);
	queue->netdev_queue = NULL;
	if (!netdev_index_sends(index))
		list_receivers(p);
	kick_drain(queue->kick_fd);
}

static void queue_enabled(void *arg, struct netdev_queue *netdev_queue)
{
	struct vhost_port *p = arg;
	const unsigned index = netdev_queue_index(netdev_queue);

	if (netdev_index_sends(index))
		lcore_run(home_of(p, index), NULL, NULL);
	else
		list_receivers(p);
}

/* RFC 903: the guest is here now. */
static int announce(void *arg, const uint8_t mac[NET_MAC_BYTES])
{
	struct vhost_port *p = arg;
	struct net_rx_frame frame = {
		.bytes = NET_RARP_BYTES,
		.head_bytes = NET_RARP_BYTES,
	};

	net_frame_rarp(mac, frame.head);
	net_frame_parse(frame.head, NET_RARP_BYTES, &frame.layout);
	lcore_inject(port_lcore(&p->port, 0), &p->port.forward, &frame);
	return 0;
}

static const struct netdev_owner owner = {
	.queue_start = queue_start,
	.queue_stop = queue_stop,
	.queue_enabled = queue_enabled,
	.announce = announce,
};

/* --- the port --------------------------------------------------------------- */

static void complain(void *arg, const char *what)
{
	struct vhost_port *p = arg;

	port_complain(&p->port, what);
}

static int make_queues(struct vhost_port *p)
{
	p->queue_count = 2 * p->port.config->queues;
	p->queues = calloc(p->queue_count, sizeof(*p->queues));
	if (!p->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < p->queue_count; i++) {
		struct queue *queue = &p->queues[i];

		queue->source.ops = &source_ops;
		queue->source.port = &p->port.forward;
		queue->port = p;
		queue->broke.run = run_broke;
		rte_spinlock_init(&queue->lock);
	}
	return 0;
}

static int make_netdev(struct vhost_port *p)
{
	const struct port_config *port = p->port.config;
	struct netdev_config config = {
		.name = p->port.name,
		.pairs = port->queues,
		.mtu = port->mtu,
		.owner = &owner,
		.arg = p,
	};

	if (port->mac) {
		config.has_mac = true;
		config_mac(port->mac, config.mac);
	}
	return netdev_new(&config, &p->netdev);
}

static int start(struct port *port, char *ret_error)
{
	struct vhost_port *p = from_port(port);
	const struct endpoint_config config = {
		.socket_path = port->config->socket_path,
		.fd = -1,
		.connect = port->config->connect,
		.complain = complain,
		.arg = p,
	};
	int err = 0;

	/* One that was stopped has them, and what they counted. */
	if (!p->queues)
		err = make_queues(p);
	if (err == 0 && !p->netdev)
		err = make_netdev(p);
	if (err == 0)
		err = endpoint_new(port->owner->control,
				   netdev_vhost(p->netdev), &config,
				   &p->endpoint);
	if (err < 0)
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: %s",
			 port->config->socket_path, strerror(-err));
	return err;
}

static void stop(struct port *port)
{
	struct vhost_port *p = from_port(port);

	endpoint_free(p->endpoint);
	p->endpoint = NULL;
}

static void free_port(struct port *port)
{
	struct vhost_port *p = from_port(port);

	netdev_free(p->netdev);
	free(p->queues);
	free(p);
}

/* What was received is counted with the queue's lock. */
static void count_queue(struct vhost_port *p, unsigned index,
			struct port_counters *counters)
{
	struct netdev_queue *counted = netdev_queue(p->netdev, index);
	struct queue *queue = &p->queues[index];

	if (!counted)
		return;
	rte_spinlock_lock(&queue->lock);
	netdev_queue_count(counted, &counters->net);
	rte_spinlock_unlock(&queue->lock);
	for (unsigned i = 0; i < FORWARD_DROPS; i++)
		counters->drops[i] += queue->source.drops[i];
}

struct count {
	struct vhost_port *p;
	unsigned index;
	struct port_counters *counters;
};

static void run_count(void *arg)
{
	struct count *count = arg;

	count_queue(count->p, count->index, count->counters);
}

static void count_pair(struct port *port, unsigned pair,
		       struct port_counters *counters)
{
	struct vhost_port *p = from_port(port);
	struct count count = {.p = p, .counters = counters, .index = 2 * pair};

	/* Not started, it has none. */
	for (; count.index < MIN(2 * pair + 2, p->queue_count); count.index++)
		lcore_run(home_of(p, count.index), run_count, &count);
}

static void count_rest(struct port *port, struct port_counters *counters)
{
	struct vhost_port *p = from_port(port);

	counters->unreachable += load_once(&p->unreachable);
}

static bool is_up(const struct port *port)
{
	const struct vhost_port *p =
		container_of(port, struct vhost_port, port);

	return p->receiver_count > 0;
}

static struct source *source_of(struct port *port, unsigned pair)
{
	struct vhost_port *p = from_port(port);
	struct queue *queue = &p->queues[2 * pair + 1];

	return queue->netdev_queue ? &queue->source : NULL;
}

static const struct port_ops ops = {
	.start = start,
	.stop = stop,
	.free = free_port,
	.count_pair = count_pair,
	.count_rest = count_rest,
	.is_up = is_up,
	.source = source_of,
};

int vhost_port_new(struct port **ret_port)
{
	struct vhost_port *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->port.ops = &ops;
	p->port.forward.send = send_frames;
	p->port.forward.expect = expect_some;
	p->port.forward.expect_frames = expect_frames;
	*ret_port = &p->port;
	return 0;
}
