/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/switch/fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/frame.h"

enum {
	TEST_TYPE = 0x88b5, /* IEEE 802: local experimental */
	AT_SEED = 14,
	AT_PAYLOAD = 18,
	TAG_AT = 12,
	TAG_BYTES = 4,
	YAML_BYTES = 8192,
	FENCE_BYTES = 77,
	PATIENCE_MS = 10000,
	TSO_PAYLOAD = 20000,
};

static uint8_t got[FIXTURE_FRAME_BYTES];

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	process_init(&f->process, "VSWITCH");
	snprintf(f->config, sizeof(f->config), "%s/config", f->process.folder);
	*state = f;
	return 0;
}

void fixture_control_path(const struct fixture *f, char ret_path[static 128])
{
	snprintf(ret_path, 128, "%s/control", f->process.folder);
}

static void forget_args(struct fixture *f)
{
	for (unsigned i = 0; f->args[i]; i++) {
		free(f->args[i]);
		f->args[i] = NULL;
	}
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int died;

	for (unsigned i = 0; i < FIXTURE_MAX_GUESTS; i++) {
		net_driver_free(f->guests[i]);
		fixture_socket(f, i, path);
		unlink(path);
	}
	unlink(f->config);
	fixture_control_path(f, path);
	unlink(path);
	forget_args(f);
	died = process_deinit(&f->process);
	free(f);
	return died;
}

void fixture_socket(const struct fixture *f, unsigned port,
		    char ret_path[static 128])
{
	snprintf(ret_path, 128, "%s/p%u", f->process.folder, port);
}

pid_t fixture_spawn(struct fixture *f, const char *yaml,
		    const char *const *options)
{
	FILE *file = fopen(f->config, "we");

	assert_non_null(file);
	assert_true(fputs(yaml, file) >= 0);
	assert_int_equal(fclose(file), 0);
	forget_args(f);
	assert_true(asprintf(&f->args[0], "--config=%s", f->config) > 0);
	for (unsigned i = 1; options && *options; i++) {
		f->args[i] = strdup(*options++);
		assert_non_null(f->args[i]);
	}
	return fixture_spawn_again(f);
}

pid_t fixture_spawn_again(struct fixture *f)
{
	return process_spawn(&f->process, (const char *const *)f->args);
}

/* Whoever connects tries again while nobody listens yet. */
static void wait_for_socket(const struct fixture *f, const char *path)
{
	while (access(path, F_OK) < 0) {
		process_assert_alive(&f->process);
		usleep(1000);
	}
}

void fixture_start(struct fixture *f, const char *head,
		   const char *const *ports)
{
	fixture_start_with(f, head, ports, NULL);
}

void fixture_start_with(struct fixture *f, const char *head,
			const char *const *ports, const char *const *options)
{
	char yaml[YAML_BYTES], path[128] = "";
	int at = snprintf(yaml, sizeof(yaml), "%s\nports:\n", head);

	for (unsigned i = 0; ports[i]; i++) {
		fixture_socket(f, i, path);
		at += snprintf(yaml + at, sizeof(yaml) - at,
			       "  - {name: p%u, kind: vhost-user, "
			       "socket-path: %s%s%s}\n",
			       i, path, ports[i][0] ? ", " : "", ports[i]);
		assert_true((size_t)at < sizeof(yaml));
	}
	f->process.pid = fixture_spawn(f, yaml, options);
	wait_for_socket(f, path);
}

void fixture_wait_control(const struct fixture *f)
{
	char path[128];

	fixture_control_path(f, path);
	process_wait_listening(&f->process, path);
}

void fixture_start_controlled(struct fixture *f, const char *head,
			      const char *const *ports)
{
	fixture_start_controlled_with(f, head, ports, NULL);
}

void fixture_start_controlled_with(struct fixture *f, const char *head,
				   const char *const *ports,
				   const char *const *options)
{
	char option[160], path[128];
	const char *all[PROCESS_MAX_ARGS] = {option};

	fixture_control_path(f, path);
	snprintf(option, sizeof(option), "--control=%s", path);
	for (unsigned i = 1; options && *options; i++)
		all[i] = *options++;
	fixture_start_with(f, head, ports, all);
	process_wait_listening(&f->process, path);
}

int fixture_ctl(struct fixture *f, const char *arguments)
{
	char command[1024], path[128];
	size_t length;
	FILE *pipe;

	fixture_control_path(f, path);
	snprintf(command, sizeof(command), "%s ctl --control=%s %s 2>&1",
		 getenv("VSWITCH"), path, arguments);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	length = fread(f->said, 1, sizeof(f->said) - 1, pipe);
	f->said[length] = '\0';
	return WEXITSTATUS(pclose(pipe));
}

void fixture_ctl_says(struct fixture *f, const char *arguments,
		      const char *words)
{
	int status = fixture_ctl(f, arguments);

	if (status != 0 || !strstr(f->said, words))
		fail_msg("%s: status %d, not \"%s\" but %s", arguments, status,
			 words, f->said);
}

int fixture_connect_control(const struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char path[128];

	fixture_control_path(f, path);
	assert_true(strlen(path) < sizeof(address.sun_path));
	strcpy(address.sun_path, path);
	assert_int_equal(
		connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

void fixture_ask(struct fixture *f, const char *request)
{
	int fd = fixture_connect_control(f);
	size_t length = 0;
	ssize_t n;

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL),
			 strlen(request));
	f->said[0] = '\0';
	while (!strchr(f->said, '\n') &&
	       (n = recv(fd, f->said + length, sizeof(f->said) - 1 - length,
			 0)) > 0) {
		length += n;
		f->said[length] = '\0';
	}
	close(fd);
}

void fixture_join(struct fixture *f, unsigned port,
		  const struct net_options *options)
{
	const struct net_options none = {0};
	char path[128];
	int err;

	fixture_socket(f, port, path);
	err = net_driver_open(path, options ? options : &none,
			      &f->guests[port]);
	if (err < 0) {
		process_assert_alive(&f->process);
		process_show_log(&f->process);
		fail_msg("guest %u cannot start: %s", port, strerror(-err));
	}
}

void fixture_join_all(struct fixture *f, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		fixture_join(f, i, NULL);
}

void fixture_leave(struct fixture *f, unsigned port)
{
	net_driver_free(f->guests[port]);
	f->guests[port] = NULL;
}

void fixture_count(const struct fixture *f)
{
	assert_int_equal(truncate(f->process.log, 0), 0);
	assert_int_equal(kill(f->process.pid, SIGUSR1), 0);
	process_wait_log(&f->process, "all ports were counted");
}

uint64_t fixture_counted(const struct fixture *f, const char *words)
{
	fixture_count(f);
	return process_log_number(&f->process, words);
}

static void make_address(uint8_t *mac, unsigned guest)
{
	if (guest == FIXTURE_BROADCAST)
		memset(mac, 0xff, 6);
	else
		memcpy(mac, (uint8_t[]){2, 0, 0, 0, 0, guest}, 6);
}

void fixture_frame(uint8_t *frame, unsigned to, unsigned from, size_t bytes,
		   uint32_t seed)
{
	make_address(frame, to);
	make_address(frame + 6, from);
	put_be16(frame + 12, TEST_TYPE);
	put_be32(frame + AT_SEED, seed);
	for (size_t i = AT_PAYLOAD; i < bytes; i++)
		frame[i] = (seed + i) * 31 >> 3;
}

uint32_t fixture_seed(const uint8_t *frame)
{
	return get_be32(frame + AT_SEED);
}

void fixture_tag(uint8_t *frame, size_t bytes, uint16_t tpid, uint16_t tci)
{
	memmove(frame + TAG_AT + TAG_BYTES, frame + TAG_AT, bytes - TAG_AT);
	put_be16(frame + TAG_AT, tpid);
	put_be16(frame + TAG_AT + 2, tci);
}

void fixture_send(struct fixture *f, unsigned from, const uint8_t *frame,
		  size_t bytes)
{
	struct net_driver *guest = f->guests[from];

	assert_int_equal(net_send(guest, 0, NULL, frame, bytes, NULL), 0);
	assert_int_equal(net_send_wait(guest, 0), 0);
}

void fixture_send_dropped(struct fixture *f, unsigned from,
			  const uint8_t *frame, size_t bytes,
			  const char *reason)
{
	char words[64];
	uint64_t before;

	snprintf(words, sizeof(words), "p%u: not forwarded: %s ", from, reason);
	before = fixture_counted(f, words);
	fixture_send(f, from, frame, bytes);
	assert_int_equal(fixture_counted(f, words), before + 1);
}

void fixture_expect(struct fixture *f, unsigned port, const uint8_t *frame,
		    size_t bytes)
{
	int length = net_receive(f->guests[port], 0, NULL, got, sizeof(got));

	assert_int_equal(length, bytes);
	assert_memory_equal(got, frame, bytes);
}

void fixture_expect_nothing(struct fixture *f, unsigned port, unsigned from)
{
	static uint32_t seed = 1000000;
	uint8_t fence[FENCE_BYTES];

	fixture_frame(fence, port, from, sizeof(fence), ++seed);
	fixture_send(f, from, fence, sizeof(fence));
	fixture_expect(f, port, fence, sizeof(fence));
}

void fixture_introduce(struct fixture *f, unsigned count)
{
	static uint32_t seed = 2000000;
	uint8_t frame[FENCE_BYTES];

	for (unsigned from = 0; from < count; from++) {
		fixture_frame(frame, FIXTURE_BROADCAST, from, sizeof(frame),
			      ++seed);
		fixture_send(f, from, frame, sizeof(frame));
		for (unsigned i = 0; i < count; i++)
			if (i != from)
				fixture_expect(f, i, frame, sizeof(frame));
	}
}

bool fixture_make_wire(void)
{
	return system("ip link add rle0 type veth peer name rle1 2>/dev/null "
		      "&& ip link set rle0 addrgenmode none up "
		      "&& ip link set rle1 addrgenmode none up") == 0;
}

void fixture_end_wire(int fd)
{
	close(fd);
	assert_int_equal(system("ip link del rle0"), 0);
}

int fixture_open_wire(const char *interface)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = if_nametoindex(interface),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;

	assert_return_code(fd, errno);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on,
				    sizeof(on)),
			 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	return fd;
}

size_t fixture_receive_wire(int fd,
			    uint8_t ret_frame[static FIXTURE_FRAME_BYTES])
{
	struct pollfd wire = {.fd = fd, .events = POLLIN};
	ssize_t bytes;

	assert_int_equal(poll(&wire, 1, PATIENCE_MS), 1);
	bytes = recv(fd, ret_frame, FIXTURE_FRAME_BYTES, 0);
	assert_return_code(bytes, errno);
	return bytes;
}

void fixture_expect_cut(struct fixture *f, int fd)
{
	static uint8_t frame[FIXTURE_FRAME_BYTES];
	struct virtio_net_hdr_v1 header;
	size_t bytes = frame_make_tso(frame, TSO_PAYLOAD, &header);

	assert_int_equal(net_send(f->guests[0], 0, &header, frame, bytes, NULL),
			 0);
	for (size_t at = 0; at < TSO_PAYLOAD;) {
		int n = fixture_receive_wire(fd, got);

		assert_true(n > FRAME_TCP_HEADERS && n <= 1514);
		frame_assert_tcp(got, n, at);
		at += n - FRAME_TCP_HEADERS;
	}
	bytes = frame_make_tso(frame, 1000, &header);
	header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
	header.gso_size = header.hdr_len = 0;
	assert_int_equal(net_send(f->guests[0], 0, &header, frame, bytes, NULL),
			 0);
	assert_int_equal(fixture_receive_wire(fd, got), bytes);
	frame_assert_tcp(got, bytes, 0);
}
