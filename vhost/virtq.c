/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/virtq.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "vhost/sigbus.h"
#include "vhost/virtq-internal.h"

void virtq_set_broken(struct virtq *vq, const char *format, ...)
{
	va_list args;

	/* The first reason is the one that counts. */
	if (vq->is_broken)
		return;
	vq->is_broken = true;
	va_start(args, format);
	vsnprintf(vq->error, sizeof(vq->error), format, args);
	va_end(args);
	doorbell_ring(&vq->err);
}

bool virtq_memory_lost(struct virtq *vq)
{
	vq->sigbus_seen = sigbus_count();
	if (guest_memory_is_broken(vq->memory))
		virtq_set_broken(vq, "guest memory was truncated");
	else if (vq->log && dirty_log_is_broken(vq->log))
		virtq_set_broken(vq, "the dirty log was truncated");
	else if (vq->track.lost && load_acquire(vq->track.lost))
		virtq_set_broken(vq, "the in-flight region was truncated");
	return vq->is_broken;
}

void virtq_break(struct virtq *vq, const char *why)
{
	virtq_set_broken(vq, "%s", why);
}

const char *virtq_error(const struct virtq *vq)
{
	return vq->is_broken ? vq->error : NULL;
}

void *virtq_ring_part(struct virtq *vq, uint64_t uva, uint64_t length,
		      uint64_t align, const char *name)
{
	void *host = guest_memory_uva(vq->memory, uva, length);

	if (!host)
		virtq_set_broken(vq,
				 "the %s at 0x%llx is not in one memory region",
				 name, (unsigned long long)uva);
	else if (!is_aligned((uintptr_t)host, align))
		virtq_set_broken(vq, "the %s at 0x%llx is not aligned", name,
				 (unsigned long long)uva);
	return vq->is_broken ? NULL : host;
}

int virtq_new(struct virtq **ret_vq)
{
	struct virtq *vq = calloc(1, sizeof(*vq));

	if (!vq)
		return -ENOMEM;
	*ret_vq = vq;
	return 0;
}

void virtq_free(struct virtq *vq)
{
	if (!vq)
		return;
	if (vq->is_started)
		virtq_stop(vq);
	free(vq);
}

/* Lets go of what a started ring holds; the error text stays. */
static void virtq_release(struct virtq *vq)
{
	if (vq->is_packed)
		packed_release(vq);
	track_free(&vq->track);
	free(vq->done);
	vq->done = NULL;
	guest_memory_unref(vq->memory);
	vq->memory = NULL;
	dirty_log_unref(vq->log);
	vq->log = NULL;
	vq->call.kind = DOORBELL_NONE;
	vq->err.kind = DOORBELL_NONE;
	vq->is_started = false;
}

/* Chains that may be put before their turn: as many as there can be. */
static int done_alloc(struct virtq *vq)
{
	uint32_t room = 1;

	while (room < vq->size)
		room *= 2;
	vq->done = calloc(room, sizeof(*vq->done));
	vq->done_mask = room - 1;
	return vq->done ? 0 : -ENOMEM;
}

static void take_config(struct virtq *vq, const struct virtq_config *config)
{
	*vq = (struct virtq){
		.is_packed = config->packed,
		.event_idx = config->event_idx,
		.in_order = config->in_order,
		.indirect = config->indirect,
		.log_used = config->log_used,
		.size = config->size,
		.log_gpa = config->log_gpa,
		.sigbus_seen = sigbus_count() - 1,
	};
	doorbell_init(&vq->call, config->call_fd);
	doorbell_init(&vq->err, config->err_fd);
}

static int start_ring(struct virtq *vq, const struct virtq_config *config,
		      struct inflight_queue inflight)
{
	int err;

	if (config->size == 0 || config->size > VIRTQ_MAX_SIZE)
		return virtq_fail(vq, "a ring of %u entries", config->size);
	err = vq->is_packed ? packed_start(vq, config)
			    : split_start(vq, config);
	if (err == 0 && inflight.base)
		err = vq->is_packed ? packed_track_start(vq, inflight)
				    : split_track_start(vq, inflight);
	if (err == 0 && vq->in_order)
		err = done_alloc(vq);
	if (err == 0 && virtq_memory_lost(vq))
		err = VIRTQ_E_BROKEN;
	return err;
}

/*
 * The driver may have been told of nothing since the last flush of the
 * back-end before us, so it is told once now.
 */
int virtq_start(struct virtq *vq, const struct virtq_config *config,
		struct guest_memory *memory, struct dirty_log *log,
		struct inflight_queue inflight)
{
	int err;

	assert(!vq->is_started);
	take_config(vq, config);
	vq->memory = guest_memory_ref(memory);
	vq->log = log ? dirty_log_ref(log) : NULL;
	err = start_ring(vq, config, inflight);
	if (err) {
		virtq_release(vq);
		return err;
	}
	vq->is_started = true;
	virtq_kicks_on(vq);
	if (vq->is_packed ? packed_was_used(vq) : split_was_used(vq))
		doorbell_ring(&vq->call);
	return 0;
}

uint32_t virtq_stop(struct virtq *vq)
{
	uint32_t base = vq->is_packed ? packed_base(vq) : split_base(vq);

	virtq_release(vq);
	return base;
}

bool virtq_is_settled(const struct virtq *vq)
{
	return !vq->is_broken && vq->taken == 0 &&
	       vq->track.again_at == vq->track.again_count;
}

bool virtq_is_started(const struct virtq *vq)
{
	return vq->is_started;
}

uint16_t virtq_size(const struct virtq *vq)
{
	return vq->size;
}

int virtq_get(struct virtq *vq, struct virtq_chain *chain)
{
	if (unlikely(vq->is_broken))
		return VIRTQ_E_BROKEN;
	return vq->is_packed ? packed_get(vq, chain) : split_get(vq, chain);
}

void virtq_prefetch(struct virtq *vq, unsigned count, bool writes)
{
	if (unlikely(vq->is_broken))
		return;
	if (vq->is_packed)
		packed_prefetch(vq, count, writes);
	else
		split_prefetch(vq, count, writes);
}

void virtq_prefetch_ring(const struct virtq *vq)
{
	if (vq->is_packed)
		packed_prefetch_ring(vq);
	else
		split_prefetch_ring(vq);
}

void virtq_unget(struct virtq *vq, const struct virtq_chain *chains,
		 unsigned count)
{
	while (count-- > 0) {
		if (vq->is_packed)
			packed_unget(vq, &chains[count]);
		else
			split_unget(vq, &chains[count]);
		vq->taken--;
		vq->order--;
	}
}

/* Marks the first @written bytes of the device-writable segments. */
static __attribute__((noinline)) void
log_written(struct virtq *vq, const struct virtq_chain *chain, uint64_t written)
{
	const struct iovec *in = chain->iov + chain->out_count;

	for (unsigned i = 0; i < chain->in_count && written > 0; i++) {
		uint64_t bytes = MIN(written, in[i].iov_len);
		uint64_t gpa = guest_memory_gpa(vq->memory, in[i].iov_base);

		if (gpa != UINT64_MAX)
			dirty_log_mark(vq->log, gpa, bytes);
		written -= bytes;
	}
}

static inline void virtq_use(struct virtq *vq, const struct virtq_done *done)
{
	if (vq->is_packed)
		packed_use(vq, done);
	else
		split_use(vq, done->id, done->len, done->writable);
}

/*
 * Keeps the chain until all taken before it are put. At most as many chains
 * are out as the ring has entries, so that no two share a place.
 */
static void put_in_order(struct virtq *vq, uint32_t order,
			 const struct virtq_done *done)
{
	struct virtq_done *next = &vq->done[vq->done_next & vq->done_mask];

	vq->done[order & vq->done_mask] = *done;
	vq->done_waiting++;
	while (next->done) {
		next->done = false;
		vq->done_waiting--;
		virtq_use(vq, next);
		vq->done_next++;
		next = &vq->done[vq->done_next & vq->done_mask];
	}
}

/* Put before its turn, or there are others that wait for it. */
static __attribute__((noinline)) void
put_out_of_turn(struct virtq *vq, const struct virtq_chain *chain,
		uint32_t written)
{
	const struct virtq_done done = {
		.len = written,
		.id = chain->id,
		.descs = chain->descs,
		.slot = chain->slot,
		.writable = chain->writable,
		.done = true,
	};

	put_in_order(vq, chain->order, &done);
}

/* In order: it is its turn, and nobody waits for it. */
static inline bool is_in_turn(const struct virtq *vq,
			      const struct virtq_chain *chain)
{
	return chain->order == vq->done_next && vq->done_waiting == 0;
}

void virtq_put(struct virtq *vq, const struct virtq_chain *chain,
	       uint32_t written)
{
	if (unlikely(vq->log))
		log_written(vq, chain, written);
	if (vq->in_order) {
		if (unlikely(!is_in_turn(vq, chain))) {
			put_out_of_turn(vq, chain, written);
			return;
		}
		vq->done_next++;
	}
	if (vq->is_packed)
		packed_put(vq, chain, written);
	else
		split_use(vq, chain->id, written, chain->writable);
}

void virtq_flush(struct virtq *vq)
{
	if (vq->is_packed)
		packed_flush(vq);
	else
		split_flush(vq);
	virtq_check_memory(vq);
}

bool virtq_notify(struct virtq *vq)
{
	bool wanted;

	if (vq->unsignalled == 0)
		return false;
	/* Published before we look: virtio 1.2, 2.7.7.2 and 2.8.10. */
	full_barrier();
	wanted = vq->is_packed ? packed_wants_call(vq) : split_wants_call(vq);
	vq->unsignalled = 0;
	if (!wanted || vq->call.kind == DOORBELL_NONE)
		return false;
	doorbell_ring(&vq->call);
	return true;
}

bool virtq_kicks_on(struct virtq *vq)
{
	if (vq->is_packed)
		packed_kicks_on(vq);
	else
		split_kicks_on(vq);
	vq->kicks = true;
	/* Published before we look: virtio 1.2, 2.7.10 and 2.8.10. */
	full_barrier();
	return virtq_has_avail(vq);
}

void virtq_kicks_off(struct virtq *vq)
{
	if (!vq->kicks)
		return;
	vq->kicks = false;
	if (vq->is_packed)
		packed_kicks_off(vq);
	else
		split_kicks_off(vq);
}

/* Also true when memory was lost somewhere, for virtq_get to find out. */
bool virtq_has_avail(struct virtq *vq)
{
	if (vq->is_broken)
		return false;
	return vq->track.again_at != vq->track.again_count ||
	       sigbus_count() != vq->sigbus_seen ||
	       (vq->is_packed ? packed_has_avail(vq) : split_has_avail(vq));
}

unsigned virtq_in_flight(const struct virtq *vq)
{
	return vq->taken;
}
