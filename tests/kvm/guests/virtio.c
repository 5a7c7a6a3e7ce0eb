/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kvm/guests/virtio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

enum {
	MAGIC = 0x74726976, /* "virt" */
	VERSION = 2,
};

/* The compiler keeps the order, and x86 does for stores among themselves. */
static void store_barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

/* A store, then a load of what the other side stores: the one case it needs. */
static void full_barrier(void)
{
	__asm__ volatile("mfence" : : : "memory");
}

static uint32_t get(const struct virtio *virtio, unsigned reg)
{
	return mmio_read32(virtio->device.gpa + reg);
}

static void set(const struct virtio *virtio, unsigned reg, uint32_t value)
{
	mmio_write32(virtio->device.gpa + reg, value);
}

/* Two registers, low half first. */
static void set_address(const struct virtio *virtio, unsigned reg,
			const volatile void *address)
{
	set(virtio, reg, (uint64_t)address);
	set(virtio, reg + 4, (uint64_t)address >> 32);
}

static void add_status(const struct virtio *virtio, uint32_t bits)
{
	set(virtio, VIRTIO_MMIO_STATUS, get(virtio, VIRTIO_MMIO_STATUS) | bits);
}

static uint64_t offered_features(const struct virtio *virtio)
{
	uint64_t features;

	set(virtio, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = (uint64_t)get(virtio, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	set(virtio, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features | get(virtio, VIRTIO_MMIO_DEVICE_FEATURES);
}

static void choose_features(struct virtio *virtio, uint64_t features)
{
	features |= UINT64_C(1) << VIRTIO_F_VERSION_1;
	virtio->features = offered_features(virtio) & features;
	set(virtio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	set(virtio, VIRTIO_MMIO_DRIVER_FEATURES, virtio->features);
	set(virtio, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	set(virtio, VIRTIO_MMIO_DRIVER_FEATURES, virtio->features >> 32);
	add_status(virtio, VIRTIO_CONFIG_S_FEATURES_OK);
	expect(get(virtio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK,
	       "the device takes the features");
}

void virtio_open(struct virtio *virtio, unsigned number, uint32_t id,
		 uint64_t features)
{
	expect(guest_device(number, &virtio->device),
	       "there is a device on the command line");
	expect(get(virtio, VIRTIO_MMIO_MAGIC_VALUE) == MAGIC &&
		       get(virtio, VIRTIO_MMIO_VERSION) == VERSION &&
		       get(virtio, VIRTIO_MMIO_DEVICE_ID) == id,
	       "the device is of the kind that is needed");
	virtio_reset(virtio);
	add_status(virtio, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	add_status(virtio, VIRTIO_CONFIG_S_DRIVER);
	choose_features(virtio, features);
}

void virtio_reset(struct virtio *virtio)
{
	set(virtio, VIRTIO_MMIO_STATUS, 0);
	while (get(virtio, VIRTIO_MMIO_STATUS) != 0)
		;
	virtio->queue_count = 0;
}

static void make_queue(struct virtio *virtio, unsigned index,
		       struct virtio_rings *rings)
{
	struct virtio_queue *queue = &virtio->queues[index];
	bool packed = virtio_has(virtio, VIRTIO_F_RING_PACKED);

	*queue = (struct virtio_queue){
		.rings = rings,
		.doorbell_gpa = virtio->device.gpa + VIRTIO_MMIO_QUEUE_NOTIFY,
		.index = index,
		.packed = packed,
		.avail_wrap = true,
		.used_wrap = true,
	};
	set(virtio, VIRTIO_MMIO_QUEUE_SEL, index);
	expect(get(virtio, VIRTIO_MMIO_QUEUE_NUM_MAX) >= VIRTIO_QUEUE_SIZE,
	       "the device has as many queues, of this size");
	set(virtio, VIRTIO_MMIO_QUEUE_NUM, VIRTIO_QUEUE_SIZE);
	set_address(virtio, VIRTIO_MMIO_QUEUE_DESC_LOW,
		    packed ? (void *)rings->packed : (void *)rings->desc);
	set_address(virtio, VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		    packed ? (void *)&rings->driver_event
			   : (void *)&rings->avail);
	set_address(virtio, VIRTIO_MMIO_QUEUE_USED_LOW,
		    packed ? (void *)&rings->device_event
			   : (void *)&rings->used);
	set(virtio, VIRTIO_MMIO_QUEUE_READY, 1);
}

void virtio_start(struct virtio *virtio, struct virtio_rings *rings,
		  unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		make_queue(virtio, i, &rings[i]);
	virtio->queue_count = count;
	add_status(virtio, VIRTIO_CONFIG_S_DRIVER_OK);
	expect(!(get(virtio, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET),
	       "the device starts");
}

uint32_t virtio_config(const struct virtio *virtio, unsigned offset)
{
	return get(virtio, VIRTIO_MMIO_CONFIG + offset);
}

/* --- split: a table of descriptors, and two rings of their numbers --- */

static void add_split(struct virtio_queue *queue, unsigned slot,
		      const struct virtio_buffer *buffers, unsigned count)
{
	struct virtio_rings *rings = queue->rings;
	unsigned first = slot * VIRTIO_SLOT_BUFFERS;

	for (unsigned i = 0; i < count; i++)
		rings->desc[first + i] = (struct vring_desc){
			.addr = buffers[i].gpa,
			.len = buffers[i].bytes,
			.flags = (i + 1 < count ? VRING_DESC_F_NEXT : 0) |
				 (buffers[i].device_writes ? VRING_DESC_F_WRITE
							   : 0),
			.next = first + i + 1,
		};
	rings->avail.ring[queue->next_avail++ % VIRTIO_QUEUE_SIZE] = first;
	/* The device believes the index: all else has to be there before. */
	store_barrier();
	*(volatile uint16_t *)&rings->avail.index = queue->next_avail;
}

static int take_split(struct virtio_queue *queue, uint32_t *ret_bytes)
{
	struct virtio_rings *rings = queue->rings;
	const struct vring_used_elem *used;

	if (*(volatile uint16_t *)&rings->used.index == queue->next_used)
		return -1;
	store_barrier();
	used = &rings->used.ring[queue->next_used++ % VIRTIO_QUEUE_SIZE];
	*ret_bytes = used->len;
	return used->id / VIRTIO_SLOT_BUFFERS;
}

/* --- packed: one ring, in which the device overwrites what it has used --- */

static uint16_t avail_flags(bool wrap)
{
	return wrap ? 1 << VRING_PACKED_DESC_F_AVAIL
		    : 1 << VRING_PACKED_DESC_F_USED;
}

static void advance(uint16_t *place, bool *wrap, unsigned count)
{
	*place += count;
	if (*place < VIRTIO_QUEUE_SIZE)
		return;
	*place -= VIRTIO_QUEUE_SIZE;
	*wrap = !*wrap;
}

static void add_packed(struct virtio_queue *queue, unsigned slot,
		       const struct virtio_buffer *buffers, unsigned count)
{
	struct vring_packed_desc *head =
		&queue->rings->packed[queue->next_avail];
	uint16_t head_flags = 0;

	for (unsigned i = 0; i < count; i++) {
		struct vring_packed_desc *desc =
			&queue->rings->packed[queue->next_avail];
		uint16_t flags =
			avail_flags(queue->avail_wrap) |
			(i + 1 < count ? VRING_DESC_F_NEXT : 0) |
			(buffers[i].device_writes ? VRING_DESC_F_WRITE : 0);

		desc->addr = buffers[i].gpa;
		desc->len = buffers[i].bytes;
		desc->id = slot;
		if (i == 0)
			head_flags = flags;
		else
			desc->flags = flags;
		advance(&queue->next_avail, &queue->avail_wrap, 1);
	}
	/* The head's flags make the chain the device's: last of all. */
	store_barrier();
	*(volatile uint16_t *)&head->flags = head_flags;
}

static int take_packed(struct virtio_queue *queue, uint32_t *ret_bytes)
{
	const struct vring_packed_desc *desc =
		&queue->rings->packed[queue->next_used];
	uint16_t flags = *(const volatile uint16_t *)&desc->flags;
	bool avail = flags >> VRING_PACKED_DESC_F_AVAIL & 1;
	bool used = flags >> VRING_PACKED_DESC_F_USED & 1;
	unsigned slot;

	if (avail != used || used != queue->used_wrap)
		return -1;
	store_barrier();
	slot = desc->id;
	*ret_bytes = desc->len;
	expect(slot < VIRTIO_SLOTS, "the device gives back what it was given");
	advance(&queue->next_used, &queue->used_wrap,
		queue->slot_buffers[slot]);
	return slot;
}

/* --- either --- */

void virtio_add(struct virtio_queue *queue, unsigned slot,
		const struct virtio_buffer *buffers, unsigned count)
{
	expect(slot < VIRTIO_SLOTS && queue->slot_buffers[slot] == 0 &&
		       count > 0 && count <= VIRTIO_SLOT_BUFFERS,
	       "a request is added to a free slot");
	queue->slot_buffers[slot] = count;
	if (queue->packed)
		add_packed(queue, slot, buffers, count);
	else
		add_split(queue, slot, buffers, count);
}

static bool wants_kick(const struct virtio_queue *queue)
{
	const struct virtio_rings *rings = queue->rings;

	if (queue->packed)
		return *(const volatile uint16_t *)&rings->device_event.flags !=
		       VRING_PACKED_EVENT_FLAG_DISABLE;
	return !(*(const volatile uint16_t *)&rings->used.flags &
		 VRING_USED_F_NO_NOTIFY);
}

void virtio_kick(struct virtio_queue *queue)
{
	full_barrier();
	if (wants_kick(queue))
		mmio_write32(queue->doorbell_gpa, queue->index);
}

int virtio_take(struct virtio_queue *queue, uint32_t *ret_bytes)
{
	uint32_t bytes;
	int slot = queue->packed ? take_packed(queue, &bytes)
				 : take_split(queue, &bytes);

	if (slot < 0)
		return -1;
	expect(slot < VIRTIO_SLOTS && queue->slot_buffers[slot] != 0,
	       "the device gives back what it was given, once");
	queue->slot_buffers[slot] = 0;
	if (ret_bytes)
		*ret_bytes = bytes;
	return slot;
}

void virtio_interrupts(struct virtio_queue *queue, bool on)
{
	struct virtio_rings *rings = queue->rings;

	if (queue->packed)
		*(volatile uint16_t *)&rings->driver_event.flags =
			on ? VRING_PACKED_EVENT_FLAG_ENABLE
			   : VRING_PACKED_EVENT_FLAG_DISABLE;
	else
		*(volatile uint16_t *)&rings->avail.flags =
			on ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
	full_barrier();
}
