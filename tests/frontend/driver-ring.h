/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver side of one virtqueue, split or packed (virtio 1.2, 2.7 and 2.8).
 *
 *	driver_ring_add		describes a chain of buffers; not yet visible
 *	driver_ring_publish	makes all that was added visible, in one store
 *	driver_ring_kick	tells the device, if it wants to be told
 *	driver_ring_pop		takes back the next used chain
 *
 * Chains are known by a token of the caller's. What the device writes is not
 * trusted: an id that is not out there is -EPROTO.
 *
 * The structure is open for two reasons: a load generator looks at it without
 * a call, and a test of a device breaks the ring by hand. Fields are shared
 * memory only behind the pointers; all else is private.
 *
 * Needs no front-end: a test of the device side may give it the addresses and
 * eventfds itself. One thread for each ring.
 */
#ifndef TESTS_FRONTEND_DRIVER_RING_H
#define TESTS_FRONTEND_DRIVER_RING_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/frontend/ram.h"

/* The shared structures are little-endian and accessed as they are. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian host");

struct driver_ring_config {
	uint16_t size; /* a power of two for a split ring */
	bool packed;
	bool event_idx;
	bool in_order;
	/* Chains of two buffers or more go into a table of their own, … */
	bool indirect;
	/* … of at most so many; longer ones go into the ring. 0: 16. */
	uint16_t indirect_max;
	/* Each part that the device writes begins a page; of a split ring's, the
	 * first used element. */
	bool pages_apart;
};

struct driver_buffer {
	uint64_t gpa;
	uint32_t length;
	bool device_writes;
};

/* A chain in flight, by its head (split) or buffer id (packed). */
struct driver_slot {
	void *token;
	uint16_t descs; /* ring entries; 0: free */
	uint16_t next_free;
	uint32_t writable_bytes;
};

struct driver_ring {
	struct driver_ring_config config;
	struct ram *ram;
	uint64_t desc_gpa;  /* split: table; packed: the ring */
	uint64_t avail_gpa; /* split: avail; packed: driver event suppression */
	uint64_t used_gpa;  /* split: used; packed: device event suppression */
	uint64_t tables_gpa; /* indirect tables, one for each slot */
	int kick_fd;
	int call_fd;
	int err_fd;

	/* Split. */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t *desc_next; /* private links of free and used descriptors */
	uint16_t free_desc;  /* the first free one, and the last */
	uint16_t free_last;

	/* Packed. */
	struct vring_packed_desc *packed;
	struct vring_packed_desc_event *driver_event;
	struct vring_packed_desc_event *device_event;
	bool avail_wrap;
	bool used_wrap;
	/* The first head not yet published; its flags are held back. */
	bool held;
	uint16_t held_at;
	uint16_t held_flags;

	/* Both. Split: free running; packed: positions in the ring. */
	uint16_t avail_next;
	uint16_t used_next;
	uint16_t published; /* split: avail_next as the device sees it */
	/* Since the last kick: chains (split) or descriptors (packed). */
	uint32_t unkicked;
	uint16_t free_descs;
	uint16_t free_slot;
	bool calls;
	uint64_t kicks;	      /* how many were sent, … */
	uint64_t kicks_saved; /* … and how many publishes needed none */

	/* In order: ids in the order of driver_ring_add. */
	uint16_t *order;
	uint32_t order_head;
	uint32_t order_tail;
	/* A batch given back by one used element: chains left, last length. */
	bool batch;
	uint16_t batch_last;
	uint32_t batch_length;

	struct driver_slot slots[];
};

/*
 * Lays the ring out in @ram and makes its eventfds. A new ring has calls on.
 * -EINVAL for a size that the layout cannot have, -ENOMEM.
 */
int driver_ring_new(struct ram *ram, const struct driver_ring_config *config,
		    struct driver_ring **ret_ring);

/* Accepts NULL. The memory stays allocated in @ram. */
void driver_ring_free(struct driver_ring *ring);

/* Back to the first state, nothing in flight, the same memory and fds. */
void driver_ring_reset(struct driver_ring *ring);

/*
 * Adds a chain, device-readable buffers first. -ENOSPC if the ring has no room
 * for it now, -EINVAL for none. @token comes back from driver_ring_pop.
 */
int driver_ring_add(struct driver_ring *ring,
		    const struct driver_buffer *buffers, unsigned count,
		    void *token);

/*
 * Adds a chain whose indirect table of @count entries the caller has made at
 * @table_gpa (driver_ring_table): one descriptor is written, nothing else.
 */
int driver_ring_add_table(struct driver_ring *ring, uint64_t table_gpa,
			  uint16_t count, uint32_t writable_bytes, void *token);

/* Writes an indirect table, of the ring's kind, at @table. */
void driver_ring_table(const struct driver_ring *ring, void *table,
		       const struct driver_buffer *buffers, unsigned count);

void driver_ring_publish(struct driver_ring *ring);

/* True if the device, as it says now, wants to hear of what was published. */
bool driver_ring_wants_kick(struct driver_ring *ring);

/* Writes to the kick fd if wanted, or always. True if it did. */
bool driver_ring_kick(struct driver_ring *ring);
void driver_ring_kick_always(struct driver_ring *ring);

/* A look at the ring: would driver_ring_pop find something? */
bool driver_ring_has_used(const struct driver_ring *ring);

/*
 * Takes the next used chain: 1, or 0 if there is none, or -EPROTO if what the
 * device wrote cannot be. In order, a chain that the device skipped counts as
 * written in full. Outputs may be NULL.
 */
int driver_ring_pop(struct driver_ring *ring, void **ret_token,
		    uint32_t *ret_written);

/*
 * Asks for an interrupt at the next used chain; true if one is there already,
 * for which no interrupt may come.
 */
bool driver_ring_calls_on(struct driver_ring *ring);
void driver_ring_calls_off(struct driver_ring *ring);

/*
 * Waits until a chain is used: by the call fd, or with @poll by looking only.
 * 0 or -ETIMEDOUT.
 */
int driver_ring_wait(struct driver_ring *ring, bool poll, int timeout_ms);

/* Chains added and not popped. */
unsigned driver_ring_in_flight(const struct driver_ring *ring);

/*
 * SET_VRING_BASE for a ring of which the device shall go on with what has not
 * been given back, as a front-end sends it that lost its back-end: the used
 * index (split); the used position in both halves (packed).
 */
uint32_t driver_ring_base(const struct driver_ring *ring);

/* The same for a ring that was never used: 0, or both wrap counters set. */
uint32_t driver_ring_first_base(bool packed);

#endif
