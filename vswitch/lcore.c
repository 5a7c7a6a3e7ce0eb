/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/lcore.h"

#include <errno.h>
#include <poll.h>
#include <rte_cycles.h>
#include <rte_rcu_qsbr.h>
#include <sched.h>
#include <stdlib.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/loop-call.h"
#include "base/worker.h"

enum {
	LOOP_ENTRIES = 256,
	/* How soon a source without a descriptor is looked at again: after this
	 * part of the time since there was work, but not at once, and not much
	 * later, when there was nothing for long. */
	NOFD_PART = 8,
	NOFD_LEAST_NS = 125 * 1000,
	NOFD_MOST_NS = 8000 * 1000,
	/* How soon what a device should have told of is found if it did not. */
	HEARD_NS = 256 * 1000 * 1000,
};

struct lcore {
	struct worker worker;
	struct lcore_config config;
	struct source *sources;
	struct forward forward;
	struct lcore_counters counters;
	bool has_worked; /* since it slept */
	uint64_t worked_ns;
};

/* Something that the control thread has done here, and awaits. */
struct call {
	struct loop_call call;
	struct lcore *lcore;
	struct source *source;
	void (*run)(void *arg);
	void *arg;
};

static struct lcore *from_worker(struct worker *worker)
{
	return container_of(worker, struct lcore, worker);
}

static struct call *from_loop(struct loop_call *call)
{
	return container_of(call, struct call, call);
}

static int call_and_wait(struct call *call)
{
	return loop_call(call->lcore->worker.loop, &call->call);
}

/* That the loop woke may be all that is needed. */
static void source_ready(void *arg, int revents)
{
	struct source *source = arg;

	if (source->ops->ready)
		source->ops->ready(source);
	if (revents >= 0)
		return;
	loop_watch_free(source->watch);
	source->watch = NULL;
}

static int attach(struct lcore *lcore, struct source *source)
{
	int err = 0;

	source->watch = NULL;
	if (source->fd >= 0)
		err = loop_watch_new(lcore->worker.loop, source->fd, POLLIN,
				     source_ready, source, &source->watch);
	if (err < 0)
		return err;
	source->next = lcore->sources;
	source->lcore = lcore;
	lcore->sources = source;
	lcore->counters.sources++;
	return 0;
}

static void run_attach(struct loop_call *posted)
{
	struct call *call = from_loop(posted);

	loop_call_end(posted, attach(call->lcore, call->source));
}

static void detach(struct lcore *lcore, struct source *source)
{
	struct source **at = &lcore->sources;

	/* A move that failed has left it to nobody. */
	if (!source->lcore)
		return;
	while (*at != source)
		at = &(*at)->next;
	*at = source->next;
	loop_watch_free(source->watch);
	source->watch = NULL;
	source->lcore = NULL;
	lcore->counters.sources--;
}

static void run_detach(struct loop_call *posted)
{
	struct call *call = from_loop(posted);

	detach(call->lcore, call->source);
	loop_call_end(posted, 0);
}

static void run_function(struct loop_call *posted)
{
	struct call *call = from_loop(posted);

	if (call->run)
		call->run(call->arg);
	loop_call_end(posted, 0);
}

static uint64_t ns_of_cycles(uint64_t cycles)
{
	return (unsigned __int128)cycles * NS_PER_SECOND / rte_get_tsc_hz();
}

/* The number of bits in @value - 1: 2^n is the least power that holds it. */
static unsigned log2_up(uint64_t value)
{
	return value > 1 ? 64 - __builtin_clzll(value - 1) : 0;
}

static void account(struct lcore *lcore, struct source *source, unsigned count,
		    uint64_t cycles)
{
	struct lcore_counters *c = &lcore->counters;
	const uint64_t ns = ns_of_cycles(cycles);
	const unsigned bits = log2_up(ns);

	store_once(&source->busy_cycles, source->busy_cycles + cycles);
	c->frames += count;
	c->bursts[log2_up(count)]++;
	c->latencies[bits <= LCORE_LATENCY_BITS ? 0
						: MIN(bits - LCORE_LATENCY_BITS,
						      LCORE_LATENCIES - 1u)]++;
	c->busy_ns += ns;
}

static unsigned serve_source(struct lcore *lcore, struct source *source)
{
	const uint64_t began = rte_rdtsc();
	struct net_rx_frame *frames;
	unsigned count = source->ops->receive(source, &frames);

	if (count > 0)
		forward_burst(&lcore->forward, source->port, frames, count,
			      clock_ns(), source->drops);
	source->ops->done(source);
	if (count > 0)
		account(lcore, source, count, rte_rdtsc() - began);
	return count;
}

/* Messages come between two rounds, when no frame is under way. */
static bool serve(struct worker *worker)
{
	struct lcore *lcore = from_worker(worker);
	unsigned work = 0;

	for (struct source *s = lcore->sources; s; s = s->next) {
		if (s->next && s->next->ops->expect)
			s->next->ops->expect(s->next);
		if (!s->ops->look || s->ops->look(s))
			work += serve_source(lcore, s);
	}
	lcore->has_worked |= work > 0;
	rte_rcu_qsbr_quiescent(lcore->config.rcu, lcore->config.number);
	loop_submit(worker->loop);
	work += loop_reap(worker->loop);
	return work > 0;
}

static bool may_spin(struct worker *worker)
{
	return from_worker(worker)->sources;
}

/* When to look at what cannot wake us: frames that come at some pace wait for a
 * small part of the time between two. */
static uint64_t next_look_ns(struct lcore *lcore)
{
	const uint64_t now_ns = clock_ns();
	uint64_t part_ns;

	if (lcore->has_worked)
		lcore->worked_ns = now_ns;
	lcore->has_worked = false;
	part_ns = (now_ns - lcore->worked_ns) / NOFD_PART;
	part_ns = MAX(part_ns, (uint64_t)NOFD_LEAST_NS);
	return MIN(part_ns, (uint64_t)NOFD_MOST_NS);
}

static bool is_silent(const struct source *source)
{
	return !source->watch || source->fd < 0 ||
	       source->trust == SOURCE_DOUBTED;
}

static bool prepare_sleep(struct worker *worker, uint64_t *timeout_ns)
{
	struct lcore *lcore = from_worker(worker);
	bool again = false, looks = false;

	for (struct source *s = lcore->sources; s; s = s->next) {
		if (s->ops->sleep)
			again |= s->ops->sleep(s);
		looks |= is_silent(s);
		if (s->trust == SOURCE_HEARD)
			*timeout_ns = MIN(*timeout_ns, (uint64_t)HEARD_NS);
	}
	if (looks) {
		const uint64_t look_ns = next_look_ns(lcore);

		*timeout_ns = MIN(*timeout_ns, look_ns);
	}
	rte_rcu_qsbr_thread_offline(lcore->config.rcu, lcore->config.number);
	return again;
}

static void awake(struct worker *worker)
{
	struct lcore *lcore = from_worker(worker);

	rte_rcu_qsbr_thread_online(lcore->config.rcu, lcore->config.number);
	for (struct source *s = lcore->sources; s; s = s->next)
		if (s->ops->awake)
			s->ops->awake(s);
}

static int open_reader(struct worker *worker)
{
	const struct lcore_config *config = &from_worker(worker)->config;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	if (config->cpu >= 0)
		CPU_SET(config->cpu, &cpus);
	if (config->cpu >= 0 && sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		return -errno;
	if (rte_rcu_qsbr_thread_register(config->rcu, config->number))
		return -EINVAL;
	rte_rcu_qsbr_thread_online(config->rcu, config->number);
	return 0;
}

static void close_reader(struct worker *worker)
{
	const struct lcore_config *config = &from_worker(worker)->config;

	rte_rcu_qsbr_thread_offline(config->rcu, config->number);
	rte_rcu_qsbr_thread_unregister(config->rcu, config->number);
}

static const struct worker_ops ops = {
	.open = open_reader,
	.close = close_reader,
	.serve = serve,
	.may_spin = may_spin,
	.prepare_sleep = prepare_sleep,
	.awake = awake,
};

int lcore_new(const struct lcore_config *config, struct lcore **ret_lcore)
{
	const struct worker_config worker = {
		.ops = &ops,
		.name = "lcore",
		.number = config->number,
		.loop_entries = LOOP_ENTRIES,
		.poll = config->poll,
	};
	struct lcore *lcore = calloc(1, sizeof(*lcore));
	int err;

	if (!lcore)
		return -ENOMEM;
	lcore->config = *config;
	forward_init(&lcore->forward, config->fdb, config->table);
	lcore->forward.thread = config->number;
	err = worker_start(&lcore->worker, &worker);
	if (err < 0) {
		free(lcore);
		return err;
	}
	*ret_lcore = lcore;
	return 0;
}

void lcore_free(struct lcore *lcore)
{
	if (!lcore)
		return;
	worker_stop(&lcore->worker);
	free(lcore);
}

int lcore_attach(struct lcore *lcore, struct source *source)
{
	struct call call = {
		.lcore = lcore,
		.call.run = run_attach,
		.source = source,
	};

	return call_and_wait(&call);
}

void lcore_detach(struct lcore *lcore, struct source *source)
{
	struct call call = {
		.lcore = lcore,
		.call.run = run_detach,
		.source = source,
	};

	call_and_wait(&call);
}

int lcore_move(struct lcore *to, struct source *source)
{
	struct lcore *from = source->home;
	int err;

	if (to == from)
		return 0;
	lcore_detach(from, source);
	err = lcore_attach(to, source);
	if (err < 0)
		return lcore_attach(from, source) < 0 ? -ENOTRECOVERABLE : err;
	source->home = to;
	return 0;
}

void lcore_run(struct lcore *lcore, void (*run)(void *arg), void *arg)
{
	struct call call = {
		.lcore = lcore,
		.call.run = run_function,
		.run = run,
		.arg = arg,
	};

	call_and_wait(&call);
}

struct count {
	const struct lcore *lcore;
	struct lcore_counters *counters;
};

static void copy_counters(void *arg)
{
	struct count *count = arg;

	*count->counters = count->lcore->counters;
}

void lcore_count(struct lcore *lcore, struct lcore_counters *ret_counters)
{
	struct count count = {.lcore = lcore, .counters = ret_counters};

	lcore_run(lcore, copy_counters, &count);
}

uint64_t lcore_busy_ns(const struct source *source)
{
	return ns_of_cycles(load_once(&source->busy_cycles));
}

struct injection {
	struct lcore *lcore;
	struct forward_port *in;
	struct net_rx_frame *frame;
};

/* Between two rounds a sleeper is no reader: it has to become one. */
static void inject(void *arg)
{
	struct injection *injection = arg;
	struct lcore *lcore = injection->lcore;
	uint64_t drops[FORWARD_DROPS] = {0};

	rte_rcu_qsbr_thread_online(lcore->config.rcu, lcore->config.number);
	forward_burst(&lcore->forward, injection->in, injection->frame, 1,
		      clock_ns(), drops);
}

void lcore_inject(struct lcore *lcore, struct forward_port *in,
		  struct net_rx_frame *frame)
{
	struct injection injection = {
		.lcore = lcore,
		.in = in,
		.frame = frame,
	};

	lcore_run(lcore, inject, &injection);
}
