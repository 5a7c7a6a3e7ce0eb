/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/frontend/net-driver.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum {
	DEFAULT_QUEUE_SIZE = 256,
	DEFAULT_TIMEOUT_MS = 10000,
	MERGED_BYTES = 2048,
	MANY_LARGE = 64,
	SPARE_RAM_BYTES = 16 << 20, /* for rings, and tests' own needs */
};

static uint16_t ring_size(const struct net_options *o)
{
	return o->queue_size ? o->queue_size : DEFAULT_QUEUE_SIZE;
}

static void choose_buffers(struct net_driver *d, const struct net_options *o)
{
	bool merged = frontend_has(d->fe, VIRTIO_NET_F_MRG_RXBUF);

	d->buffer_bytes = o->buffer_bytes ? o->buffer_bytes
			  : merged	  ? MERGED_BYTES
					  : NET_SEND_BYTES;
	d->buffers = MIN(o->buffers ? o->buffers : UINT_MAX - 1,
			 (unsigned)ring_size(o));
	if (!o->buffers && d->buffer_bytes > MERGED_BYTES)
		d->buffers = MIN(d->buffers, (unsigned)MANY_LARGE);
	if (o->buffers == UINT_MAX)
		d->buffers = 0;
}

static int make_ram(struct net_driver *d, const struct net_options *o)
{
	uint64_t pair_bytes = (uint64_t)d->buffers * (d->buffer_bytes + 64) +
			      NET_SEND_SLOTS * NET_SEND_BYTES;

	return ram_new_usual(2 * d->pair_count * pair_bytes + SPARE_RAM_BYTES,
			     &d->ram);
}

static int make_ring(struct net_driver *d, const struct net_options *o,
		     struct driver_ring **ret_ring)
{
	struct driver_ring_config config =
		frontend_ring_config(d->fe, ring_size(o));
	int err;

	config.indirect_max = o->indirect_max;
	config.pages_apart = o->pages_apart;
	err = driver_ring_new(d->ram, &config, ret_ring);
	if (err == 0 && d->poll)
		driver_ring_calls_off(*ret_ring);
	return err;
}

static int offer(struct net_driver *d, struct net_pair *pair, unsigned buffer)
{
	const struct driver_buffer whole = {
		.gpa = pair->buffer_gpa[buffer],
		.length = d->buffer_bytes,
		.device_writes = true,
	};

	return driver_ring_add(pair->receive, &whole, 1,
			       (void *)(uintptr_t)(buffer + 1));
}

static int make_buffers(struct net_driver *d, struct net_pair *pair)
{
	int err = 0;

	pair->buffer_gpa = calloc(d->buffers + 1, sizeof(*pair->buffer_gpa));
	if (!pair->buffer_gpa)
		return -ENOMEM;
	for (unsigned i = 0; i < d->buffers && err == 0; i++) {
		pair->buffer_gpa[i] = ram_alloc(d->ram, d->buffer_bytes, 64);
		err = pair->buffer_gpa[i] == RAM_NONE ? -ENOMEM
						      : offer(d, pair, i);
	}
	driver_ring_publish(pair->receive);
	for (unsigned i = 0; i < NET_SEND_SLOTS && err == 0; i++) {
		pair->slots[i].gpa = ram_alloc(d->ram, NET_SEND_BYTES, 64);
		err = pair->slots[i].gpa == RAM_NONE ? -ENOMEM : 0;
	}
	return err;
}

static int make_pairs(struct net_driver *d, const struct net_options *o)
{
	int err = 0;

	for (unsigned i = 0; i < d->pair_count && err == 0; i++) {
		struct net_pair *pair = &d->pairs[i];

		err = make_ring(d, o, &d->rings[2 * i]);
		if (err == 0)
			err = make_ring(d, o, &d->rings[2 * i + 1]);
		pair->receive = d->rings[2 * i];
		pair->transmit = d->rings[2 * i + 1];
		if (err == 0)
			err = make_buffers(d, pair);
	}
	return err;
}

/*
 * A front-end that asks for no acknowledgements does not know when its rings
 * are enabled, and what a guest sends before is lost: the answer to any question
 * comes after all that was told.
 */
static int start_rings(struct net_driver *d)
{
	uint64_t features;
	int err = frontend_start(d->fe, d->profile, d->ram, d->rings,
				 2 * d->pair_count);

	if (err == 0)
		err = frontend_get_u64(d->fe, VHOST_USER_GET_FEATURES,
				       &features);
	return err;
}

static int start(struct net_driver *d, const struct net_options *o)
{
	int err;

	d->fe->device = FRONTEND_NET;
	d->fe->features_limit &= ~o->without;
	d->fe->protocol_limit &= ~o->protocol_without;
	err = frontend_negotiate(d->fe, d->profile, 2 * d->pair_count);
	if (err < 0)
		return err;
	choose_buffers(d, o);
	err = make_ram(d, o);
	if (err == 0)
		err = make_pairs(d, o);
	if (err == 0)
		err = start_rings(d);
	return err;
}

int net_driver_new(struct frontend *fe, const struct net_options *options,
		   struct net_driver **ret_driver)
{
	struct net_driver *d;
	int err;

	if (options->pairs > NET_MAX_PAIRS)
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->fe = fe;
	d->profile = options->profile ? options->profile : &profile_everything;
	d->pair_count = options->pairs ? options->pairs : 1;
	d->poll = options->poll;
	d->timeout_ms = DEFAULT_TIMEOUT_MS;
	err = start(d, options);
	if (err < 0) {
		d->fe = NULL;
		net_driver_free(d);
		return err;
	}
	*ret_driver = d;
	return 0;
}

int net_driver_open(const char *socket_path, const struct net_options *options,
		    struct net_driver **ret_driver)
{
	struct frontend *fe;
	int err = frontend_connect(socket_path, &fe);

	if (err < 0)
		return err;
	err = net_driver_new(fe, options, ret_driver);
	if (err < 0)
		frontend_free(fe);
	return err;
}

int net_driver_reconnect(struct net_driver *driver, struct frontend *fe)
{
	int err;

	fe->device = FRONTEND_NET;
	fe->features_limit = driver->fe->features;
	fe->protocol_limit = driver->fe->protocol;
	err = frontend_negotiate(fe, driver->profile, 2 * driver->pair_count);
	if (err == 0 && fe->features != driver->fe->features)
		err = -EPROTO;
	if (err < 0) {
		frontend_free(fe);
		return err;
	}
	frontend_hand_inflight(driver->fe, fe);
	frontend_free(driver->fe);
	driver->fe = fe;
	return start_rings(driver);
}

void net_driver_free(struct net_driver *driver)
{
	if (!driver)
		return;
	frontend_free(driver->fe);
	for (unsigned i = 0; i < 2 * driver->pair_count; i++)
		driver_ring_free(driver->rings[i]);
	for (unsigned i = 0; i < driver->pair_count; i++)
		free(driver->pairs[i].buffer_gpa);
	ram_free(driver->ram);
	free(driver);
}

/* Takes back what the device has sent. */
static int reap(struct net_pair *pair)
{
	struct net_slot *slot;
	uint32_t written;
	void *token;
	int n;

	while ((n = driver_ring_pop(pair->transmit, &token, &written)) == 1) {
		slot = token;
		if (!slot->busy || written != 0)
			return -EPROTO;
		slot->busy = false;
	}
	return n;
}

static int wait_for_slot(struct net_driver *d, struct net_pair *pair,
			 const struct net_slot *slot)
{
	int err = reap(pair);

	while (err == 0 && slot->busy) {
		err = driver_ring_wait(pair->transmit, d->poll, d->timeout_ms);
		if (err == 0)
			err = reap(pair);
	}
	return err;
}

static int cut(struct driver_buffer *buffers, uint64_t gpa, uint32_t bytes,
	       const uint32_t *cuts)
{
	unsigned count = 0;

	while (bytes > 0) {
		uint32_t length = MIN(cuts[0], bytes);

		if (count == NET_MAX_CUTS)
			return -EINVAL;
		buffers[count++] = (struct driver_buffer){gpa, length, false};
		gpa += length;
		bytes -= length;
		if (cuts[1] != 0)
			cuts++;
	}
	return count;
}

int net_send(struct net_driver *driver, unsigned pair_index,
	     const struct virtio_net_hdr_v1 *header, const void *frame,
	     uint32_t bytes, const uint32_t *cuts)
{
	static const struct virtio_net_hdr_v1 no_header;
	static const uint32_t usual[] = {NET_HEADER_BYTES, UINT32_MAX, 0};
	struct net_pair *pair = &driver->pairs[pair_index];
	struct net_slot *slot =
		&pair->slots[pair->next_slot++ % NET_SEND_SLOTS];
	struct driver_buffer buffers[NET_MAX_CUTS];
	uint8_t *to = ram_at(driver->ram, slot->gpa);
	int err = wait_for_slot(driver, pair, slot);
	int count;

	if (err < 0)
		return err;
	if (bytes > NET_SEND_BYTES - NET_HEADER_BYTES)
		return -EINVAL;
	memcpy(to, header ? header : &no_header, NET_HEADER_BYTES);
	memcpy(to + NET_HEADER_BYTES, frame, bytes);
	count = cut(buffers, slot->gpa, NET_HEADER_BYTES + bytes,
		    cuts ? cuts : usual);
	if (count < 0)
		return count;
	while ((err = driver_ring_add(pair->transmit, buffers, count, slot)) ==
	       -ENOSPC) {
		err = driver_ring_wait(pair->transmit, driver->poll,
				       driver->timeout_ms);
		if (err == 0)
			err = reap(pair);
		if (err < 0)
			return err;
	}
	if (err < 0)
		return err;
	slot->busy = true;
	driver_ring_publish(pair->transmit);
	driver_ring_kick(pair->transmit);
	return 0;
}

int net_send_wait(struct net_driver *driver, unsigned pair)
{
	int err = 0;

	for (unsigned i = 0; i < NET_SEND_SLOTS && err == 0; i++)
		err = wait_for_slot(driver, &driver->pairs[pair],
				    &driver->pairs[pair].slots[i]);
	return err;
}

/* A frame as it comes in, buffer after buffer. */
struct arrival {
	struct virtio_net_hdr_v1 header;
	uint8_t *frame;
	uint32_t bytes; /* of the frame, so far */
	uint32_t max;
	unsigned buffers_left;
	bool too_long;
};

static int append(struct arrival *a, const uint8_t *data, uint32_t bytes)
{
	if (bytes > a->max - a->bytes) {
		a->too_long = true;
		return 0;
	}
	memcpy(a->frame + a->bytes, data, bytes);
	a->bytes += bytes;
	return 0;
}

/* The header lies whole in the first buffer, which any device fills first. */
static int take_first(struct arrival *a, const uint8_t *data, uint32_t written)
{
	if (written < NET_HEADER_BYTES)
		return -EPROTO;
	memcpy(&a->header, data, NET_HEADER_BYTES);
	a->buffers_left = le16toh(a->header.num_buffers);
	if (a->buffers_left == 0)
		return -EPROTO;
	return append(a, data + NET_HEADER_BYTES, written - NET_HEADER_BYTES);
}

static int take_buffer(struct net_driver *d, struct net_pair *pair,
		       struct arrival *a, bool first)
{
	const uint8_t *data;
	uint32_t written;
	unsigned buffer;
	void *token;
	int err;

	while ((err = driver_ring_pop(pair->receive, &token, &written)) == 0) {
		err = driver_ring_wait(pair->receive, d->poll, d->timeout_ms);
		if (err < 0)
			return err;
	}
	if (err < 0)
		return err;
	buffer = (uintptr_t)token - 1;
	if (written > d->buffer_bytes)
		return -EPROTO;
	data = ram_at(d->ram, pair->buffer_gpa[buffer]);
	err = first ? take_first(a, data, written) : append(a, data, written);
	if (err == 0)
		err = offer(d, pair, buffer);
	a->buffers_left--;
	return err;
}

int net_receive(struct net_driver *driver, unsigned pair_index,
		struct virtio_net_hdr_v1 *ret_header, void *ret_frame,
		uint32_t max)
{
	struct net_pair *pair = &driver->pairs[pair_index];
	struct arrival a = {.frame = ret_frame, .max = max};
	int err = take_buffer(driver, pair, &a, true);

	while (err == 0 && a.buffers_left > 0)
		err = take_buffer(driver, pair, &a, false);
	if (err < 0)
		return err;
	driver_ring_publish(pair->receive);
	driver_ring_kick(pair->receive);
	if (ret_header)
		*ret_header = a.header;
	return a.too_long ? -EMSGSIZE : (int)a.bytes;
}
