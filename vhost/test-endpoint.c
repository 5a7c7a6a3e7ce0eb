/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/fd.h"
#include "tests/cmocka.h"
#include "vhost/endpoint.h"
#include "vhost/test-device.h"

enum {
	HEADER_BYTES = sizeof(struct vhost_user_header)
};

static struct loop *loop;
static struct fake_device fake_device;
static struct endpoint *endpoint;
static char folder[32];
static char path[64];
static unsigned begun, ended;

static void on_changed(void *arg, bool connected)
{
	if (connected)
		begun++;
	else
		ended++;
}

static char complaint[256];

static void on_complaint(void *arg, const char *what)
{
	snprintf(complaint, sizeof(complaint), "%s", what);
}

static int set_up(void **state)
{
	begun = ended = 0;
	complaint[0] = '\0';
	endpoint = NULL;
	fake_init(&fake_device);
	strcpy(folder, "/tmp/endpoint-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/socket", folder);
	return loop_new(32, &loop);
}

static int tear_down(void **state)
{
	endpoint_free(endpoint);
	loop_free(loop);
	unlink(path);
	return rmdir(folder);
}

static struct endpoint_config config_for(bool connecting, int fd)
{
	return (struct endpoint_config){
		.socket_path = fd < 0 ? path : NULL,
		.fd = fd,
		.connect = connecting,
		.changed = on_changed,
		.complain = on_complaint,
	};
}

static void open_endpoint(bool connecting, int fd)
{
	struct endpoint_config config = config_for(connecting, fd);

	assert_int_equal(
		endpoint_new(loop, &fake_device.device, &config, &endpoint), 0);
}

/* Lets the endpoint do what there is to do now. */
static void pump(void)
{
	while (loop_wait(loop, 2000000) > 0)
		;
}

/* Lets it work until a counter gets there, for two seconds at most. */
static void pump_until(const unsigned *counter, unsigned value)
{
	uint64_t end = clock_ns() + 2 * NS_PER_SECOND;

	while (*counter < value && clock_ns() < end)
		loop_wait(loop, 10000000);
	assert_int_equal(*counter, value);
}

static struct sockaddr_un address_of(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, name);
	return address;
}

static int new_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int connect_client(void)
{
	struct sockaddr_un address = address_of(path);
	int fd = new_socket();

	assert_int_equal(
		connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int listen_as_front_end(void)
{
	struct sockaddr_un address = address_of(path);
	int fd = new_socket();

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* Sends bytes [from, to) of a message; its descriptors go with byte 0. */
static void send_part(int fd, const struct vhost_message *m, size_t from,
		      size_t to)
{
	char bytes[HEADER_BYTES + sizeof(m->payload)];
	char space[CMSG_SPACE(64 * sizeof(int))] = {0};
	struct iovec iov = {bytes + from, to - from};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	memcpy(bytes, &m->header, HEADER_BYTES);
	memcpy(bytes + HEADER_BYTES, &m->payload, sizeof(m->payload));
	if (from == 0 && m->fd_count > 0) {
		struct cmsghdr *cmsg = (struct cmsghdr *)space;

		msg.msg_control = space;
		msg.msg_controllen = CMSG_SPACE(m->fd_count * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(m->fd_count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), m->fds, m->fd_count * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), to - from);
}

static void send_message(int fd, const struct vhost_message *m)
{
	send_part(fd, m, 0, HEADER_BYTES + m->header.size);
}

/* The next reply; false if there is none now. */
static bool receive_reply(int fd, struct vhost_message *ret_reply)
{
	if (recv(fd, &ret_reply->header, HEADER_BYTES, MSG_DONTWAIT) !=
	    HEADER_BYTES)
		return false;
	return recv(fd, &ret_reply->payload, ret_reply->header.size,
		    MSG_DONTWAIT) == (ssize_t)ret_reply->header.size;
}

static bool is_answered(int fd, uint32_t number)
{
	struct vhost_message reply;

	return receive_reply(fd, &reply) && reply.header.request == number;
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void ask_for_features(int fd)
{
	struct vhost_message m = request(VHOST_USER_GET_FEATURES, 0);

	send_message(fd, &m);
}

static void message_may_come_in_single_bytes(void **state)
{
	struct vhost_message m = request(VHOST_USER_SET_MEM_TABLE, 8 + 32);
	autoclose int client = -1;

	open_endpoint(false, -1);
	client = connect_client();
	m.header.flags |= VHOST_USER_NEED_REPLY;
	m.payload.memory.num_regions = 1;
	m.payload.memory.regions[0].size = 4096;
	attach_fd(&m, new_memfd(4096));
	pump();
	send_message(client,
		     &(struct vhost_message){
			     .header = {VHOST_USER_SET_PROTOCOL_FEATURES, 1, 8},
			     .payload.u64 = SESSION_PROTOCOL_FEATURES});
	for (size_t i = 0; i < HEADER_BYTES + m.header.size; i++) {
		send_part(client, &m, i, i + 1);
		pump();
	}
	message_close_fds(&m);
	assert_true(is_answered(client, VHOST_USER_SET_MEM_TABLE));
	assert_int_equal(begun, 1);
	assert_int_equal(ended, 0);
}

static void several_messages_may_come_at_once(void **state)
{
	struct vhost_message reply;
	char three[3 * HEADER_BYTES];
	struct vhost_user_header header = {VHOST_USER_GET_QUEUE_NUM, 1, 0};
	autoclose int client = -1;

	for (unsigned i = 0; i < 3; i++)
		memcpy(three + i * HEADER_BYTES, &header, HEADER_BYTES);
	open_endpoint(false, -1);
	client = connect_client();
	assert_int_equal(write(client, three, sizeof(three)), sizeof(three));
	pump();
	for (unsigned i = 0; i < 3; i++) {
		assert_true(receive_reply(client, &reply));
		assert_true(reply.payload.u64 == FAKE_QUEUES);
	}
}

static void descriptors_come_back_with_the_reply(void **state)
{
	struct vhost_message m = request(VHOST_USER_GET_INFLIGHT_FD, 24);
	char space[CMSG_SPACE(sizeof(int))];
	char bytes[64];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = space,
			     .msg_controllen = sizeof(space)};
	autoclose int client = -1;
	unsigned before;
	int fd;

	open_endpoint(false, -1);
	client = connect_client();
	pump();
	before = open_fds();
	m.payload.inflight.num_queues = 1;
	m.payload.inflight.queue_size = 128;
	send_message(client, &m);
	pump();
	assert_int_equal(recvmsg(client, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC),
			 36);
	assert_int_equal(CMSG_FIRSTHDR(&msg)->cmsg_len, CMSG_LEN(sizeof(int)));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	close(fd);
	assert_int_equal(open_fds(), before);
}

static void front_ends_are_served_one_after_the_other(void **state)
{
	int first, second;

	open_endpoint(false, -1);
	first = connect_client();
	second = connect_client();
	ask_for_features(first);
	ask_for_features(second);
	pump();
	assert_true(is_answered(first, VHOST_USER_GET_FEATURES));
	assert_false(is_answered(second, VHOST_USER_GET_FEATURES));
	close(first);
	pump();
	assert_true(is_answered(second, VHOST_USER_GET_FEATURES));
	assert_int_equal(begun, 2);
	assert_int_equal(ended, 1);
	assert_int_equal(fake_device.resets, 1);
	assert_null(endpoint_error(endpoint));
	close(second);
	pump();
	assert_null(endpoint_session(endpoint));
}

/* At any byte, with descriptors on their way or not. */
static void disconnect_at_any_byte_leaves_nothing_behind(void **state)
{
	struct vhost_message m = request(VHOST_USER_SET_MEM_TABLE, 8 + 32);
	unsigned before;
	unsigned count = HEADER_BYTES + m.header.size;

	open_endpoint(false, -1);
	m.payload.memory.num_regions = 1;
	m.payload.memory.regions[0].size = 4096;
	attach_fd(&m, new_memfd(4096));
	before = open_fds();
	for (unsigned i = 0; i <= count; i++) {
		int client = connect_client();

		if (i > 0)
			send_part(client, &m, 0, i);
		close(client);
		pump();
	}
	pump_until(&ended, count + 1);
	assert_int_equal(open_fds(), before);
	message_close_fds(&m);
}

static void too_many_descriptors_end_the_session(void **state)
{
	struct vhost_message m = request(VHOST_USER_GET_FEATURES, 0);
	int client;
	unsigned before;
	char space[CMSG_SPACE((VHOST_USER_MAX_FDS + 8) * sizeof(int))] = {0};
	struct cmsghdr *cmsg = (struct cmsghdr *)space;
	struct iovec iov = {&m.header, HEADER_BYTES};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = space,
			     .msg_controllen = sizeof(space)};

	open_endpoint(false, -1);
	before = open_fds();
	client = connect_client();
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN((VHOST_USER_MAX_FDS + 8) * sizeof(int));
	for (unsigned i = 0; i < VHOST_USER_MAX_FDS + 8; i++)
		((int *)CMSG_DATA(cmsg))[i] = client;
	assert_int_equal(sendmsg(client, &msg, MSG_NOSIGNAL), HEADER_BYTES);
	pump();
	assert_true(is_closed(client));
	assert_non_null(strstr(endpoint_error(endpoint), "file descriptors"));
	close(client);
	pump();
	assert_int_equal(open_fds(), before);
}

static void payload_that_is_too_long_is_refused_by_its_header(void **state)
{
	struct vhost_user_header header = {VHOST_USER_SET_FEATURES, 1,
					   UINT32_MAX};
	int client;

	open_endpoint(false, -1);
	client = connect_client();
	assert_int_equal(write(client, &header, HEADER_BYTES), HEADER_BYTES);
	pump();
	assert_true(is_closed(client));
	assert_non_null(strstr(endpoint_error(endpoint),
			       "SET_FEATURES: payload size 4294967295"));
	assert_string_equal(complaint, endpoint_error(endpoint));
	close(client);
	/* And the next one is served. */
	client = connect_client();
	ask_for_features(client);
	pump();
	assert_true(is_answered(client, VHOST_USER_GET_FEATURES));
	close(client);
}

static void trouble_that_ends_no_session_is_told_too(void **state)
{
	struct vhost_message m = request(VHOST_USER_SET_CONFIG, 12);
	autoclose int client = -1;

	open_endpoint(false, -1);
	client = connect_client();
	ask_for_features(client);
	pump();
	assert_string_equal(complaint, "");
	m.payload.config.offset = 1000;
	send_message(client, &m);
	pump();
	assert_non_null(strstr(complaint, "SET_CONFIG: offset 1000"));
	assert_int_equal(ended, 0);
}

static void replies_that_nobody_reads_wait_without_blocking(void **state)
{
	struct vhost_user_header header = {VHOST_USER_GET_FEATURES, 1, 0};
	unsigned asked = 0, answered = 0;
	autoclose int client = -1;

	open_endpoint(false, -1);
	client = connect_client();
	pump();
	/* Until neither direction takes any more. */
	for (unsigned quiet = 0; quiet < 2; pump()) {
		quiet++;
		while (send(client, &header, HEADER_BYTES,
			    MSG_DONTWAIT | MSG_NOSIGNAL) == HEADER_BYTES) {
			asked++;
			quiet = 0;
		}
	}
	assert_true(asked > 100);
	for (unsigned quiet = 0; quiet < 2; pump()) {
		quiet++;
		while (is_answered(client, VHOST_USER_GET_FEATURES)) {
			answered++;
			quiet = 0;
		}
	}
	assert_int_equal(answered, asked);
	assert_int_equal(ended, 0);
}

static void half_a_message_holds_up_nobody_else(void **state)
{
	struct fake_device other_device;
	struct endpoint *other;
	struct endpoint_config config = config_for(false, -1);
	struct vhost_message m = request(VHOST_USER_SET_FEATURES, 8);
	char other_path[80];
	int slow, client;

	open_endpoint(false, -1);
	slow = connect_client();
	send_part(slow, &m, 0, 15);
	pump();
	snprintf(other_path, sizeof(other_path), "%s2", path);
	config.socket_path = other_path;
	fake_init(&other_device);
	assert_int_equal(
		endpoint_new(loop, &other_device.device, &config, &other), 0);
	strcat(path, "2");
	client = connect_client();
	ask_for_features(client);
	pump();
	assert_true(is_answered(client, VHOST_USER_GET_FEATURES));
	send_part(slow, &m, 15, 20);
	pump();
	assert_int_equal(fake_device.features_set, 1);
	endpoint_free(other);
	path[strlen(path) - 1] = '\0';
	close(client);
	close(slow);
}

static void socket_file_that_nobody_listens_on_is_replaced(void **state)
{
	int client;

	close(listen_as_front_end());
	open_endpoint(false, -1);
	client = connect_client();
	ask_for_features(client);
	pump();
	assert_true(is_answered(client, VHOST_USER_GET_FEATURES));
	close(client);
}

static void socket_file_in_use_is_left_alone(void **state)
{
	struct endpoint_config config = config_for(false, -1);
	struct stat before, after;
	int fd = listen_as_front_end();

	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(
		endpoint_new(loop, &fake_device.device, &config, &endpoint),
		-EADDRINUSE);
	assert_int_equal(stat(path, &after), 0);
	assert_true(before.st_ino == after.st_ino);
	close(fd);
}

static void file_that_is_no_socket_is_left_alone(void **state)
{
	struct endpoint_config config = config_for(false, -1);
	struct stat st;

	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(
		endpoint_new(loop, &fake_device.device, &config, &endpoint),
		-EADDRINUSE);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
}

static void path_that_is_too_long_is_refused(void **state)
{
	struct endpoint_config config = config_for(false, -1);
	char name[200];

	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	config.socket_path = name;
	assert_int_equal(
		endpoint_new(loop, &fake_device.device, &config, &endpoint),
		-ENAMETOOLONG);
}

static void own_socket_file_is_removed_at_the_end(void **state)
{
	open_endpoint(false, -1);
	assert_int_equal(access(path, F_OK), 0);
	endpoint_free(endpoint);
	endpoint = NULL;
	assert_int_equal(access(path, F_OK), -1);
}

static void socket_file_of_another_is_not_removed(void **state)
{
	int fd;

	open_endpoint(false, -1);
	unlink(path);
	fd = listen_as_front_end();
	endpoint_free(endpoint);
	endpoint = NULL;
	assert_int_equal(access(path, F_OK), 0);
	close(fd);
}

static void connecting_side_waits_for_its_front_end(void **state)
{
	int listener, front_end;

	open_endpoint(true, -1);
	pump();
	assert_int_equal(begun, 0);
	listener = listen_as_front_end();
	pump_until(&begun, 1);
	front_end = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ask_for_features(front_end);
	pump();
	assert_true(is_answered(front_end, VHOST_USER_GET_FEATURES));
	/* And for the next one, when this has gone. */
	close(front_end);
	pump_until(&begun, 2);
	assert_int_equal(ended, 1);
	close(listener);
}

static void given_connection_is_served_and_then_over(void **state)
{
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	open_endpoint(false, pair[1]);
	assert_false(endpoint_is_over(endpoint));
	ask_for_features(pair[0]);
	pump_until(&begun, 1);
	pump();
	assert_true(is_answered(pair[0], VHOST_USER_GET_FEATURES));
	close(pair[0]);
	pump_until(&ended, 1);
	assert_true(endpoint_is_over(endpoint));
}

static void given_listening_socket_is_used(void **state)
{
	int client;

	open_endpoint(false, listen_as_front_end());
	client = connect_client();
	ask_for_features(client);
	pump();
	assert_true(is_answered(client, VHOST_USER_GET_FEATURES));
	assert_false(endpoint_is_over(endpoint));
	close(client);
}

static void given_descriptor_of_another_kind_stays_the_callers(void **state)
{
	int fd = new_memfd(1);
	struct endpoint_config config = config_for(false, fd);

	assert_int_equal(
		endpoint_new(loop, &fake_device.device, &config, &endpoint),
		-ENOTSOCK);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	close(fd);
}

#define endpoint_test(name) \
	cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		endpoint_test(message_may_come_in_single_bytes),
		endpoint_test(several_messages_may_come_at_once),
		endpoint_test(descriptors_come_back_with_the_reply),
		endpoint_test(front_ends_are_served_one_after_the_other),
		endpoint_test(disconnect_at_any_byte_leaves_nothing_behind),
		endpoint_test(too_many_descriptors_end_the_session),
		endpoint_test(
			payload_that_is_too_long_is_refused_by_its_header),
		endpoint_test(trouble_that_ends_no_session_is_told_too),
		endpoint_test(replies_that_nobody_reads_wait_without_blocking),
		endpoint_test(half_a_message_holds_up_nobody_else),
		endpoint_test(socket_file_that_nobody_listens_on_is_replaced),
		endpoint_test(socket_file_in_use_is_left_alone),
		endpoint_test(file_that_is_no_socket_is_left_alone),
		endpoint_test(path_that_is_too_long_is_refused),
		endpoint_test(own_socket_file_is_removed_at_the_end),
		endpoint_test(socket_file_of_another_is_not_removed),
		endpoint_test(connecting_side_waits_for_its_front_end),
		endpoint_test(given_connection_is_served_and_then_over),
		endpoint_test(given_listening_socket_is_used),
		endpoint_test(
			given_descriptor_of_another_kind_stays_the_callers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
