/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A serving thread of the switch: it goes round its sources, and what comes in
 * it forwards at once. While there is nothing to do it sleeps on the sources'
 * descriptors, after a while of looking (base/worker.h).
 *
 * Everything here is called on the control thread.
 */
#ifndef VSWITCH_LCORE_H
#define VSWITCH_LCORE_H

#include "base/spin.h"
#include "vswitch/forward.h"
#include "vswitch/source.h"

struct lcore;
struct rte_rcu_qsbr;

enum {
	LCORE_BURSTS = 7,     /* of 1, 2, up to 4, … 64 frames */
	LCORE_LATENCIES = 17, /* up to 256 ns, 512, … 8 ms; and more */
	LCORE_LATENCY_BITS = 8,
};

/* What a thread has done since it started. A burst's time is that from the look
 * that found it until its frames are where they go. */
struct lcore_counters {
	uint64_t frames;
	uint64_t bursts[LCORE_BURSTS];
	uint64_t latencies[LCORE_LATENCIES]; /* of bursts */
	uint64_t busy_ns;		     /* the sum of them */
	unsigned sources;		     /* that it serves now */
};

struct lcore_config {
	unsigned number; /* also as a reader of @rcu */
	enum spin_mode poll;
	int cpu;	 /* to run on; -1: any */
	struct fdb *fdb; /* all borrowed */
	const struct forward_table *table;
	struct rte_rcu_qsbr *rcu;
};

/* A negative errno, io_uring's among them. */
int lcore_new(const struct lcore_config *config, struct lcore **ret_lcore);
/* No source is attached. Accepts NULL. */
void lcore_free(struct lcore *lcore);

/* Serves @source, which is borrowed, from now on. */
int lcore_attach(struct lcore *lcore, struct source *source);
/* Another thread serves @source from now on, in the order in which frames came:
 * they wait meanwhile where they are. */
int lcore_move(struct lcore *to, struct source *source);
/* No more; returns between two rounds. */
void lcore_detach(struct lcore *lcore, struct source *source);

/*
 * Has @run(arg) called between two rounds, and waits for it: whatever the
 * thread was at before, it is at no more. @run may be NULL.
 */
void lcore_run(struct lcore *lcore, void (*run)(void *arg), void *arg);

void lcore_count(struct lcore *lcore, struct lcore_counters *ret_counters);

/* What served @source until now took. Any thread. */
uint64_t lcore_busy_ns(const struct source *source);

/* Forwards one frame as if it had come in at @in. */
void lcore_inject(struct lcore *lcore, struct forward_port *in,
		  struct net_rx_frame *frame);

#endif
