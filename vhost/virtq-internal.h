/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a virtqueue: what vhost/virtq.c, the two layouts
 * (virtq-split.c, virtq-packed.c) and the two kinds of in-flight tracking
 * (inflight-split.c, inflight-packed.c) share.
 *
 * virtq.c has what does not depend on the layout: starting, breaking, the
 * order of completion, the dirty log. A layout has the functions split_* or
 * packed_*; they are called through a branch on is_packed, which a core
 * predicts, and not through a table.
 */
#ifndef VHOST_VIRTQ_INTERNAL_H
#define VHOST_VIRTQ_INTERNAL_H

#include <endian.h>
#include <linux/virtio_ring.h>

#include "base/barrier.h"
#include "base/prefetch.h"
#include "vhost/doorbell.h"
#include "vhost/inflight-layout.h"
#include "vhost/memory-internal.h"
#include "vhost/sigbus.h"
#include "vhost/virtq.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

enum {
	VIRTQ_ERROR_BYTES = 160,
	DESC_BYTES = 16,
};

/* A descriptor of either layout, copied. */
struct virtq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t link; /* split: next; packed: buffer id */
};

/* A chain that was put before its turn; see virtq_put. */
struct virtq_done {
	uint32_t len;
	uint16_t id;
	uint16_t descs;
	uint16_t slot;
	bool writable;
	bool done;
};

struct split_ring {
	const struct vring_desc *desc;
	const struct vring_avail *avail;
	struct vring_used *used;
	uint16_t mask;
	uint16_t avail_seen;	 /* the driver's index when last read */
	uint16_t avail_next;	 /* the next entry to take */
	uint16_t used_next;	 /* the next element to write */
	uint16_t used_published; /* as the driver sees it */
	uint16_t used_signalled; /* at the last virtq_notify */
	uint16_t avail_event;	 /* as published */
	/* In order: chains put last whose one element is, until now, this one. */
	bool run;
	uint16_t run_first;
};

struct packed_ring {
	struct vring_packed_desc *desc;
	const struct vring_packed_desc_event *driver_event;
	struct vring_packed_desc_event *device_event;
	uint64_t desc_gpa;
	uint16_t avail_next;
	uint16_t used_next;
	bool avail_wrap;
	bool used_wrap;
	uint16_t descs_taken;  /* ring entries not yet given back */
	uint16_t batch_count;  /* elements to be published, … */
	uint16_t batch_chains; /* … the chains that they give back, … */
	uint16_t batch_descs;  /* … their ring entries, … */
	bool batch_writable;   /* … and whether one of them has room */
	struct virtq_done *batch;
	uint32_t descs_unsignalled; /* published since virtq_notify looked */
};

/* Our own account of what the in-flight region says. */
struct virtq_track {
	union {
		struct inflight_split *split; /* NULL: not tracked */
		struct inflight_packed *packed;
	};
	const bool *lost;
	uint16_t entries; /* of the region: the ring's size, or more */
	uint64_t counter; /* of the next chain */
	uint16_t *batch;  /* split: heads to be published */
	uint16_t batch_count;
	uint16_t batch_last; /* split: the region's last_batch_head */
	uint8_t *taken; /* by head: in flight; packed: see free_list_read */
	/*
	 * Packed: by entry, the one after it, in the list of free ones, which
	 * ends with `entries`, or of a chain; of a chain's first entry, the
	 * last one and how many there are.
	 */
	uint16_t *next;
	uint16_t *last;
	uint16_t *num;
	uint16_t free_head;
	/* Chains to be handed out again, in their old order. */
	uint16_t *again;
	uint16_t again_at;
	uint16_t again_count;
};

struct virtq {
	bool is_packed;
	bool event_idx;
	bool in_order;
	bool indirect;
	bool is_broken;
	bool is_started;
	bool log_used;
	bool kicks;
	uint16_t size;
	unsigned hint; /* of guest_memory_iov */
	unsigned table_hint;
	unsigned taken; /* chains not yet published */
	uint32_t order; /* of the next chain */
	struct guest_memory *memory;
	struct dirty_log *log;
	union {
		struct split_ring split;
		struct packed_ring packed;
	};
	unsigned sigbus_seen;
	unsigned unsignalled; /* chains published since virtq_notify looked */
	bool signalled_valid; /* used_signalled holds */

	/* In-order: chains put before an older one, by order & done_mask. */
	struct virtq_done *done;
	uint32_t done_mask;
	uint32_t done_next;
	uint32_t done_waiting; /* how many */

	struct virtq_track track;
	uint64_t log_gpa;
	struct doorbell call;
	struct doorbell err;
	char error[VIRTQ_ERROR_BYTES];
};

/*
 * Breaks the ring, for the reason given. virtq_fail is an expression of value
 * VIRTQ_E_BROKEN, to be returned, which the compiler knows not to be 0.
 */
void virtq_set_broken(struct virtq *vq, const char *format, ...)
	__attribute__((format(printf, 2, 3), cold, noinline));
#define virtq_fail(vq, ...) (virtq_set_broken(vq, __VA_ARGS__), VIRTQ_E_BROKEN)

/* True, and the ring is broken, if memory that it uses was truncated. */
bool virtq_memory_lost(struct virtq *vq) __attribute__((cold, noinline));

static inline bool virtq_check_memory(struct virtq *vq)
{
	return unlikely(sigbus_count() != vq->sigbus_seen) &&
	       virtq_memory_lost(vq);
}

/* Marks bytes of the used ring as dirty. */
static inline void virtq_log_used(struct virtq *vq, uint64_t offset,
				  uint64_t length)
{
	if (unlikely(vq->log && vq->log_used))
		dirty_log_mark(vq->log, vq->log_gpa + offset, length);
}

/*
 * One 64-bit word of a descriptor: exactly one load, at any alignment (an
 * indirect table may lie anywhere).
 */
struct unaligned_word {
	uint64_t word;
} __attribute__((packed, may_alias));

static inline uint64_t word_read(const void *p)
{
	return le64toh(((const volatile struct unaligned_word *)p)->word);
}

static inline struct virtq_desc split_desc_read(const void *p)
{
	uint64_t rest = word_read((const uint8_t *)p + 8);

	return (struct virtq_desc){
		.addr = word_read(p),
		.len = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 32),
		.link = (uint16_t)(rest >> 48),
	};
}

static inline struct virtq_desc packed_desc_read(const void *p)
{
	uint64_t rest = word_read((const uint8_t *)p + 8);

	return (struct virtq_desc){
		.addr = word_read(p),
		.len = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 48),
		.link = (uint16_t)(rest >> 32),
	};
}

/*
 * A chain while its descriptors are being added. The common descriptor, whose
 * buffer lies in the region of the one before, goes through walk_hit, with all
 * of this in registers; the first one that is different, and what follows, goes
 * through walk_add on a copy.
 */
struct virtq_walk {
	struct iovec *iov;
	unsigned max;
	unsigned count;
	uint64_t bytes;
	unsigned out_count; /* with saw_write: before the first writable */
	uint64_t out_bytes; /* likewise */
	bool saw_write;
	bool too_long;
};

static inline struct virtq_walk walk_begin(const struct virtq_chain *chain)
{
	return (struct virtq_walk){.iov = chain->iov, .max = chain->iov_max};
}

/* One of the first few regions, which is where all buffers of most guests lie. */
const struct memory_region *walk_find_other(struct virtq *vq, uint64_t addr);

/*
 * The region that @addr lies in: the one of the buffer before, or one of the first
 * few. A guest with memory below and above a hole has its buffers in both, in turn.
 * NULL: not there.
 */
static inline const struct memory_region *walk_find(struct virtq *vq,
						    uint64_t addr)
{
	const struct guest_memory *memory = vq->memory;
	const struct memory_region *region = &memory->regions[vq->hint];

	if (likely(vq->hint < memory->count &&
		   addr - region->gpa < region->size_bytes))
		return region;
	return walk_find_other(vq, addr);
}

/* The same as a copy, for a chain that begins at @addr; an empty one if none. */
static inline struct memory_region walk_region(struct virtq *vq, uint64_t addr)
{
	const struct memory_region *region = walk_find(vq, addr);

	return region ? *region : (struct memory_region){0};
}

/*
 * What lies at @addr is wanted soon: the line there, and the next one. Whatever the
 * driver says, nothing is touched.
 */
static inline void lines_prefetch(const uint8_t *host, bool writes)
{
	if (writes) {
		prefetch_write(host);
		prefetch_write(host + PREFETCH_LINE);
	} else {
		prefetch_read(host);
		prefetch_read(host + PREFETCH_LINE);
	}
}

static inline void walk_prefetch(struct virtq *vq, uint64_t addr, bool writes)
{
	const struct memory_region *region = walk_find(vq, addr);

	if (likely(region))
		lines_prefetch(region->host + (addr - region->gpa), writes);
}

static inline void walk_see_write(struct virtq_walk *walk)
{
	if (walk->saw_write)
		return;
	walk->saw_write = true;
	walk->out_count = walk->count;
	walk->out_bytes = walk->bytes;
}

/* False, and nothing is done, if the descriptor is anything but common. */
static inline __attribute__((always_inline)) bool
walk_hit(struct virtq_walk *walk, const struct memory_region *region,
	 uint64_t addr, uint32_t len, uint16_t flags)
{
	uint64_t offset = addr - region->gpa;

	/* A length of 0 becomes the largest of all. */
	if (unlikely(flags & VRING_DESC_F_INDIRECT ||
		     offset >= region->size_bytes ||
		     (uint64_t)len - 1 >= region->size_bytes - offset ||
		     walk->count >= walk->max))
		return false;
	if (flags & VRING_DESC_F_WRITE)
		walk_see_write(walk);
	else if (unlikely(walk->saw_write))
		return false;
	walk->iov[walk->count].iov_base = region->host + offset;
	walk->iov[walk->count].iov_len = len;
	walk->count++;
	walk->bytes += len;
	return true;
}

/*
 * Where the buffer lies, if it is in one region and not empty; else NULL. @region is
 * a copy of the one that the buffer before lay in, or empty.
 */
static inline __attribute__((always_inline)) uint8_t *
walk_host(struct virtq *vq, struct memory_region *region, uint64_t addr,
	  uint32_t len)
{
	uint64_t offset = addr - region->gpa;

	if (unlikely(offset >= region->size_bytes)) {
		*region = walk_region(vq, addr);
		offset = addr - region->gpa;
	}
	if (unlikely(offset >= region->size_bytes))
		return NULL;
	/* A length of 0 becomes the largest of all. */
	if (unlikely((uint64_t)len - 1 >= region->size_bytes - offset))
		return NULL;
	return region->host + offset;
}

/*
 * The most common chain of all, one buffer in one region, without a walk. False,
 * and nothing is done, for any other.
 */
static inline __attribute__((always_inline)) bool
walk_single(struct virtq *vq, struct virtq_desc desc, struct virtq_chain *chain)
{
	const bool writes = desc.flags & VRING_DESC_F_WRITE;
	struct memory_region region = {0};
	uint8_t *host;

	if (unlikely(desc.flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT) ||
		     chain->iov_max == 0))
		return false;
	host = walk_host(vq, &region, desc.addr, desc.len);
	if (unlikely(!host))
		return false;
	chain->iov->iov_base = host;
	chain->iov->iov_len = desc.len;
	chain->writable = writes;
	chain->out_count = !writes;
	chain->in_count = writes;
	chain->out_bytes = writes ? 0 : desc.len;
	chain->in_bytes = writes ? desc.len : 0;
	return true;
}

/*
 * Adds any descriptor, an indirect one with its table. @before: descriptors
 * that the chain has already. virtio 1.2, 2.7.4.2: what the device reads comes
 * before what it writes.
 */
int walk_add(struct virtq *vq, struct virtq_walk *walk, struct virtq_desc desc,
	     unsigned before) __attribute__((noinline));

/* virtio 1.2, 2.7.5: a chain is at most 2^32 bytes long in total. */
static inline __attribute__((always_inline)) int
walk_end(struct virtq *vq, struct virtq_walk *walk, struct virtq_chain *chain)
{
	if (unlikely(walk->bytes > UINT32_MAX))
		return virtq_fail(vq, "a chain is longer than 32 bits can say");
	chain->writable = walk->saw_write;
	if (unlikely(walk->too_long)) {
		chain->out_count = 0;
		chain->in_count = 0;
		chain->out_bytes = 0;
		chain->in_bytes = 0;
		return VIRTQ_E_TOO_LONG;
	}
	walk_see_write(walk);
	chain->out_count = walk->out_count;
	chain->in_count = walk->count - walk->out_count;
	chain->out_bytes = walk->out_bytes;
	chain->in_bytes = walk->bytes - walk->out_bytes;
	return 0;
}

/* Moves a packed ring's @slot on by @count, at most one lap. */
static inline void packed_advance(const struct virtq *vq, uint16_t *slot,
				  bool *wrap, unsigned count)
{
	unsigned to = *slot + count;

	if (to >= vq->size) {
		to -= vq->size;
		*wrap = !*wrap;
	}
	*slot = (uint16_t)to;
}

/* And back. */
static inline void packed_step_back(const struct virtq *vq, uint16_t *slot,
				    bool *wrap, unsigned count)
{
	if (count > *slot) {
		*slot = (uint16_t)(*slot + vq->size - count);
		*wrap = !*wrap;
	} else {
		*slot = (uint16_t)(*slot - count);
	}
}

/*
 * The descriptor in @slot. Its flags come in the same load as its length and
 * id; the address is read after them, which pairs with the driver's release of
 * the flags (2.8.21).
 */
static inline struct virtq_desc packed_slot_read(const struct packed_ring *ring,
						 uint16_t slot)
{
	const uint8_t *p = (const uint8_t *)&ring->desc[slot];
	uint64_t rest = word_read(p + offsetof(struct vring_packed_desc, len));

	acquire_barrier();
	return (struct virtq_desc){
		.addr = word_read(p),
		.len = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 48),
		.link = (uint16_t)(rest >> 32),
	};
}

/*
 * The host address of a part of the ring, or NULL, and the ring is broken, if
 * it is not in one piece or not aligned (virtio 1.2, 2.7 and 2.8).
 */
void *virtq_ring_part(struct virtq *vq, uint64_t uva, uint64_t length,
		      uint64_t align, const char *name);

int split_start(struct virtq *vq, const struct virtq_config *config);
uint32_t split_base(const struct virtq *vq);
int split_get(struct virtq *vq, struct virtq_chain *chain);
void split_prefetch_ring(const struct virtq *vq);
int split_refresh(struct virtq *vq); /* reads the driver's index */
void split_prefetch_used(const struct split_ring *ring, unsigned count);
void split_prefetch(struct virtq *vq, unsigned count, bool writes);
void split_unget(struct virtq *vq, const struct virtq_chain *chain);
void split_flush(struct virtq *vq);
bool split_was_used(const struct virtq *vq);
bool split_wants_call(struct virtq *vq);
void split_kicks_on(struct virtq *vq);
void split_kicks_off(struct virtq *vq);
bool split_has_avail(struct virtq *vq);

int packed_start(struct virtq *vq, const struct virtq_config *config);
void packed_release(struct virtq *vq);
void packed_scrub(struct virtq *vq);
uint32_t packed_base(const struct virtq *vq);
int packed_get(struct virtq *vq, struct virtq_chain *chain);
void packed_prefetch_ring(const struct virtq *vq);
void packed_prefetch(struct virtq *vq, unsigned count, bool writes);
void packed_unget(struct virtq *vq, const struct virtq_chain *chain);
void packed_flush(struct virtq *vq);
bool packed_was_used(const struct virtq *vq);
bool packed_wants_call(struct virtq *vq);
void packed_kicks_on(struct virtq *vq);
void packed_kicks_off(struct virtq *vq);
bool packed_has_avail(struct virtq *vq);

enum {
	DESC_AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	DESC_USED = 1 << VRING_PACKED_DESC_F_USED,
};

/* The ownership bits of a slot that the driver made available (2.8.1). */
static inline uint16_t packed_avail_bits(bool wrap)
{
	return wrap ? DESC_AVAIL : DESC_USED;
}

static inline bool packed_is_avail(uint16_t flags, bool wrap)
{
	return (flags & (DESC_AVAIL | DESC_USED)) == packed_avail_bits(wrap);
}

/*
 * Writes a used element, which is seen when the index is published. In order, one
 * that names the last of several chains, at the place of the first one, stands for
 * all of them; what could be written in those before counts as full then, so that
 * there must be nothing (virtio 1.2, 2.7.9).
 */
static inline void split_use(struct virtq *vq, uint16_t head, uint32_t len,
			     bool writable)
{
	struct split_ring *ring = &vq->split;
	struct vring_used_elem *elem;

	if (!vq->in_order || writable) {
		ring->run = false;
	} else if (!ring->run) {
		ring->run = true;
		ring->run_first = ring->used_next;
	}
	elem = &ring->used
			->ring[(ring->run ? ring->run_first : ring->used_next) &
			       ring->mask];
	elem->id = htole32(head);
	elem->len = htole32(len);
	ring->used_next++;
	if (vq->track.split)
		vq->track.batch[vq->track.batch_count++] = head;
}

/* Keeps a used element until packed_flush. */
static inline void packed_use(struct virtq *vq, const struct virtq_done *done)
{
	struct packed_ring *ring = &vq->packed;

	ring->batch_chains++;
	ring->batch_descs += done->descs;
	ring->batch_writable |= done->writable;
	ring->batch[ring->batch_count++] = *done;
}

/*
 * The same of a chain, without a copy in between. By field: virtq_get has just
 * stored them one by one, and for a load of several at once a core waits until
 * those stores, and all before them, are in the cache.
 */
static inline void packed_put(struct virtq *vq, const struct virtq_chain *chain,
			      uint32_t written)
{
	struct packed_ring *ring = &vq->packed;
	struct virtq_done *done = &ring->batch[ring->batch_count++];
	const uint16_t descs = load_once(&chain->descs);

	ring->batch_chains++;
	ring->batch_descs += descs;
	ring->batch_writable |= load_once(&chain->writable);
	done->len = written;
	done->id = load_once(&chain->id);
	done->descs = descs;
	done->slot = load_once(&chain->slot);
}

/*
 * Reads back a region, finishes what a crash interrupted, and fills track.
 * VIRTQ_E_BROKEN if it lies. split: sets avail_next, from what was taken.
 */
int split_track_start(struct virtq *vq, struct inflight_queue queue);
int split_track_take(struct virtq *vq, uint16_t head);
void split_track_untake(struct virtq *vq, uint16_t head);
void split_track_before(struct virtq *vq); /* the index is published */
void split_track_after(struct virtq *vq);

int packed_track_start(struct virtq *vq, struct inflight_queue queue);
/* Copies a descriptor to the entry after @entry, or to the first free one. */
uint16_t packed_track_desc(struct virtq *vq, uint16_t entry,
			   const struct virtq_desc *desc, bool first);
struct virtq_desc packed_track_read(const struct virtq *vq, uint16_t entry);
/* The chain whose copies end with entry @last is taken; sets its slot. */
void packed_track_take(struct virtq *vq, uint16_t last,
		       struct virtq_chain *chain);
void packed_track_untake(struct virtq *vq, const struct virtq_chain *chain);
/* used_next is where it will be; it was @old_used_next in the lap @old_wrap. */
void packed_track_before(struct virtq *vq, uint16_t old_used_next,
			 bool old_wrap);
void packed_track_after(struct virtq *vq);

/* What both kinds of tracking share. */
struct track_order {
	uint64_t counter;
	uint16_t entry;
};
int track_alloc(struct virtq *vq, struct inflight_queue queue);
void track_free(struct virtq_track *track);
int track_check_header(struct virtq *vq, uint64_t features, uint16_t version,
		       uint16_t desc_num);
/* Puts @order's again_count entries into track.again, oldest first. */
int track_again(struct virtq *vq, struct track_order *order);

#endif
