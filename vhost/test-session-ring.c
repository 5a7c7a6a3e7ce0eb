/* SPDX-License-Identifier: Apache-2.0 */
/* When rings start, stop, break, and what the messages about them may say. */
#include <fcntl.h>

#include "vhost/sigbus.h"
#include "vhost/test-conversation.h"

static const uint64_t packed_features = VHOST_USER_BIT(VIRTIO_F_VERSION_1) |
					VHOST_USER_BIT(VIRTIO_F_RING_PACKED);

#define queue (fake_device.queues[0])

static void bad_queue_index_is_refused_in_every_message(void **state)
{
	const uint32_t bad[] = {FAKE_QUEUES, 255, 1u << 31, UINT32_MAX};
	const uint32_t with_state[] = {
		VHOST_USER_SET_VRING_NUM, VHOST_USER_SET_VRING_BASE,
		VHOST_USER_GET_VRING_BASE, VHOST_USER_SET_VRING_ENABLE};
	const uint32_t with_fd[] = {VHOST_USER_SET_VRING_KICK,
				    VHOST_USER_SET_VRING_CALL,
				    VHOST_USER_SET_VRING_ERR};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		for (size_t n = 0; n < ARRAY_SIZE(with_state); n++)
			is_refused(request_state(with_state[n], bad[i], 1),
				   "queue index");
		is_refused(addr_message(bad[i], memory_uva), "queue index");
	}
	for (size_t n = 0; n < ARRAY_SIZE(with_fd); n++) {
		is_refused(event_message(with_fd[n], FAKE_QUEUES),
			   "queue index 4, but there are 4");
		is_refused(request_u64(with_fd[n], VHOST_USER_NOFD | 255),
			   "queue index 255");
		is_refused(request_u64(with_fd[n], UINT64_MAX), "queue index");
		is_refused(
			request_u64(with_fd[n], VHOST_USER_NOFD | 1ull << 40),
			"queue index");
	}
}

static void ring_starts_with_the_kick_descriptor_at_once(void **state)
{
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features));
	say_well(memory_message());
	configure_ring(0);
	assert_false(queue.running);
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	assert_true(queue.running);
	assert_true(queue.kick_fd >= 0);
	assert_int_equal(queue.starts, 1);
	assert_int_equal(virtq_size(queue.vq), RING_SIZE);
}

static void ring_without_kick_descriptor_is_polled(void **state)
{
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features));
	say_well(memory_message());
	configure_ring(0);
	say_well(request_u64(VHOST_USER_SET_VRING_KICK, VHOST_USER_NOFD));
	assert_true(queue.running);
	assert_int_equal(queue.kick_fd, -1);
}

static void addresses_are_translated_when_the_ring_starts(void **state)
{
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features));
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	configure_ring(0);
	assert_false(queue.running);
	say_well(memory_message());
	assert_true(queue.running);
}

static void call_and_err_may_come_before_everything_else(void **state)
{
	say_well(event_message(VHOST_USER_SET_VRING_CALL, 0));
	say_well(event_message(VHOST_USER_SET_VRING_ERR, 0));
	begin_serving(split_features);
}

static void features_without_bit_30_enable_all_rings(void **state)
{
	say_well(memory_message());
	configure_ring(0);
	configure_ring(1);
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	assert_true(queue.running);
	assert_false(queue.enabled);
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features));
	assert_true(queue.enabled);
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 1));
	assert_true(fake_device.queues[1].enabled);
}

static void features_with_bit_30_enable_and_disable_nothing(void **state)
{
	begin_serving(split_features | bit30);
	assert_false(queue.enabled);
	say_well(request_state(VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_true(queue.enabled);
	say_well(request_u64(VHOST_USER_SET_FEATURES,
			     split_features | bit30 | 1ull << VHOST_F_LOG_ALL));
	assert_true(queue.running);
	assert_true(queue.enabled);
	is_refused(request_state(VHOST_USER_SET_VRING_ENABLE, 0, 2), "num 2");
	say_well(request_state(VHOST_USER_SET_VRING_ENABLE, 0, 0));
	assert_true(queue.running);
	assert_false(queue.enabled);
}

static void logging_in_mid_run_changes_nothing_else(void **state)
{
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features));
	say_well(memory_message());
	configure_ring(0);
	say_well(request_state(VHOST_USER_SET_VRING_BASE, 0, 77));
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	say_well(request_u64(VHOST_USER_SET_FEATURES,
			     split_features | 1ull << VHOST_F_LOG_ALL));
	assert_int_equal(queue.starts, 2);
	assert_true(queue.running);
	assert_true(queue.enabled);
	assert_int_equal(base_of(0), 77);
}

static void ring_that_was_stopped_keeps_its_state(void **state)
{
	begin_serving(split_features);
	assert_int_equal(base_of(0), 0);
	assert_int_equal(queue.stops, 1);
	assert_false(queue.running);
	/* Neither memory nor features start it: only a new kick does. */
	say_well(memory_message());
	assert_false(queue.running);
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	assert_true(queue.running);
	assert_int_equal(fake_device.queues[1].starts, 0);
}

/* Guest memory as the front-end sees it, and one chain made available. */
static uint8_t *map_guest(struct vhost_message *memory)
{
	uint8_t *guest = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
			      MAP_SHARED, memory->fds[0], 0);
	struct vring_desc desc = {
		.addr = 0x80000, .len = 16, .flags = VRING_DESC_F_WRITE};

	assert_ptr_not_equal(guest, MAP_FAILED);
	memcpy(guest, &desc, sizeof(desc));
	put_le16(guest + 0x4000 + 2, 1);
	return guest;
}

static struct virtq_chain taken;

/* The request that is in flight ends while the session waits in queue_stop. */
static void finish_and_stop(struct vhost_device *device, unsigned index)
{
	virtq_put(queue.vq, &taken, 16);
	virtq_flush(queue.vq);
	fake_queue_stop(device, index);
}

static void base_is_answered_after_requests_in_flight_are_done(void **state)
{
	struct vhost_device_ops ops = fake_ops;
	struct vhost_message memory = memory_message();
	uint8_t *guest = map_guest(&memory);
	struct iovec iov;

	ops.queue_stop = finish_and_stop;
	fake_device.device.ops = &ops;
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features));
	say_well(memory);
	configure_ring(0);
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	taken = (struct virtq_chain){.iov = &iov, .iov_max = 1};
	assert_int_equal(virtq_get(queue.vq, &taken), 0);
	assert_int_equal(get_le16(guest + 0x8000 + 2), 0);
	assert_int_equal(base_of(0), 1);
	assert_int_equal(get_le16(guest + 0x8000 + 2), 1);
	fake_device.device.ops = &fake_ops;
	munmap(guest, MEMORY_BYTES);
}

static void truncated_memory_stops_the_ring_alone(void **state)
{
	struct vhost_message memory = memory_message();
	int file = dup(memory.fds[0]);
	int err_fd = give_err_fd(0);
	struct iovec iov;

	/* Here, as cmocka puts handlers of its own in place for each test. */
	assert_int_equal(sigbus_install(), 0);
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features));
	say_well(memory);
	configure_ring(0);
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	assert_int_equal(ftruncate(file, 0), 0);
	taken = (struct virtq_chain){.iov = &iov, .iov_max = 1};
	/* The first look raises the signal, the second knows. */
	virtq_get(queue.vq, &taken);
	assert_int_equal(virtq_get(queue.vq, &taken), VIRTQ_E_BROKEN);
	session_queue_broken(session, 0);
	assert_false(queue.running);
	assert_non_null(strstr(session_error(session), "truncated"));
	assert_true(signals(err_fd) > 0);
	/* The front-end may still put it right. */
	say_well(memory_message());
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	assert_true(queue.running);
	close(err_fd);
	close(file);
}

static void base_of_a_ring_that_never_ran_is_what_was_set(void **state)
{
	say_well(request_state(VHOST_USER_SET_VRING_BASE, 2, 0x1234));
	assert_int_equal(base_of(2), 0x1234);
	assert_int_equal(fake_device.queues[2].stops, 0);
}

static void packed_base_keeps_all_its_bits(void **state)
{
	/* Available at 5 with wrap 1, used at 3 with wrap 0. */
	const uint32_t base = 3u << 16 | 1u << 15 | 5;

	say_well(request_u64(VHOST_USER_SET_FEATURES, packed_features));
	say_well(memory_message());
	configure_ring(0);
	say_well(request_state(VHOST_USER_SET_VRING_BASE, 0, base));
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	assert_true(queue.running);
	assert_int_equal(base_of(0), base);
}

static void split_base_of_more_than_16_bits_breaks_the_ring(void **state)
{
	int err_fd = give_err_fd(0);

	begin_serving(split_features);
	assert_int_equal(
		say(request_state(VHOST_USER_SET_VRING_BASE, 0, 0x10000)),
		-EINVAL);
	assert_false(queue.running);
	assert_int_equal(signals(err_fd), 1);
	say_well(request_state(VHOST_USER_SET_VRING_BASE, 0, 0));
	assert_true(queue.running);
	close(err_fd);
}

static void ring_size_outside_its_limits_is_refused(void **state)
{
	is_refused(request_state(VHOST_USER_SET_VRING_NUM, 0, 0), "num 0");
	is_refused(request_state(VHOST_USER_SET_VRING_NUM, 0, 32769),
		   "SET_VRING_NUM: queue 0: num 32769");
	is_refused(request_state(VHOST_USER_SET_VRING_NUM, 0, UINT32_MAX),
		   "num 4294967295");
	say_well(request_state(VHOST_USER_SET_VRING_NUM, 0, 32768));
}

static void split_ring_of_an_odd_size_breaks_alone(void **state)
{
	int err_fd = give_err_fd(1);

	begin_serving(split_features);
	configure_ring(1);
	say_well(request_state(VHOST_USER_SET_VRING_NUM, 1, 100));
	assert_int_equal(say(event_message(VHOST_USER_SET_VRING_KICK, 1)),
			 -EINVAL);
	assert_non_null(strstr(session_error(session), "queue 1"));
	assert_false(fake_device.queues[1].running);
	assert_true(queue.running);
	assert_true(signals(err_fd) > 0);
	close(err_fd);
}

static void packed_ring_may_have_any_size(void **state)
{
	say_well(request_u64(VHOST_USER_SET_FEATURES, packed_features));
	say_well(memory_message());
	configure_ring(0);
	say_well(request_state(VHOST_USER_SET_VRING_NUM, 0, 100));
	say_well(request_state(VHOST_USER_SET_VRING_BASE, 0, 0x80008000));
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	assert_true(queue.running);
}

static void ring_outside_memory_waits_and_says_so(void **state)
{
	int err_fd = give_err_fd(0);

	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features));
	say_well(memory_message());
	configure_ring(0);
	say_well(addr_message(0, UINT64_MAX - 0x10));
	assert_int_equal(say(event_message(VHOST_USER_SET_VRING_KICK, 0)),
			 -EFAULT);
	assert_non_null(strstr(session_error(session), "0xffffffffffffffef"));
	assert_int_equal(signals(err_fd), 1);
	assert_int_equal(say(addr_message(0, memory_uva + MEMORY_BYTES - 64)),
			 -EFAULT);
	assert_false(queue.running);
	say_well(addr_message(0, ring_uva(0)));
	assert_true(queue.running);
	close(err_fd);
}

static void addresses_may_change_while_the_ring_runs(void **state)
{
	begin_serving(split_features);
	say_well(addr_message(0, ring_uva(3)));
	assert_true(queue.running);
	assert_int_equal(queue.starts, 2);
}

static void unknown_address_flags_are_refused(void **state)
{
	struct vhost_message m = addr_message(0, memory_uva);

	m.payload.addr.flags = 3;
	is_refused(m, "flags 0x3");
}

static void repeated_descriptors_replace_and_never_pile_up(void **state)
{
	const uint32_t kinds[] = {VHOST_USER_SET_VRING_KICK,
				  VHOST_USER_SET_VRING_CALL,
				  VHOST_USER_SET_VRING_ERR};
	unsigned before;

	begin_serving(split_features);
	say_well(event_message(VHOST_USER_SET_VRING_ERR, 0));
	before = open_fds();
	for (unsigned i = 0; i < 100; i++)
		for (size_t n = 0; n < ARRAY_SIZE(kinds); n++)
			say_well(event_message(kinds[n], 0));
	assert_int_equal(open_fds(), before);
	assert_true(queue.running);
	for (size_t n = 0; n < ARRAY_SIZE(kinds); n++)
		say_well(request_u64(kinds[n], VHOST_USER_NOFD));
	assert_int_equal(open_fds(), before - 3);
	assert_true(queue.running);
}

static void files_are_no_event_descriptors(void **state)
{
	const char *const files[] = {"/dev/zero", "/", "/proc/self/exe"};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct vhost_message m =
			request_u64(VHOST_USER_SET_VRING_KICK, 0);

		attach_fd(&m, open(files[i], O_RDONLY | O_CLOEXEC));
		is_refused(m, "SET_VRING_KICK: queue 0: the descriptor is no");
	}
}

static void full_pipe_or_closed_pipe_as_err_fd_is_harmless(void **state)
{
	struct vhost_message m = request_u64(VHOST_USER_SET_VRING_ERR, 0);
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	attach_fd(&m, ends[1]);
	begin_serving(split_features);
	say_well(m);
	/* More errors than the pipe has room for: must not block. */
	for (unsigned i = 0; i < 10000; i++) {
		say(addr_message(0, 0));
		say_well(addr_message(0, ring_uva(0)));
	}
	close(ends[0]);
	assert_int_equal(say(addr_message(0, 0)), -EFAULT);
	say_well(addr_message(0, ring_uva(0)));
	assert_true(queue.running);
}

static void broken_ring_is_stopped_and_told_once(void **state)
{
	int err_fd = give_err_fd(0);

	begin_serving(split_features);
	virtq_break(queue.vq, "descriptor 7 loops");
	session_queue_broken(session, 0);
	assert_false(queue.running);
	assert_non_null(strstr(session_error(session), "descriptor 7 loops"));
	assert_true(signals(err_fd) > 0);
	session_queue_broken(session, 0);
	assert_int_equal(queue.stops, 1);
	/* Memory does not mend it; the front-end does. */
	say_well(memory_message());
	assert_false(queue.running);
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	assert_true(queue.running);
	close(err_fd);
}

static void break_noticed_first_by_a_restart_is_not_forgotten(void **state)
{
	begin_serving(split_features);
	virtq_break(queue.vq, "descriptor 7 loops");
	say_well(memory_message());
	assert_false(queue.running);
	session_queue_broken(session, 0);
	assert_int_equal(queue.stops, 1);
}

static void report_about_a_sound_ring_is_ignored(void **state)
{
	begin_serving(split_features);
	session_queue_broken(session, 0);
	session_queue_broken(session, 1);
	session_queue_broken(session, UINT32_MAX);
	assert_true(queue.running);
	assert_int_equal(queue.stops, 0);
}

static void device_that_cannot_serve_breaks_the_ring_alone(void **state)
{
	int err_fd = give_err_fd(0);

	fake_device.start_result = -ENOMEM;
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features));
	say_well(memory_message());
	configure_ring(0);
	assert_int_equal(say(event_message(VHOST_USER_SET_VRING_KICK, 0)),
			 -ENOMEM);
	assert_int_equal(signals(err_fd), 1);
	fake_device.start_result = 0;
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	assert_true(queue.running);
	close(err_fd);
}

static void end_of_the_session_stops_and_resets(void **state)
{
	unsigned before = open_fds();
	struct session *mine = session;

	assert_int_equal(session_new(&fake_device.device, &session), 0);
	begin_serving(split_features);
	session_free(session);
	assert_false(queue.running);
	assert_int_equal(queue.stops, 1);
	assert_int_equal(fake_device.resets, 1);
	assert_int_equal(open_fds(), before);
	session = mine;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		session_test(bad_queue_index_is_refused_in_every_message),
		session_test(ring_starts_with_the_kick_descriptor_at_once),
		session_test(ring_without_kick_descriptor_is_polled),
		session_test(addresses_are_translated_when_the_ring_starts),
		session_test(call_and_err_may_come_before_everything_else),
		session_test(features_without_bit_30_enable_all_rings),
		session_test(features_with_bit_30_enable_and_disable_nothing),
		session_test(logging_in_mid_run_changes_nothing_else),
		session_test(ring_that_was_stopped_keeps_its_state),
		session_test(
			base_is_answered_after_requests_in_flight_are_done),
		session_test(truncated_memory_stops_the_ring_alone),
		session_test(base_of_a_ring_that_never_ran_is_what_was_set),
		session_test(packed_base_keeps_all_its_bits),
		session_test(split_base_of_more_than_16_bits_breaks_the_ring),
		session_test(ring_size_outside_its_limits_is_refused),
		session_test(split_ring_of_an_odd_size_breaks_alone),
		session_test(packed_ring_may_have_any_size),
		session_test(ring_outside_memory_waits_and_says_so),
		session_test(addresses_may_change_while_the_ring_runs),
		session_test(unknown_address_flags_are_refused),
		session_test(repeated_descriptors_replace_and_never_pile_up),
		session_test(files_are_no_event_descriptors),
		session_test(full_pipe_or_closed_pipe_as_err_fd_is_harmless),
		session_test(broken_ring_is_stopped_and_told_once),
		session_test(break_noticed_first_by_a_restart_is_not_forgotten),
		session_test(report_about_a_sound_ring_is_ignored),
		session_test(device_that_cannot_serve_breaks_the_ring_alone),
		session_test(end_of_the_session_stops_and_resets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
