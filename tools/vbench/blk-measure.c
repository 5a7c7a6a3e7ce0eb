/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/blk-measure.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tools/vbench/process.h"
#include "tools/vbench/random.h"

struct measure {
	struct blk_plan plan;
	struct blk_load *load;
	struct blk_result *result;
	enum blk_rw rw;
	uint64_t random;
	uint64_t blocks;
	uint64_t blocks_per_queue;
	uint64_t next_block[BLK_MAX_QUEUES]; /* sequential */
	uint64_t ramp_end_ns;
	uint64_t end_ns;
	uint64_t begin_ns; /* of what counts; 0: in the ramp */
	uint64_t begin_cpu_ns;
	bool ended;
};

static bool measure_next(struct blk_plan *plan, struct blk_slot *slot)
{
	struct measure *m = container_of(plan, struct measure, plan);

	switch (m->rw) {
	case BLK_RW_READ:
	case BLK_RW_WRITE:
		slot->write = m->rw == BLK_RW_WRITE;
		slot->block = slot->queue * m->blocks_per_queue +
			      m->next_block[slot->queue];
		if (++m->next_block[slot->queue] == m->blocks_per_queue)
			m->next_block[slot->queue] = 0;
		return true;
	case BLK_RW_RANDRW:
		slot->write = random_next(&m->random) & 1;
		break;
	default:
		slot->write = m->rw == BLK_RW_RANDWRITE;
		break;
	}
	slot->block = random_below(&m->random, m->blocks);
	return true;
}

static bool measure_done(struct blk_plan *plan, struct blk_slot *slot,
			 uint64_t now)
{
	struct measure *m = container_of(plan, struct measure, plan);

	/* What began in the ramp or ends after the end is not counted. */
	if (m->begin_ns == 0 || m->ended || slot->start_ns < m->begin_ns)
		return true;
	if (slot->write)
		m->result->writes++;
	else
		m->result->reads++;
	histogram_add(&m->result->latency, now - slot->start_ns);
	return true;
}

static uint64_t backend_cpu_ns(const struct measure *m)
{
	uint64_t ns = 0;

	if (m->result->backend_pid)
		process_cpu_ns(m->result->backend_pid, &ns);
	return ns;
}

static bool measure_goes_on(struct blk_plan *plan, uint64_t now)
{
	struct measure *m = container_of(plan, struct measure, plan);
	struct blk_result *r = m->result;

	if (m->ended)
		return false;
	if (m->begin_ns == 0 && now >= m->ramp_end_ns) {
		m->begin_cpu_ns = backend_cpu_ns(m);
		m->begin_ns = clock_ns();
		m->end_ns = m->begin_ns + m->load->options->time_ns;
	}
	if (m->begin_ns == 0 || now < m->end_ns)
		return true;
	m->ended = true;
	r->elapsed_ns = now - m->begin_ns;
	r->backend_cpu =
		(double)(backend_cpu_ns(m) - m->begin_cpu_ns) / r->elapsed_ns;
	return false;
}

int blk_measure(struct blk_load *load, struct blk_result *ret_result)
{
	const struct bench_options *o = load->options;
	struct blk_result *r = ret_result;
	struct measure m = {
		.plan = {measure_next, measure_done, measure_goes_on},
		.load = load,
		.result = r,
		.rw = o->rw,
		.random = o->seed,
		.blocks = load->blocks,
		.blocks_per_queue = load->blocks / o->queues,
		.ramp_end_ns = clock_ns() + o->ramp_ns,
	};
	int err;

	memset(r, 0, sizeof(*r));
	r->backend_pid = o->backend_pid ? o->backend_pid
					: frontend_peer_pid(load->driver->fe);
	/* Without a ramp everything counts from the first request on. */
	measure_goes_on(&m.plan, clock_ns());
	err = blk_load_run(load, &m.plan);
	r->errors = load->errors;
	for (unsigned i = 0; i < load->driver->queues; i++) {
		r->kicks += load->driver->rings[i]->kicks;
		r->kicks_saved += load->driver->rings[i]->kicks_saved;
	}
	if (r->backend_pid)
		process_anon_kib(r->backend_pid, &r->backend_anon_kib);
	return err;
}
