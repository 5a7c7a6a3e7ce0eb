/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that no front-end should send. Whether the back-end closes the
 * connection or goes on is its own affair, as long as it lives, leaks nothing
 * and serves the next one.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "tests/blk/fixture.h"

enum {
	CLOSE_MS = 2000
};

/* Sends without waiting for anything; a hang-up on the way is an answer. */
static void throw(struct frontend * fe, uint32_t request, const void *payload,
		  size_t bytes, const int *fds, unsigned count)
{
	bool need_reply = fe->need_reply;

	fe->need_reply = false;
	frontend_tell(fe, request, payload, bytes, fds, count);
	fe->need_reply = need_reply;
}

/* Asks for something: an answer or a hang-up, so that @fe was heard out. */
static void hear_out(struct frontend *fe)
{
	uint64_t ignored;

	frontend_get_u64(fe, VHOST_USER_GET_FEATURES, &ignored);
}

/* A fresh connection with everything negotiated, and rings running or not. */
static struct blk_driver *running(const struct fixture *f)
{
	return fixture_open(f, NULL);
}

static struct frontend *negotiated(const struct fixture *f)
{
	struct frontend *fe;

	assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
	assert_int_equal(frontend_negotiate(fe, &profile_everything, 1), 0);
	assert_int_equal(frontend_set_features(fe, fe->features), 0);
	return fe;
}

static void queue_indices_out_of_range_are_survived(void **state)
{
	struct fixture *f = *state;
	static const uint32_t indices[] = {8, 255, 256, 65536, UINT32_MAX};
	static const uint32_t requests[] = {
		VHOST_USER_SET_VRING_NUM,  VHOST_USER_SET_VRING_BASE,
		VHOST_USER_GET_VRING_BASE, VHOST_USER_SET_VRING_ENABLE,
		VHOST_USER_SET_VRING_ADDR, VHOST_USER_SET_VRING_KICK,
		VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_ERR,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(indices); i++) {
		for (unsigned k = 0; k < ARRAY_SIZE(requests); k++) {
			struct blk_driver *d = running(f);
			const struct vhost_vring_addr addr = {
				.index = indices[i]};
			/* As a state and as a u64 the index is in front. */
			size_t bytes = requests[k] == VHOST_USER_SET_VRING_ADDR
					       ? sizeof(addr)
					       : 8;
			bool fd = requests[k] == VHOST_USER_SET_VRING_KICK ||
				  requests[k] == VHOST_USER_SET_VRING_CALL ||
				  requests[k] == VHOST_USER_SET_VRING_ERR;

			throw(d->fe, requests[k], &addr, bytes,
			      &d->rings[0]->kick_fd, fd);
			hear_out(d->fe);
			blk_driver_free(d);
			process_assert_alive(&f->process);
		}
		fixture_assert_serves(f);
	}
}

static void ring_sizes_that_cannot_be_are_survived(void **state)
{
	struct fixture *f = *state;
	static const uint32_t sizes[] = {0,	3,	  32769,     65535,
					 65536, 1u << 31, UINT32_MAX};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct frontend *fe = negotiated(f);
		const struct vhost_vring_state state_payload = {
			.num = sizes[i]};

		throw(fe, VHOST_USER_SET_VRING_NUM, &state_payload,
		      sizeof(state_payload), NULL, 0);
		hear_out(fe);
		frontend_free(fe);
	}
	fixture_assert_serves(f);
}

static void memory_tables_that_cannot_be_are_survived(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t regions;
		unsigned fds;
		uint64_t gpa, size, uva, offset;
	} bad[] = {
		{UINT32_MAX, 1, 0, 4096, 0, 0},
		{0x08000001, 1, 0, 4096, 0, 0},
		{0, 0, 0, 0, 0, 0},
		{1, 0, 0, 4096, 0, 0},
		{2, 1, 0, 4096, 0, 0},
		{1, 2, 0, 4096, 0, 0},
		{1, 1, 0, 0, 0, 0},
		{1, 1, 0, UINT64_C(4097) << 20, 0, 0},
		{1, 1, 0, UINT64_MAX, 0, 0},
		{1, 1, UINT64_MAX - 4095, 8192, 0, 0},
		{1, 1, 0, 8192, UINT64_MAX - 4095, 0},
		{1, 1, 0, 4096, 0, UINT64_MAX - 4095},
		{1, 1, 0, 4096, 0, UINT64_MAX},
		{1, 1, 0, 4096, 0, 1 << 20},
		{1, 1, 0, 1 << 20, 0, 4096},
	};
	int fd = memfd_create("small", MFD_CLOEXEC);
	const int fds[2] = {fd, fd};

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct frontend *fe = negotiated(f);
		const struct vhost_user_region r = {bad[i].gpa, bad[i].size,
						    bad[i].uva, bad[i].offset};
		const struct vhost_user_memory table = {
			.num_regions = bad[i].regions,
			.regions = {r, r},
		};
		const struct vhost_user_single_region single = {.region = r};

		throw(fe, VHOST_USER_SET_MEM_TABLE, &table,
		      8 + MIN(bad[i].regions, 2u) * sizeof(r), fds, bad[i].fds);
		hear_out(fe);
		frontend_free(fe);
		fe = negotiated(f);
		throw(fe, VHOST_USER_ADD_MEM_REG, &single, sizeof(single), fds,
		      bad[i].fds);
		hear_out(fe);
		frontend_free(fe);
		process_assert_alive(&f->process);
	}
	close(fd);
	fixture_assert_serves(f);
}

static void the_slot_that_holds_the_rings_may_be_removed(void **state)
{
	struct fixture *f = *state;

	for (unsigned poll = 0; poll < 2; poll++) {
		const struct blk_options options = {
			.poll = poll,
			.profile = &profile_qemu,
		};
		struct blk_driver *d = fixture_open(f, &options);
		struct blk_request r[32];

		assert_true(frontend_has_protocol(
			d->fe, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS));
		for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
			assert_int_equal(blk_prepare(d, &r[i], VIRTIO_BLK_T_IN,
						     i, 0, 4096),
					 0);
			assert_int_equal(blk_add(d, 0, &r[i]), 0);
		}
		blk_kick(d, 0);
		for (unsigned i = 0; i < d->ram->count; i++)
			frontend_remove_region(d->fe, d->ram, i);
		driver_ring_kick_always(d->rings[0]);
		hear_out(d->fe);
		blk_driver_free(d);
		fixture_assert_serves(f);
	}
}

static void logs_that_cannot_be_are_survived(void **state)
{
	struct fixture *f = *state;
	static const struct vhost_user_log bad[] = {
		{UINT64_MAX, 0},
		{UINT64_MAX, 4096},
		{4096, UINT64_MAX - 4095},
		{4096, UINT64_MAX},
		{UINT64_MAX - 8191, 8192},
		{0, 0},
		{1, 0},	      /* too small for the memory */
		{1 << 20, 0}, /* longer than the file */
		{4096, 1 << 20},
	};
	int fd = memfd_create("log", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, 65536), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct blk_driver *d = running(f);
		uint8_t data[4096];

		throw(d->fe, VHOST_USER_SET_LOG_BASE, &bad[i], sizeof(bad[i]),
		      &fd, 1);
		throw(d->fe, VHOST_USER_SET_FEATURES,
		      &(uint64_t){d->fe->features | UINT64_C(1)
							    << VHOST_F_LOG_ALL},
		      8, NULL, 0);
		d->timeout_ms = 300;
		blk_read(d, 0, 0, data, sizeof(data));
		blk_driver_free(d);
		process_assert_alive(&f->process);
	}
	close(fd);
	fixture_assert_serves(f);
}

static void a_log_may_be_truncated_under_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct blk_driver *d = running(f);
	uint8_t data[4096];

	assert_int_equal(frontend_log_start(d->fe), 0);
	assert_int_equal(frontend_set_features(
				 d->fe, d->fe->features |
						UINT64_C(1) << VHOST_F_LOG_ALL),
			 0);
	assert_int_equal(blk_read(d, 0, 0, data, sizeof(data)), 0);
	assert_int_equal(ftruncate(d->fe->log_fd, 0), 0);
	d->timeout_ms = 300;
	blk_read(d, 0, 0, data, sizeof(data));
	blk_driver_free(d);
	fixture_assert_serves(f);
}

static void inflight_regions_that_cannot_be_are_survived(void **state)
{
	struct fixture *f = *state;
	static const struct vhost_user_inflight bad[] = {
		{UINT64_MAX, 0, 1, 128, 0},
		{4096, UINT64_MAX, 1, 128, 0},
		{4096, UINT64_MAX - 4095, 1, 128, 0},
		{1 << 30, 0, 1, 128, 0},
		{64, 0, 8, 32768, 0},
		{0, 0, 1, 128, 0},
		{65536, 0, 0, 128, 0},
		{65536, 0, 1, 0, 0},
		{65536, 0, UINT16_MAX, UINT16_MAX, 0},
	};
	int fd = memfd_create("inflight", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, 65536), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct frontend *fe = negotiated(f);

		throw(fe, VHOST_USER_SET_INFLIGHT_FD, &bad[i], sizeof(bad[i]),
		      &fd, 1);
		hear_out(fe);
		frontend_free(fe);
		fe = negotiated(f);
		fe->timeout_ms = CLOSE_MS;
		frontend_get_inflight(fe, bad[i].num_queues, bad[i].queue_size);
		frontend_free(fe);
		process_assert_alive(&f->process);
	}
	close(fd);
	fixture_assert_serves(f);
}

/* Garbage in the region that a restart would read back. */
static void an_inflight_region_full_of_lies_is_not_believed(void **state)
{
	struct fixture *f = *state;

	for (uint64_t seed = 0; seed < 24; seed++) {
		const struct blk_options options = {
			.without = seed & 1
					   ? UINT64_C(1) << VIRTIO_F_RING_PACKED
					   : 0,
		};
		struct blk_driver *d = fixture_open(f, &options);
		uint64_t bytes = d->fe->inflight.mmap_size;
		struct frontend *again;
		uint8_t *region, ignored[512];

		region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			      d->fe->inflight_fd, d->fe->inflight.mmap_offset);
		assert_ptr_not_equal(region, MAP_FAILED);
		if (seed % 3 == 0)
			memset(region, 0xff, bytes);
		else
			fixture_pattern(region + (seed % 3 == 1 ? 8 : 0),
					bytes - 8, seed);
		munmap(region, bytes);
		/* Hang up, and bring the region to the next session. */
		fd_close(&d->fe->fd);
		assert_int_equal(frontend_connect(f->process.socket, &again),
				 0);
		if (blk_driver_reconnect(d, again) == 0) {
			d->timeout_ms = 200;
			blk_read(d, 0, 0, ignored, sizeof(ignored));
		}
		blk_driver_free(d);
		process_assert_alive(&f->process);
	}
	fixture_assert_serves(f);
}

static void ring_addresses_outside_memory_are_survived(void **state)
{
	struct fixture *f = *state;
	static const uint64_t offsets[] = {1, UINT64_C(1) << 62, UINT64_MAX,
					   UINT64_C(0) - 65536};

	for (unsigned i = 0; i < ARRAY_SIZE(offsets) * 3; i++) {
		struct blk_driver *d = running(f);
		struct driver_ring *ring = d->rings[0];
		struct vhost_vring_addr addr = {
			.desc_user_addr = ram_uva(d->ram, ring->desc_gpa),
			.avail_user_addr = ram_uva(d->ram, ring->avail_gpa),
			.used_user_addr = ram_uva(d->ram, ring->used_gpa),
		};
		__u64 *fields[] = {&addr.desc_user_addr, &addr.avail_user_addr,
				   &addr.used_user_addr};

		*fields[i % 3] += offsets[i / 3];
		assert_int_equal(frontend_ring_stop(d->fe, 0, NULL), 0);
		throw(d->fe, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr),
		      NULL, 0);
		throw(d->fe, VHOST_USER_SET_VRING_KICK, &(uint64_t){0}, 8,
		      &ring->kick_fd, 1);
		hear_out(d->fe);
		blk_driver_free(d);
		process_assert_alive(&f->process);
	}
	fixture_assert_serves(f);
}

static void headers_that_make_no_sense_are_survived(void **state)
{
	struct fixture *f = *state;
	static const struct vhost_user_header bad[] = {
		{0, 1, 0},
		{VHOST_USER_GET_FEATURES, 0, 0},
		{VHOST_USER_GET_FEATURES, 2, 0},
		{VHOST_USER_GET_FEATURES, 3, 0},
		{VHOST_USER_GET_FEATURES, 1 | VHOST_USER_REPLY, 0},
		{VHOST_USER_GET_FEATURES, 1, UINT32_MAX},
		{VHOST_USER_SET_MEM_TABLE, 1, UINT32_MAX},
		{VHOST_USER_SET_MEM_TABLE, 1, UINT32_MAX - 11},
		{VHOST_USER_SET_MEM_TABLE, 1, 1 << 16},
		{VHOST_USER_REQUESTS, 1, 0},
		{1000, 1, 0},
		{UINT32_MAX, UINT32_MAX, UINT32_MAX},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct frontend *fe;

		assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
		assert_int_equal(
			frontend_send_raw(fe, &bad[i], sizeof(bad[i]), NULL, 0),
			0);
		fe->timeout_ms = 100;
		hear_out(fe);
		frontend_free(fe);
		process_assert_alive(&f->process);
	}
	fixture_assert_serves(f);
}

/* Every request, with payloads of every length around what it wants. */
static void payloads_of_every_length_are_survived(void **state)
{
	struct fixture *f = *state;
	uint8_t payload[400];

	fixture_pattern(payload, sizeof(payload), 77);
	for (uint32_t request = 1; request < VHOST_USER_REQUESTS; request++) {
		for (unsigned bytes = 0; bytes < 49; bytes += 1 + bytes % 3) {
			struct frontend *fe;

			assert_int_equal(
				frontend_connect(f->process.socket, &fe), 0);
			throw(fe, request, payload, bytes, NULL, 0);
			frontend_free(fe);
		}
		process_assert_alive(&f->process);
	}
	fixture_assert_serves(f);
}

static void a_connection_may_end_at_any_byte(void **state)
{
	struct fixture *f = *state;
	int fds[3], count = 3;
	struct {
		struct vhost_user_header header;
		struct vhost_user_memory table;
	} message = {
		.header = {VHOST_USER_SET_MEM_TABLE, VHOST_USER_VERSION,
			   8 + 3 * sizeof(struct vhost_user_region)},
		.table = {.num_regions = 3},
	};
	size_t bytes = sizeof(message.header) + message.header.size;
	struct ram *ram;
	const unsigned before = process_count_fds(&f->process);

	assert_int_equal(ram_new_usual(1 << 20, &ram), 0);
	for (int i = 0; i < count; i++) {
		fds[i] = ram->regions[i].fd;
		message.table.regions[i] = (struct vhost_user_region){
			ram->regions[i].gpa, ram->regions[i].size_bytes,
			ram->regions[i].uva, ram->regions[i].mmap_offset};
	}
	for (size_t n = 0; n <= bytes; n++) {
		struct frontend *fe = negotiated(f);

		if (n > 0)
			assert_int_equal(
				frontend_send_raw(fe, &message, n, fds, count),
				0);
		frontend_free(fe);
	}
	fixture_assert_serves(f);
	process_assert_fds(&f->process, before);
	ram_free(ram);
}

/* In pieces, a byte at a time: as good as at once. */
static void a_message_that_comes_byte_by_byte_is_understood(void **state)
{
	struct fixture *f = *state;
	const struct vhost_user_header header = {VHOST_USER_GET_FEATURES,
						 VHOST_USER_VERSION, 0};
	struct frontend_message reply;
	struct frontend *fe;

	assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
	for (unsigned i = 0; i < sizeof(header); i++) {
		assert_int_equal(frontend_send_raw(fe,
						   (const char *)&header + i, 1,
						   NULL, 0),
				 0);
		usleep(1000);
	}
	assert_int_equal(frontend_receive(fe, fe->fd, &reply), 0);
	assert_int_equal(reply.header.request, VHOST_USER_GET_FEATURES);
	assert_true(reply.payload.u64 & UINT64_C(1) << VIRTIO_F_VERSION_1);
	frontend_free(fe);
}

static void stray_descriptors_are_closed(void **state)
{
	struct fixture *f = *state;
	struct frontend *fe;
	unsigned before;
	int fds[8];

	fixture_assert_serves(f);
	assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
	hear_out(fe);
	before = process_count_fds(&f->process);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < 100; i++) {
		const struct vhost_user_header header = {
			VHOST_USER_GET_FEATURES, VHOST_USER_VERSION, 0};

		if (frontend_send_raw(fe, &header, sizeof(header), fds,
				      ARRAY_SIZE(fds)) < 0) {
			/* It hung up, as it may: go on with another. */
			frontend_free(fe);
			assert_int_equal(
				frontend_connect(f->process.socket, &fe), 0);
		}
	}
	frontend_free(fe);
	assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
	hear_out(fe);
	process_assert_fds(&f->process, before + 1);
	frontend_free(fe);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	fixture_assert_serves(f);
}

static void repeated_messages_do_not_pile_up(void **state)
{
	struct fixture *f = *state;
	struct blk_driver *d = fixture_open(f, NULL);
	unsigned before = process_count_fds(&f->process);
	uint8_t data[512];

	for (unsigned i = 0; i < 50; i++) {
		static const uint32_t requests[] = {VHOST_USER_SET_VRING_CALL,
						    VHOST_USER_SET_VRING_ERR};

		for (unsigned k = 0; k < 2; k++)
			assert_int_equal(frontend_ring_fd(d->fe, requests[k], 0,
							  d->rings[0]->call_fd),
					 0);
		assert_int_equal(frontend_open_channel(d->fe), 0);
		assert_int_equal(frontend_log_start(d->fe), 0);
		assert_int_equal(frontend_set_memory(d->fe, d->ram), 0);
		assert_int_equal(frontend_set_inflight(d->fe), 0);
	}
	process_assert_fds(&f->process, before + 3);
	assert_int_equal(blk_read(d, 0, 0, data, sizeof(data)), 0);
	blk_driver_free(d);
	fixture_assert_serves(f);
}

/* Kick, call and error descriptors that are not eventfds at all. */
static void descriptors_of_the_wrong_kind_are_survived(void **state)
{
	struct fixture *f = *state;

	for (unsigned kind = 0; kind < 4; kind++) {
		struct blk_driver *d = running(f);
		int pipe_fds[2];
		int fd = -1;
		uint8_t data[512];

		assert_int_equal(pipe(pipe_fds), 0);
		switch (kind) {
		case 0:
			fd = dup(f->image_fd);
			break;
		case 1:
			fd = dup(pipe_fds[1]);
			close(pipe_fds[0]);
			pipe_fds[0] = -1;
			break;
		case 2:
			fd = memfd_create("call", MFD_CLOEXEC);
			break;
		case 3:
			fd = dup(pipe_fds[0]);
			break;
		}
		throw(d->fe, VHOST_USER_SET_VRING_CALL, &(uint64_t){0}, 8, &fd,
		      1);
		throw(d->fe, VHOST_USER_SET_VRING_ERR, &(uint64_t){0}, 8, &fd,
		      1);
		d->timeout_ms = 100;
		blk_read(d, 0, 0, data, sizeof(data));
		throw(d->fe, VHOST_USER_SET_VRING_KICK, &(uint64_t){0}, 8, &fd,
		      1);
		blk_read(d, 0, 0, data, sizeof(data));
		blk_driver_free(d);
		if (pipe_fds[0] >= 0)
			close(pipe_fds[0]);
		close(pipe_fds[1]);
		close(fd);
		process_assert_alive(&f->process);
	}
	fixture_assert_serves(f);
}

/* A client that stops in the middle of a message holds up nobody for ever. */
static void half_a_message_does_not_outlive_its_connection(void **state)
{
	struct fixture *f = *state;
	const struct vhost_user_header header = {VHOST_USER_SET_MEM_TABLE,
						 VHOST_USER_VERSION, 104};
	struct frontend *fe;
	uint64_t cpu;

	assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
	assert_int_equal(frontend_send_raw(fe, &header, 5, NULL, 0), 0);
	cpu = process_cpu_ms(&f->process);
	/* No event to wait for: meanwhile it is to do nothing. */
	usleep(300000);
	assert_in_range(process_cpu_ms(&f->process) - cpu, 0, 30);
	frontend_free(fe);
	fixture_assert_serves(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DAEMON_TEST(queue_indices_out_of_range_are_survived),
		DAEMON_TEST(ring_sizes_that_cannot_be_are_survived),
		DAEMON_TEST(memory_tables_that_cannot_be_are_survived),
		DAEMON_TEST(the_slot_that_holds_the_rings_may_be_removed),
		DAEMON_TEST(logs_that_cannot_be_are_survived),
		DAEMON_TEST(a_log_may_be_truncated_under_the_daemon),
		DAEMON_TEST(inflight_regions_that_cannot_be_are_survived),
		DAEMON_TEST(an_inflight_region_full_of_lies_is_not_believed),
		DAEMON_TEST(ring_addresses_outside_memory_are_survived),
		DAEMON_TEST(headers_that_make_no_sense_are_survived),
		DAEMON_TEST(payloads_of_every_length_are_survived),
		DAEMON_TEST(a_connection_may_end_at_any_byte),
		DAEMON_TEST(a_message_that_comes_byte_by_byte_is_understood),
		DAEMON_TEST(stray_descriptors_are_closed),
		DAEMON_TEST(repeated_messages_do_not_pile_up),
		DAEMON_TEST(descriptors_of_the_wrong_kind_are_survived),
		DAEMON_TEST(half_a_message_does_not_outlive_its_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
