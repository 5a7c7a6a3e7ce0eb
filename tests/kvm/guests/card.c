/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kvm/guests/card.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include "tests/kvm/guests/kernel.h"

#define BIT(n) (UINT64_C(1) << (n))

enum {
	RECEIVE,
	TRANSMIT,
	QUEUES,
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	BUFFER_BYTES = HEADER_BYTES + FRAMES_MOST_BYTES,
	/* The longest frame then needs two. */
	MERGED_BUFFER_BYTES = 1024,
};

static struct virtio_rings rings[QUEUES] __attribute__((aligned(4096)));

/* Of each slot: what is filled by the device, and what is read by it. */
static uint8_t incoming[VIRTIO_SLOTS][BUFFER_BYTES]
	__attribute__((aligned(4096)));
static struct {
	struct virtio_net_hdr_v1 header;
	uint8_t frame[FRAMES_MOST_BYTES];
} outgoing[VIRTIO_SLOTS];

static void offer(struct card *card, unsigned slot)
{
	const struct virtio_buffer buffer = {
		.gpa = (uint64_t)incoming[slot],
		.bytes = card->merges ? MERGED_BUFFER_BYTES : BUFFER_BYTES,
		.device_writes = true,
	};

	virtio_add(&card->virtio.queues[RECEIVE], slot, &buffer, 1);
}

static void read_address(struct card *card)
{
	uint64_t address = virtio_config(&card->virtio, 0) |
			   (uint64_t)virtio_config(&card->virtio, 4) << 32;

	for (unsigned i = 0; i < FRAMES_ADDRESS_BYTES; i++)
		card->address[i] = address >> (8 * i);
}

void card_open(struct card *card, const struct guest_boot *boot,
	       unsigned number)
{
	bool packed = option_given(boot, "packed");
	struct virtio *virtio = &card->virtio;
	uint64_t features = BIT(VIRTIO_NET_F_MAC);

	card->merges = option_given(boot, "merge");
	if (packed)
		features |= BIT(VIRTIO_F_RING_PACKED);
	if (card->merges)
		features |= BIT(VIRTIO_NET_F_MRG_RXBUF);
	memset(rings, 0, sizeof(rings));
	virtio_open(virtio, number, VIRTIO_ID_NET, features);
	features |= BIT(VIRTIO_F_VERSION_1);
	expect(virtio->features == features, "the card has what is asked for");
	read_address(card);
	virtio_start(virtio, rings, QUEUES);
	for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
		offer(card, i);
	virtio_kick(&virtio->queues[RECEIVE]);
	interrupts_enable();
	/* That something was sent is of no interest until a slot is needed. */
	virtio_interrupts(&virtio->queues[TRANSMIT], false);
	card_wait_by_interrupt(card, false);
}

void card_wait_by_interrupt(struct card *card, bool interrupts)
{
	card->interrupts = interrupts;
	virtio_interrupts(&card->virtio.queues[RECEIVE], interrupts);
}

static int free_slot(struct virtio_queue *queue)
{
	while (virtio_take(queue, NULL) >= 0)
		;
	for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
		if (queue->slot_buffers[i] == 0)
			return i;
	return -1;
}

void card_send(struct card *card, const uint8_t *frame, uint32_t bytes)
{
	struct virtio_queue *queue = &card->virtio.queues[TRANSMIT];
	struct virtio_buffer buffers[2];
	int slot;

	while ((slot = free_slot(queue)) < 0)
		;
	outgoing[slot].header = (struct virtio_net_hdr_v1){0};
	memcpy(outgoing[slot].frame, frame, bytes);
	buffers[0] = (struct virtio_buffer){
		.gpa = (uint64_t)&outgoing[slot].header,
		.bytes = HEADER_BYTES,
	};
	buffers[1] = (struct virtio_buffer){
		.gpa = (uint64_t)outgoing[slot].frame,
		.bytes = bytes,
	};
	virtio_add(queue, slot, buffers, 2);
	virtio_kick(queue);
}

void card_drain(struct card *card)
{
	struct virtio_queue *queue = &card->virtio.queues[TRANSMIT];

	for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
		while (queue->slot_buffers[i] != 0)
			virtio_take(queue, NULL);
}

/* What a used buffer holds from @offset on, behind the frame so far. */
static uint32_t append(uint8_t *frame, uint32_t length, unsigned slot,
		       uint32_t offset, uint32_t bytes)
{
	expect(bytes >= offset && bytes - offset <= FRAMES_MOST_BYTES - length,
	       "the device writes a header, and a frame that fits");
	memcpy(frame + length, incoming[slot] + offset, bytes - offset);
	return length + bytes - offset;
}

static int take(struct card *card, uint32_t *ret_bytes)
{
	struct virtio_queue *queue = &card->virtio.queues[RECEIVE];
	/* Before the look: what comes in between is not waited for. */
	uint64_t seen = card->interrupts ? interrupts_seen() : 0;
	int slot = virtio_take(queue, ret_bytes);

	if (slot < 0 && card->interrupts) {
		kernel_call(KERNEL_WAIT, seen, 0, 0);
		slot = virtio_take(queue, ret_bytes);
	}
	return slot;
}

uint32_t card_receive(struct card *card, uint8_t *ret_frame)
{
	uint32_t bytes, length;
	int slot = take(card, &bytes);
	unsigned more;

	if (slot < 0)
		return 0;
	length = append(ret_frame, 0, slot, HEADER_BYTES, bytes);
	more = ((struct virtio_net_hdr_v1 *)incoming[slot])->num_buffers - 1;
	expect(card->merges || more == 0, "each frame is in one buffer");
	offer(card, slot);
	/* The device shows the buffers of a frame all at once. */
	for (; more > 0; more--) {
		slot = virtio_take(&card->virtio.queues[RECEIVE], &bytes);
		expect(slot >= 0, "a frame is there with all its buffers");
		length = append(ret_frame, length, slot, 0, bytes);
		offer(card, slot);
	}
	virtio_kick(&card->virtio.queues[RECEIVE]);
	return length;
}
