/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-thread.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/loop-call.h"
#include "base/worker.h"
#include "vhost-net/net-pump.h"

enum {
	LOOP_ENTRIES = 256,
	/* How often a queue without a kick descriptor is looked at. */
	NOFD_NS = 1000 * 1000,
};

/* One queue of a pair, as its thread sees it. */
struct end {
	struct netdev_queue *queue; /* NULL: not attached */
	struct loop_watch *kick;    /* NULL: look now and then */
	bool reported;		    /* as broken */
	struct call *detach;	    /* who waits for what is under way */
};

enum direction {
	RECEIVE, /* as netdev_index_sends has it */
	SEND,
	DIRECTIONS,
};

struct pair {
	struct pair *next;
	unsigned number;
	struct net_pump *pump;
	struct loop_watch *wire;
	struct end ends[DIRECTIONS];
};

struct net_thread {
	struct worker worker;
	struct net_thread_config config;
	struct pair *pairs;
	uint64_t refused; /* by pumps that are gone */
	bool wire_gone;
};

/* Something that the control thread has done here, and awaits. */
struct call {
	struct loop_call call;
	struct net_thread *thread;
	struct netdev_queue *queue;
	int kick_fd;
	void (*run)(void *arg);
	void *arg;
};

static struct call *from_loop(struct loop_call *call)
{
	return container_of(call, struct call, call);
}

static struct net_thread *from_worker(struct worker *worker)
{
	return container_of(worker, struct net_thread, worker);
}

static int call_and_wait(struct call *call)
{
	return loop_call(call->thread->worker.loop, &call->call);
}

static struct pair **find(struct net_thread *thread, unsigned number)
{
	struct pair **at = &thread->pairs;

	while (*at && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

/* The loop woke, which is enough; kick_drain empties the count at the end. */
static void kicked(void *arg, int revents)
{
	struct end *end = arg;

	if (revents >= 0)
		return;
	loop_watch_free(end->kick);
	end->kick = NULL;
}

static void wire_ready(void *arg, int revents)
{
	struct pair *pair = arg;

	net_pump_wake(pair->pump);
	if (revents >= 0)
		return;
	loop_watch_free(pair->wire);
	pair->wire = NULL;
}

/* A pair of which no queue is attached. */
static void pair_free(struct net_thread *thread, struct pair **at)
{
	struct pair *pair = *at;

	*at = pair->next;
	loop_watch_free(pair->wire);
	if (pair->pump)
		thread->refused += net_pump_refused(pair->pump);
	net_pump_free(pair->pump);
	free(pair);
}

static int make_pump(struct net_thread *thread, struct pair *pair)
{
	struct net_wire *wire = thread->config.wire;
	const struct net_pump_config config = {
		.loop = thread->worker.loop,
		.limits = thread->config.limits,
		.lane = thread->config.lane,
	};

	return wire->ops->pump(wire, pair->number, &config, &pair->pump);
}

static int pair_new(struct net_thread *thread, unsigned number,
		    struct pair **at)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	int err;

	if (!pair)
		return -ENOMEM;
	*at = pair;
	pair->number = number;
	err = make_pump(thread, pair);
	if (err == 0)
		err = loop_watch_new(thread->worker.loop,
				     net_pump_fd(pair->pump), POLLIN,
				     wire_ready, pair, &pair->wire);
	if (err < 0)
		pair_free(thread, at);
	return err;
}

static void give_to_pump(struct pair *pair, struct netdev_queue *queue,
			 bool sends, uint32_t mtu)
{
	if (sends)
		net_pump_set_send(pair->pump, queue);
	else
		net_pump_set_receive(pair->pump, queue, mtu);
}

static bool pair_is_empty(const struct pair *pair)
{
	return !pair->ends[RECEIVE].queue && !pair->ends[SEND].queue;
}

static int attach(struct call *call)
{
	const unsigned index = netdev_queue_index(call->queue);
	const bool sends = netdev_index_sends(index);
	struct net_thread *thread = call->thread;
	struct pair **at = find(thread, netdev_index_pair(index));
	struct end *end;
	int err = 0;

	if (!*at)
		err = pair_new(thread, netdev_index_pair(index), at);
	if (err < 0)
		return err;
	end = &(*at)->ends[sends];
	*end = (struct end){.queue = call->queue};
	if (call->kick_fd >= 0)
		err = loop_watch_new(thread->worker.loop, call->kick_fd, POLLIN,
				     kicked, end, &end->kick);
	if (err < 0) {
		end->queue = NULL;
		if (pair_is_empty(*at))
			pair_free(thread, at);
		return err;
	}
	give_to_pump(*at, call->queue, sends, thread->config.wire->mtu);
	return 0;
}

static void run_attach(struct loop_call *posted)
{
	loop_call_end(posted, attach(from_loop(posted)));
}

static void run_detach(struct loop_call *posted)
{
	struct call *call = from_loop(posted);
	unsigned index = netdev_queue_index(call->queue);
	struct pair *pair = *find(call->thread, netdev_index_pair(index));
	const bool sends = netdev_index_sends(index);

	pair->ends[sends].detach = call;
	net_pump_stop(pair->pump, sends);
}

static void run_function(struct loop_call *posted)
{
	struct call *call = from_loop(posted);

	if (call->run)
		call->run(call->arg);
	loop_call_end(posted, 0);
}

/* Reports that a ring broke, or lets the queue go. */
static void look_after(struct net_thread *thread, struct pair *pair, bool sends)
{
	struct end *end = &pair->ends[sends];
	struct call *detach = end->detach;

	if (!end->queue)
		return;
	if (!end->reported && virtq_error(netdev_queue_virtq(end->queue))) {
		end->reported = true;
		thread->config.queue_broke(thread->config.arg, end->queue);
	}
	if (!detach || !net_pump_is_idle(pair->pump, sends))
		return;
	give_to_pump(pair, NULL, sends, 0);
	loop_watch_free(end->kick);
	*end = (struct end){0};
	loop_call_end(&detach->call, 0);
}

static void look_at_wire(struct net_thread *thread, const struct pair *pair)
{
	if (thread->wire_gone || net_pump_error(pair->pump) == 0)
		return;
	thread->wire_gone = true;
	thread->config.wire_gone(thread->config.arg);
}

/* One round. True if there was anything to do. */
static bool serve(struct worker *worker)
{
	struct net_thread *thread = from_worker(worker);
	struct pair **at = &thread->pairs;
	bool worked = false;

	for (struct pair *pair = thread->pairs; pair; pair = pair->next)
		worked |= net_pump_run(pair->pump);
	loop_submit(worker->loop);
	worked |= loop_reap(worker->loop) > 0;
	while (*at) {
		struct pair *pair = *at;

		net_pump_finish(pair->pump);
		look_at_wire(thread, pair);
		look_after(thread, pair, RECEIVE);
		look_after(thread, pair, SEND);
		if (pair_is_empty(pair))
			pair_free(thread, at);
		else
			at = &pair->next;
	}
	return worked;
}

static bool may_spin(struct worker *worker)
{
	return from_worker(worker)->pairs;
}

static uint64_t pair_timeout_ns(const struct pair *pair)
{
	uint64_t timeout = net_pump_timeout_ns(pair->pump);

	for (unsigned i = 0; i < DIRECTIONS; i++)
		if (pair->ends[i].queue && !pair->ends[i].kick)
			timeout = MIN(timeout, (uint64_t)NOFD_NS);
	return timeout;
}

static bool prepare_sleep(struct worker *worker, uint64_t *timeout_ns)
{
	struct pair *pair = from_worker(worker)->pairs;
	bool again = false;

	for (; pair; pair = pair->next) {
		again |= net_pump_sleep(pair->pump);
		*timeout_ns = MIN(*timeout_ns, pair_timeout_ns(pair));
	}
	return again;
}

static void awake(struct worker *worker)
{
	struct pair *pair = from_worker(worker)->pairs;

	for (; pair; pair = pair->next)
		net_pump_awake(pair->pump);
}

static const struct worker_ops ops = {
	.serve = serve,
	.may_spin = may_spin,
	.prepare_sleep = prepare_sleep,
	.awake = awake,
};

int net_thread_new(const struct net_thread_config *config,
		   struct net_thread **ret_thread)
{
	const struct worker_config worker = {
		.ops = &ops,
		.name = "net",
		.number = config->number,
		.loop_entries = LOOP_ENTRIES,
		.poll = config->poll,
	};
	struct net_thread *thread = calloc(1, sizeof(*thread));
	int err;

	if (!thread)
		return -ENOMEM;
	thread->config = *config;
	err = worker_start(&thread->worker, &worker);
	if (err < 0) {
		free(thread);
		return err;
	}
	*ret_thread = thread;
	return 0;
}

void net_thread_free(struct net_thread *thread)
{
	if (!thread)
		return;
	worker_stop(&thread->worker);
	free(thread);
}

int net_thread_attach(struct net_thread *thread, struct netdev_queue *queue,
		      int kick_fd)
{
	struct call call = {
		.thread = thread,
		.call.run = run_attach,
		.queue = queue,
		.kick_fd = kick_fd,
	};

	return call_and_wait(&call);
}

void net_thread_detach(struct net_thread *thread, struct netdev_queue *queue)
{
	struct call call = {
		.thread = thread,
		.call.run = run_detach,
		.queue = queue,
	};

	call_and_wait(&call);
}

void net_thread_wake(struct net_thread *thread)
{
	net_thread_run(thread, NULL, NULL);
}

void net_thread_run(struct net_thread *thread, void (*run)(void *arg),
		    void *arg)
{
	struct call call = {
		.thread = thread,
		.call.run = run_function,
		.run = run,
		.arg = arg,
	};

	call_and_wait(&call);
}

uint64_t net_thread_refused(const struct net_thread *thread)
{
	uint64_t refused = thread->refused;

	for (const struct pair *pair = thread->pairs; pair; pair = pair->next)
		refused += net_pump_refused(pair->pump);
	return refused;
}
