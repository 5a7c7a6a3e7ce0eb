/* SPDX-License-Identifier: Apache-2.0 */
/* Negotiation, replies, and the messages about the device as a whole. */
#include <fcntl.h>
#include <sys/socket.h>

#include "vhost/test-conversation.h"

static const uint64_t reply_ack =
	VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);

static struct vhost_message need_reply(struct vhost_message message)
{
	message.header.flags |= VHOST_USER_NEED_REPLY;
	return message;
}

static void bit_30_is_offered_besides_the_devices_own_features(void **state)
{
	say_well(request(VHOST_USER_GET_FEATURES, 0));
	assert_int_equal(reply.header.flags,
			 VHOST_USER_VERSION | VHOST_USER_REPLY);
	assert_int_equal(reply.header.size, 8);
	assert_true(reply.payload.u64 == (FAKE_FEATURES | bit30));
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features | bit30));
	assert_true(fake_device.features == split_features);
}

static void features_that_were_not_offered_are_refused(void **state)
{
	is_refused(request_u64(VHOST_USER_SET_FEATURES, 1ull << 40),
		   "SET_FEATURES: bits 0x10000000000 ");
	assert_int_equal(fake_device.features_set, 0);
	is_refused(request_u64(VHOST_USER_SET_PROTOCOL_FEATURES, 1ull << 63),
		   "SET_PROTOCOL_FEATURES: bits 0x8000000000000000 ");
}

static void device_that_offers_the_impossible_gets_no_session(void **state)
{
	struct fake_device odd;
	struct session *none = NULL;

	fake_init(&odd);
	odd.device.protocol_features |=
		VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_PAGEFAULT);
	assert_int_equal(session_new(&odd.device, &none), -EINVAL);
	fake_init(&odd);
	odd.device.num_queues = SESSION_MAX_QUEUES + 1;
	assert_int_equal(session_new(&odd.device, &none), -EINVAL);
	assert_null(none);
}

static void acknowledgement_is_given_when_negotiated_and_wanted(void **state)
{
	say_well(need_reply(request(VHOST_USER_SET_OWNER, 0)));
	assert_true(message_is_none(&reply));
	negotiate(reply_ack);
	say_well(request(VHOST_USER_SET_OWNER, 0));
	assert_true(message_is_none(&reply));
	say_well(need_reply(request(VHOST_USER_SET_OWNER, 0)));
	assert_int_equal(reply.header.request, VHOST_USER_SET_OWNER);
	assert_int_equal(reply.header.size, 8);
	assert_true(reply.payload.u64 == 0);
}

static void request_with_its_own_answer_gets_no_second_one(void **state)
{
	negotiate(reply_ack);
	say_well(need_reply(request(VHOST_USER_GET_QUEUE_NUM, 0)));
	assert_true(reply.payload.u64 == FAKE_QUEUES);
	say_well(need_reply(request(VHOST_USER_GET_MAX_MEM_SLOTS, 0)));
	assert_true(reply.payload.u64 == 509);
}

static void our_own_failure_is_told_and_the_session_goes_on(void **state)
{
	struct vhost_message m = request(VHOST_USER_SET_CONFIG, 12 + 4);

	negotiate(reply_ack);
	m.payload.config.offset = FAKE_CONFIG_BYTES - 3;
	m.payload.config.size = 4;
	assert_int_equal(say(need_reply(m)), -EINVAL);
	assert_true(reply.payload.u64 == EINVAL);
	say_well(need_reply(request(VHOST_USER_SET_OWNER, 0)));
	assert_true(reply.payload.u64 == 0);
}

static void what_we_do_not_do_is_refused_by_name(void **state)
{
	const uint32_t refused[] = {
		VHOST_USER_IOTLB_MSG,
		VHOST_USER_CREATE_CRYPTO_SESSION,
		VHOST_USER_POSTCOPY_ADVISE,
		VHOST_USER_VRING_KICK,
		VHOST_USER_GET_SHMEM_CONFIG,
		VHOST_USER_GET_VRING_BASE_SKIP_DRAIN,
	};

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		is_refused(request(refused[i],
				   message_rule(refused[i])->min_bytes),
			   message_name(refused[i]));
	is_refused(request(46, 0), "request 46");
}

static void network_messages_reach_the_device(void **state)
{
	static const uint8_t mac[] = {2, 0, 0, 1, 2, 3};
	uint64_t value = 0;

	memcpy(&value, mac, sizeof(mac));
	say_well(request_u64(VHOST_USER_SEND_RARP, value));
	assert_memory_equal(fake_device.rarp_mac, mac, sizeof(mac));
	say_well(request_u64(VHOST_USER_NET_SET_MTU, FAKE_MAX_MTU));
	assert_int_equal(fake_device.mtu, FAKE_MAX_MTU);
}

static void mtu_that_the_network_has_not_is_a_negative_answer(void **state)
{
	negotiate(reply_ack);
	assert_int_equal(say(need_reply(request_u64(VHOST_USER_NET_SET_MTU,
						    FAKE_MAX_MTU + 1))),
			 -EINVAL);
	assert_true(reply.payload.u64 == EINVAL);
	assert_non_null(strstr(session_error(session), "9001 bytes"));
	assert_int_equal(fake_device.mtu, 0);
}

static void queues_are_counted_in_the_devices_units(void **state)
{
	say_well(request(VHOST_USER_GET_QUEUE_NUM, 0));
	assert_true(reply.payload.u64 == FAKE_QUEUES);
	fake_device.device.queues_per_unit = 2;
	say_well(request(VHOST_USER_GET_QUEUE_NUM, 0));
	assert_true(reply.payload.u64 == FAKE_QUEUES / 2);
}

static void message_without_its_protocol_feature_is_refused(void **state)
{
	fake_device.device.protocol_features &=
		~VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_STATUS);
	is_refused(request(VHOST_USER_GET_STATUS, 0), "GET_STATUS: needs");
}

static void descriptors_with_messages_that_carry_none_are_closed(void **state)
{
	unsigned before = open_fds();

	for (unsigned i = 0; i < 100; i++) {
		struct vhost_message m = request(VHOST_USER_GET_FEATURES, 0);

		for (unsigned n = 0; n < 8; n++)
			attach_fd(&m, open("/dev/null", O_RDONLY | O_CLOEXEC));
		say_well(m);
	}
	assert_int_equal(open_fds(), before);
}

static void descriptors_of_refused_messages_are_closed(void **state)
{
	unsigned before = open_fds();
	struct vhost_message m = request(VHOST_USER_SET_MEM_TABLE, 8);

	m.payload.memory.num_regions = UINT32_MAX;
	attach_fd(&m, new_memfd(4096));
	is_refused(m, "4294967295 regions");
	m = request(99, 0);
	attach_fd(&m, new_memfd(4096));
	is_refused(m, "request 99");
	assert_int_equal(open_fds(), before);
}

static struct vhost_message config_message(uint32_t number, uint32_t offset,
					   uint32_t size)
{
	struct vhost_message m = request(number, 12 + size);

	m.payload.config.offset = offset;
	m.payload.config.size = size;
	return m;
}

static void configuration_past_the_devices_own_reads_as_zeroes(void **state)
{
	memset(fake_device.config, 0xab, sizeof(fake_device.config));
	say_well(config_message(VHOST_USER_GET_CONFIG, 20, 100));
	assert_int_equal(reply.header.size, 112);
	assert_int_equal(reply.payload.config.size, 100);
	assert_int_equal(reply.payload.config.data[3], 0xab);
	for (unsigned i = 4; i < 100; i++)
		assert_int_equal(reply.payload.config.data[i], 0);
}

static void configuration_outside_is_answered_without_payload(void **state)
{
	say_well(config_message(VHOST_USER_GET_CONFIG, FAKE_CONFIG_BYTES, 1));
	assert_int_equal(reply.header.request, VHOST_USER_GET_CONFIG);
	assert_int_equal(reply.header.size, 0);
	say_well(config_message(VHOST_USER_GET_CONFIG, UINT32_MAX, 8));
	assert_int_equal(reply.header.size, 0);
}

static void configuration_is_written_within_its_bounds(void **state)
{
	struct vhost_message m = config_message(VHOST_USER_SET_CONFIG, 4, 2);

	m.payload.config.data[0] = 0x11;
	m.payload.config.data[1] = 0x22;
	say_well(m);
	assert_int_equal(fake_device.config[4], 0x11);
	assert_int_equal(fake_device.config[5], 0x22);
	m.payload.config.offset = UINT32_MAX;
	assert_int_equal(say(m), -EINVAL);
	assert_non_null(strstr(session_error(session), "offset 4294967295"));
	m.payload.config.flags = 2;
	assert_int_equal(say(m), -EINVAL);
	assert_non_null(strstr(session_error(session), "flags 0x2"));
}

static void status_zero_stops_the_rings(void **state)
{
	begin_serving(split_features);
	say_well(request_u64(VHOST_USER_SET_STATUS, 0x0f));
	say_well(request(VHOST_USER_GET_STATUS, 0));
	assert_true(reply.payload.u64 == 0x0f);
	assert_true(fake_device.queues[0].running);
	is_refused(request_u64(VHOST_USER_SET_STATUS, 0x100), "0x100");
	assert_int_equal(fake_device.status, 0x0f);
	say_well(request_u64(VHOST_USER_SET_STATUS, 0));
	assert_false(fake_device.queues[0].running);
	assert_int_equal(fake_device.status, 0);
}

static void reset_keeps_memory_and_needs_new_rings(void **state)
{
	begin_serving(split_features | bit30);
	say_well(request_state(VHOST_USER_SET_VRING_ENABLE, 0, 1));
	say_well(request(VHOST_USER_RESET_DEVICE, 0));
	assert_int_equal(fake_device.resets, 1);
	assert_false(fake_device.queues[0].running);
	say_well(event_message(VHOST_USER_SET_VRING_KICK, 0));
	assert_false(fake_device.queues[0].running);
	configure_ring(0);
	assert_true(fake_device.queues[0].running);
	assert_false(fake_device.queues[0].enabled);
}

/* The driver goes on with what it negotiated, and may say so once more. */
static void reset_device_hears_the_negotiated_features_again(void **state)
{
	begin_serving(split_features | bit30);
	say_well(request(VHOST_USER_RESET_DEVICE, 0));
	assert_true(fake_device.features == split_features);
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features | bit30));
	assert_true(fake_device.features == split_features);
}

static void reset_owner_disables_only_what_can_be_enabled_again(void **state)
{
	begin_serving(split_features);
	say_well(request(VHOST_USER_RESET_OWNER, 0));
	assert_true(fake_device.queues[0].enabled);
	say_well(request_u64(VHOST_USER_SET_FEATURES, split_features | bit30));
	say_well(request(VHOST_USER_RESET_OWNER, 0));
	assert_true(fake_device.queues[0].running);
	assert_false(fake_device.queues[0].enabled);
}

/* QEMU does all of this once for each pair of queues. */
static void negotiating_again_disturbs_no_running_ring(void **state)
{
	begin_serving(split_features | bit30);
	say_well(request_state(VHOST_USER_SET_VRING_ENABLE, 0, 1));
	for (unsigned index = 0; index < FAKE_QUEUES; index++) {
		say_well(request(VHOST_USER_GET_FEATURES, 0));
		say_well(request(VHOST_USER_GET_PROTOCOL_FEATURES, 0));
		assert_true(reply.payload.u64 == SESSION_PROTOCOL_FEATURES);
		negotiate(reply_ack);
		say_well(request(VHOST_USER_GET_QUEUE_NUM, 0));
		say_well(request(VHOST_USER_SET_OWNER, 0));
		say_well(event_message(VHOST_USER_SET_VRING_ERR, 3));
		say_well(request_u64(VHOST_USER_SET_FEATURES,
				     split_features | bit30));
	}
	assert_int_equal(fake_device.queues[0].starts, 1);
	assert_true(fake_device.queues[0].enabled);
}

static int open_channel(void)
{
	struct vhost_message m = request(VHOST_USER_SET_BACKEND_REQ_FD, 0);
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	attach_fd(&m, pair[1]);
	say_well(m);
	return pair[0];
}

static bool notice_came(int fd)
{
	struct vhost_user_header header;

	return recv(fd, &header, sizeof(header), MSG_DONTWAIT) ==
		       sizeof(header) &&
	       header.request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG &&
	       header.flags == VHOST_USER_VERSION && header.size == 0;
}

static void config_change_is_told_once_a_ring_runs(void **state)
{
	int fd = open_channel();

	negotiate(SESSION_PROTOCOL_FEATURES);
	assert_int_equal(session_config_changed(session), 0);
	assert_false(notice_came(fd));
	begin_serving(split_features);
	assert_true(notice_came(fd));
	assert_false(notice_came(fd));
	assert_int_equal(session_config_changed(session), 0);
	assert_true(notice_came(fd));
	close(fd);
}

static void config_change_without_its_feature_is_not_told(void **state)
{
	int fd = open_channel();

	begin_serving(split_features);
	assert_int_equal(session_config_changed(session), 0);
	assert_false(notice_came(fd));
	close(fd);
}

static void full_or_closed_channel_holds_up_nobody(void **state)
{
	int fd = open_channel();

	negotiate(SESSION_PROTOCOL_FEATURES);
	begin_serving(split_features);
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(session_config_changed(session), 0);
	close(fd);
	assert_int_equal(session_config_changed(session), -EPIPE);
	assert_int_equal(session_config_changed(session), 0);
}

static void channel_is_replaced_and_must_be_a_socket(void **state)
{
	unsigned before = open_fds();
	struct vhost_message m = request(VHOST_USER_SET_BACKEND_REQ_FD, 0);
	int fd = -1;

	for (unsigned i = 0; i < 100; i++) {
		if (fd >= 0)
			close(fd);
		fd = open_channel();
	}
	assert_int_equal(open_fds(), before + 2);
	attach_fd(&m, new_memfd(1));
	is_refused(m, "SET_BACKEND_REQ_FD: the descriptor is no stream socket");
	assert_int_equal(open_fds(), before + 1);
	close(fd);
}

static struct vhost_message state_message(uint32_t direction, uint32_t phase,
					  int fd)
{
	struct vhost_message m = request(VHOST_USER_SET_DEVICE_STATE_FD, 8);

	m.payload.device_state.direction = direction;
	m.payload.device_state.phase = phase;
	attach_fd(&m, fd);
	return m;
}

static uint64_t state_check(void)
{
	say_well(request(VHOST_USER_CHECK_DEVICE_STATE, 0));
	return reply.payload.u64;
}

static void saving_the_state_closes_the_channel(void **state)
{
	int ends[2];
	char byte;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	say_well(state_message(0, 0, ends[1]));
	assert_true(reply.payload.u64 == VHOST_USER_NOFD);
	assert_int_equal(reply.fd_count, 0);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	assert_true(state_check() == 0);
	close(ends[0]);
}

static void loaded_state_must_be_empty_and_complete(void **state)
{
	unsigned before = open_fds();
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	say_well(state_message(1, 0, ends[0]));
	assert_true(reply.payload.u64 == VHOST_USER_NOFD);
	/* Not closed yet: that is no wait, but a failure. */
	assert_true(state_check() != 0);
	close(ends[1]);

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	say_well(state_message(1, 0, ends[0]));
	close(ends[1]);
	assert_true(state_check() == 0);

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	say_well(state_message(1, 0, ends[0]));
	assert_int_equal(write(ends[1], "x", 1), 1);
	close(ends[1]);
	assert_true(state_check() != 0);
	assert_int_equal(open_fds(), before);
}

static void state_channel_is_never_waited_for(void **state)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	say_well(state_message(1, 0, dup(ends[0])));
	/* The flags are those of the front-end's descriptor too. */
	assert_int_equal(fcntl(ends[0], F_SETFL, 0), 0);
	alarm(5);
	assert_true(state_check() != 0);
	alarm(0);
	close(ends[0]);
	close(ends[1]);
}

static void state_may_come_by_a_socket(void **state)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	say_well(state_message(1, 0, ends[0]));
	close(ends[1]);
	assert_true(state_check() == 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	say_well(state_message(1, 0, ends[0]));
	assert_true(state_check() != 0);
	close(ends[1]);
}

static void state_of_a_running_device_does_not_move(void **state)
{
	unsigned before;

	begin_serving(split_features);
	before = open_fds();
	say_well(state_message(0, 0, new_memfd(1)));
	assert_true(reply.payload.u64 == (VHOST_USER_NOFD | 1));
	assert_true(state_check() != 0);
	base_of(0);
	for (unsigned i = 0; i < 100; i++)
		say_well(state_message(1, 0, new_memfd(1)));
	/* One is kept; the kick fd has gone. */
	assert_int_equal(open_fds(), before);
	is_refused(state_message(2, 0, new_memfd(1)), "direction 2");
	is_refused(state_message(0, 1, new_memfd(1)), "phase 1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		session_test(
			bit_30_is_offered_besides_the_devices_own_features),
		session_test(features_that_were_not_offered_are_refused),
		session_test(device_that_offers_the_impossible_gets_no_session),
		session_test(
			acknowledgement_is_given_when_negotiated_and_wanted),
		session_test(request_with_its_own_answer_gets_no_second_one),
		session_test(our_own_failure_is_told_and_the_session_goes_on),
		session_test(what_we_do_not_do_is_refused_by_name),
		session_test(network_messages_reach_the_device),
		session_test(mtu_that_the_network_has_not_is_a_negative_answer),
		session_test(queues_are_counted_in_the_devices_units),
		session_test(message_without_its_protocol_feature_is_refused),
		session_test(
			descriptors_with_messages_that_carry_none_are_closed),
		session_test(descriptors_of_refused_messages_are_closed),
		session_test(
			configuration_past_the_devices_own_reads_as_zeroes),
		session_test(configuration_outside_is_answered_without_payload),
		session_test(configuration_is_written_within_its_bounds),
		session_test(status_zero_stops_the_rings),
		session_test(reset_keeps_memory_and_needs_new_rings),
		session_test(reset_device_hears_the_negotiated_features_again),
		session_test(
			reset_owner_disables_only_what_can_be_enabled_again),
		session_test(negotiating_again_disturbs_no_running_ring),
		session_test(config_change_is_told_once_a_ring_runs),
		session_test(config_change_without_its_feature_is_not_told),
		session_test(full_or_closed_channel_holds_up_nobody),
		session_test(channel_is_replaced_and_must_be_a_socket),
		session_test(saving_the_state_closes_the_channel),
		session_test(loaded_state_must_be_empty_and_complete),
		session_test(state_channel_is_never_waited_for),
		session_test(state_may_come_by_a_socket),
		session_test(state_of_a_running_device_does_not_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
