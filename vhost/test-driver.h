/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of virtqueues: a guest whose memory is a file that the driver
 * side maps at one address and the device side, in two regions, at others;
 * and the driver's side of both kinds of ring.
 */
#ifndef VHOST_TEST_DRIVER_H
#define VHOST_TEST_DRIVER_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/cmocka.h"
#include "vhost/virtq.h"

enum {
	GUEST_REGION_BYTES = 2 * 1024 * 1024,
	GUEST_GPA = 0x10000000,
	/* The regions meet here. */
	GUEST_SEAM_GPA = GUEST_GPA + GUEST_REGION_BYTES,
	GUEST_DESC_GPA = GUEST_GPA,
	GUEST_AVAIL_GPA = GUEST_GPA + 0x80000,
	GUEST_USED_GPA = GUEST_GPA + 0xa0000,
	GUEST_DATA_GPA = GUEST_GPA + 0x100000,
};

struct guest {
	int fd;
	uint8_t *bytes; /* the driver's mapping of the whole file */
	struct guest_memory *memory;
};

void guest_init(struct guest *guest);
void guest_deinit(struct guest *guest);
void *guest_at(const struct guest *guest, uint64_t gpa);
uint64_t guest_uva(uint64_t gpa);
/* Where the device sees @gpa. */
void *guest_device_at(const struct guest *guest, uint64_t gpa);

struct buffer {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

struct driver {
	struct guest *guest;
	bool packed;
	uint16_t size;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_packed_desc *ring;
	struct vring_packed_desc_event *driver_event;
	struct vring_packed_desc_event *device_event;
	uint16_t avail_next; /* split: index; packed: slot */
	uint16_t used_next;
	bool avail_wrap;
	bool used_wrap;
	unsigned free_count;
	uint16_t free[VIRTQ_MAX_SIZE]; /* descriptors; packed: ids */
	unsigned free_ids;
	uint16_t next[VIRTQ_MAX_SIZE];
	uint16_t length[VIRTQ_MAX_SIZE];
};

void driver_init(struct driver *driver, struct guest *guest, bool packed,
		 uint16_t size);
/* A configuration for the device's side of the ring as it is now. */
struct virtq_config driver_config(const struct driver *driver);

/* Makes a chain available; its id, or -1 if there is no room. */
int driver_add(struct driver *driver, const struct buffer *buffers,
	       unsigned count);
/* The same through a table at @table_gpa. */
int driver_add_indirect(struct driver *driver, const struct buffer *buffers,
			unsigned count, uint64_t table_gpa);
/* One direct descriptor, taken as it is; split: it becomes the head. */
int driver_add_raw(struct driver *driver, uint64_t gpa, uint32_t len,
		   uint16_t flags);

/* Takes back a used chain: its id, or -1 if there is none. */
int driver_used(struct driver *driver, uint32_t *ret_len);
/*
 * In order: takes back those of the @count oldest chains, whose ids are @ids, that
 * the next element stands for; how many they are, 0 if there is no element.
 */
unsigned driver_used_in_order(struct driver *driver, const int *ids,
			      unsigned count, uint32_t *ret_len);

/* A guest, a driver, and the device on its ring. */
struct ring_test {
	struct guest guest;
	struct driver driver;
	struct virtq *vq;
	struct iovec iov[64];
	bool packed;
};

/* A cmocka fixture: *state is NULL for a split ring before the setup. */
int ring_setup(void **state);
int ring_teardown(void **state);

/* Makes a new ring of @size, and starts the device on it. */
void ring_start(struct ring_test *f, uint16_t size);
void ring_start_with(struct ring_test *f, const struct virtq_config *config);
int ring_get(struct ring_test *f, struct virtq_chain *chain);

/* Two guests, for what goes from one to the other; *@state of a fixture says the
 * kind of their rings, as for ring_setup. */
struct ring_pair {
	struct ring_test *from, *to;
};

void ring_pair_setup(struct ring_pair *pair, void *kind, uint16_t size);
void ring_pair_teardown(struct ring_pair *pair);

/* The next virtq_get finds the ring broken, for a reason with @word in it. */
void expect_broken(struct ring_test *f, const char *word);

/* Header, data, status. */
extern const struct buffer blk_request[3];

#define ON_RING_WITH(test, kind, state, setup, teardown)        \
	{                                                       \
		.name = #test " (" kind ")", .test_func = test, \
		.setup_func = setup, .teardown_func = teardown, \
		.initial_state = (void *)state,                 \
	}
#define ON_BOTH_WITH(test, setup, teardown)                 \
	ON_RING_WITH(test, "split", NULL, setup, teardown), \
		ON_RING_WITH(test, "packed", "packed", setup, teardown)

#define ON_RING(test, kind, state) \
	ON_RING_WITH(test, kind, state, ring_setup, ring_teardown)
#define ON_SPLIT(test)	ON_RING(test, "split", NULL)
#define ON_PACKED(test) ON_RING(test, "packed", "packed")
#define ON_BOTH(test)	ON_SPLIT(test), ON_PACKED(test)

#endif
