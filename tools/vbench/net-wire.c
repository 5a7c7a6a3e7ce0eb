/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/net-wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

enum {
	ROOM_BYTES = 16 << 20, /* for what waits to be received */
	FRAME_ROOM = 68 << 10,
};

struct net_wire {
	int fd;
	bool tso;
	enum net_way way;
	struct virtio_net_hdr header; /* of each frame that is sent */
	uint8_t *sent[NET_END_BURST];
	uint8_t *received[NET_END_BURST];
	struct virtio_net_hdr ignored;
	struct iovec send_iov[NET_END_BURST][2];
	struct iovec receive_iov[NET_END_BURST][2];
	struct mmsghdr to_send[NET_END_BURST];
	struct mmsghdr to_receive[NET_END_BURST];
};

/* What has to be cut on the way cannot go past the queue that cuts it. */
static int open_socket(const char *interface, bool tso)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(interface),
	};
	const int room = ROOM_BYTES, on = 1, bypass = !tso;
	int fd, err;

	if (address.sll_ifindex == 0)
		return -errno;
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass,
		   sizeof(bypass));
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on,
		       sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int make_buffers(struct net_wire *wire,
			const struct net_bench_options *options)
{
	struct virtio_net_hdr_v1 header = {0};

	for (unsigned i = 0; i < NET_END_BURST; i++) {
		wire->sent[i] = malloc(options->frame_bytes);
		wire->received[i] = malloc(FRAME_ROOM);
		if (!wire->sent[i] || !wire->received[i])
			return -ENOMEM;
		net_frame_make(wire->sent[i], options->frame_bytes,
			       options->tso, wire->way, &header);
		wire->send_iov[i][0] =
			(struct iovec){&wire->header, sizeof(wire->header)};
		wire->send_iov[i][1] =
			(struct iovec){wire->sent[i], options->frame_bytes};
		wire->receive_iov[i][0] =
			(struct iovec){&wire->ignored, sizeof(wire->ignored)};
		wire->receive_iov[i][1] =
			(struct iovec){wire->received[i], FRAME_ROOM};
		wire->to_send[i].msg_hdr = (struct msghdr){
			.msg_iov = wire->send_iov[i], .msg_iovlen = 2};
		wire->to_receive[i].msg_hdr = (struct msghdr){
			.msg_iov = wire->receive_iov[i], .msg_iovlen = 2};
	}
	wire->header = (struct virtio_net_hdr){
		.flags = header.flags,
		.gso_type = header.gso_type,
		.hdr_len = le16toh(header.hdr_len),
		.gso_size = le16toh(header.gso_size),
		.csum_start = le16toh(header.csum_start),
		.csum_offset = le16toh(header.csum_offset),
	};
	return 0;
}

int net_wire_new(const struct net_bench_options *options, const char *interface,
		 enum net_way way, struct net_wire **ret_wire)
{
	struct net_wire *wire = calloc(1, sizeof(*wire));
	int err;

	if (!wire)
		return -ENOMEM;
	wire->tso = options->tso;
	wire->way = way;
	wire->fd = open_socket(interface, options->tso);
	err = wire->fd < 0 ? wire->fd : make_buffers(wire, options);
	if (err < 0) {
		net_wire_free(wire);
		return err;
	}
	*ret_wire = wire;
	return 0;
}

void net_wire_free(struct net_wire *wire)
{
	if (!wire)
		return;
	if (wire->fd >= 0)
		close(wire->fd);
	for (unsigned i = 0; i < NET_END_BURST; i++) {
		free(wire->sent[i]);
		free(wire->received[i]);
	}
	free(wire);
}

int net_wire_send(struct net_wire *wire, const uint64_t *sent_ns,
		  unsigned count)
{
	unsigned sent = 0;

	count = MIN(count, (unsigned)NET_END_BURST);
	for (unsigned i = 0; i < count; i++)
		net_frame_stamp(wire->sent[i], wire->tso, sent_ns[i]);
	while (sent < count) {
		int n = sendmmsg(wire->fd, wire->to_send + sent, count - sent,
				 0);

		if (n < 0 && errno != ENOBUFS)
			return errno == EAGAIN ? (int)sent : -errno;
		sent += n < 0 ? 1 : n;
	}
	return sent;
}

int net_wire_receive(struct net_wire *wire, struct net_arrival *ret_arrivals,
		     unsigned max)
{
	unsigned count = 0;
	int n = recvmmsg(wire->fd, wire->to_receive,
			 MIN(max, (unsigned)NET_END_BURST), MSG_DONTWAIT, NULL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		const uint32_t got = wire->to_receive[i].msg_len;
		struct net_arrival *arrival = &ret_arrivals[count];

		if (got < sizeof(wire->ignored))
			continue;
		arrival->bytes = got - sizeof(wire->ignored);
		count += net_frame_read(wire->received[i], arrival->bytes,
					!wire->way, &arrival->sent_ns);
	}
	return count;
}
