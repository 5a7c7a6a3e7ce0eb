/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device side of one virtqueue, split or packed, over guest memory.
 * virtio 1.2, sections 2.6 to 2.8 and 2.7 (split), 2.8 (packed).
 *
 * Four verbs:
 *
 *	virtq_get	takes the next available chain: its descriptors are
 *			copied out, checked, translated to host segments
 *	virtq_put	gives a chain back as used; not yet visible
 *	virtq_flush	publishes everything put since, with one release store
 *	virtq_notify	interrupts the driver if it wants to be told
 *
 * Each descriptor is read once. Whatever a hostile driver writes, a call ends
 * within a bounded number of steps and never yields a segment outside guest
 * memory. A ring that breaks the rules is broken for good (VIRTQ_E_BROKEN from
 * then on, virtq_error says why) until it is started again; nothing else is
 * affected.
 *
 * A queue belongs to one thread at a time: the thread that serves it, between
 * virtq_start and virtq_stop by the control thread. No function takes a lock
 * or allocates, but virtq_start.
 */
#ifndef VHOST_VIRTQ_H
#define VHOST_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vhost/dirty-log.h"
#include "vhost/inflight.h"
#include "vhost/memory.h"

enum {
	VIRTQ_MAX_SIZE = 32768,
	/* Descriptors in one chain, the indirect ones included. */
	VIRTQ_MAX_CHAIN = 32768,
};

/* Named outcomes; see docs/style for the classes of error. */
enum virtq_outcome {
	VIRTQ_E_EMPTY = 1, /* no chain is available now */
	VIRTQ_E_BROKEN,	   /* the driver broke the ring: stop the device */
	VIRTQ_E_TOO_LONG,  /* the chain has more segments than the caller has
			    * room for; it was taken, with no segments, and is
			    * to be put back (the caller's choice of length) */
};

/*
 * What the control thread knows of a ring before it starts. Addresses are the
 * front-end's (uva), translated by virtq_start and not before.
 */
struct virtq_config {
	uint16_t size; /* descriptors; a power of two for a split ring */
	bool packed;
	bool event_idx;
	bool in_order;
	bool indirect;
	bool log_used;	    /* VHOST_VRING_F_LOG */
	uint64_t desc_uva;  /* split: descriptor table; packed: the ring */
	uint64_t avail_uva; /* split: avail; packed: driver event suppression */
	uint64_t used_uva;  /* split: used; packed: device event suppression */
	uint64_t log_gpa;   /* where writes to the used ring are logged */
	/*
	 * SET_VRING_BASE as on the wire. Split: avail index, 16 bits. Packed:
	 * bits 0-14 avail offset, 15 avail wrap counter, 16-30 used offset, 31
	 * used wrap counter.
	 */
	uint32_t base;
	int call_fd; /* borrowed; -1: do not interrupt */
	int err_fd;  /* borrowed; -1: none */
};

/* A chain that virtq_get handed out. @iov is the caller's array. */
struct virtq_chain {
	/* Set by the caller before virtq_get. */
	struct iovec *iov;
	unsigned iov_max;

	/* Set by virtq_get. Device-readable segments come first in @iov. */
	unsigned out_count;
	unsigned in_count;
	uint64_t out_bytes;
	uint64_t in_bytes;

	/* The queue's own. */
	uint16_t id;	/* split: head descriptor; packed: buffer id */
	uint16_t descs; /* ring entries that the chain takes */
	uint16_t slot;	/* packed: the entry of the in-flight region */
	bool recovered; /* taken up from the in-flight region */
	bool writable;	/* it has segments that the device may write */
	uint32_t order; /* position in the order of virtq_get */
};

/* A chain of one buffer, taken by virtq_get_singles. */
struct virtq_single {
	uint8_t *host; /* its first byte; no alignment is promised */
	uint32_t len;
	/* The queue's own. */
	uint16_t id;
	uint16_t slot;
};

struct virtq;

int virtq_new(struct virtq **ret_vq);
void virtq_free(struct virtq *vq); /* accepts NULL; stops it first */

/*
 * Starts the ring: translates its addresses with @memory (takes a reference),
 * checks alignment and size, and recovers what @inflight says was taken and
 * not given back: such chains come first out of virtq_get, in their old order.
 * @log may be NULL. A negative errno, or VIRTQ_E_BROKEN with virtq_error set
 * for what the front-end or the driver got wrong. Control thread.
 */
int virtq_start(struct virtq *vq, const struct virtq_config *config,
		struct guest_memory *memory, struct dirty_log *log,
		struct inflight_queue inflight);

/*
 * Stops the ring, drops references, and returns the base as the wire has it.
 * Every chain must have been put and flushed, or is left to the in-flight
 * region. Control thread, once the serving thread has let go.
 */
uint32_t virtq_stop(struct virtq *vq);

/* Nothing is in flight, nor to be handed out again; and the ring is whole. */
bool virtq_is_settled(const struct virtq *vq);

bool virtq_is_started(const struct virtq *vq);

/* The kind of ring and its size, for callers that size their pools. */
uint16_t virtq_size(const struct virtq *vq);

/*
 * Takes the next chain: 0, or VIRTQ_E_EMPTY, VIRTQ_E_BROKEN,
 * VIRTQ_E_TOO_LONG.
 */
int virtq_get(struct virtq *vq, struct virtq_chain *chain);

/*
 * Takes up to @count chains that have one buffer each, as most of a network device's
 * do, to be written to or, if not @writable, to be read: singles[0 … n-1], n returned.
 * Their first bytes are on their way into the cache. Ends before the first chain that
 * is anything else; virtq_get takes that one, or says why there is none. They are
 * given back by virtq_put_singles or virtq_unget_singles.
 */
unsigned virtq_get_singles(struct virtq *vq, struct virtq_single *singles,
			   unsigned count, bool writable);

/*
 * The first bytes of the next @count chains' buffers, as far as such chains are
 * there, are on their way into the cache: to be read, or written. A hint: nothing
 * is taken, checked or remembered.
 */
void virtq_prefetch(struct virtq *vq, unsigned count, bool writes);

/*
 * The same for the places where the driver announces its next chains, and for
 * those where they will be given back: what virtq_prefetch would wait for.
 */
void virtq_prefetch_ring(const struct virtq *vq);

/*
 * Undoes the virtq_get calls of the last @count chains, newest first and none
 * of them put. For a net device that finds its packet does not fit.
 */
void virtq_unget(struct virtq *vq, const struct virtq_chain *chains,
		 unsigned count);
void virtq_unget_singles(struct virtq *vq, const struct virtq_single *singles,
			 unsigned count);

/*
 * Gives @chain back with @written bytes written to its device-writable
 * segments (from their start; logged as dirty here). With in_order, chains may
 * be put in any order: they are published in the order of virtq_get.
 */
void virtq_put(struct virtq *vq, const struct virtq_chain *chain,
	       uint32_t written);

/*
 * The same for @count chains of virtq_get_singles, in the order in which they were
 * taken: of those that were to be written to, @written has the bytes of each; NULL
 * for those that were to be read. With in_order they must be the oldest that are out.
 */
void virtq_put_singles(struct virtq *vq, const struct virtq_single *singles,
		       const uint32_t *written, unsigned count);

/* Publishes all that was put. Cheap when there is nothing. */
void virtq_flush(struct virtq *vq);

/* Signals the call fd if the driver wants it. True if it did signal. */
bool virtq_notify(struct virtq *vq);

/*
 * Whether the driver is to kick. virtq_kicks_on publishes the wish and looks
 * at the ring again: true if chains became available meanwhile, in which case
 * no kick may come for them and the caller goes on polling. A started queue
 * begins with kicks on.
 */
bool virtq_kicks_on(struct virtq *vq);
void virtq_kicks_off(struct virtq *vq);

/* A cheap look: may virtq_get find something? */
bool virtq_has_avail(struct virtq *vq);

/* Chains taken and not yet given back. */
unsigned virtq_in_flight(const struct virtq *vq);

/* What broke the ring, as a sentence with the offending field; or NULL. */
const char *virtq_error(const struct virtq *vq);

/* Marks the ring broken from outside (memory lost) and signals err_fd. */
void virtq_break(struct virtq *vq, const char *why);

#endif
