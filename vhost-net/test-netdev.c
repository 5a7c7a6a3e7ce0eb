/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device behind a real socket, driven by a front-end: what a guest sends
 * comes back to it. The back-end is a thread of this process, but maps the
 * guest's memory for itself.
 */
#include "vhost-net/netdev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/loop.h"
#include "tests/cmocka.h"
#include "tests/frontend/net-driver.h"
#include "vhost-net/test-packet.h"
#include "vhost/endpoint.h"

#define BIT(n) (UINT64_C(1) << (n))

enum {
	PAIRS = 4,
	MTU = 9000,
	ROUND_NS = 50 * 1000,
	TRIES = 5000, /* of a millisecond */
};

static const uint8_t our_mac[] = {2, 0, 0, 0, 0, 1};
static const uint64_t guest_offloads =
	NET_FEATURE(GUEST_CSUM) | NET_FEATURE(GUEST_TSO4) |
	NET_FEATURE(GUEST_TSO6) | NET_FEATURE(GUEST_ECN) |
	NET_FEATURE(GUEST_USO4) | NET_FEATURE(GUEST_USO6);

/* What the back-end's thread works on, and what the test sees of it. */
struct echo {
	pthread_t thread;
	char socket[64];
	struct loop *loop;
	struct netdev *netdev;
	struct endpoint *endpoint;
	struct netdev_queue *running[2 * PAIRS];
	bool quit, ready;
	bool link_wanted_down, link_told;
	bool hold; /* what was taken, as if killed before it is given back */
	unsigned held;
	uint8_t announced[6];
	unsigned announcements;
	struct netdev_counters counters;
	unsigned counted; /* rounds that have refreshed the counters */
	pthread_mutex_t lock;
};

static struct echo echo;
static struct packet packet;
static uint8_t received[NET_SEND_BYTES];

static int queue_start(void *arg, struct netdev_queue *queue, int kick_fd)
{
	echo.running[netdev_queue_index(queue)] = queue;
	return 0;
}

static void queue_stop(void *arg, struct netdev_queue *queue)
{
	echo.running[netdev_queue_index(queue)] = NULL;
}

static int announce(void *arg, const uint8_t mac[6])
{
	memcpy(echo.announced, mac, sizeof(echo.announced));
	store_release(&echo.announcements, echo.announcements + 1);
	return 0;
}

static const struct netdev_owner owner = {
	.queue_start = queue_start,
	.queue_stop = queue_stop,
	.announce = announce,
};

static void send_back(struct netdev_queue *from, struct netdev_queue *to)
{
	const struct net_rx_frame *list[NET_BURST];
	struct net_rx_frame *frames;
	unsigned count = netdev_rx_burst(from, NET_BURST, &frames);

	for (unsigned i = 0; i < count; i++)
		list[i] = &frames[i];
	if (load_acquire(&echo.hold)) {
		store_release(&echo.held, echo.held + count);
		return;
	}
	if (to)
		netdev_tx_burst(to, list, count);
	netdev_rx_done(from);
}

static void serve(void)
{
	for (unsigned i = 0; i < PAIRS; i++)
		if (echo.running[2 * i + 1])
			send_back(echo.running[2 * i + 1], echo.running[2 * i]);
	for (unsigned i = 0; i < 2 * PAIRS; i++)
		if (echo.running[i] &&
		    virtq_error(netdev_queue_virtq(echo.running[i])))
			session_queue_broken(endpoint_session(echo.endpoint),
					     i);
}

static void tell_link(void)
{
	struct session *session = endpoint_session(echo.endpoint);

	if (!load_acquire(&echo.link_wanted_down) || !session)
		return;
	if (netdev_set_link(echo.netdev, false))
		session_config_changed(session);
	store_release(&echo.link_told, true);
}

static void count(void)
{
	pthread_mutex_lock(&echo.lock);
	echo.counters = (struct netdev_counters){0};
	for (unsigned i = 0; i < 2 * PAIRS; i++) {
		struct netdev_queue *queue = netdev_queue(echo.netdev, i);

		if (queue)
			netdev_queue_count(queue, &echo.counters);
	}
	echo.counted++;
	pthread_mutex_unlock(&echo.lock);
}

static void *run_echo(void *arg)
{
	const struct netdev_config config = {
		.name = "echo",
		.pairs = PAIRS,
		.mtu = MTU,
		.has_mac = true,
		.mac = {2, 0, 0, 0, 0, 1},
		.owner = &owner,
	};
	const struct endpoint_config at = {.socket_path = echo.socket,
					   .fd = -1};

	if (loop_new(64, &echo.loop) < 0 ||
	    netdev_new(&config, &echo.netdev) < 0 ||
	    endpoint_new(echo.loop, netdev_vhost(echo.netdev), &at,
			 &echo.endpoint) < 0)
		abort();
	store_release(&echo.ready, true);
	while (!load_acquire(&echo.quit)) {
		loop_wait(echo.loop, ROUND_NS);
		serve();
		tell_link();
		count();
	}
	endpoint_free(echo.endpoint);
	netdev_free(echo.netdev);
	loop_free(echo.loop);
	return NULL;
}

static int begin(void **state)
{
	static unsigned number;

	echo = (struct echo){.lock = PTHREAD_MUTEX_INITIALIZER};
	snprintf(echo.socket, sizeof(echo.socket), "/tmp/netdev-%d-%u",
		 getpid(), number++);
	return pthread_create(&echo.thread, NULL, run_echo, NULL);
}

static int end(void **state)
{
	store_release(&echo.quit, true);
	pthread_join(echo.thread, NULL);
	return 0;
}

static struct net_driver *open_driver(const struct net_options *options)
{
	const struct net_options none = {0};
	struct net_driver *d;
	int err = net_driver_open(echo.socket, options ? options : &none, &d);

	if (err < 0)
		fail_msg("cannot start: %s", strerror(-err));
	return d;
}

/* What was counted after everything that happened before this call. */
static struct netdev_counters counters(void)
{
	struct netdev_counters now;
	unsigned first;
	bool fresh = false;

	pthread_mutex_lock(&echo.lock);
	first = echo.counted;
	pthread_mutex_unlock(&echo.lock);
	while (!fresh) {
		usleep(100);
		pthread_mutex_lock(&echo.lock);
		fresh = echo.counted >= first + 2;
		now = echo.counters;
		pthread_mutex_unlock(&echo.lock);
	}
	return now;
}

static void make_plain(size_t bytes)
{
	packet_make(&packet,
		    &(struct packet_shape){.payload_bytes = bytes - 14});
}

/* Sends the packet, and expects it back as it is. */
static void there_and_back(struct net_driver *d, unsigned pair,
			   const uint32_t *cuts)
{
	struct virtio_net_hdr_v1 header;
	int got;

	assert_int_equal(
		net_send(d, pair, NULL, packet.data, packet.bytes, cuts), 0);
	got = net_receive(d, pair, &header, received, sizeof(received));
	assert_int_equal(got, packet.bytes);
	assert_memory_equal(received, packet.data, packet.bytes);
	assert_int_equal(header.flags, 0);
	assert_int_equal(header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_int_equal(le16toh(header.num_buffers),
			 frontend_has(d->fe, VIRTIO_NET_F_MRG_RXBUF)
				 ? div_round_up(packet.bytes + NET_HEADER_BYTES,
						d->buffer_bytes)
				 : 1);
	assert_int_equal(net_send_wait(d, pair), 0);
}

static void every_front_end_sends_and_receives(void **state)
{
	for (const struct frontend_profile *const *p = frontend_profiles; *p;
	     p++) {
		unsigned most = MIN(MAX((*p)->max_queues / 2, 1u), 4u);

		for (unsigned pairs = 1; pairs <= most; pairs++) {
			const struct net_options o = {.profile = *p,
						      .pairs = pairs};
			struct net_driver *d = open_driver(&o);

			for (unsigned i = 0; i < pairs; i++) {
				make_plain(60 + 100 * i);
				there_and_back(d, i, NULL);
			}
			net_driver_free(d);
		}
	}
}

static void try_ring(unsigned bits, uint16_t size)
{
	static const size_t sizes[] = {60, 64, 128, 129, 1514, 9014, 65000};
	static const uint32_t splits[][3] = {
		{UINT32_MAX, 0}, {12, UINT32_MAX, 0}, {5, 1000, 0},
		{26, 4096, 0},	 {1, 700, 0},
	};
	struct net_options o = {
		.queue_size = size,
		.poll = bits & 32,
	};
	struct net_driver *d;

	if (!(bits & 1))
		o.without |= BIT(VIRTIO_F_RING_PACKED);
	if (!(bits & 2))
		o.without |= BIT(VIRTIO_RING_F_INDIRECT_DESC);
	if (!(bits & 4))
		o.without |= BIT(VIRTIO_RING_F_EVENT_IDX);
	if (!(bits & 8))
		o.without |= BIT(VIRTIO_F_IN_ORDER);
	if (!(bits & 16))
		o.without |= NET_FEATURE(MRG_RXBUF);
	d = open_driver(&o);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes) * ARRAY_SIZE(splits); i++) {
		make_plain(sizes[i % ARRAY_SIZE(sizes)]);
		there_and_back(d, 0, splits[i / ARRAY_SIZE(sizes)]);
	}
	net_driver_free(d);
}

static void every_kind_of_ring_carries_frames_of_every_size(void **state)
{
	for (unsigned bits = 0; bits < 64; bits++)
		try_ring(bits, bits % 3 ? 256 : 128);
}

static void frame_in_single_bytes_comes_back(void **state)
{
	static const uint32_t bytes[] = {1, 0};
	const struct net_options o = {.buffer_bytes = 13};
	struct net_driver *d = open_driver(&o);

	make_plain(100);
	there_and_back(d, 0, bytes);
	net_driver_free(d);
}

static void rings_wrap_many_times(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct net_options o = {
			.queue_size = 8,
			.without = packed ? 0 : BIT(VIRTIO_F_RING_PACKED),
		};
		struct net_driver *d = open_driver(&o);

		for (unsigned i = 0; i < 300; i++) {
			make_plain(60 + i);
			there_and_back(d, 0, NULL);
		}
		net_driver_free(d);
	}
}

/* Leaves no descriptor out; the ring goes on at @index. */
static void move_split_ring(struct driver_ring *ring, uint16_t index)
{
	ring->avail_next = ring->used_next = ring->published = index;
	ring->avail->idx = ring->used->idx = index;
}

static void split_index_goes_past_its_end(void **state)
{
	const struct net_options o = {
		.without = BIT(VIRTIO_F_RING_PACKED),
		.protocol_without = BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD),
	};
	struct net_driver *d = open_driver(&o);

	assert_int_equal(frontend_ring_stop(d->fe, 1, NULL), 0);
	move_split_ring(d->rings[1], UINT16_MAX - 2);
	assert_int_equal(frontend_ring_base(d->fe, 1, UINT16_MAX - 2), 0);
	assert_int_equal(frontend_ring_fd(d->fe, VHOST_USER_SET_VRING_KICK, 1,
					  d->rings[1]->kick_fd),
			 0);
	for (unsigned i = 0; i < 10; i++) {
		make_plain(60 + i);
		there_and_back(d, 0, NULL);
	}
	assert_int_equal(d->rings[1]->used_next, 7);
	net_driver_free(d);
}

static void queues_are_counted_in_pairs(void **state)
{
	const struct net_options most = {.pairs = PAIRS};
	const struct net_options more = {.pairs = PAIRS + 1};
	struct net_driver *d = open_driver(&most);

	assert_int_equal(d->fe->queue_num, PAIRS);
	net_driver_free(d);
	assert_int_equal(net_driver_open(echo.socket, &more, &d), -ERANGE);
}

static void ring_that_is_stopped_goes_on_where_it_was(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct net_options o = {
			.without = packed ? 0 : BIT(VIRTIO_F_RING_PACKED)};
		struct net_driver *d = open_driver(&o);

		for (unsigned i = 0; i < 20; i++) {
			unsigned ring = i % 2;
			uint32_t base;

			make_plain(60 + i);
			there_and_back(d, 0, NULL);
			assert_int_equal(frontend_ring_stop(d->fe, ring, &base),
					 0);
			assert_int_equal(frontend_ring_base(d->fe, ring, base),
					 0);
			assert_int_equal(
				frontend_ring_fd(d->fe,
						 VHOST_USER_SET_VRING_KICK,
						 ring, d->rings[ring]->kick_fd),
				0);
		}
		there_and_back(d, 0, NULL);
		net_driver_free(d);
	}
}

static void disabled_queue_is_drained_and_nothing_is_sent(void **state)
{
	const struct net_options two = {.pairs = 2};
	struct net_driver *d = open_driver(&two);

	assert_int_equal(frontend_ring_enable(d->fe, 3, false), 0);
	make_plain(200);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(
			net_send(d, 1, NULL, packet.data, packet.bytes, NULL),
			0);
	assert_int_equal(net_send_wait(d, 1), 0);
	assert_int_equal(counters().tx_faults[NET_FAULT_DISABLED], 5);
	assert_int_equal(counters().rx_frames, 0);
	there_and_back(d, 0, NULL);
	assert_int_equal(frontend_ring_enable(d->fe, 3, true), 0);
	there_and_back(d, 1, NULL);
	/* The same for what the guest would receive. */
	assert_int_equal(frontend_ring_enable(d->fe, 2, false), 0);
	assert_int_equal(net_send(d, 1, NULL, packet.data, packet.bytes, NULL),
			 0);
	assert_int_equal(net_send_wait(d, 1), 0);
	assert_int_equal(counters().rx_faults[NET_FAULT_DISABLED], 1);
	assert_int_equal(frontend_ring_enable(d->fe, 2, true), 0);
	there_and_back(d, 1, NULL);
	net_driver_free(d);
}

/* A TCP packet with a header that asks for checksum and segmentation. */
static struct virtio_net_hdr_v1 make_tso(enum net_l3 l3, size_t payload_bytes)
{
	const struct packet_shape shape = {
		.l3 = l3, .l4 = NET_L4_TCP, .payload_bytes = payload_bytes};
	struct net_frame layout;
	uint32_t sum;

	packet_make(&packet, &shape);
	/* The sum of the pseudo header alone: that of all, less the rest. */
	net_frame_parse(packet.data, NET_COPY_BYTES, &layout);
	sum = (uint16_t)~packet_transport_checksum(packet.data, packet.bytes,
						   &layout);
	for (size_t i = packet.l4; i < packet.bytes; i++) {
		uint32_t byte = packet.data[i];

		sum += (uint16_t) ~((i - packet.l4) % 2 ? byte : byte << 8);
		sum = (sum & 0xffff) + (sum >> 16);
	}
	put_be16(packet.data + packet.l4 + 16, sum);
	return (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = l3 == NET_L3_IPV4 ? VIRTIO_NET_HDR_GSO_TCPV4
					      : VIRTIO_NET_HDR_GSO_TCPV6,
		.gso_size = htole16(1400),
		.hdr_len = htole16(packet.payload),
		.csum_start = htole16(packet.l4),
		.csum_offset = htole16(16),
	};
}

static void offload_comes_back_to_who_takes_it(void **state)
{
	struct net_driver *d = open_driver(NULL);
	struct virtio_net_hdr_v1 header, got;

	for (unsigned i = 0; i < 2; i++) {
		header = make_tso(i ? NET_L3_IPV6 : NET_L3_IPV4, 60000);
		assert_int_equal(net_send(d, 0, &header, packet.data,
					  packet.bytes, NULL),
				 0);
		assert_int_equal(
			net_receive(d, 0, &got, received, sizeof(received)),
			packet.bytes);
		assert_memory_equal(received, packet.data, packet.bytes);
		got.num_buffers = 0;
		assert_memory_equal(&got, &header, sizeof(header));
	}
	net_driver_free(d);
}

static void who_takes_no_offload_gets_whole_packets(void **state)
{
	const struct net_options o = {.without = guest_offloads};
	struct net_driver *d = open_driver(&o);

	for (unsigned i = 0; i < 2; i++) {
		const enum net_l3 l3 = i ? NET_L3_IPV6 : NET_L3_IPV4;
		struct virtio_net_hdr_v1 header = make_tso(l3, 60000), got;
		size_t at = 0;

		assert_int_equal(net_send(d, 0, &header, packet.data,
					  packet.bytes, NULL),
				 0);
		while (at < 60000) {
			struct net_frame layout;
			int bytes = net_receive(d, 0, &got, received,
						sizeof(received));

			assert_true(bytes > 0 && bytes <= 1514);
			assert_int_equal(got.flags, 0);
			net_frame_parse(received, NET_COPY_BYTES, &layout);
			assert_int_equal(packet_transport_checksum(
						 received, bytes, &layout),
					 0);
			bytes -= layout.payload_offset;
			assert_memory_equal(received + layout.payload_offset,
					    packet.data + packet.payload + at,
					    bytes);
			at += bytes;
		}
		assert_int_equal(at, 60000);
	}
	net_driver_free(d);
}

static void what_asks_for_the_impossible_is_counted_and_dropped(void **state)
{
	struct net_driver *d = open_driver(NULL);
	struct virtio_net_hdr_v1 header = make_tso(NET_L3_IPV4, 3000);
	struct netdev_counters after;

	header.gso_size = 0;
	assert_int_equal(
		net_send(d, 0, &header, packet.data, packet.bytes, NULL), 0);
	assert_int_equal(net_send(d, 0, NULL, packet.data, 13, NULL), 0);
	assert_int_equal(net_send_wait(d, 0), 0);
	after = counters();
	assert_int_equal(after.tx_faults[NET_FAULT_GSO_SIZE], 1);
	assert_int_equal(after.tx_faults[NET_FAULT_RUNT], 1);
	assert_int_equal(after.tx_frames, 0);
	make_plain(100);
	there_and_back(d, 0, NULL);
	net_driver_free(d);
}

static void configuration_says_what_the_network_is(void **state)
{
	struct net_driver *d = open_driver(NULL);
	struct virtio_net_config config;
	uint32_t request;

	assert_true(frontend_has(d->fe, VIRTIO_NET_F_MAC));
	assert_true(frontend_has(d->fe, VIRTIO_NET_F_MTU));
	assert_int_equal(frontend_get_config(d->fe, 0, &config, sizeof(config)),
			 0);
	assert_memory_equal(config.mac, our_mac, sizeof(our_mac));
	assert_int_equal(le16toh(config.mtu), MTU);
	assert_int_equal(le16toh(config.status), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(le16toh(config.max_virtqueue_pairs), PAIRS);
	store_release(&echo.link_wanted_down, true);
	assert_int_equal(frontend_channel_receive(d->fe, &request), 0);
	assert_int_equal(request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
	assert_int_equal(frontend_get_config(d->fe, 0, &config, sizeof(config)),
			 0);
	assert_int_equal(config.status, 0);
	/* What is there may be written again, and nothing else. */
	assert_int_equal(frontend_set_config(d->fe, 0, &config, 6), 0);
	config.mac[0] ^= 4;
	assert_int_equal(frontend_set_config(d->fe, 0, &config, 6), -EREMOTEIO);
	net_driver_free(d);
}

static void mtu_is_taken_within_the_networks(void **state)
{
	struct net_driver *d = open_driver(NULL);
	struct virtio_net_config config;
	static const uint64_t wrong[] = {0, 67, MTU + 1, 65536, UINT64_MAX};

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(frontend_set_u64(d->fe, VHOST_USER_NET_SET_MTU,
						  wrong[i]),
				 -EREMOTEIO);
	assert_int_equal(frontend_set_u64(d->fe, VHOST_USER_NET_SET_MTU, 1400),
			 0);
	assert_int_equal(frontend_get_config(d->fe, 0, &config, sizeof(config)),
			 0);
	assert_int_equal(le16toh(config.mtu), 1400);
	net_driver_free(d);
}

static void guest_that_has_moved_is_announced(void **state)
{
	static const uint8_t mac[] = {2, 0xab, 0xcd, 1, 2, 3};
	struct net_driver *d = open_driver(NULL);
	uint64_t value = 0;

	memcpy(&value, mac, sizeof(mac));
	assert_int_equal(frontend_set_u64(d->fe, VHOST_USER_SEND_RARP, value),
			 0);
	assert_int_equal(load_acquire(&echo.announcements), 1);
	assert_memory_equal(echo.announced, mac, sizeof(mac));
	net_driver_free(d);
}

static void received_frame_is_in_the_dirty_log(void **state)
{
	struct net_driver *d = open_driver(NULL);
	uint64_t gpa = d->pairs[0].buffer_gpa[0];

	assert_int_equal(frontend_log_start(d->fe), 0);
	assert_int_equal(frontend_set_features(
				 d->fe, d->fe->features | BIT(VHOST_F_LOG_ALL)),
			 0);
	assert_false(frontend_log_test(d->fe, gpa));
	make_plain(1000);
	there_and_back(d, 0, NULL);
	assert_true(frontend_log_test(d->fe, gpa));
	assert_false(frontend_log_test(d->fe, d->pairs[0].slots[0].gpa));
	net_driver_free(d);
}

static void
frame_that_a_killed_process_had_taken_does_not_come_twice(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		const struct net_options o = {
			.without = packed ? 0 : BIT(VIRTIO_F_RING_PACKED)};
		struct net_driver *d = open_driver(&o);
		uint64_t before = counters().tx_faults[NET_FAULT_RECOVERED];
		struct frontend *fe;

		store_release(&echo.held, 0);
		store_release(&echo.hold, true);
		make_plain(700);
		assert_int_equal(
			net_send(d, 0, NULL, packet.data, packet.bytes, NULL),
			0);
		for (unsigned i = 0; i < TRIES && !load_acquire(&echo.held);
		     i++)
			usleep(1000);
		assert_int_equal(load_acquire(&echo.held), 1);
		/* Hang up without a word: the ring was never stopped. */
		shutdown(d->fe->fd, SHUT_RDWR);
		assert_int_equal(frontend_wait_closed(d->fe, 5000), 0);
		counters();
		store_release(&echo.hold, false);
		assert_int_equal(frontend_connect(echo.socket, &fe), 0);
		assert_int_equal(net_driver_reconnect(d, fe), 0);
		assert_int_equal(net_send_wait(d, 0), 0);
		assert_int_equal(counters().tx_faults[NET_FAULT_RECOVERED],
				 before + 1);
		/* The next frame is the first that comes. */
		make_plain(300);
		there_and_back(d, 0, NULL);
		net_driver_free(d);
	}
}

static void driver_that_blocks_its_eventfd_holds_up_nobody(void **state)
{
	const struct net_options two = {
		.pairs = 2, .without = BIT(VIRTIO_RING_F_EVENT_IDX)};
	struct net_driver *d = open_driver(&two);
	uint64_t full = UINT64_MAX - 1;
	int call = d->rings[1]->call_fd;

	fcntl(call, F_SETFL, fcntl(call, F_GETFL) & ~O_NONBLOCK);
	assert_int_equal(write(call, &full, sizeof(full)), sizeof(full));
	make_plain(500);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
			net_send(d, 0, NULL, packet.data, packet.bytes, NULL),
			0);
	there_and_back(d, 1, NULL);
	net_driver_free(d);
}

static void broken_ring_stops_itself_and_no_other(void **state)
{
	const struct net_options two = {.pairs = 2,
					.without = BIT(VIRTIO_F_RING_PACKED)};
	struct net_driver *d = open_driver(&two);
	struct driver_ring *ring = d->rings[1];
	uint64_t broken = 0;

	ring->desc[0].addr = htole64(UINT64_MAX - 100);
	ring->desc[0].len = htole32(64);
	ring->desc[0].flags = 0;
	ring->avail->ring[0] = 0;
	store_release(&ring->avail->idx, 1);
	driver_ring_kick_always(ring);
	for (unsigned i = 0; i < TRIES && broken == 0; i++) {
		usleep(1000);
		if (read(ring->err_fd, &broken, sizeof(broken)) < 0)
			broken = 0;
	}
	assert_true(broken > 0);
	make_plain(300);
	there_and_back(d, 1, NULL);
	net_driver_free(d);
	d = open_driver(NULL);
	there_and_back(d, 0, NULL);
	net_driver_free(d);
}

static void device_that_cannot_be_is_not_made(void **state)
{
	struct netdev_config config = {.name = "x", .owner = &owner};
	struct netdev *none = NULL;

	assert_int_equal(netdev_new(&config, &none), -EINVAL);
	config.pairs = NETDEV_MAX_PAIRS + 1;
	assert_int_equal(netdev_new(&config, &none), -EINVAL);
	config.pairs = NETDEV_MAX_PAIRS;
	config.mtu = NETDEV_MIN_MTU - 1;
	assert_int_equal(netdev_new(&config, &none), -EINVAL);
	assert_null(none);
	config.mtu = 0;
	assert_int_equal(netdev_new(&config, &none), 0);
	assert_int_equal(netdev_vhost(none)->features & NET_FEATURE(MTU), 0);
	netdev_free(none);
	netdev_free(NULL);
}

#define echo_test(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		echo_test(every_front_end_sends_and_receives),
		echo_test(every_kind_of_ring_carries_frames_of_every_size),
		echo_test(frame_in_single_bytes_comes_back),
		echo_test(rings_wrap_many_times),
		echo_test(split_index_goes_past_its_end),
		echo_test(queues_are_counted_in_pairs),
		echo_test(ring_that_is_stopped_goes_on_where_it_was),
		echo_test(disabled_queue_is_drained_and_nothing_is_sent),
		echo_test(offload_comes_back_to_who_takes_it),
		echo_test(who_takes_no_offload_gets_whole_packets),
		echo_test(what_asks_for_the_impossible_is_counted_and_dropped),
		echo_test(configuration_says_what_the_network_is),
		echo_test(mtu_is_taken_within_the_networks),
		echo_test(guest_that_has_moved_is_announced),
		echo_test(received_frame_is_in_the_dirty_log),
		echo_test(
			frame_that_a_killed_process_had_taken_does_not_come_twice),
		echo_test(driver_that_blocks_its_eventfd_holds_up_nobody),
		echo_test(broken_ring_stops_itself_and_no_other),
		cmocka_unit_test(device_that_cannot_be_is_not_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
