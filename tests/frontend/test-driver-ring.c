/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver side against a device that is written as naively as the
 * specification allows, so that the two can hardly be wrong alike.
 */
#include "tests/cmocka.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/frontend/driver-ring.h"
#include "tests/frontend/ram.h"

struct naive_device {
	struct driver_ring *ring;
	uint16_t avail_next, used_next;
	bool avail_wrap, used_wrap;
};

struct naive_chain {
	uint16_t id;
	uint16_t ring_descs;
	unsigned count;
	struct driver_buffer buffers[32];
};

static bool split_get(struct naive_device *d, struct naive_chain *c)
{
	struct driver_ring *r = d->ring;
	const struct vring_desc *table = r->desc;
	uint16_t at;

	if (d->avail_next == r->avail->idx)
		return false;
	at = c->id = r->avail->ring[d->avail_next++ % r->config.size];
	c->count = 0;
	if (table[at].flags & VRING_DESC_F_INDIRECT) {
		table = ram_at(r->ram, table[at].addr);
		at = 0;
	}
	for (;;) {
		const struct vring_desc *e = &table[at];

		c->buffers[c->count++] = (struct driver_buffer){
			.gpa = e->addr,
			.length = e->len,
			.device_writes = e->flags & VRING_DESC_F_WRITE,
		};
		if (!(e->flags & VRING_DESC_F_NEXT))
			return true;
		at = e->next;
	}
}

static void split_put(struct naive_device *d, const struct naive_chain *c,
		      uint32_t written)
{
	struct driver_ring *r = d->ring;

	r->used->ring[d->used_next++ % r->config.size] =
		(struct vring_used_elem){.id = c->id, .len = written};
	r->used->idx = d->used_next;
}

static bool packed_is_avail(const struct naive_device *d)
{
	uint16_t flags = d->ring->packed[d->avail_next].flags;
	bool avail = flags >> VRING_PACKED_DESC_F_AVAIL & 1;
	bool used = flags >> VRING_PACKED_DESC_F_USED & 1;

	return avail != used && avail == d->avail_wrap;
}

static void packed_table(struct naive_device *d, struct naive_chain *c,
			 const struct vring_packed_desc *e)
{
	const struct vring_packed_desc *table = ram_at(d->ring->ram, e->addr);

	for (unsigned i = 0; i < e->len / sizeof(*table); i++)
		c->buffers[c->count++] = (struct driver_buffer){
			.gpa = table[i].addr,
			.length = table[i].len,
			.device_writes = table[i].flags & VRING_DESC_F_WRITE,
		};
}

static bool packed_get(struct naive_device *d, struct naive_chain *c)
{
	bool more = true;

	if (!packed_is_avail(d))
		return false;
	c->count = c->ring_descs = 0;
	while (more) {
		struct vring_packed_desc *e = &d->ring->packed[d->avail_next];

		assert_true(packed_is_avail(d));
		if (e->flags & VRING_DESC_F_INDIRECT)
			packed_table(d, c, e);
		else
			c->buffers[c->count++] = (struct driver_buffer){
				.gpa = e->addr,
				.length = e->len,
				.device_writes = e->flags & VRING_DESC_F_WRITE,
			};
		c->id = e->id;
		c->ring_descs++;
		more = e->flags & VRING_DESC_F_NEXT;
		if (++d->avail_next == d->ring->config.size) {
			d->avail_next = 0;
			d->avail_wrap = !d->avail_wrap;
		}
	}
	return true;
}

static void packed_put(struct naive_device *d, const struct naive_chain *c,
		       uint32_t written)
{
	struct vring_packed_desc *e = &d->ring->packed[d->used_next];

	e->id = c->id;
	e->len = written;
	e->flags = d->used_wrap ? 1 << VRING_PACKED_DESC_F_AVAIL |
					  1 << VRING_PACKED_DESC_F_USED
				: 0;
	d->used_next += c->ring_descs;
	if (d->used_next >= d->ring->config.size) {
		d->used_next -= d->ring->config.size;
		d->used_wrap = !d->used_wrap;
	}
}

static bool device_get(struct naive_device *d, struct naive_chain *c)
{
	return d->ring->config.packed ? packed_get(d, c) : split_get(d, c);
}

static void device_put(struct naive_device *d, const struct naive_chain *c,
		       uint32_t written)
{
	if (d->ring->config.packed)
		packed_put(d, c, written);
	else
		split_put(d, c, written);
}

static struct ram *new_ram(void)
{
	struct ram *ram;

	assert_int_equal(ram_new_usual(1 << 20, &ram), 0);
	return ram;
}

static struct driver_ring *new_ring(struct ram *ram,
				    const struct driver_ring_config *config)
{
	struct driver_ring *ring;

	assert_int_equal(driver_ring_new(ram, config, &ring), 0);
	return ring;
}

static struct naive_device new_device(struct driver_ring *ring)
{
	return (struct naive_device){
		.ring = ring,
		.avail_wrap = true,
		.used_wrap = true,
	};
}

/* Buffers that say of themselves whose they are. */
static unsigned make_buffers(struct driver_buffer *buffers, uintptr_t number)
{
	unsigned count = 1 + number % 5;

	for (unsigned i = 0; i < count; i++)
		buffers[i] = (struct driver_buffer){
			.gpa = number << 16 | i << 8,
			.length = number + i + 1,
			.device_writes = i >= count / 2,
		};
	return count;
}

static void check_chain(const struct naive_chain *chain)
{
	struct driver_buffer wanted[8];
	uintptr_t number = chain->buffers[0].gpa >> 16;

	assert_int_equal(chain->count, make_buffers(wanted, number));
	for (unsigned i = 0; i < chain->count; i++) {
		assert_int_equal(chain->buffers[i].gpa, wanted[i].gpa);
		assert_int_equal(chain->buffers[i].length, wanted[i].length);
		assert_int_equal(chain->buffers[i].device_writes,
				 wanted[i].device_writes);
	}
}

/* Fills the ring, lets the device return all in reverse, several wraps. */
static void run_traffic(const struct driver_ring_config *config)
{
	struct ram *ram = new_ram();
	struct driver_ring *ring = new_ring(ram, config);
	struct naive_device device = new_device(ring);
	static struct naive_chain chains[256];
	struct driver_buffer buffers[8];
	uintptr_t number = 1, returned = 0;
	uint32_t written;
	void *token;

	for (unsigned round = 0; round < 400; round++) {
		unsigned taken = 0, room = 1 + round % 7;
		uintptr_t first = number;

		while (room-- > 0) {
			unsigned count = make_buffers(buffers, number);

			if (driver_ring_add(ring, buffers, count,
					    (void *)number) == -ENOSPC)
				break;
			number++;
		}
		assert_false(device_get(&device, &chains[0]));
		driver_ring_publish(ring);
		while (device_get(&device, &chains[taken]))
			check_chain(&chains[taken++]);
		assert_int_equal(taken, number - first);
		assert_int_equal(driver_ring_pop(ring, NULL, NULL), 0);
		for (unsigned i = taken; i-- > 0;)
			device_put(&device, &chains[i], i + 1);
		for (unsigned i = taken; i-- > 0; returned++) {
			assert_int_equal(
				driver_ring_pop(ring, &token, &written), 1);
			assert_int_equal((uintptr_t)token, first + i);
			assert_int_equal(written, i + 1);
		}
		assert_int_equal(driver_ring_in_flight(ring), 0);
	}
	assert_int_equal(returned, number - 1);
	assert_int_equal(ring->free_descs, config->size);
	driver_ring_free(ring);
	ram_free(ram);
}

static void chains_come_out_as_they_went_in(void **state)
{
	static const uint16_t sizes[] = {8, 16, 256};

	for (unsigned i = 0; i < 4 * ARRAY_SIZE(sizes); i++) {
		const struct driver_ring_config config = {
			.size = sizes[i / 4],
			.packed = i & 1,
			.indirect = i & 2,
		};

		run_traffic(&config);
	}
	run_traffic(&(struct driver_ring_config){.size = 7, .packed = true});
}

static void a_full_ring_refuses_and_recovers(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct driver_ring_config config = {
			.size = 4,
			.packed = packed,
		};
		struct ram *ram = new_ram();
		struct driver_ring *ring = new_ring(ram, &config);
		struct naive_device device = new_device(ring);
		struct driver_buffer b[3] = {{.gpa = 1, .length = 1}};
		struct naive_chain chain;

		assert_int_equal(driver_ring_add(ring, b, 0, NULL), -EINVAL);
		assert_int_equal(driver_ring_add(ring, b, 3, NULL), 0);
		assert_int_equal(driver_ring_add(ring, b, 2, NULL), -ENOSPC);
		assert_int_equal(driver_ring_add(ring, b, 1, NULL), 0);
		driver_ring_publish(ring);
		assert_true(device_get(&device, &chain));
		device_put(&device, &chain, 0);
		assert_int_equal(driver_ring_pop(ring, NULL, NULL), 1);
		assert_int_equal(driver_ring_add(ring, b, 3, NULL), 0);
		driver_ring_free(ring);
		ram_free(ram);
	}
}

static void one_used_element_returns_a_batch_in_order(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct driver_ring_config config = {
			.size = 16,
			.packed = packed,
			.in_order = true,
		};
		struct ram *ram = new_ram();
		struct driver_ring *ring = new_ring(ram, &config);
		struct naive_device device = new_device(ring);
		struct driver_buffer b = {
			.gpa = 1, .length = 9, .device_writes = true};
		struct naive_chain chain;
		uint32_t written;
		void *token;

		for (uintptr_t i = 0; i < 3; i++)
			driver_ring_add(ring, &b, 1, (void *)i);
		driver_ring_publish(ring);
		for (unsigned i = 0; i < 3; i++)
			assert_true(device_get(&device, &chain));
		device_put(&device, &chain, 5);
		if (!packed)
			ring->used->idx = 3;
		for (uintptr_t i = 0; i < 3; i++) {
			assert_int_equal(
				driver_ring_pop(ring, &token, &written), 1);
			assert_int_equal((uintptr_t)token, i);
			assert_int_equal(written, i < 2 ? 9 : 5);
		}
		assert_int_equal(driver_ring_pop(ring, NULL, NULL), 0);
		driver_ring_free(ring);
		ram_free(ram);
	}
}

static void a_used_id_that_is_not_out_there_is_refused(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct driver_ring_config config = {
			.size = 8,
			.packed = packed,
		};
		struct ram *ram = new_ram();
		struct driver_ring *ring = new_ring(ram, &config);
		struct naive_device device = new_device(ring);
		struct driver_buffer b = {.gpa = 1, .length = 9};
		struct naive_chain chain = {.id = 5, .ring_descs = 1};

		driver_ring_add(ring, &b, 1, NULL);
		driver_ring_publish(ring);
		device_put(&device, &chain, 0);
		assert_int_equal(driver_ring_pop(ring, NULL, NULL), -EPROTO);
		driver_ring_free(ring);
		ram_free(ram);
	}
}

/* Whether a kick goes out, for each position of the device's event. */
static void kicks_follow_the_event_index(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct driver_ring_config config = {
			.size = 8,
			.packed = packed,
			.event_idx = true,
		};
		struct ram *ram = new_ram();
		struct driver_ring *ring = new_ring(ram, &config);
		struct driver_buffer b = {.gpa = 1, .length = 9};
		uint16_t *event;

		if (!packed) {
			event = (uint16_t *)&ring->used->ring[8];
		} else {
			event = &ring->device_event->off_wrap;
			ring->device_event->flags =
				VRING_PACKED_EVENT_FLAG_DESC;
		}
		for (unsigned i = 0; i < 4; i++) {
			*event = 2 | (packed ? 1 << 15 : 0);
			driver_ring_add(ring, &b, 1, NULL);
			driver_ring_publish(ring);
			assert_int_equal(driver_ring_kick(ring), i == 2);
		}
		assert_int_equal(ring->kicks, 1);
		assert_int_equal(ring->kicks_saved, 3);
		driver_ring_free(ring);
		ram_free(ram);
	}
}

static void waiting_ends_by_call_by_poll_and_by_time(void **state)
{
	const struct driver_ring_config config = {.size = 8};
	struct ram *ram = new_ram();
	struct driver_ring *ring = new_ring(ram, &config);
	struct naive_device device = new_device(ring);
	struct driver_buffer b = {.gpa = 1, .length = 9};
	struct naive_chain chain;

	driver_ring_add(ring, &b, 1, NULL);
	driver_ring_publish(ring);
	assert_int_equal(driver_ring_wait(ring, true, 1), -ETIMEDOUT);
	assert_int_equal(driver_ring_wait(ring, false, 1), -ETIMEDOUT);
	assert_true(device_get(&device, &chain));
	device_put(&device, &chain, 0);
	assert_int_equal(driver_ring_wait(ring, true, 1), 0);
	assert_int_equal(driver_ring_wait(ring, false, 1), 0);
	driver_ring_free(ring);
	ram_free(ram);
}

static void ram_hands_out_ranges_of_one_region(void **state)
{
	struct ram *ram = new_ram();
	uint64_t border = ram->regions[1].gpa;
	uint64_t gpa;

	while ((gpa = ram_alloc(ram, 60000, 4096)) != RAM_NONE) {
		const struct ram_region *r = ram_region_of(ram, gpa);

		assert_non_null(r);
		assert_ptr_equal(ram_region_of(ram, gpa + 59999), r);
		memset(ram_at(ram, gpa), 0xa5, 60000);
	}
	assert_int_equal(ram_alloc_straddling(ram, 512, 1024), border - 512);
	assert_int_equal(ram_alloc_straddling(ram, 1, 1), RAM_NONE);
	assert_null(ram_region_of(ram, UINT64_C(1) << 31));
	assert_int_equal(ram_uva(ram, border), ram->regions[1].uva);
	ram_free(ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_come_out_as_they_went_in),
		cmocka_unit_test(a_full_ring_refuses_and_recovers),
		cmocka_unit_test(one_used_element_returns_a_batch_in_order),
		cmocka_unit_test(a_used_id_that_is_not_out_there_is_refused),
		cmocka_unit_test(kicks_follow_the_event_index),
		cmocka_unit_test(waiting_ends_by_call_by_poll_and_by_time),
		cmocka_unit_test(ram_hands_out_ranges_of_one_region),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
