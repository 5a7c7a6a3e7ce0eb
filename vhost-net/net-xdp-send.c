/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-xdp-send.h"

#include <string.h>

#include "base/bytes.h"
#include "vhost-net/net-deliver.h"

enum {
	/* IEEE 802.3, 4.2.3.3, without the checksum. */
	MIN_FRAME_BYTES = 60,
};

struct sending {
	struct net_xdp_socket *socket;
	uint32_t max_frame_bytes;
};

/* What a guest sends may be shorter than what a network takes. The place had
 * somebody else's bytes before. */
static uint32_t pad(uint8_t *place, uint32_t bytes)
{
	if (bytes >= MIN_FRAME_BYTES)
		return bytes;
	memset(place + bytes, 0, MIN_FRAME_BYTES - bytes);
	return MIN_FRAME_BYTES;
}

static enum net_fault put_delivery(void *to,
				   const struct net_delivery *delivery)
{
	const struct sending *sending = to;
	struct net_xdp_socket *socket = sending->socket;
	struct iovec place;

	if (delivery->bytes > sending->max_frame_bytes)
		return NET_FAULT_OVERSIZE;
	if (net_xdp_socket_room(socket, 1) == 0)
		return NET_FAULT_NO_BUFFER;
	place = (struct iovec){net_xdp_socket_place(socket), delivery->bytes};
	net_delivery_write(delivery, iov_cursor(&place, 1));
	net_xdp_socket_put(socket, pad(place.iov_base, delivery->bytes));
	return NET_FAULT_NONE;
}

/* The network takes no offloads. */
static enum net_work work_of(const struct net_rx_frame *frame)
{
	return net_header_work(&frame->header, &frame->layout, 0);
}

unsigned net_xdp_places(const struct net_rx_frame *frame)
{
	const uint16_t size = le16toh(frame->header.gso_size);
	unsigned pieces;

	if (work_of(frame) != NET_WORK_SEGMENT)
		return 1;
	pieces = (frame->bytes - frame->layout.payload_offset) / size + 1;
	return MIN(pieces, (unsigned)NET_XDP_FRAMES);
}

enum net_fault net_xdp_send(struct net_xdp_socket *socket,
			    const struct net_rx_frame *frame,
			    uint32_t max_frame_bytes)
{
	return net_deliver(frame, work_of(frame), put_delivery,
			   &(struct sending){socket, max_frame_bytes});
}
