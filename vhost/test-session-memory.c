/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory, the dirty log and the in-flight region under a session. */
#include "vhost/test-conversation.h"

static const uint64_t log_all = VHOST_USER_BIT(VHOST_F_LOG_ALL);

enum {
	LOG_BYTES = MEMORY_BYTES / 4096 / 8
};

#define queue (fake_device.queues[0])

static struct vhost_message add_message(uint64_t gpa, uint64_t size,
					uint64_t uva)
{
	struct vhost_message m =
		region_message(VHOST_USER_ADD_MEM_REG, gpa, size, uva);

	attach_fd(&m, new_memfd(size));
	return m;
}

static struct vhost_message rem_message(uint64_t gpa, uint64_t size,
					uint64_t uva)
{
	return region_message(VHOST_USER_REM_MEM_REG, gpa, size, uva);
}

static void table_with_a_file_too_short_is_refused(void **state)
{
	struct vhost_message m = memory_message();

	m.payload.memory.regions[0].mmap_offset = 1;
	is_refused(m, "SET_MEM_TABLE: region at 0x0, size 0x100000");
	m = memory_message();
	m.payload.memory.regions[0].mmap_offset = UINT64_MAX;
	is_refused(m, "0xffffffffffffffff");
	m = memory_message();
	m.payload.memory.regions[0].size = UINT64_MAX;
	is_refused(m, "size 0xffffffffffffffff");
	m = memory_message();
	m.payload.memory.regions[0].size = 0;
	is_refused(m, "size 0x0");
	m = memory_message();
	m.payload.memory.regions[0].gpa = UINT64_MAX - 4096;
	is_refused(m, "region at 0xffffffffffffefff");
}

static void table_with_overlapping_regions_is_refused(void **state)
{
	struct vhost_message m = request(VHOST_USER_SET_MEM_TABLE, 8 + 64);

	m.payload.memory.num_regions = 2;
	m.payload.memory.regions[0] =
		(struct vhost_user_region){0, 8192, memory_uva, 0};
	m.payload.memory.regions[1] =
		(struct vhost_user_region){4096, 8192, memory_uva + 65536, 0};
	attach_fd(&m, new_memfd(8192));
	attach_fd(&m, new_memfd(8192));
	is_refused(m, "overlap");
}

static void refused_memory_leaves_the_running_ring_alone(void **state)
{
	begin_serving(split_features);
	is_refused(add_message(4096, 4096, 4096), "overlapping");
	assert_int_equal(queue.stops, 0);
	assert_true(queue.running);
}

static void rings_go_on_with_new_memory_where_they_were(void **state)
{
	begin_serving(split_features);
	base_of(0);
	say_well(request_state(VHOST_USER_SET_VRING_BASE, 0, 9));
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	say_well(add_message(MEMORY_BYTES, 4096, memory_uva + MEMORY_BYTES));
	say_well(memory_message());
	assert_true(queue.running);
	assert_int_equal(queue.starts, 4);
	assert_int_equal(base_of(0), 9);
}

static void losing_its_memory_stops_a_ring_until_it_is_back(void **state)
{
	int err_fd = give_err_fd(0);

	begin_serving(split_features);
	say_well(rem_message(0, MEMORY_BYTES, memory_uva));
	assert_false(queue.running);
	assert_int_equal(signals(err_fd), 1);
	assert_non_null(strstr(session_error(session), "not in guest memory"));
	say_well(add_message(0, MEMORY_BYTES, memory_uva));
	assert_true(queue.running);
	close(err_fd);
}

static void region_that_is_not_there_cannot_be_removed(void **state)
{
	is_refused(rem_message(0, 4096, 0), "none like it");
	say_well(memory_message());
	is_refused(rem_message(0, MEMORY_BYTES, memory_uva + 4096),
		   "REM_MEM_REG: region at 0x0, size 0x100000");
}

static void
each_pair_of_a_network_device_may_tell_of_the_same_region(void **state)
{
	unsigned before;

	fake_device.device.queues_per_unit = 2;
	begin_serving(split_features);
	before = open_fds();
	for (unsigned i = 0; i < 3; i++)
		say_well(add_message(0, MEMORY_BYTES, memory_uva));
	assert_int_equal(queue.stops, 0);
	assert_int_equal(open_fds(), before);
	/* The same place with anything else is a mistake all the same. */
	is_refused(add_message(0, MEMORY_BYTES, memory_uva + 4096),
		   "overlapping");
	is_refused(add_message(4096, 4096, memory_uva), "overlapping");
	for (unsigned i = 0; i < 3; i++)
		say_well(rem_message(0, MEMORY_BYTES, memory_uva));
	assert_false(queue.running);
}

static void descriptor_with_a_removal_is_closed(void **state)
{
	unsigned before = open_fds();

	for (unsigned i = 0; i < 100; i++) {
		struct vhost_message m =
			rem_message(0, MEMORY_BYTES, memory_uva);

		say_well(add_message(0, MEMORY_BYTES, memory_uva));
		attach_fd(&m, new_memfd(4096));
		say_well(m);
	}
	assert_int_equal(open_fds(), before);
}

static void slots_are_509_and_no_more(void **state)
{
	for (uint64_t i = 0; i < 509; i++)
		say_well(add_message(i << 20, 4096, memory_uva + (i << 20)));
	is_refused(add_message(1ull << 40, 4096, memory_uva + (1ull << 40)),
		   "all slots are taken");
	say_well(rem_message(3 << 20, 4096, memory_uva + (3 << 20)));
	say_well(add_message(1ull << 40, 4096, memory_uva + (1ull << 40)));
}

static struct vhost_message log_message(uint64_t size, uint64_t offset)
{
	struct vhost_message m = request(VHOST_USER_SET_LOG_BASE, 16);

	m.payload.log = (struct vhost_user_log){size, offset};
	attach_fd(&m, new_memfd(65536));
	return m;
}

static void log_that_does_not_fit_its_file_is_refused(void **state)
{
	is_refused(log_message(UINT64_MAX, 0), "log size 0xffffffffffffffff");
	is_refused(log_message(UINT64_MAX - 4095, 8192), "offset 0x2000");
	is_refused(log_message(4096, UINT64_MAX), "offset 0xffffffffffffffff");
	is_refused(log_message(4096, UINT64_MAX - 4095), "log size 0x1000");
	is_refused(log_message(65537, 0), "log size 0x10001");
	is_refused(log_message(0, 0), "log size 0x0");
}

static void log_too_small_for_memory_is_refused(void **state)
{
	say_well(memory_message());
	is_refused(log_message(LOG_BYTES - 1, 0), "too small");
	say_well(log_message(LOG_BYTES, 0));
	say_well(log_message(LOG_BYTES, 4096));
}

static void log_without_descriptor_is_refused(void **state)
{
	is_refused(request_u64(VHOST_USER_SET_LOG_BASE, 0x1000),
		   "SET_LOG_BASE: 0 file descriptors");
}

static void log_is_answered_when_its_feature_was_negotiated(void **state)
{
	say_well(log_message(LOG_BYTES, 0));
	assert_true(message_is_none(&reply));
	negotiate(VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_LOG_SHMFD));
	say_well(log_message(LOG_BYTES, 0));
	assert_int_equal(reply.header.request, VHOST_USER_SET_LOG_BASE);
	assert_int_equal(reply.header.size, 8);
	assert_true(reply.payload.u64 == 0);
}

static void logs_are_replaced_while_the_ring_runs(void **state)
{
	struct vhost_message m;
	unsigned before;

	begin_serving(split_features);
	say_well(log_message(LOG_BYTES, 0));
	say_well(
		request_u64(VHOST_USER_SET_FEATURES, split_features | log_all));
	before = open_fds();
	for (unsigned i = 0; i < 100; i++) {
		say_well(log_message(LOG_BYTES, 0));
		m = request(VHOST_USER_SET_LOG_FD, 0);
		attach_fd(&m, eventfd(0, EFD_CLOEXEC));
		say_well(m);
	}
	assert_int_equal(open_fds(), before);
	assert_true(queue.running);
}

static void memory_may_not_outgrow_a_log_in_use(void **state)
{
	begin_serving(split_features);
	say_well(log_message(LOG_BYTES, 0));
	say_well(
		request_u64(VHOST_USER_SET_FEATURES, split_features | log_all));
	is_refused(add_message(MEMORY_BYTES, 4096, memory_uva + MEMORY_BYTES),
		   "outgrows the dirty log");
	say_well(log_message(LOG_BYTES + 1, 0));
	say_well(add_message(MEMORY_BYTES, 4096, memory_uva + MEMORY_BYTES));
	assert_true(queue.running);
}

static void memory_outgrows_a_log_that_is_over(void **state)
{
	begin_serving(split_features);
	say_well(log_message(LOG_BYTES, 0));
	say_well(add_message(MEMORY_BYTES, 4096, memory_uva + MEMORY_BYTES));
	assert_true(queue.running);
}

static void used_ring_logged_outside_the_log_breaks_the_ring(void **state)
{
	struct vhost_message m = addr_message(0, ring_uva(0));
	int err_fd = give_err_fd(0);

	begin_serving(split_features | log_all);
	say_well(log_message(LOG_BYTES, 0));
	m.payload.addr.flags = 1 << VHOST_VRING_F_LOG;
	m.payload.addr.log_guest_addr = 0x8000;
	say_well(m);
	assert_true(queue.running);
	m.payload.addr.log_guest_addr = UINT64_MAX - 16;
	assert_int_equal(say(m), -EINVAL);
	assert_false(queue.running);
	assert_int_equal(signals(err_fd), 1);
	close(err_fd);
}

static struct vhost_message inflight_message(uint32_t number, uint16_t queues,
					     uint16_t size)
{
	struct vhost_message m = request(number, 24);

	m.payload.inflight.num_queues = queues;
	m.payload.inflight.queue_size = size;
	return m;
}

/* GET, and the message that gives it back. */
static struct vhost_message get_inflight(uint16_t queues, uint16_t size)
{
	struct vhost_message m =
		inflight_message(VHOST_USER_SET_INFLIGHT_FD, queues, size);

	say_well(inflight_message(VHOST_USER_GET_INFLIGHT_FD, queues, size));
	assert_int_equal(reply.fd_count, 1);
	assert_true(reply.payload.inflight.mmap_size > 0);
	m.payload.inflight = reply.payload.inflight;
	attach_fd(&m, reply.fds[0]);
	return m;
}

static void inflight_description_is_answered_in_the_askers_size(void **state)
{
	struct vhost_message m =
		inflight_message(VHOST_USER_GET_INFLIGHT_FD, 1, 128);

	say_well(m);
	assert_int_equal(reply.header.size, 24);
	message_close_fds(&reply);
	m.header.size = 20;
	say_well(m);
	assert_int_equal(reply.header.size, 20);
	m = reply;
	m.header = (struct vhost_user_header){VHOST_USER_SET_INFLIGHT_FD,
					      VHOST_USER_VERSION, 20};
	say_well(m);
}

static void inflight_sizes_outside_their_limits_are_refused(void **state)
{
	const uint32_t both[] = {VHOST_USER_GET_INFLIGHT_FD,
				 VHOST_USER_SET_INFLIGHT_FD};

	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		const struct {
			uint16_t queues, size;
			const char *words;
		} bad[] = {
			{0, 128, "num queues 0"},
			{FAKE_QUEUES + 1, 128, "num queues 5"},
			{UINT16_MAX, 128, "num queues 65535"},
			{1, 0, "queue size 0"},
			{1, 32769, "queue size 32769"},
			{1, UINT16_MAX, "queue size 65535"},
		};

		for (size_t n = 0; n < ARRAY_SIZE(bad); n++) {
			struct vhost_message m = inflight_message(
				both[i], bad[n].queues, bad[n].size);

			if (both[i] == VHOST_USER_SET_INFLIGHT_FD)
				attach_fd(&m, new_memfd(1 << 20));
			is_refused(m, bad[n].words);
		}
	}
}

static void inflight_region_smaller_than_it_says_is_refused(void **state)
{
	struct vhost_message m = get_inflight(2, 256);

	m.payload.inflight.mmap_size = 64;
	is_refused(m, "SET_INFLIGHT_FD: mmap size 0x40");
	m = get_inflight(2, 256);
	m.payload.inflight.mmap_offset = UINT64_MAX - 4095;
	is_refused(m, "offset 0xfffffffffffff000");
	m = get_inflight(2, 256);
	m.payload.inflight.mmap_size = UINT64_MAX;
	is_refused(m, "mmap size 0xffffffffffffffff");
}

static void inflight_sizes_may_not_change_after_they_were_given(void **state)
{
	struct vhost_message m = get_inflight(2, 256);

	m.payload.inflight.queue_size = 128;
	is_refused(m, "2 queues of size 128, but 2 of size 256 were settled");
	m = get_inflight(2, 256);
	m.payload.inflight.num_queues = 1;
	is_refused(m, "1 queues of size 256");
}

static void inflight_sizes_may_not_change_under_a_running_ring(void **state)
{
	struct vhost_message m =
		inflight_message(VHOST_USER_SET_INFLIGHT_FD, 1, RING_SIZE);

	/* As after a reconnect: no GET in this session. */
	m.payload.inflight.mmap_size = 1 << 20;
	attach_fd(&m, new_memfd(1 << 20));
	say_well(m);
	begin_serving(split_features);
	m = inflight_message(VHOST_USER_SET_INFLIGHT_FD, 1, RING_SIZE * 2);
	m.payload.inflight.mmap_size = 1 << 20;
	attach_fd(&m, new_memfd(1 << 20));
	is_refused(m, "settled");
	assert_true(queue.running);
}

static void ring_larger_than_its_inflight_region_breaks(void **state)
{
	say_well(get_inflight(1, RING_SIZE / 2));
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features));
	say_well(memory_message());
	configure_ring(0);
	assert_int_equal(say(event_message(VHOST_USER_SET_VRING_KICK, 0)),
			 -EINVAL);
	assert_non_null(strstr(session_error(session), "in-flight region"));
	assert_false(queue.running);
}

static void ring_of_the_other_kind_than_its_inflight_breaks(void **state)
{
	say_well(get_inflight(1, RING_SIZE));
	say_well(request_u64(VHOST_USER_SET_FEATURES,
			     1ull << VIRTIO_F_VERSION_1 |
				     1ull << VIRTIO_F_RING_PACKED));
	say_well(memory_message());
	configure_ring(0);
	assert_int_equal(say(event_message(VHOST_USER_SET_VRING_KICK, 0)),
			 -EINVAL);
	assert_non_null(strstr(session_error(session), "other kind"));
}

static void inflight_regions_are_replaced_and_never_pile_up(void **state)
{
	unsigned before = open_fds();

	begin_serving(split_features);
	before = open_fds();
	for (unsigned i = 0; i < 100; i++)
		say_well(get_inflight(FAKE_QUEUES, RING_SIZE));
	assert_int_equal(open_fds(), before);
	assert_true(queue.running);
}

static void device_has_its_area_while_the_region_is_there(void **state)
{
	fake_device.device.inflight_area_bytes = 8192;
	say_well(get_inflight(1, RING_SIZE));
	assert_int_equal(fake_device.area_bytes, 8192);
	memset(fake_device.area, 0x5a, 8192);
	begin_serving(split_features);
	assert_true(queue.running);
	/* Another region: the first one's area goes before that does. */
	say_well(get_inflight(1, RING_SIZE));
	assert_int_equal(fake_device.areas_gone, 1);
	assert_int_equal(fake_device.area[0], 0);
	assert_true(queue.running);
	say_well(request(VHOST_USER_RESET_DEVICE, 0));
	assert_int_equal(fake_device.areas_gone, 2);
	assert_null(fake_device.area);
	say_well(get_inflight(1, RING_SIZE));
	end_session(NULL);
	assert_int_equal(fake_device.areas_gone, 3);
	assert_int_equal(session_new(&fake_device.device, &session), 0);
}

static void area_that_the_device_cannot_use_closes_the_session(void **state)
{
	fake_device.device.inflight_area_bytes = 8192;
	fake_device.area_result = 1;
	is_refused(get_inflight(1, RING_SIZE), "cannot go on");
	assert_int_equal(fake_device.areas_gone, 0);
	assert_null(fake_device.area);
}

static void region_without_an_area_is_served_all_the_same(void **state)
{
	struct vhost_message m = get_inflight(1, RING_SIZE);

	fake_device.device.inflight_area_bytes = 8192;
	say_well(m);
	assert_null(fake_device.area);
	begin_serving(split_features);
	assert_true(queue.running);
	end_session(NULL);
	assert_int_equal(fake_device.areas_gone, 0);
	assert_int_equal(session_new(&fake_device.device, &session), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		session_test(table_with_a_file_too_short_is_refused),
		session_test(
			each_pair_of_a_network_device_may_tell_of_the_same_region),
		session_test(table_with_overlapping_regions_is_refused),
		session_test(refused_memory_leaves_the_running_ring_alone),
		session_test(rings_go_on_with_new_memory_where_they_were),
		session_test(losing_its_memory_stops_a_ring_until_it_is_back),
		session_test(region_that_is_not_there_cannot_be_removed),
		session_test(descriptor_with_a_removal_is_closed),
		session_test(slots_are_509_and_no_more),
		session_test(log_that_does_not_fit_its_file_is_refused),
		session_test(log_too_small_for_memory_is_refused),
		session_test(log_without_descriptor_is_refused),
		session_test(log_is_answered_when_its_feature_was_negotiated),
		session_test(logs_are_replaced_while_the_ring_runs),
		session_test(memory_may_not_outgrow_a_log_in_use),
		session_test(memory_outgrows_a_log_that_is_over),
		session_test(used_ring_logged_outside_the_log_breaks_the_ring),
		session_test(
			inflight_description_is_answered_in_the_askers_size),
		session_test(inflight_sizes_outside_their_limits_are_refused),
		session_test(inflight_region_smaller_than_it_says_is_refused),
		session_test(
			inflight_sizes_may_not_change_after_they_were_given),
		session_test(
			inflight_sizes_may_not_change_under_a_running_ring),
		session_test(ring_larger_than_its_inflight_region_breaks),
		session_test(ring_of_the_other_kind_than_its_inflight_breaks),
		session_test(inflight_regions_are_replaced_and_never_pile_up),
		session_test(device_has_its_area_while_the_region_is_there),
		session_test(
			area_that_the_device_cannot_use_closes_the_session),
		session_test(region_without_an_area_is_served_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
