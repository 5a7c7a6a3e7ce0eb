/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which serving thread serves which queue: measured each second, and changed
 * where one thread has much more to do than another. A queue moves between two
 * rounds; its frames wait where they are, so that none is lost, and a flow stays
 * in order.
 *
 * Control thread only.
 */
#ifndef VSWITCH_BALANCE_H
#define VSWITCH_BALANCE_H

#include "vswitch/vswitch.h"

/* Load is in thousandths of a thread's time. */
enum {
	BALANCE_FULL = 1000,
	BALANCE_LEAST = 200, /* between two threads, to be worth a move */
	BALANCE_PAUSE = 3,   /* seconds after a move */
	BALANCE_MAX_QUEUES = CONFIG_MAX_PORTS * CONFIG_MAX_QUEUES,
};

struct balance_queue {
	struct source *source;
	uint16_t port, pair, lcore;
	uint16_t load; /* of the last second */
	bool is_placed;
};

struct balance {
	uint64_t measured_ns;
	unsigned pause;
	/* By port and pair: what it had taken at the last measure, and the load
	 * since. Made with the first measure; owned. */
	struct balance_share {
		uint64_t busy_ns;
		uint16_t load;
	} * shares;
};

/* Measures, and moves a queue if that is worth it. */
void balance_second(struct balance *balance, struct vswitch *vswitch);
void balance_deinit(struct balance *balance);

/* All queues that are served, at most BALANCE_MAX_QUEUES: how many. */
unsigned balance_list(struct balance *balance, const struct vswitch *vswitch,
		      struct balance_queue *ret_queues);

/* For good: the balance leaves it there. -ENOENT: nobody serves it now. */
int balance_place(struct vswitch *vswitch, unsigned port, unsigned pair,
		  unsigned lcore);

/*
 * Pure. The queue of the busiest of @lcores threads that does best on the idlest:
 * its index and where to, or -1 if no move is worth it.
 */
int balance_choose(const struct balance_queue *queues, unsigned count,
		   unsigned lcores, unsigned *ret_lcore);

#endif
