/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/test-driver.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"

#define UVA_BASE UINT64_C(0x550000000000)

enum {
	DESC_AVAIL = 1 << VRING_PACKED_DESC_F_AVAIL,
	DESC_USED = 1 << VRING_PACKED_DESC_F_USED,
};

uint64_t guest_uva(uint64_t gpa)
{
	/* The upper region is not next to the lower one for the front-end. */
	return UVA_BASE + gpa + (gpa >= GUEST_SEAM_GPA ? 0x40000000 : 0);
}

void guest_init(struct guest *guest)
{
	struct guest_region_spec specs[2];

	guest->fd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(guest->fd >= 0);
	assert_int_equal(ftruncate(guest->fd, 2 * GUEST_REGION_BYTES), 0);
	guest->bytes = mmap(NULL, 2 * GUEST_REGION_BYTES,
			    PROT_READ | PROT_WRITE, MAP_SHARED, guest->fd, 0);
	assert_ptr_not_equal(guest->bytes, MAP_FAILED);
	/* In the file the upper region comes first. */
	for (unsigned i = 0; i < 2; i++) {
		uint64_t gpa = GUEST_GPA + i * GUEST_REGION_BYTES;

		specs[i] = (struct guest_region_spec){
			.gpa = gpa,
			.size_bytes = GUEST_REGION_BYTES,
			.uva = guest_uva(gpa),
			.mmap_offset = (1 - i) * GUEST_REGION_BYTES,
			.fd = guest->fd,
		};
	}
	assert_int_equal(guest_memory_new(specs, 2, &guest->memory), 0);
}

void guest_deinit(struct guest *guest)
{
	guest_memory_unref(guest->memory);
	munmap(guest->bytes, 2 * GUEST_REGION_BYTES);
	close(guest->fd);
}

void *guest_at(const struct guest *guest, uint64_t gpa)
{
	uint64_t offset = gpa - GUEST_GPA;

	if (gpa >= GUEST_SEAM_GPA)
		return guest->bytes + offset - GUEST_REGION_BYTES;
	return guest->bytes + offset + GUEST_REGION_BYTES;
}

void *guest_device_at(const struct guest *guest, uint64_t gpa)
{
	struct iovec iov;
	unsigned hint = 0;

	assert_int_equal(
		guest_memory_iov(guest->memory, gpa, 1, &iov, 1, &hint), 1);
	return iov.iov_base;
}

void driver_init(struct driver *driver, struct guest *guest, bool packed,
		 uint16_t size)
{
	memset(driver, 0, sizeof(*driver));
	memset(guest->bytes, 0, 2 * GUEST_REGION_BYTES);
	driver->guest = guest;
	driver->packed = packed;
	driver->size = size;
	driver->desc = guest_at(guest, GUEST_DESC_GPA);
	driver->avail = guest_at(guest, GUEST_AVAIL_GPA);
	driver->used = guest_at(guest, GUEST_USED_GPA);
	driver->ring = guest_at(guest, GUEST_DESC_GPA);
	driver->driver_event = guest_at(guest, GUEST_AVAIL_GPA);
	driver->device_event = guest_at(guest, GUEST_USED_GPA);
	driver->avail_wrap = true;
	driver->used_wrap = true;
	driver->free_count = size;
	driver->free_ids = size;
	for (unsigned i = 0; i < size; i++)
		driver->free[i] = (uint16_t)(size - 1 - i);
}

struct virtq_config driver_config(const struct driver *driver)
{
	return (struct virtq_config){
		.size = driver->size,
		.packed = driver->packed,
		.indirect = true,
		.desc_uva = guest_uva(GUEST_DESC_GPA),
		.avail_uva = guest_uva(GUEST_AVAIL_GPA),
		.used_uva = guest_uva(GUEST_USED_GPA),
		.log_gpa = GUEST_USED_GPA,
		.base = driver->packed ? 0x80008000 : 0,
		.call_fd = -1,
		.err_fd = -1,
	};
}

static int split_add(struct driver *driver, const struct vring_desc *descs,
		     unsigned count)
{
	uint16_t head = 0;

	for (unsigned i = count; i-- > 0;) {
		uint16_t at = driver->free[--driver->free_count];

		driver->desc[at] = descs[i];
		driver->desc[at].next = head;
		driver->next[at] = head;
		head = at;
	}
	driver->length[head] = (uint16_t)count;
	driver->avail->ring[driver->avail_next % driver->size] = head;
	driver->avail_next++;
	store_release(&driver->avail->idx, driver->avail_next);
	return head;
}

static int packed_add(struct driver *driver, const struct vring_desc *descs,
		      unsigned count)
{
	struct vring_packed_desc *first = &driver->ring[driver->avail_next];
	uint16_t id = driver->free[--driver->free_ids];
	uint16_t first_flags = 0;

	for (unsigned i = 0; i < count; i++) {
		struct vring_packed_desc *to =
			&driver->ring[driver->avail_next];
		uint16_t flags = descs[i].flags;

		flags |= driver->avail_wrap ? DESC_AVAIL : DESC_USED;
		to->addr = descs[i].addr;
		to->len = descs[i].len;
		to->id = id;
		if (i == 0)
			first_flags = flags;
		else
			to->flags = flags;
		if (++driver->avail_next == driver->size) {
			driver->avail_next = 0;
			driver->avail_wrap = !driver->avail_wrap;
		}
	}
	driver->free_count -= count;
	driver->length[id] = (uint16_t)count;
	store_release(&first->flags, first_flags);
	return id;
}

static int driver_add_descs(struct driver *driver,
			    const struct vring_desc *descs, unsigned count)
{
	if (driver->free_count < count)
		return -1;
	return driver->packed ? packed_add(driver, descs, count)
			      : split_add(driver, descs, count);
}

static struct vring_desc desc_of(const struct buffer *buffer, bool more)
{
	return (struct vring_desc){
		.addr = buffer->gpa,
		.len = buffer->len,
		.flags = (buffer->write ? VRING_DESC_F_WRITE : 0) |
			 (more ? VRING_DESC_F_NEXT : 0),
	};
}

int driver_add(struct driver *driver, const struct buffer *buffers,
	       unsigned count)
{
	static struct vring_desc descs[VIRTQ_MAX_SIZE];

	for (unsigned i = 0; i < count; i++)
		descs[i] = desc_of(&buffers[i], i + 1 < count);
	return driver_add_descs(driver, descs, count);
}

/* Byte by byte, since the table may lie across the seam. */
static void guest_write(struct guest *guest, uint64_t gpa, const void *from,
			size_t length)
{
	for (size_t i = 0; i < length; i++)
		*(uint8_t *)guest_at(guest, gpa + i) =
			((const uint8_t *)from)[i];
}

int driver_add_indirect(struct driver *driver, const struct buffer *buffers,
			unsigned count, uint64_t table_gpa)
{
	for (unsigned i = 0; i < count; i++) {
		struct vring_desc desc = desc_of(&buffers[i], i + 1 < count);
		struct vring_packed_desc packed = {
			.addr = desc.addr,
			.len = desc.len,
			.flags = desc.flags & VRING_DESC_F_WRITE,
		};

		desc.next = (uint16_t)(i + 1);
		guest_write(driver->guest, table_gpa + i * sizeof(desc),
			    driver->packed ? (void *)&packed : (void *)&desc,
			    sizeof(desc));
	}
	return driver_add_raw(driver, table_gpa, count * 16,
			      VRING_DESC_F_INDIRECT);
}

int driver_add_raw(struct driver *driver, uint64_t gpa, uint32_t len,
		   uint16_t flags)
{
	struct vring_desc desc = {.addr = gpa, .len = len, .flags = flags};

	return driver_add_descs(driver, &desc, 1);
}

/* What the next element says: an id, or -1. */
static int split_peek(const struct driver *driver, uint32_t *ret_len)
{
	const struct vring_used_elem *elem =
		&driver->used->ring[driver->used_next % driver->size];

	if (load_acquire(&driver->used->idx) == driver->used_next)
		return -1;
	*ret_len = elem->len;
	return (int)elem->id;
}

static int packed_peek(const struct driver *driver, uint32_t *ret_len)
{
	const struct vring_packed_desc *desc = &driver->ring[driver->used_next];
	uint16_t flags = load_acquire(&desc->flags);

	if (!!(flags & DESC_USED) != driver->used_wrap ||
	    !!(flags & DESC_AVAIL) != driver->used_wrap)
		return -1;
	*ret_len = desc->len;
	return desc->id;
}

static void split_take_back(struct driver *driver, unsigned id)
{
	uint16_t at = (uint16_t)id;

	driver->used_next++;
	for (unsigned i = 0; i < driver->length[id]; i++) {
		driver->free[driver->free_count++] = at;
		at = driver->next[at];
	}
}

static void packed_take_back(struct driver *driver, unsigned id)
{
	driver->used_next += driver->length[id];
	if (driver->used_next >= driver->size) {
		driver->used_next -= driver->size;
		driver->used_wrap = !driver->used_wrap;
	}
	driver->free_count += driver->length[id];
	driver->free[driver->free_ids++] = (uint16_t)id;
}

static int peek(const struct driver *driver, uint32_t *ret_len)
{
	int id = driver->packed ? packed_peek(driver, ret_len)
				: split_peek(driver, ret_len);

	assert_true(id < driver->size);
	return id;
}

static void take_back(struct driver *driver, unsigned id)
{
	assert_true(driver->length[id] > 0);
	if (driver->packed)
		packed_take_back(driver, id);
	else
		split_take_back(driver, id);
	driver->length[id] = 0;
}

int driver_used(struct driver *driver, uint32_t *ret_len)
{
	int id = peek(driver, ret_len);

	if (id >= 0)
		take_back(driver, (unsigned)id);
	return id;
}

unsigned driver_used_in_order(struct driver *driver, const int *ids,
			      unsigned count, uint32_t *ret_len)
{
	int last = peek(driver, ret_len);
	unsigned done = 0;

	if (last < 0)
		return 0;
	do {
		assert_true(done < count);
		take_back(driver, (unsigned)ids[done]);
	} while (ids[done++] != last);
	return done;
}

const struct buffer blk_request[3] = {
	{GUEST_DATA_GPA, 16, false},
	{GUEST_DATA_GPA + 4096, 4096, false},
	{GUEST_DATA_GPA + 16, 1, true},
};

int ring_setup(void **state)
{
	struct ring_test *f = calloc(1, sizeof(*f));

	f->packed = *state != NULL;
	guest_init(&f->guest);
	assert_int_equal(virtq_new(&f->vq), 0);
	*state = f;
	return 0;
}

int ring_teardown(void **state)
{
	struct ring_test *f = *state;

	virtq_free(f->vq);
	guest_deinit(&f->guest);
	free(f);
	return 0;
}

void ring_pair_setup(struct ring_pair *pair, void *kind, uint16_t size)
{
	void *from = kind, *to = kind;

	ring_setup(&from);
	ring_setup(&to);
	*pair = (struct ring_pair){from, to};
	ring_start(pair->from, size);
	ring_start(pair->to, size);
}

void ring_pair_teardown(struct ring_pair *pair)
{
	void *from = pair->from, *to = pair->to;

	ring_teardown(&from);
	ring_teardown(&to);
}

void ring_start_with(struct ring_test *f, const struct virtq_config *config)
{
	assert_int_equal(virtq_start(f->vq, config, f->guest.memory, NULL,
				     (struct inflight_queue){0}),
			 0);
}

void ring_start(struct ring_test *f, uint16_t size)
{
	struct virtq_config config;

	driver_init(&f->driver, &f->guest, f->packed, size);
	config = driver_config(&f->driver);
	ring_start_with(f, &config);
}

int ring_get(struct ring_test *f, struct virtq_chain *chain)
{
	*chain = (struct virtq_chain){
		.iov = f->iov,
		.iov_max = ARRAY_SIZE(f->iov),
	};
	return virtq_get(f->vq, chain);
}

void expect_broken(struct ring_test *f, const char *word)
{
	unsigned before = virtq_in_flight(f->vq);
	struct virtq_chain chain;

	assert_int_equal(ring_get(f, &chain), VIRTQ_E_BROKEN);
	assert_non_null(virtq_error(f->vq));
	if (!strstr(virtq_error(f->vq), word))
		fail_msg("'%s' says nothing of '%s'", virtq_error(f->vq), word);
	/* For good. */
	assert_int_equal(ring_get(f, &chain), VIRTQ_E_BROKEN);
	assert_false(virtq_has_avail(f->vq));
	assert_int_equal(virtq_in_flight(f->vq), before);
	virtq_stop(f->vq);
}
