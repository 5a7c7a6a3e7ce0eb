/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost/message.h"

static char error[MESSAGE_ERROR_BYTES];

static struct vhost_user_header header(uint32_t request, uint32_t size)
{
	return (struct vhost_user_header){request, VHOST_USER_VERSION, size};
}

static bool header_passes(uint32_t request, uint32_t size)
{
	struct vhost_user_header h = header(request, size);

	return message_check_header(&h, error);
}

static void add_fds(struct vhost_message *message, unsigned count)
{
	while (count-- > 0)
		message->fds[message->fd_count++] =
			open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void every_request_of_the_specification_has_a_row(void **state)
{
	assert_null(message_rule(VHOST_USER_NONE));
	for (uint32_t i = 1; i < VHOST_USER_REQUESTS; i++) {
		const struct message_rule *rule = message_rule(i);

		assert_non_null(rule);
		assert_true(rule->min_bytes <= rule->max_bytes);
		assert_true(rule->max_bytes <= VHOST_USER_MAX_PAYLOAD);
	}
	assert_null(message_rule(VHOST_USER_REQUESTS));
	assert_null(message_rule(UINT32_MAX));
}

static void unknown_requests_are_named_by_number(void **state)
{
	assert_string_equal(message_name(VHOST_USER_SET_MEM_TABLE),
			    "SET_MEM_TABLE");
	assert_string_equal(message_name(UINT32_MAX), "request 4294967295");
	assert_false(header_passes(0, 0));
	assert_false(header_passes(UINT32_MAX, 0));
	assert_non_null(strstr(error, "4294967295"));
}

static void payload_sizes_outside_the_row_are_refused(void **state)
{
	assert_true(header_passes(VHOST_USER_SET_FEATURES, 8));
	assert_false(header_passes(VHOST_USER_SET_FEATURES, 7));
	assert_false(header_passes(VHOST_USER_SET_FEATURES, 9));
	assert_false(header_passes(VHOST_USER_SET_FEATURES, UINT32_MAX));
	assert_non_null(strstr(error, "SET_FEATURES"));
	assert_non_null(strstr(error, "4294967295"));
	assert_false(header_passes(VHOST_USER_SET_MEM_TABLE, 7));
	assert_false(header_passes(VHOST_USER_SET_MEM_TABLE, UINT32_MAX));
}

static void inflight_description_may_have_20_or_24_bytes(void **state)
{
	assert_true(header_passes(VHOST_USER_GET_INFLIGHT_FD, 20));
	assert_true(header_passes(VHOST_USER_GET_INFLIGHT_FD, 24));
	assert_true(header_passes(VHOST_USER_SET_INFLIGHT_FD, 20));
	assert_false(header_passes(VHOST_USER_SET_INFLIGHT_FD, 19));
	assert_false(header_passes(VHOST_USER_SET_INFLIGHT_FD, 25));
}

static void wrong_version_and_stray_replies_are_refused(void **state)
{
	struct vhost_user_header h = header(VHOST_USER_SET_OWNER, 0);

	h.flags = 2;
	assert_false(message_check_header(&h, error));
	assert_non_null(strstr(error, "version 2"));
	h.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
	assert_false(message_check_header(&h, error));
	h.flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY;
	assert_true(message_check_header(&h, error));
}

static void region_count_beyond_the_payload_is_refused(void **state)
{
	struct vhost_message m = {
		.header = header(VHOST_USER_SET_MEM_TABLE, 8 + 2 * 32)};
	const uint32_t bad[] = {3, VHOST_USER_MAX_TABLE_REGIONS + 1, 1u << 27,
				UINT32_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		m.payload.memory.num_regions = bad[i];
		assert_false(message_check(&m, error));
	}
	assert_non_null(strstr(error, "4294967295 regions"));
}

static void each_region_needs_its_descriptor(void **state)
{
	struct vhost_message m = {
		.header = header(VHOST_USER_SET_MEM_TABLE, 8 + 2 * 32)};

	m.payload.memory.num_regions = 2;
	add_fds(&m, 1);
	assert_false(message_check(&m, error));
	add_fds(&m, 1);
	assert_true(message_check(&m, error));
	add_fds(&m, 1);
	assert_false(message_check(&m, error));
	message_close_fds(&m);
}

static void config_size_beyond_the_payload_is_refused(void **state)
{
	struct vhost_message m = {.header = header(VHOST_USER_SET_CONFIG, 20)};

	m.payload.config.size = 8;
	assert_true(message_check(&m, error));
	m.payload.config.size = 9;
	assert_false(message_check(&m, error));
	m.payload.config.size = UINT32_MAX;
	assert_false(message_check(&m, error));
	m.header = header(VHOST_USER_GET_CONFIG, 12);
	assert_false(message_check(&m, error));
	m.payload.config.size = VHOST_USER_MAX_CONFIG_BYTES;
	assert_true(message_check(&m, error));
}

static void nofd_bit_and_descriptor_exclude_each_other(void **state)
{
	struct vhost_message m = {.header =
					  header(VHOST_USER_SET_VRING_KICK, 8)};

	assert_false(message_check(&m, error));
	m.payload.u64 = VHOST_USER_NOFD;
	assert_true(message_check(&m, error));
	add_fds(&m, 1);
	assert_false(message_check(&m, error));
	m.payload.u64 = 0;
	assert_true(message_check(&m, error));
	add_fds(&m, 1);
	assert_false(message_check(&m, error));
	message_close_fds(&m);
}

static void descriptors_that_nobody_asked_for_are_closed(void **state)
{
	struct vhost_message m = {.header = header(VHOST_USER_SET_OWNER, 0)};
	int fd;

	add_fds(&m, 3);
	fd = m.fds[2];
	assert_true(message_check(&m, error));
	assert_int_equal(m.fd_count, 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_of_the_specification_has_a_row),
		cmocka_unit_test(unknown_requests_are_named_by_number),
		cmocka_unit_test(payload_sizes_outside_the_row_are_refused),
		cmocka_unit_test(inflight_description_may_have_20_or_24_bytes),
		cmocka_unit_test(wrong_version_and_stray_replies_are_refused),
		cmocka_unit_test(region_count_beyond_the_payload_is_refused),
		cmocka_unit_test(each_region_needs_its_descriptor),
		cmocka_unit_test(config_size_beyond_the_payload_is_refused),
		cmocka_unit_test(nofd_bit_and_descriptor_exclude_each_other),
		cmocka_unit_test(descriptors_that_nobody_asked_for_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
