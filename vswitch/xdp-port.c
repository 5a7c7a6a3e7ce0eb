/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port on an interface of the host by AF_XDP, past the host's network stack:
 * vhost-net/net-xdp.h.
 *
 * A flow keeps to one queue (vswitch/xdp-queue.h). What the kernel does not take at
 * once it is asked to take again by a source of the port's own, whose descriptor is a
 * timer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "vhost-net/net-link-watch.h"

#include "vhost-net/net-xdp.h"
#include "vswitch/flow.h"
#include "vswitch/port.h"
#include "vswitch/xdp-queue.h"

enum {
	/* How soon the kernel is asked again. */
	RETRY_NS = 500 * 1000,
};

struct xdp_port {
	struct port port;
	struct net_xdp xdp;
	struct net_link_watch *link;
	struct xdp_queue *queues;
	unsigned queue_count;
	unsigned attached;

	struct source retry;
	bool retries; /* it is attached */
	bool is_set;  /* its timer, by any thread */
	bool is_due;  /* it rang: the serving thread's */
};

static struct xdp_port *from_port(struct port *port)
{
	return container_of(port, struct xdp_port, port);
}

/* --- out -------------------------------------------------------------------- */

static void ask_again_later(struct xdp_port *p)
{
	const struct itimerspec once = {.it_value.tv_nsec = RETRY_NS};

	if (!exchange_acq_rel(&p->is_set, true))
		timerfd_settime(p->retry.fd, 0, &once, NULL);
}

static void send_frames(struct forward_port *forward,
			const struct net_rx_frame *const *frames,
			unsigned count)
{
	struct xdp_port *p = from_port(port_of(forward));
	uint8_t choice[NET_BURST];
	uint64_t chosen = flow_choose(frames, count, p->queue_count, choice);
	bool unsent = false;

	for (; chosen; chosen &= chosen - 1) {
		const unsigned q = __builtin_ctzll(chosen);

		unsent |=
			xdp_queue_send(&p->queues[q], q, frames, choice, count);
	}
	if (unsent)
		ask_again_later(p);
}

/* --- asking again ------------------------------------------------------------- */

static struct xdp_port *from_retry(struct source *source)
{
	return container_of(source, struct xdp_port, retry);
}

/* Nothing that comes into the switch. Who finds something unsent from here on sets
 * the timer anew. */
static unsigned retry(struct source *source, struct net_rx_frame **ret_frames)
{
	struct xdp_port *p = from_retry(source);
	bool unsent = false;

	p->is_due = false;
	store_release(&p->is_set, false);
	for (unsigned i = 0; i < p->queue_count; i++)
		unsent |= xdp_queue_push(&p->queues[i]);
	if (unsent)
		ask_again_later(p);
	return 0;
}

static void retry_done(struct source *source)
{
}

static void rang(struct source *source)
{
	uint64_t times;

	while (read(source->fd, &times, sizeof(times)) > 0)
		from_retry(source)->is_due = true;
}

static bool is_due(struct source *source)
{
	return from_retry(source)->is_due;
}

static const struct source_ops retry_ops = {
	.look = is_due,
	.receive = retry,
	.done = retry_done,
	.ready = rang,
};

/* --- the port --------------------------------------------------------------- */

static void link_changed(void *arg)
{
	struct xdp_port *p = arg;

	if (net_link_watch_state(p->link) == NET_LINK_GONE)
		port_complain(&p->port, "the interface is gone: make it again, "
					"and the port, by a restart");
}

static int open_interface(struct xdp_port *p, char *ret_error)
{
	static const struct net_xdp_words words = {
		.mtu = "mtu: ",
		.queues = "queues: ",
		.mode = "xdp-mode: ",
		.rights = "such a port is opened at the start, by root, or "
			  "with --sandbox=off",
	};
	const struct port_config *config = p->port.config;
	const struct net_xdp_config xdp = {
		.name = config->interface,
		.count = config->queues,
		.mode = config->xdp_mode,
		.mtu = config->mtu,
		.words = &words,
	};
	char error[NET_XDP_ERROR_BYTES];
	int err = net_xdp_open(&xdp, &p->xdp, error);

	if (err < 0)
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: %s", p->port.name,
			 error);
	return err;
}

static int watch(struct xdp_port *p)
{
	p->retry.fd =
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (p->retry.fd < 0)
		return -errno;
	return net_link_watch_new(p->port.owner->control, p->xdp.ifindex,
				  link_changed, p, &p->link);
}

/* Frames may be sent as soon as the port can be found. */
static int open_port(struct port *port, char *ret_error)
{
	struct xdp_port *p = from_port(port);
	int err = open_interface(p, ret_error);

	if (err < 0)
		return err;
	p->queue_count = p->xdp.count;

	p->queues = calloc(p->queue_count, sizeof(*p->queues));
	err = p->queues ? watch(p) : -ENOMEM;
	if (err < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: %s", port->name,
			 strerror(-err));
		return err;
	}
	for (unsigned i = 0; i < p->queue_count; i++)
		xdp_queue_init(&p->queues[i], &p->xdp.sockets[i],
			       &port->forward, p->xdp.mtu + NET_LINK_BYTES);
	p->retry.ops = &retry_ops;
	p->retry.port = &port->forward;
	return 0;
}

static int start(struct port *port, char *ret_error)
{
	struct xdp_port *p = from_port(port);
	int err = lcore_attach(port_home(port, &p->retry, 0), &p->retry);

	p->retries = err == 0;
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
	struct xdp_port *p = from_port(port);

	for (; p->attached > 0; p->attached--) {
		struct source *source = &p->queues[p->attached - 1].source;

		lcore_detach(source->home, source);
	}
	if (p->retries)
		lcore_detach(p->retry.home, &p->retry);
	p->retries = false;
}

static void free_port(struct port *port)
{
	struct xdp_port *p = from_port(port);

	net_link_watch_free(p->link);
	fd_close(&p->retry.fd);
	net_xdp_close(&p->xdp);
	free(p->queues);
	free(p);
}

struct count {
	const struct xdp_queue *queue;
	struct port_counters *counters;
};

static void run_count(void *arg)
{
	struct count *count = arg;

	xdp_queue_count_in(count->queue, &count->counters->net);
	for (unsigned i = 0; i < FORWARD_DROPS; i++)
		count->counters->drops[i] += count->queue->source.drops[i];
}

static void count_pair(struct port *port, unsigned pair,
		       struct port_counters *counters)
{
	struct xdp_port *p = from_port(port);
	struct count count = {.counters = counters};
	struct xdp_queue *queue;

	if (pair >= p->queue_count)
		return;
	queue = &p->queues[pair];
	count.queue = queue;
	lcore_run(port_home(port, &queue->source, pair), run_count, &count);
	xdp_queue_count_out(queue, &counters->net);
}

/* What the kernel had no room for. */
static void count_rest(struct port *port, struct port_counters *counters)
{
	const struct xdp_port *p = from_port(port);

	for (unsigned i = 0; i < p->queue_count; i++)
		counters->net.tx_faults[NET_FAULT_NO_BUFFER] +=
			net_xdp_socket_missed(p->queues[i].socket);
}

static bool is_up(const struct port *port)
{
	const struct xdp_port *p = container_of(port, struct xdp_port, port);

	return net_link_watch_state(p->link) == NET_LINK_UP;
}

static struct source *source_of(struct port *port, unsigned pair)
{
	struct xdp_port *p = from_port(port);

	return pair < p->attached ? &p->queues[pair].source : NULL;
}

static const char *way(const struct port *port)
{
	return net_xdp_kind(&container_of(port, struct xdp_port, port)->xdp);
}

static const struct port_ops ops = {
	.open = open_port,
	.start = start,
	.stop = stop,
	.free = free_port,
	.count_pair = count_pair,
	.count_rest = count_rest,
	.is_up = is_up,
	.source = source_of,
	.way = way,
};

int xdp_port_new(struct port **ret_port)
{
	struct xdp_port *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->xdp = NET_XDP_NONE;
	p->retry.fd = -1;
	p->port.ops = &ops;
	p->port.forward.send = send_frames;
	*ret_port = &p->port;
	return 0;
}
