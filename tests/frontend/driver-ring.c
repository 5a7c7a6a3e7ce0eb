/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/frontend/driver-ring.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "tests/frontend/driver-ring-kind.h"

enum {
	DEFAULT_INDIRECT_MAX = 16,
	MAX_SIZE = 32768,
	TABLE_ENTRY_BYTES = 16,
};

static const struct driver_ring_kind *kind_of(const struct driver_ring *ring)
{
	return ring->config.packed ? &driver_packed : &driver_split;
}

static bool config_is_sane(const struct driver_ring_config *config)
{
	if (config->size == 0 || config->size > MAX_SIZE)
		return false;
	return config->packed || is_power_of_two(config->size);
}

static int make_eventfds(struct driver_ring *ring)
{
	ring->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ring->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ring->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->kick_fd < 0 || ring->call_fd < 0 || ring->err_fd < 0)
		return -errno;
	return 0;
}

static int lay_out(struct driver_ring *ring)
{
	uint64_t tables = (uint64_t)ring->config.size *
			  ring->config.indirect_max * TABLE_ENTRY_BYTES;

	ring->order = calloc(ring->config.size, sizeof(*ring->order));
	ring->desc_next = calloc(ring->config.size, sizeof(*ring->desc_next));
	if (!ring->order || !ring->desc_next)
		return -ENOMEM;
	if (ring->config.indirect) {
		ring->tables_gpa =
			ram_alloc(ring->ram, tables, TABLE_ENTRY_BYTES);
		if (ring->tables_gpa == RAM_NONE)
			return -ENOMEM;
	}
	return kind_of(ring)->lay_out(ring);
}

int driver_ring_new(struct ram *ram, const struct driver_ring_config *config,
		    struct driver_ring **ret_ring)
{
	struct driver_ring *ring;
	int err;

	if (!config_is_sane(config))
		return -EINVAL;
	ring = calloc(1, sizeof(*ring) + config->size * sizeof(ring->slots[0]));
	if (!ring)
		return -ENOMEM;
	ring->config = *config;
	if (ring->config.indirect_max == 0)
		ring->config.indirect_max = DEFAULT_INDIRECT_MAX;
	ring->ram = ram;
	ring->kick_fd = ring->call_fd = ring->err_fd = -1;
	err = make_eventfds(ring);
	if (err == 0)
		err = lay_out(ring);
	if (err < 0) {
		driver_ring_free(ring);
		return err;
	}
	driver_ring_reset(ring);
	*ret_ring = ring;
	return 0;
}

void driver_ring_free(struct driver_ring *ring)
{
	if (!ring)
		return;
	fd_close(&ring->kick_fd);
	fd_close(&ring->call_fd);
	fd_close(&ring->err_fd);
	free(ring->order);
	free(ring->desc_next);
	free(ring);
}

void driver_ring_reset(struct driver_ring *ring)
{
	uint16_t size = ring->config.size;

	memset(ring->slots, 0, size * sizeof(ring->slots[0]));
	for (unsigned i = 0; i < size; i++)
		ring->slots[i].next_free = i + 1;
	ring->free_slot = 0;
	ring->free_descs = size;
	ring->avail_next = ring->used_next = ring->published = 0;
	ring->unkicked = 0;
	ring->order_head = ring->order_tail = 0;
	ring->batch = false;
	kind_of(ring)->reset(ring);
	ring->calls = true;
	kind_of(ring)->calls(ring, true);
}

static uint32_t writable_bytes(const struct driver_buffer *buffers,
			       unsigned count)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < count; i++)
		if (buffers[i].device_writes)
			sum += buffers[i].length;
	return sum;
}

static void write_split_table(struct vring_desc *table,
			      const struct driver_buffer *buffers,
			      unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		table[i] = (struct vring_desc){
			.addr = buffers[i].gpa,
			.len = buffers[i].length,
			.flags = (i + 1 < count ? VRING_DESC_F_NEXT : 0) |
				 (buffers[i].device_writes ? VRING_DESC_F_WRITE
							   : 0),
			.next = i + 1 < count ? i + 1 : 0,
		};
}

static void write_packed_table(struct vring_packed_desc *table,
			       const struct driver_buffer *buffers,
			       unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		table[i] = (struct vring_packed_desc){
			.addr = buffers[i].gpa,
			.len = buffers[i].length,
			.flags = buffers[i].device_writes ? VRING_DESC_F_WRITE
							  : 0,
		};
}

void driver_ring_table(const struct driver_ring *ring, void *table,
		       const struct driver_buffer *buffers, unsigned count)
{
	if (ring->config.packed)
		write_packed_table(table, buffers, count);
	else
		write_split_table(table, buffers, count);
}

static int add_chain(struct driver_ring *ring, const struct driver_chain *chain,
		     uint32_t bytes, void *token)
{
	struct driver_slot *slot;
	uint16_t id;

	if (chain->count > ring->free_descs)
		return -ENOSPC;
	id = kind_of(ring)->add(ring, chain);
	slot = &ring->slots[id];
	slot->token = token;
	slot->descs = chain->count;
	slot->writable_bytes = bytes;
	ring->free_descs -= chain->count;
	ring->order[ring->order_tail++ % ring->config.size] = id;
	return 0;
}

int driver_ring_add_table(struct driver_ring *ring, uint64_t table_gpa,
			  uint16_t count, uint32_t bytes, void *token)
{
	const struct driver_buffer table = {
		.gpa = table_gpa,
		.length = (uint32_t)count * TABLE_ENTRY_BYTES,
	};
	const struct driver_chain chain = {
		.buffers = &table,
		.count = 1,
		.table = true,
	};

	return add_chain(ring, &chain, bytes, token);
}

/* The id that the next chain will get: its indirect table goes with it. */
static uint16_t next_id(const struct driver_ring *ring)
{
	return ring->config.packed ? ring->free_slot : ring->free_desc;
}

int driver_ring_add(struct driver_ring *ring,
		    const struct driver_buffer *buffers, unsigned count,
		    void *token)
{
	const struct driver_chain chain = {
		.buffers = buffers,
		.count = count,
	};
	uint32_t bytes = writable_bytes(buffers, count);
	uint64_t table;

	if (count == 0)
		return -EINVAL;
	if (!ring->config.indirect || count == 1 ||
	    count > ring->config.indirect_max)
		return add_chain(ring, &chain, bytes, token);
	if (ring->free_descs == 0)
		return -ENOSPC;
	table = ring->tables_gpa + (uint64_t)next_id(ring) *
					   ring->config.indirect_max *
					   TABLE_ENTRY_BYTES;
	driver_ring_table(ring, ram_at(ring->ram, table), buffers, count);
	return driver_ring_add_table(ring, table, count, bytes, token);
}

void driver_ring_publish(struct driver_ring *ring)
{
	kind_of(ring)->publish(ring);
}

bool driver_ring_wants_kick(struct driver_ring *ring)
{
	/* Orders the publishing store before the look at the device's wish. */
	full_barrier();
	return kind_of(ring)->wants_kick(ring);
}

void driver_ring_kick_always(struct driver_ring *ring)
{
	const uint64_t one = 1;

	ring->unkicked = 0;
	ring->kicks++;
	if (write(ring->kick_fd, &one, sizeof(one)) < 0)
		return; /* EAGAIN: it is readable already */
}

bool driver_ring_kick(struct driver_ring *ring)
{
	if (ring->unkicked == 0)
		return false;
	if (driver_ring_wants_kick(ring)) {
		driver_ring_kick_always(ring);
		return true;
	}
	ring->unkicked = 0;
	ring->kicks_saved++;
	return false;
}

bool driver_ring_has_used(const struct driver_ring *ring)
{
	return ring->batch || kind_of(ring)->has_used(ring);
}

/*
 * The id of the next chain to give back. In order, one used element may stand
 * for a batch of which it names the last; the chains
 * before it are those that come first in the order they were added.
 */
static int next_used(struct driver_ring *ring, uint16_t *ret_id,
		     uint32_t *ret_length)
{
	int found;

	if (!ring->batch) {
		found = kind_of(ring)->peek(ring, ret_id, ret_length);
		if (found <= 0 || !ring->config.in_order)
			return found;
		ring->batch = true;
		ring->batch_last = *ret_id;
		ring->batch_length = *ret_length;
	}
	*ret_id = ring->order[ring->order_head % ring->config.size];
	if (*ret_id == ring->batch_last) {
		ring->batch = false;
		*ret_length = ring->batch_length;
	} else {
		*ret_length = ring->slots[*ret_id].writable_bytes;
	}
	return 1;
}

int driver_ring_pop(struct driver_ring *ring, void **ret_token,
		    uint32_t *ret_written)
{
	struct driver_slot *slot;
	uint32_t length;
	uint16_t id;
	int found = next_used(ring, &id, &length);

	if (found <= 0)
		return found;
	slot = &ring->slots[id];
	if (ret_token)
		*ret_token = slot->token;
	if (ret_written)
		*ret_written = length;
	kind_of(ring)->advance(ring, id);
	ring->free_descs += slot->descs;
	slot->descs = 0;
	ring->order_head++;
	return 1;
}

bool driver_ring_calls_on(struct driver_ring *ring)
{
	ring->calls = true;
	kind_of(ring)->calls(ring, true);
	/* Orders our wish before the look; the device does the reverse. */
	full_barrier();
	return driver_ring_has_used(ring);
}

void driver_ring_calls_off(struct driver_ring *ring)
{
	ring->calls = false;
	kind_of(ring)->calls(ring, false);
}

static int wait_call(struct driver_ring *ring, uint64_t deadline_ns)
{
	struct pollfd pfd = {.fd = ring->call_fd, .events = POLLIN};
	uint64_t now = clock_ns();
	uint64_t count;

	if (now >= deadline_ns)
		return -ETIMEDOUT;
	if (poll(&pfd, 1, (deadline_ns - now) / 1000000 + 1) < 0 &&
	    errno != EINTR)
		return -errno;
	if (read(ring->call_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	return 0;
}

int driver_ring_wait(struct driver_ring *ring, bool poll_only, int timeout_ms)
{
	uint64_t deadline = clock_ns() + (uint64_t)timeout_ms * 1000000;
	int err = 0;

	while (!driver_ring_has_used(ring) && err == 0) {
		if (!poll_only) {
			if (!driver_ring_calls_on(ring))
				err = wait_call(ring, deadline);
			continue;
		}
		cpu_relax();
		if (clock_ns() >= deadline)
			err = -ETIMEDOUT;
	}
	return driver_ring_has_used(ring) ? 0 : err;
}

unsigned driver_ring_in_flight(const struct driver_ring *ring)
{
	return ring->order_tail - ring->order_head;
}

uint32_t driver_ring_base(const struct driver_ring *ring)
{
	uint32_t half = ring->used_next;

	if (!ring->config.packed)
		return half;
	half |= (uint32_t)ring->used_wrap << 15;
	return half | half << 16;
}

uint32_t driver_ring_first_base(bool packed)
{
	return packed ? UINT32_C(0x80008000) : 0;
}
