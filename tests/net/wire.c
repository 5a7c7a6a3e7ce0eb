/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of the TAP. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/net/fixture.h"

enum {
	WIRE_ROOM = 8 << 20,
};

static const uint8_t guest_mac[] = {2, 0, 0, 0, 0, 1};

void fixture_plug(struct fixture *f)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = if_nametoindex(FIXTURE_TAP),
	};
	int room = WIRE_ROOM, on = 1;

	f->wire_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(f->wire_fd >= 0);
	setsockopt(f->wire_fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	assert_int_equal(setsockopt(f->wire_fd, SOL_PACKET, PACKET_VNET_HDR,
				    &on, sizeof(on)),
			 0);
	assert_int_equal(setsockopt(f->wire_fd, SOL_PACKET,
				    PACKET_IGNORE_OUTGOING, &on, sizeof(on)),
			 0);
	assert_int_equal(
		bind(f->wire_fd, (struct sockaddr *)&address, sizeof(address)),
		0);
}

void wire_send(const struct fixture *f, const struct virtio_net_hdr *header,
	       const void *frame, size_t bytes)
{
	static const struct virtio_net_hdr none;
	struct iovec iov[] = {
		{(void *)(header ? header : &none), sizeof(none)},
		{(void *)frame, bytes},
	};

	assert_int_equal(writev(f->wire_fd, iov, ARRAY_SIZE(iov)),
			 sizeof(none) + bytes);
}

static bool is_ours(const uint8_t *frame)
{
	return memcmp(frame + 6, guest_mac, sizeof(guest_mac)) == 0;
}

size_t wire_receive(const struct fixture *f, int timeout_ms,
		    struct virtio_net_hdr *ret_header, void *ret_frame)
{
	uint64_t end = clock_ns() + timeout_ms * UINT64_C(1000000);
	struct virtio_net_hdr header;
	struct iovec iov[] = {
		{&header, sizeof(header)},
		{ret_frame, FIXTURE_FRAME_BYTES},
	};
	struct pollfd wire = {.fd = f->wire_fd, .events = POLLIN};

	for (;;) {
		uint64_t now = clock_ns();
		ssize_t got;

		if (now >= end ||
		    poll(&wire, 1, (end - now) / 1000000 + 1) <= 0)
			return 0;
		got = readv(f->wire_fd, iov, ARRAY_SIZE(iov));
		if (got < (ssize_t)sizeof(header) + ETH_HLEN ||
		    !is_ours(ret_frame))
			continue;
		if (ret_header)
			*ret_header = header;
		return got - sizeof(header);
	}
}
