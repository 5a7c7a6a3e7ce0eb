/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-wire-xdp.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vhost-net/net-announce.h"
#include "vhost-net/net-header.h"
#include "vhost-net/net-pump-xdp.h"
#include "vhost-net/net-xdp.h"

struct net_wire_xdp {
	struct net_wire wire; /* first */
	struct net_xdp xdp;
};

static struct net_xdp *xdp_of(struct net_wire *wire)
{
	return &container_of(wire, struct net_wire_xdp, wire)->xdp;
}

/* All that the guest leaves undone is done here. */
static int offload(struct net_wire *wire, uint64_t features)
{
	return 0;
}

/* The interface alone spreads frames over its queues. */
static int attach(struct net_wire *wire, unsigned pair, bool on)
{
	return 0;
}

/* The rings are the serving threads': by a socket of its own. */
static int announce(struct net_wire *wire, const uint8_t mac[6],
		    struct capture_lane *lane)
{
	uint8_t frame[NET_RARP_BYTES];

	net_announce_make(mac, lane, frame);
	return write(xdp_of(wire)->packet_fd, frame, sizeof(frame)) < 0 ? -errno
									: 0;
}

static int pump(struct net_wire *wire, unsigned pair,
		const struct net_pump_config *config,
		struct net_pump **ret_pump)
{
	const struct net_pump_xdp_config xdp = {
		.socket = &xdp_of(wire)->sockets[pair],
		.mtu = wire->mtu,
		/* The first is off only while the guest comes or goes. */
		.discards = pair > 0,
	};

	return net_pump_xdp_new(config, &xdp, ret_pump);
}

static uint64_t missed(const struct net_wire *wire)
{
	const struct net_xdp *xdp =
		&container_of(wire, const struct net_wire_xdp, wire)->xdp;
	uint64_t count = 0;

	for (unsigned i = 0; i < xdp->count; i++)
		count += net_xdp_socket_missed(&xdp->sockets[i]);
	return count;
}

static void close_wire(struct net_wire *wire)
{
	net_xdp_close(xdp_of(wire));
	free(container_of(wire, struct net_wire_xdp, wire));
}

static const struct net_wire_ops ops = {
	.offload = offload,
	.attach = attach,
	.announce = announce,
	.pump = pump,
	.missed = missed,
	.close = close_wire,
};

int net_wire_xdp_new(const struct net_xdp_config *config,
		     struct net_wire **ret_wire,
		     char ret_error[static NET_XDP_ERROR_BYTES])
{
	struct net_wire_xdp *wire = calloc(1, sizeof(*wire));
	int err = wire ? net_xdp_open(config, &wire->xdp, ret_error) : -ENOMEM;

	if (err < 0) {
		free(wire);
		return err;
	}
	wire->wire = (struct net_wire){
		.ops = &ops,
		.name = wire->xdp.name,
		.kind = net_xdp_kind(&wire->xdp),
		.gone = "the interface is gone: make it again, and start again",
		.ifindex = wire->xdp.ifindex,
		.mtu = wire->xdp.mtu,
		/* No frame that comes is longer than the MTU. */
		.without = NET_FEATURE(GUEST_TSO4) | NET_FEATURE(GUEST_TSO6) |
			   NET_FEATURE(GUEST_ECN) | NET_FEATURE(GUEST_USO4) |
			   NET_FEATURE(GUEST_USO6),
	};
	*ret_wire = &wire->wire;
	return 0;
}
