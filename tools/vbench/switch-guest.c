/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/switch-guest.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/prefetch.h"
#include "tests/frontend/net-driver.h"

enum {
	TEST_TYPE = 0x88b5, /* IEEE 802: local experimental */
	AT_SOURCE = ETH_ALEN,
	AT_TYPE = 2 * ETH_ALEN,
	/* A number of ours, and who it is from and for. */
	AT_MAGIC = ETH_HLEN,
	AT_FROM = AT_MAGIC + 4,
	AT_TO = AT_FROM + 2,
	STAMP_END = AT_TO + 2,
	MAGIC = 0x76627377,
};

struct switch_guest {
	const struct switch_bench_options *options;
	unsigned number;
	struct net_driver *driver;
	uint64_t frame_gpa[SWITCH_BENCH_MAX_DEPTH];
	/* Frames that are not under way, in turn. */
	unsigned idle[SWITCH_BENCH_MAX_DEPTH];
	unsigned idle_put, idle_taken;
	bool unpublished;
};

/* Locally administered: 02-76, the station, the guest. */
static void put_address(uint8_t *address, uint16_t guest, uint32_t station)
{
	if (guest == SWITCH_TO_ALL) {
		memset(address, 0xff, ETH_ALEN);
		return;
	}
	put_be16(address, 0x0276);
	put_be32(address + 2, station << 8 | guest);
}

static uint8_t *frame_at(const struct switch_guest *guest, unsigned i)
{
	return (uint8_t *)ram_at(guest->driver->ram, guest->frame_gpa[i]) +
	       NET_HEADER_BYTES;
}

static int make_frames(struct switch_guest *guest)
{
	const struct switch_bench_options *o = guest->options;
	const size_t bytes = NET_HEADER_BYTES + o->frame_bytes;

	for (unsigned i = 0; i < o->depth; i++) {
		uint8_t *frame;

		guest->frame_gpa[i] = ram_alloc(guest->driver->ram, bytes, 64);
		if (guest->frame_gpa[i] == RAM_NONE)
			return -ENOMEM;
		frame = frame_at(guest, i);
		memset(frame - NET_HEADER_BYTES, 0, bytes);
		put_be16(frame + AT_TYPE, TEST_TYPE);
		put_be32(frame + AT_MAGIC, MAGIC);
		put_be16(frame + AT_FROM, guest->number);
		guest->idle[guest->idle_put++] = i;
	}
	return 0;
}

static int connect_guest(struct switch_guest *guest)
{
	const struct switch_bench_options *o = guest->options;
	struct net_options wanted = {.queue_size = o->queue_size, .poll = true};
	int err;

	if (!o->packed)
		wanted.without |= UINT64_C(1) << VIRTIO_F_RING_PACKED;
	err = net_driver_open(o->sockets[guest->number], &wanted,
			      &guest->driver);
	return err < 0 ? err : make_frames(guest);
}

int switch_guest_new(const struct switch_bench_options *options,
		     unsigned number, struct switch_guest **ret_guest)
{
	struct switch_guest *guest = calloc(1, sizeof(*guest));
	int err;

	if (!guest)
		return -ENOMEM;
	guest->options = options;
	guest->number = number;
	err = connect_guest(guest);
	if (err < 0) {
		fprintf(stderr, "vbench: %s: %s\n", options->sockets[number],
			strerror(-err));
		switch_guest_free(guest);
		return err;
	}
	*ret_guest = guest;
	return 0;
}

void switch_guest_free(struct switch_guest *guest)
{
	if (!guest)
		return;
	net_driver_free(guest->driver);
	free(guest);
}

int switch_guest_reap(struct switch_guest *guest)
{
	struct driver_ring *ring = guest->driver->pairs[0].transmit;
	void *token;
	int n;

	while ((n = driver_ring_pop(ring, &token, NULL)) == 1) {
		const unsigned i = (uintptr_t)token - 1;

		/* The back-end has read it, and it is addressed anew. */
		prefetch_write(frame_at(guest, i));
		guest->idle[guest->idle_put++ % SWITCH_BENCH_MAX_DEPTH] = i;
	}
	return n;
}

bool switch_guest_send(struct switch_guest *guest, uint32_t from,
		       uint16_t number, uint32_t to)
{
	const unsigned i =
		guest->idle[guest->idle_taken % SWITCH_BENCH_MAX_DEPTH];
	const struct driver_buffer whole = {
		.gpa = guest->frame_gpa[i],
		.length = NET_HEADER_BYTES + guest->options->frame_bytes,
	};
	uint8_t *frame;

	if (guest->idle_put == guest->idle_taken)
		return false;
	frame = frame_at(guest, i);
	put_address(frame, number, to);
	put_address(frame + AT_SOURCE, guest->number, from);
	put_be16(frame + AT_TO, number);
	if (driver_ring_add(guest->driver->pairs[0].transmit, &whole, 1,
			    (void *)(uintptr_t)(i + 1)) != 0)
		return false;
	guest->idle_taken++;
	guest->unpublished = true;
	return true;
}

void switch_guest_publish(struct switch_guest *guest)
{
	if (!guest->unpublished)
		return;
	guest->unpublished = false;
	driver_ring_publish(guest->driver->pairs[0].transmit);
	driver_ring_kick(guest->driver->pairs[0].transmit);
}

/* False: none of ours. */
static bool read_frame(const struct switch_guest *guest, const uint8_t *frame,
		       size_t bytes, struct switch_arrival *ret_arrival)
{
	uint16_t to;

	if (bytes < STAMP_END || get_be16(frame + AT_TYPE) != TEST_TYPE ||
	    get_be32(frame + AT_MAGIC) != MAGIC)
		return false;
	to = get_be16(frame + AT_TO);
	ret_arrival->from = get_be16(frame + AT_FROM);
	ret_arrival->is_stray = to != guest->number && to != SWITCH_TO_ALL;
	return ret_arrival->from < guest->options->guests;
}

/* A frame of at most SWITCH_BENCH_MAX_FRAME is in one buffer. */
static int take_buffer(struct switch_guest *guest, unsigned buffer,
		       uint32_t written, struct switch_arrival *ret_arrival)
{
	struct net_driver *driver = guest->driver;
	const struct driver_buffer whole = {
		.gpa = driver->pairs[0].buffer_gpa[buffer],
		.length = driver->buffer_bytes,
		.device_writes = true,
	};
	const uint8_t *data = ram_at(driver->ram, whole.gpa);
	struct virtio_net_hdr_v1 header;
	bool ours;
	int err;

	if (written < sizeof(header) || written > whole.length)
		return -EPROTO;
	memcpy(&header, data, sizeof(header));
	if (le16toh(header.num_buffers) != 1)
		return -EPROTO;
	ours = read_frame(guest, data + sizeof(header),
			  written - sizeof(header), ret_arrival);
	err = driver_ring_add(driver->pairs[0].receive, &whole, 1,
			      (void *)(uintptr_t)(buffer + 1));
	return err < 0 ? err : ours;
}

int switch_guest_receive(struct switch_guest *guest,
			 struct switch_arrival *ret_arrivals, unsigned max)
{
	struct driver_ring *ring = guest->driver->pairs[0].receive;
	unsigned buffers = 0, count = 0;
	int n = 0;

	while (count < max) {
		uint32_t written;
		void *token;

		n = driver_ring_pop(ring, &token, &written);
		if (n != 1)
			break;
		buffers++;
		n = take_buffer(guest, (uintptr_t)token - 1, written,
				&ret_arrivals[count]);
		if (n < 0)
			break;
		count += n;
	}
	if (buffers > 0) {
		driver_ring_publish(ring);
		driver_ring_kick(ring);
	}
	return n < 0 ? n : (int)count;
}

int switch_guest_backend_pid(const struct switch_guest *guest)
{
	return frontend_peer_pid(guest->driver->fe);
}
