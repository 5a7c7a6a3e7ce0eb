/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/switch/xdp.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed = 5000000;

void xdp_run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

void xdp_lay_wire(unsigned queues)
{
	char add[256];

	system("ip link del rle0 2>/dev/null");
	snprintf(
		add, sizeof(add),
		"ip link add rle0 numtxqueues %u numrxqueues %u type veth peer "
		"name rle1 numtxqueues %u numrxqueues %u && "
		"ip link set rle0 addrgenmode none up && "
		"ip link set rle1 addrgenmode none up",
		queues, queues, queues, queues);
	xdp_run(add);
}

void xdp_start(struct fixture *f, const char *head, const char *wire,
	       const char *const *ports)
{
	char text[512], option[160], path[128];
	const char *const options[] = {option, NULL};

	fixture_control_path(f, path);
	snprintf(option, sizeof(option), "--control=%s", path);
	snprintf(text, sizeof(text), "%s\nports:\n%s", head, wire);
	for (unsigned i = 0; ports[i]; i++) {
		const size_t at = strlen(text);

		fixture_socket(f, i, path);
		snprintf(text + at, sizeof(text) - at,
			 "  - {name: p%u, kind: vhost-user, socket-path: "
			 "%s%s}\n",
			 i, path, ports[i]);
	}
	f->process.pid = fixture_spawn(f, text, options);
	fixture_wait_control(f);
}

const char *const xdp_one[] = {"", NULL};
const char *const xdp_two[] = {"", "", NULL};

int xdp_set_out(struct fixture *f, const char *wire)
{
	xdp_lay_wire(1);
	xdp_start(f, "", wire, xdp_one);
	fixture_join(f, 0, NULL);
	return fixture_open_wire("rle1");
}

void xdp_expect(int fd, const uint8_t *bytes, size_t length)
{
	assert_int_equal(fixture_receive_wire(fd, got), length);
	assert_memory_equal(got, bytes, length);
}

void xdp_send(int fd, const uint8_t *bytes, size_t length)
{
	assert_int_equal(send(fd, bytes, length, 0), length);
}

void xdp_make_room(int wire)
{
	const int room = 64 << 20;

	assert_int_equal(setsockopt(wire, SOL_SOCKET, SO_RCVBUFFORCE, &room,
				    sizeof(room)),
			 0);
}

void xdp_guest_to_wire(struct fixture *f, int wire, size_t bytes)
{
	fixture_frame(frame, FIXTURE_BROADCAST, 0, bytes, ++seed);
	fixture_send(f, 0, frame, bytes);
	xdp_expect(wire, frame, bytes);
}

void xdp_wire_to_guest(struct fixture *f, int wire, size_t bytes)
{
	fixture_frame(frame, 0, XDP_STATION, bytes, ++seed);
	xdp_send(wire, frame, bytes);
	fixture_expect(f, 0, frame, bytes);
}

void xdp_both_ways(struct fixture *f, int wire)
{
	static const size_t sizes[] = {60, 127, 128, 129, 1000, 1514};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		xdp_guest_to_wire(f, wire, sizes[i]);
		xdp_wire_to_guest(f, wire, sizes[i]);
	}
}

void xdp_ask_device(const char *interface, struct ethtool_value *value)
{
	struct ifreq request = {.ifr_data = (void *)value};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(request.ifr_name, interface);
	assert_int_equal(ioctl(fd, SIOCETHTOOL, &request), 0);
	close(fd);
}
