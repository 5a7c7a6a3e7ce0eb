/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-xdp-send.h"

#include "base/bytes.h"
#include "vhost-net/net-deliver.h"

struct sending {
	struct net_xdp_socket *socket;
	uint32_t max_frame_bytes;
};

static enum net_fault put_delivery(void *to,
				   const struct net_delivery *delivery)
{
	const struct sending *sending = to;
	struct net_xdp_socket *socket = sending->socket;
	const uint32_t bytes = net_delivery_padded_bytes(delivery);
	struct iovec place;

	if (delivery->bytes > sending->max_frame_bytes)
		return NET_FAULT_OVERSIZE;
	if (net_xdp_socket_room(socket, 1) == 0)
		return NET_FAULT_NO_BUFFER;
	place = (struct iovec){net_xdp_socket_place(socket), bytes};
	net_delivery_write_padded(delivery, iov_cursor(&place, 1));
	net_xdp_socket_put(socket, bytes);
	return NET_FAULT_NONE;
}

unsigned net_xdp_places(const struct net_rx_frame *frame)
{
	const uint16_t size = le16toh(frame->header.gso_size);
	unsigned pieces;

	if (frame->header.gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return 1;
	pieces = (frame->bytes - frame->layout.payload_offset) / size + 1;
	return MIN(pieces, (unsigned)NET_XDP_FRAMES);
}

enum net_fault net_xdp_send(struct net_xdp_socket *socket,
			    const struct net_rx_frame *frame,
			    uint32_t max_frame_bytes)
{
	/* The network takes no offloads. */
	const enum net_work work =
		net_header_work(&frame->header, &frame->layout, 0);

	return net_deliver(frame, work, put_delivery,
			   &(struct sending){socket, max_frame_bytes});
}
