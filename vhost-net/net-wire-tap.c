/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-wire-tap.h"

#include "base/bytes.h"
#include "vhost-net/net-header.h"
#include "vhost-net/net-pump-tap.h"

static struct net_tap *tap_of(struct net_wire *wire)
{
	return container_of(wire, struct net_wire_tap, wire)->tap;
}

static int offload(struct net_wire *wire, uint64_t features)
{
	return net_tap_offload(tap_of(wire), features);
}

static int attach(struct net_wire *wire, unsigned pair, bool on)
{
	/* What comes while the guest is away for a moment waits for it. */
	return pair == 0 ? 0 : net_tap_attach(tap_of(wire), pair, on);
}

static int announce(struct net_wire *wire, const uint8_t mac[6],
		    struct capture_lane *lane)
{
	return net_tap_announce(tap_of(wire), mac, lane);
}

static int pump(struct net_wire *wire, unsigned pair,
		const struct net_pump_config *config,
		struct net_pump **ret_pump)
{
	return net_pump_tap_new(config, tap_of(wire)->fds[pair], ret_pump);
}

static void close_wire(struct net_wire *wire)
{
	net_tap_close(tap_of(wire));
}

static const struct net_wire_ops ops = {
	.offload = offload,
	.attach = attach,
	.announce = announce,
	.pump = pump,
	.close = close_wire,
};

/* A kernel that knows no segments of UDP could do nothing with them. */
static uint64_t features_without(const struct net_tap *tap)
{
	return tap->has_uso ? 0
			    : NET_FEATURE(HOST_USO) | NET_FEATURE(GUEST_USO4) |
				      NET_FEATURE(GUEST_USO6);
}

void net_wire_tap_init(struct net_wire_tap *wire, struct net_tap *tap)
{
	*wire = (struct net_wire_tap){
		.wire.ops = &ops,
		.wire.name = tap->name,
		.wire.kind = "TAP",
		.wire.gone =
			"the TAP was deleted: make it again, and start again",
		.wire.mtu = tap->mtu,
		.wire.without = features_without(tap),
		.tap = tap,
	};
}
