/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/net-end.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/prefetch.h"
#include "tests/frontend/net-driver.h"
#include "tools/vbench/net-wire.h"
#include "tools/vbench/random.h"

enum {
	BACKEND_MS = 30 * 1000, /* until it connects */
};

struct net_end {
	const struct net_bench_options *options;
	enum net_way way;
	struct net_wire *wire; /* NULL: a guest, and then: */
	struct net_driver *driver;
	uint64_t frame_gpa[NET_BENCH_MAX_DEPTH];
	/* Frames that are not under way, in turn: each finds the descriptor
	 * that it had, if the ring is a multiple of them. */
	unsigned idle[NET_BENCH_MAX_DEPTH];
	unsigned idle_put, idle_taken;
	uint64_t given_back;
	uint32_t announced; /* stations that a frame came from */
	uint64_t random;
	unsigned left; /* buffers of the frame that is arriving, … */
	bool ours;
	struct net_arrival arrival; /* … and what came of it */
};

static int make_frames(struct net_end *end)
{
	const struct net_bench_options *o = end->options;

	for (unsigned i = 0; i < o->depth; i++) {
		struct virtio_net_hdr_v1 header;
		uint64_t gpa = ram_alloc(end->driver->ram,
					 NET_HEADER_BYTES + o->frame_bytes, 64);
		uint8_t *at = ram_at(end->driver->ram, gpa);

		if (gpa == RAM_NONE)
			return -ENOMEM;
		net_frame_make(at + NET_HEADER_BYTES, o->frame_bytes, o->tso,
			       end->way, &header);
		memcpy(at, &header, sizeof(header));
		end->frame_gpa[i] = gpa;
		end->idle[end->idle_put++] = i;
	}
	return 0;
}

/* The back-end connects, and tries now and then to. */
static int await_backend(const char *socket_path,
			 const struct net_options *wanted,
			 struct net_driver **ret_driver)
{
	struct frontend *fe;
	int fd, err = frontend_listen(socket_path, &fd);

	if (err < 0)
		return err;
	err = frontend_accept(fd, BACKEND_MS, &fe);
	close(fd);
	if (err < 0)
		return err;
	err = net_driver_new(fe, wanted, ret_driver);
	if (err < 0)
		frontend_free(fe);
	return err;
}

static int connect_guest(struct net_end *end, const char *socket_path)
{
	const struct net_bench_options *o = end->options;
	struct net_options wanted = {.queue_size = o->queue_size, .poll = true};
	int err;

	if (!o->packed)
		wanted.without |= UINT64_C(1) << VIRTIO_F_RING_PACKED;
	if (o->plain)
		wanted.without |= UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF;
	if (o->any_order)
		wanted.without |= UINT64_C(1) << VIRTIO_F_IN_ORDER;
	if (!o->inflight)
		wanted.protocol_without |=
			VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
	err = o->listens ? await_backend(socket_path, &wanted, &end->driver)
			 : net_driver_open(socket_path, &wanted, &end->driver);
	if (err < 0)
		return err;
	if (o->tso && !frontend_has(end->driver->fe, VIRTIO_NET_F_HOST_TSO4))
		return -EOPNOTSUPP;
	return make_frames(end);
}

int net_end_guest(const struct net_bench_options *options,
		  const char *socket_path, enum net_way way,
		  struct net_end **ret_end)
{
	struct net_end *end = calloc(1, sizeof(*end));
	int err;

	if (!end)
		return -ENOMEM;
	end->options = options;
	end->way = way;
	err = connect_guest(end, socket_path);
	if (err < 0) {
		fprintf(stderr, "vbench: %s: %s\n", socket_path,
			err == -EOPNOTSUPP ? "the back-end takes no TSO"
					   : strerror(-err));
		net_end_free(end);
		return err;
	}
	*ret_end = end;
	return 0;
}

int net_end_wire(const struct net_bench_options *options, const char *interface,
		 enum net_way way, struct net_end **ret_end)
{
	struct net_end *end = calloc(1, sizeof(*end));
	int err;

	if (!end)
		return -ENOMEM;
	end->options = options;
	end->way = way;
	err = net_wire_new(options, interface, way, &end->wire);
	if (err < 0) {
		fprintf(stderr, "vbench: %s: %s\n", interface, strerror(-err));
		net_end_free(end);
		return err;
	}
	*ret_end = end;
	return 0;
}

void net_end_free(struct net_end *end)
{
	if (!end)
		return;
	net_wire_free(end->wire);
	net_driver_free(end->driver);
	free(end);
}

static uint8_t *frame_at(const struct net_end *end, unsigned i)
{
	return ram_at(end->driver->ram, end->frame_gpa[i]);
}

/* The back-end has read it, and it will be stamped anew. */
static void take_back_one(struct net_end *end, unsigned i)
{
	prefetch_write(frame_at(end, i));
	end->idle[end->idle_put++ % NET_BENCH_MAX_DEPTH] = i;
	end->given_back++;
}

static int take_back(struct net_end *end)
{
	struct driver_ring *ring = end->driver->pairs[0].transmit;
	void *token;
	int n;

	while ((n = driver_ring_pop(ring, &token, NULL)) == 1)
		take_back_one(end, (uintptr_t)token - 1);
	return n;
}

static void address(struct net_end *end, uint8_t *frame)
{
	const uint32_t stations = end->options->stations;

	if (end->announced < stations)
		net_frame_address(frame, 0, end->announced);
	else if (stations > 1)
		net_frame_address(frame, random_below(&end->random, stations),
				  0);
}

/* False: the ring is full. */
static bool add_frame(struct net_end *end, unsigned i, uint64_t sent_ns)
{
	const struct net_bench_options *o = end->options;
	const struct driver_buffer whole = {
		.gpa = end->frame_gpa[i],
		.length = NET_HEADER_BYTES + o->frame_bytes,
	};
	uint8_t *at = frame_at(end, i);

	net_frame_stamp(at + NET_HEADER_BYTES, o->tso, sent_ns);
	address(end, at + NET_HEADER_BYTES);
	if (driver_ring_add(end->driver->pairs[0].transmit, &whole, 1,
			    (void *)(uintptr_t)(i + 1)) != 0)
		return false;
	if (end->announced < o->stations)
		end->announced++;
	return true;
}

int net_end_send(struct net_end *end, const uint64_t *sent_ns, unsigned count)
{
	struct driver_ring *ring;
	unsigned sent = 0;
	int err;

	if (end->wire)
		return net_wire_send(end->wire, sent_ns, count);
	err = take_back(end);
	if (err < 0)
		return err;
	ring = end->driver->pairs[0].transmit;
	for (; sent < count && end->idle_put != end->idle_taken; sent++) {
		if (!add_frame(end,
			       end->idle[end->idle_taken % NET_BENCH_MAX_DEPTH],
			       sent_ns[sent]))
			break;
		end->idle_taken++;
	}
	if (sent > 0) {
		driver_ring_publish(ring);
		driver_ring_kick(ring);
	}
	return sent;
}

/* The first buffer of a frame: its header and its stamp. */
static int begin_frame(struct net_end *end, const uint8_t *data,
		       uint32_t written)
{
	struct virtio_net_hdr_v1 header;

	if (written < sizeof(header))
		return -EPROTO;
	memcpy(&header, data, sizeof(header));
	/* Some back-ends leave it 0 where nothing is merged, and drivers do not
	 * look at it there. */
	end->left = frontend_has(end->driver->fe, VIRTIO_NET_F_MRG_RXBUF)
			    ? le16toh(header.num_buffers)
			    : 1;
	if (end->left == 0)
		return -EPROTO;
	end->arrival.bytes = written - sizeof(header);
	end->ours = net_frame_read(data + sizeof(header), end->arrival.bytes,
				   !end->way, &end->arrival.sent_ns);
	return 0;
}

static int take_buffer(struct net_end *end, unsigned buffer, uint32_t written)
{
	struct net_driver *driver = end->driver;
	struct net_pair *pair = &driver->pairs[0];
	const struct driver_buffer whole = {
		.gpa = pair->buffer_gpa[buffer],
		.length = driver->buffer_bytes,
		.device_writes = true,
	};
	int err = 0;

	if (end->left == 0)
		err = begin_frame(end, ram_at(driver->ram, whole.gpa), written);
	else
		end->arrival.bytes += written;
	if (err < 0)
		return err;
	end->left--;
	return driver_ring_add(pair->receive, &whole, 1,
			       (void *)(uintptr_t)(buffer + 1));
}

/* A buffer that was filled. */
struct filled {
	unsigned buffer;
	uint32_t written;
};

/* Up to @max of them; what they begin with is on its way to the cache. */
static int pop_filled(struct net_end *end, struct filled *ret_filled,
		      unsigned max)
{
	struct net_pair *pair = &end->driver->pairs[0];
	unsigned count = 0;
	void *token;
	int n = 0;

	for (; count < max; count++) {
		struct filled *filled = &ret_filled[count];

		n = driver_ring_pop(pair->receive, &token, &filled->written);
		if (n != 1)
			break;
		filled->buffer = (uintptr_t)token - 1;
		prefetch_read(ram_at(end->driver->ram,
				     pair->buffer_gpa[filled->buffer]));
	}
	return n < 0 ? n : (int)count;
}

/* The frames that end in these buffers. */
static int take_filled(struct net_end *end, const struct filled *filled,
		       unsigned buffers, struct net_arrival *ret_arrivals)
{
	unsigned count = 0;
	int err = 0;

	for (unsigned i = 0; i < buffers && err == 0; i++) {
		err = take_buffer(end, filled[i].buffer, filled[i].written);
		/* Without a far end anybody's are welcome. */
		if (err == 0 && end->left == 0 &&
		    (end->ours || !net_bench_has_far_end(end->options)))
			ret_arrivals[count++] = end->arrival;
	}
	return err < 0 ? err : (int)count;
}

int net_end_receive(struct net_end *end, struct net_arrival *ret_arrivals,
		    unsigned max)
{
	struct filled filled[NET_END_BURST];
	unsigned buffers = 0, count = 0;
	struct driver_ring *ring;
	int n = 0;

	if (end->wire)
		return net_wire_receive(end->wire, ret_arrivals, max);
	ring = end->driver->pairs[0].receive;
	while (count < max && n >= 0 &&
	       (n = pop_filled(end, filled, max - count)) > 0) {
		buffers += n;
		n = take_filled(end, filled, n, ret_arrivals + count);
		count += MAX(n, 0);
	}
	if (buffers > 0) {
		driver_ring_publish(ring);
		driver_ring_kick(ring);
	}
	return n < 0 ? n : (int)count;
}

bool net_end_is_announced(const struct net_end *end)
{
	return end->wire || end->announced == end->options->stations;
}

uint64_t net_end_given_back(const struct net_end *end)
{
	return end->given_back;
}

int net_end_backend_pid(const struct net_end *end)
{
	return end->wire ? 0 : frontend_peer_pid(end->driver->fe);
}
