/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that mean harm by what they share with the daemon: buffers of the wrong
 * kind, memory that goes away or moves, messages that make no sense. */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "tests/net/hostile.h"

static uint8_t frame[FIXTURE_FRAME_BYTES];

/* --- buffers of the wrong kind --- */

static void chain_too_short_for_its_header_is_dropped(void **state)
{
	struct fixture *f = *state;

	for (uint32_t bytes = 1; bytes < NET_HEADER_BYTES; bytes++) {
		struct net_driver *d = fixture_open(f, NULL);
		const struct driver_buffer buffer = {d->pairs[0].slots[0].gpa,
						     bytes, false};

		d->pairs[0].slots[0].busy = true;
		assert_int_equal(driver_ring_add(d->rings[1], &buffer, 1,
						 &d->pairs[0].slots[0]),
				 0);
		driver_ring_publish(d->rings[1]);
		driver_ring_kick(d->rings[1]);
		assert_int_equal(net_send_wait(d, 0), 0);
		hostile_expect_frame(f, d, 0);
		net_driver_free(d);
	}
	assert_int_equal(hostile_count_fault(f, "layout"),
			 NET_HEADER_BYTES - 1);
}

static void data_in_writable_descriptors_is_not_sent(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	struct net_slot *slot = &d->pairs[0].slots[0];
	const struct driver_buffer buffers[] = {
		{slot->gpa, 512, false},
		{slot->gpa + 512, 512, true},
	};

	for (unsigned i = 0; i < 2; i++) {
		slot->busy = true;
		assert_int_equal(
			driver_ring_add(d->rings[1], buffers + i, 2 - i, slot),
			0);
		driver_ring_publish(d->rings[1]);
		driver_ring_kick(d->rings[1]);
		assert_int_equal(net_send_wait(d, 0), 0);
	}
	hostile_expect_frame(f, d, 0);
	assert_int_equal(hostile_count_fault(f, "layout"), 2);
	net_driver_free(d);
}

/* Nothing may be written where the guest offered to be read. */
static void readable_receive_buffers_stay_as_they_are(void **state)
{
	struct fixture *f = *state;
	const struct net_options o = {.buffers = UINT32_MAX};
	struct net_driver *d = fixture_open(f, &o);
	uint64_t gpa = d->pairs[0].slots[0].gpa;
	const struct driver_buffer buffers[] = {
		{gpa, 2048, false},
		{gpa + 4096, 2048, true},
	};
	uint8_t *data = ram_at(d->ram, gpa);

	memset(data, 0xee, 8192);
	assert_int_equal(driver_ring_add(d->rings[0], buffers, 2, data), 0);
	driver_ring_publish(d->rings[0]);
	driver_ring_kick_always(d->rings[0]);
	frame_make(frame, 300, 5);
	wire_send(f, NULL, frame, 300);
	assert_int_equal(
		driver_ring_wait(d->rings[0], false, HOSTILE_PATIENCE_MS), 0);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(data[i], 0xee);
	assert_memory_equal(data + 4096 + NET_HEADER_BYTES, frame, 300);
	assert_int_equal(data[4096 + NET_HEADER_BYTES + 300], 0xee);
	net_driver_free(d);
}

static void receive_buffers_of_next_to_nothing_do_no_harm(void **state)
{
	struct fixture *f = *state;
	static const uint32_t sizes[] = {1, 11, 12, 13, 25};

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		const struct net_options o = {
			.buffer_bytes = sizes[i / 2],
			.buffers = 10,
			.without = i % 2 ? NET_BIT(MRG_RXBUF) : 0,
		};
		struct net_driver *d = fixture_open(f, &o);

		frame_make(frame, 300, i);
		wire_send(f, NULL, frame, 300);
		hostile_expect_frame(f, d, 0);
		net_driver_free(d);
	}
}

/* --- memory and the conversation --- */

static void truncated_memory_stops_its_own_device(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++) {
		struct net_driver *d = fixture_open(f, NULL);

		for (unsigned region = 0; region < d->ram->count; region++)
			assert_int_equal(
				ftruncate(d->ram->regions[region].fd, 0), 0);
		if (i == 1) {
			frame_make(frame, 300, i);
			wire_send(f, NULL, frame, 300);
		}
		driver_ring_kick_always(d->rings[1]);
		hostile_expect_broken(d, 1);
		process_assert_alive(&f->process);
		net_driver_free(d);
		d = fixture_open(f, NULL);
		hostile_expect_frame(f, d, 0);
		net_driver_free(d);
	}
}

/* Descriptors that change while they are read. */
static void descriptors_in_motion_do_no_harm(void **state)
{
	struct fixture *f = *state;
	const struct net_options o = {.without = BIT(VIRTIO_F_RING_PACKED)};
	struct net_driver *d = fixture_open(f, &o);
	struct driver_ring *ring = d->rings[1];
	uint16_t index = 0;

	for (unsigned i = 0; i < HOSTILE_RING; i++) {
		ring->desc[i].addr = htole64(d->pairs[0].slots[0].gpa);
		ring->desc[i].len = htole32(100);
		ring->avail->ring[i] = htole16(i);
	}
	for (unsigned i = 0; i < 200000; i++) {
		struct vring_desc *desc = &ring->desc[i * 7 % HOSTILE_RING];

		store_once(&desc->len, htole32(i % 3 ? 100 : UINT32_MAX));
		store_once(&desc->flags,
			   htole16(i % 5 ? 0 : VRING_DESC_F_NEXT));
		store_once(&desc->next, htole16(i % HOSTILE_RING));
		if (i % 16 == 0) {
			store_release(&ring->avail->idx, index += 3);
			driver_ring_kick_always(ring);
		}
	}
	net_driver_free(d);
	process_assert_alive(&f->process);
	d = fixture_open(f, NULL);
	hostile_expect_frame(f, d, 0);
	net_driver_free(d);
}

static void messages_that_make_no_sense_close_the_session(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t request, index, num;
	} lies[] = {
		{VHOST_USER_SET_VRING_NUM, 4, 256},
		{VHOST_USER_SET_VRING_NUM, 0, 0},
		{VHOST_USER_SET_VRING_NUM, 0, 65536},
		{VHOST_USER_SET_VRING_ENABLE, 4, 1},
		{VHOST_USER_SET_VRING_ENABLE, 0, 2},
		{VHOST_USER_GET_VRING_BASE, 255, 0},
		{VHOST_USER_SET_FEATURES, UINT32_MAX, UINT32_MAX},
		{VHOST_USER_POSTCOPY_ADVISE, 0, 0},
		{VHOST_USER_REQUESTS + 1, 0, 0},
	};

	hostile_start_two_pairs(f);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct net_driver *d = fixture_open(f, NULL);
		const struct vhost_vring_state payload = {lies[i].index,
							  lies[i].num};

		d->fe->need_reply = false;
		frontend_tell(d->fe, lies[i].request, &payload, sizeof(payload),
			      NULL, 0);
		assert_int_equal(
			frontend_wait_closed(d->fe, HOSTILE_PATIENCE_MS), 0);
		net_driver_free(d);
		d = fixture_open(f, NULL);
		hostile_expect_frame(f, d, 0);
		net_driver_free(d);
	}
}

static void front_end_that_goes_at_any_byte_is_followed_by_another(void **state)
{
	struct fixture *f = *state;
	const struct vhost_user_header header = {VHOST_USER_SET_FEATURES,
						 VHOST_USER_VERSION, 8};
	uint8_t bytes[20] = {0};

	memcpy(bytes, &header, sizeof(header));
	for (size_t length = 0; length <= sizeof(bytes); length++) {
		struct frontend *fe;

		assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
		frontend_send_raw(fe, bytes, length, NULL, 0);
		frontend_free(fe);
	}
	net_driver_free(fixture_open(f, NULL));
}

static void in_flight_region_of_nonsense_stops_the_ring(void **state)
{
	struct fixture *f = *state;

	for (unsigned seed = 1; seed < 20; seed++) {
		struct net_driver *d = fixture_open(f, NULL);
		uint8_t noise[4096];

		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (seed * 2654435761u >> (i % 23)) + i * seed;
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(frontend_ring_stop(d->fe, i, NULL), 0);
		assert_true(pwrite(d->fe->inflight_fd, noise, sizeof(noise),
				   0) > 0);
		frontend_set_inflight(d->fe);
		for (unsigned i = 0; i < 2; i++)
			frontend_ring_fd(d->fe, VHOST_USER_SET_VRING_KICK, i,
					 d->rings[i]->kick_fd);
		net_driver_free(d);
		process_assert_alive(&f->process);
	}
	net_driver_free(fixture_open(f, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(chain_too_short_for_its_header_is_dropped),
		DAEMON_TEST(data_in_writable_descriptors_is_not_sent),
		DAEMON_TEST(readable_receive_buffers_stay_as_they_are),
		DAEMON_TEST(receive_buffers_of_next_to_nothing_do_no_harm),
		DAEMON_TEST(truncated_memory_stops_its_own_device),
		DAEMON_TEST(descriptors_in_motion_do_no_harm),
		FIXTURE_TEST(messages_that_make_no_sense_close_the_session),
		DAEMON_TEST(
			front_end_that_goes_at_any_byte_is_followed_by_another),
		DAEMON_TEST(in_flight_region_of_nonsense_stops_the_ring),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
