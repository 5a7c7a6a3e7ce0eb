/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/balance.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/clock.h"

/* --- what is best ------------------------------------------------------------ */

static unsigned distance(unsigned a, unsigned b)
{
	return a > b ? a - b : b - a;
}

int balance_choose(const struct balance_queue *queues, unsigned count,
		   unsigned lcores, unsigned *ret_lcore)
{
	unsigned loads[CONFIG_MAX_LCORES] = {0};
	unsigned busiest = 0, idlest = 0, best;
	int chosen = -1;

	for (unsigned i = 0; i < count; i++)
		loads[queues[i].lcore] += queues[i].load;
	for (unsigned i = 1; i < lcores; i++) {
		if (loads[i] > loads[busiest])
			busiest = i;
		if (loads[i] < loads[idlest])
			idlest = i;
	}
	/* How far apart they would be: no move is taken back by the next. */
	best = loads[busiest] - loads[idlest];
	if (best < BALANCE_LEAST)
		return -1;
	best -= BALANCE_LEAST / 2;
	for (unsigned i = 0; i < count; i++) {
		const struct balance_queue *q = &queues[i];
		unsigned apart;

		if (q->lcore != busiest || q->is_placed)
			continue;
		apart = distance(loads[busiest] - q->load,
				 loads[idlest] + q->load);
		if (apart < best) {
			best = apart;
			chosen = i;
		}
	}
	*ret_lcore = idlest;
	return chosen;
}

/* --- measures ---------------------------------------------------------------- */

static struct balance_share *share_of(const struct balance *balance,
				      unsigned port, unsigned pair)
{
	return &balance->shares[port * CONFIG_MAX_QUEUES + pair];
}

static unsigned lcore_number(const struct vswitch *vswitch,
			     const struct lcore *lcore)
{
	unsigned number = 0;

	while (vswitch_lcore(vswitch, number) != lcore)
		number++;
	return number;
}

/* A source that is new may have another one's place: it has taken less. */
static void measure(struct balance_share *share, const struct source *source,
		    uint64_t passed_ns)
{
	const uint64_t busy = lcore_busy_ns(source);
	const uint64_t spent =
		busy > share->busy_ns ? busy - share->busy_ns : 0;

	share->load = MIN(spent * BALANCE_FULL / MAX(passed_ns, UINT64_C(1)),
			  (uint64_t)BALANCE_FULL);
	share->busy_ns = busy;
}

static void measure_all(struct balance *balance, const struct vswitch *vswitch)
{
	const uint64_t now = clock_ns();
	const uint64_t passed = now - balance->measured_ns;

	balance->measured_ns = now;
	for (unsigned port = 0; port < CONFIG_MAX_PORTS; port++) {
		if (!vswitch_port(vswitch, port))
			continue;
		for (unsigned pair = 0; pair < CONFIG_MAX_QUEUES; pair++) {
			struct source *source =
				vswitch_source(vswitch, port, pair);

			if (source)
				measure(share_of(balance, port, pair), source,
					passed);
		}
	}
}

unsigned balance_list(struct balance *balance, const struct vswitch *vswitch,
		      struct balance_queue *ret_queues)
{
	unsigned count = 0;

	for (unsigned port = 0; port < CONFIG_MAX_PORTS; port++) {
		if (!vswitch_port(vswitch, port))
			continue;
		for (unsigned pair = 0; pair < CONFIG_MAX_QUEUES; pair++) {
			struct source *source =
				vswitch_source(vswitch, port, pair);

			if (!source)
				continue;
			ret_queues[count++] = (struct balance_queue){
				.source = source,
				.port = port,
				.pair = pair,
				.lcore = lcore_number(vswitch, source->home),
				.load = balance->shares
						? share_of(balance, port, pair)
							  ->load
						: 0,
				.is_placed = source->is_placed,
			};
		}
	}
	return count;
}

/* --- moves ------------------------------------------------------------------- */

static void move_one(struct balance *balance, struct vswitch *vswitch)
{
	static struct balance_queue queues[BALANCE_MAX_QUEUES];
	const unsigned count = balance_list(balance, vswitch, queues);
	unsigned to;
	int chosen = balance_choose(queues, count, vswitch_lcore_count(vswitch),
				    &to);

	if (chosen < 0)
		return;
	log_debug("%s: pair %u goes to thread %u",
		  vswitch_port(vswitch, queues[chosen].port)->name,
		  queues[chosen].pair, to);
	lcore_move(vswitch_lcore(vswitch, to), queues[chosen].source);
	balance->pause = BALANCE_PAUSE;
}

void balance_second(struct balance *balance, struct vswitch *vswitch)
{
	if (!balance->shares)
		balance->shares =
			calloc(BALANCE_MAX_QUEUES, sizeof(*balance->shares));
	if (!balance->shares)
		return;
	measure_all(balance, vswitch);
	if (vswitch_lcore_count(vswitch) == 1 ||
	    vswitch_config(vswitch)->balance == BALANCE_OFF)
		return;
	if (balance->pause > 0)
		balance->pause--;
	else
		move_one(balance, vswitch);
}

void balance_deinit(struct balance *balance)
{
	free(balance->shares);
	balance->shares = NULL;
}

int balance_place(struct vswitch *vswitch, unsigned port, unsigned pair,
		  unsigned lcore)
{
	struct source *source = vswitch_source(vswitch, port, pair);

	if (!source)
		return -ENOENT;
	source->is_placed = true;
	return lcore_move(vswitch_lcore(vswitch, lcore), source);
}
