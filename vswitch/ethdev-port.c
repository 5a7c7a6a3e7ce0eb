/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port on a device of DPDK's: a NIC, or a network interface, a file or a ring
 * that DPDK makes one of.
 *
 * Each receive queue is a source. Where its device has interrupts a thread that
 * sleeps has enabled it; at all others it looks now and then (vswitch/lcore.c).
 * Any thread may send: each transmit queue has a lock, and a flow keeps to one
 * queue.
 */
#include <errno.h>
#include <rte_spinlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vswitch/ethdev-rx.h"
#include "vswitch/ethdev-tx.h"
#include "vswitch/flow.h"
#include "vswitch/port.h"

struct queue {
	struct source source;
	struct ethdev_rx rx;
	rte_spinlock_t lock; /* of tx */
	struct ethdev_tx tx;
};

struct ethdev_port {
	struct port port;
	struct ethdev dev;
	struct queue *queues;
	unsigned queue_count;
	unsigned attached;
};

static struct ethdev_port *from_port(struct port *port)
{
	return container_of(port, struct ethdev_port, port);
}

/* --- in --------------------------------------------------------------------- */

static struct queue *from_source(struct source *source)
{
	return container_of(source, struct queue, source);
}

static unsigned receive(struct source *source, struct net_rx_frame **ret_frames)
{
	struct queue *queue = from_source(source);

	*ret_frames = queue->rx.frames;
	return ethdev_rx_burst(&queue->rx);
}

static void done(struct source *source)
{
	ethdev_rx_done(&from_source(source)->rx);
}

static const struct source_ops source_ops = {
	.receive = receive,
	.done = done,
};

/* --- interrupts --------------------------------------------------------------- */

static void ready(struct source *source)
{
	eventfd_t count;

	/* It does not block. */
	(void)eventfd_read(source->fd, &count);
	source->trust = SOURCE_HEARD;
}

/* What came before the interrupt was enabled is told of by nobody. One that
 * cannot be enabled now is given up: its driver complains each time. */
static bool enable(struct source *source)
{
	struct queue *queue = from_source(source);

	if (source->fd < 0)
		return false;
	if (rte_eth_dev_rx_intr_enable(queue->rx.id, queue->rx.queue) < 0) {
		store_once(&source->fd, -1);
		return false;
	}
	return ethdev_rx_look(&queue->rx);
}

static void disable(struct source *source)
{
	const struct queue *queue = from_source(source);

	if (source->fd >= 0)
		rte_eth_dev_rx_intr_disable(queue->rx.id, queue->rx.queue);
}

static const struct source_ops interrupt_ops = {
	.receive = receive,
	.done = done,
	.ready = ready,
	.sleep = enable,
	.awake = disable,
};

/* --- out -------------------------------------------------------------------- */

/* Those of @count frames that @choice gives to queue @q. */
static void send_share(struct ethdev_port *p, unsigned q,
		       const struct net_rx_frame *const *frames,
		       const uint8_t *choice, unsigned count)
{
	struct queue *queue = &p->queues[q];

	rte_spinlock_lock(&queue->lock);
	for (unsigned i = 0; i < count; i++)
		if (choice[i] == q)
			ethdev_tx_put(&queue->tx, frames[i]);
	ethdev_tx_flush(&queue->tx);
	rte_spinlock_unlock(&queue->lock);
}

static void send_frames(struct forward_port *forward,
			const struct net_rx_frame *const *frames,
			unsigned count)
{
	struct ethdev_port *p = from_port(port_of(forward));
	uint8_t choice[NET_BURST];
	uint64_t chosen = flow_choose(frames, count, p->queue_count, choice);

	for (; chosen; chosen &= chosen - 1)
		send_share(p, __builtin_ctzll(chosen), frames, choice, count);
}

/* --- the port --------------------------------------------------------------- */

static void init_queue(struct ethdev_port *p, unsigned i)
{
	struct queue *queue = &p->queues[i];

	queue->source.port = &p->port.forward;
	queue->rx.id = queue->tx.id = p->dev.id;
	queue->rx.queue = queue->tx.queue = i;
	queue->rx.most_bytes = p->dev.traits.cut_bytes == UINT32_MAX
				       ? NET_MAX_FRAME_BYTES
				       : MIN(p->dev.max_frame_bytes,
					     p->dev.traits.cut_bytes - 1);
	queue->rx.offloads = queue->tx.offloads = p->dev.offloads;
	queue->source.fd =
		p->dev.has_interrupts ? ethdev_rx_fd(&queue->rx) : -1;
	queue->source.trust = SOURCE_DOUBTED;
	queue->source.ops = queue->source.fd < 0 ? &source_ops : &interrupt_ops;
	queue->tx.pool = p->dev.pool;
	queue->tx.max_frame_bytes = p->dev.max_frame_bytes;
	rte_spinlock_init(&queue->lock);
}

/* Frames may be sent as soon as the port can be found. */
static int open_device(struct port *port, char *ret_error)
{
	struct ethdev_port *p = from_port(port);
	const struct ethdev_config config = {
		.devargs = port->config->devargs,
		.queues = port->config->queues,
		.mtu = port->config->mtu,
		.offloads = port->config->offloads == CONFIG_ON,
	};
	char error[ETHDEV_ERROR_BYTES];
	int err;

	p->queues = calloc(config.queues, sizeof(*p->queues));
	if (!p->queues) {
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: %s", port->name,
			 strerror(ENOMEM));
		return -ENOMEM;
	}
	err = ethdev_open(&config, &p->dev, error);
	if (err < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: %s", port->name,
			 error);
		return err;
	}
	p->queue_count = config.queues;
	for (unsigned i = 0; i < p->queue_count; i++)
		init_queue(p, i);
	return 0;
}

static int start(struct port *port, char *ret_error)
{
	struct ethdev_port *p = from_port(port);
	int err = 0;

	while (err == 0 && p->attached < p->queue_count) {
		struct source *source = &p->queues[p->attached].source;

		err = lcore_attach(port_home(port, source, p->attached),
				   source);
		p->attached += err == 0;
	}
	if (err < 0)
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: %s", port->name,
			 strerror(-err));
	return err;
}

static void stop(struct port *port)
{
	struct ethdev_port *p = from_port(port);

	for (; p->attached > 0; p->attached--) {
		struct source *source = &p->queues[p->attached - 1].source;

		lcore_detach(source->home, source);
		/* What a look before sleep found (enable), and nobody took. */
		done(source);
	}
}

static void free_port(struct port *port)
{
	struct ethdev_port *p = from_port(port);

	ethdev_close(&p->dev);
	free(p->queues);
	free(p);
}

struct count {
	struct queue *queue;
	struct port_counters *counters;
};

/* The thread that receives by the queue. */
static void run_count(void *arg)
{
	struct count *count = arg;
	struct netdev_counters *to = &count->counters->net;
	const struct ethdev_rx *rx = &count->queue->rx;

	to->tx_frames += rx->frames_total;
	to->tx_bytes += rx->bytes_total;
	for (unsigned i = 0; i < NET_FAULTS; i++)
		to->tx_faults[i] += rx->faults[i];
	for (unsigned i = 0; i < FORWARD_DROPS; i++)
		count->counters->drops[i] += count->queue->source.drops[i];
}

static void count_sent(struct queue *queue, struct port_counters *to)
{
	rte_spinlock_lock(&queue->lock);
	to->net.rx_frames += queue->tx.frames_total;
	to->net.rx_bytes += queue->tx.bytes_total;
	for (unsigned i = 0; i < NET_FAULTS; i++)
		to->net.rx_faults[i] += queue->tx.faults[i];
	for (unsigned i = 0; i < OFFLOADS; i++)
		to->offloads[i] += queue->tx.made[i];
	rte_spinlock_unlock(&queue->lock);
}

static void count_pair(struct port *port, unsigned pair,
		       struct port_counters *counters)
{
	struct ethdev_port *p = from_port(port);
	struct count count = {.counters = counters};

	if (pair >= p->queue_count)
		return;
	count.queue = &p->queues[pair];
	lcore_run(port_home(port, &count.queue->source, pair), run_count,
		  &count);
	count_sent(count.queue, counters);
}

/* What the device dropped for want of room, before we knew of it, and what it
 * lost, on its way in or out, that it had taken. */
static void count_rest(struct port *port, struct port_counters *counters)
{
	struct ethdev_port *p = from_port(port);
	struct rte_eth_stats stats;

	if (!p->dev.is_started || rte_eth_stats_get(p->dev.id, &stats) < 0)
		return;
	counters->net.tx_faults[NET_FAULT_NO_BUFFER] +=
		stats.imissed + stats.rx_nombuf;
	counters->net.tx_faults[NET_FAULT_DEVICE] += stats.ierrors;
	counters->net.rx_faults[NET_FAULT_DEVICE] += stats.oerrors;
}

static bool is_up(const struct port *port)
{
	const struct ethdev_port *p =
		container_of(port, struct ethdev_port, port);
	struct rte_eth_link link;

	return p->dev.is_started &&
	       rte_eth_link_get_nowait(p->dev.id, &link) == 0 &&
	       link.link_status == RTE_ETH_LINK_UP;
}

static struct source *source_of(struct port *port, unsigned pair)
{
	struct ethdev_port *p = from_port(port);

	return pair < p->attached ? &p->queues[pair].source : NULL;
}

static unsigned offloads(const struct port *port,
			 const char *ret_names[static PORT_OFFLOADS])
{
	const struct ethdev_port *p =
		container_of(port, struct ethdev_port, port);

	static_assert((int)PORT_OFFLOADS == ETHDEV_OFFLOAD_NAMES,
		      "a port names what its device can");
	return ethdev_offload_names(&p->dev.offloads, ret_names);
}

static const struct port_ops ops = {
	.open = open_device,
	.start = start,
	.stop = stop,
	.free = free_port,
	.count_pair = count_pair,
	.count_rest = count_rest,
	.is_up = is_up,
	.source = source_of,
	.offloads = offloads,
};

int ethdev_port_new(struct port **ret_port)
{
	struct ethdev_port *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->port.ops = &ops;
	p->port.forward.send = send_frames;
	*ret_port = &p->port;
	return 0;
}
