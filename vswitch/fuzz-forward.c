/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bursts of frames through the whole pipeline, between ports of all kinds
 * of VLANs and groups: no frame goes back, to a port of its group, twice to a
 * port, or out of its bounds; what its header names stays inside. Ports have
 * guards, ACLs, mirrors and shapers, or not: who listens sends nothing, and what a
 * guard lets out comes from its address.
 *
 * Input: the last byte chooses the policies (enum policy). Frames, one behind the
 * other: the port it comes in at, the length of what is there of it, how many bytes
 * the frame has beyond that (in 256), the virtio-net header's flags, GSO type, and
 * the four fields behind, one byte each, then those bytes. A port with the highest
 * bit ends a burst.
 */
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vswitch/eal.h"
#include "vswitch/forward.h"
#include "vswitch/guard.h"
#include "vswitch/mirror.h"
#include "vswitch/shaper.h"

enum {
	PORTS = 7,
	STATIONS = 64,
	AT_FRAME = 9,
	END = 0x80,
};

/* Of which port it is, too, where it is one's. */
enum policy {
	GUARD = 1,
	ADDRESSES = 2, /* the guard's */
	ACL_IN = 4,
	ACL_OUT = 8,
	MIRROR = 16,
	SHAPE = 32,
	GUARDED = 0,
	FILTERED = 1,
	LISTENER = 2,
	SHAPED = 6,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct rte_rcu_qsbr *rcu;
	struct fdb *fdb;
	struct forward forward;
	struct forward_table table;
	struct forward_port ports[PORTS];
	/* Of the burst at hand. */
	unsigned in;
	unsigned count;
	struct net_rx_frame frames[NET_BURST];
	uint8_t seen[PORTS][NET_BURST];
	uint64_t drops[FORWARD_DROPS];
	struct guard guard;
	struct acl *acl;
	struct mirror_set mirrors;
	struct shaper *shaper;
} all;

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* Which frame of the burst it is: the rest tells, as heads are copied. */
static unsigned index_of(const struct net_rx_frame *frame)
{
	return (uintptr_t)frame->rest.iov - 1;
}

static void check_frame(const struct net_rx_frame *frame)
{
	const struct virtio_net_hdr_v1 *header = &frame->header;

	require(frame->head_bytes <= NET_HEAD_BYTES);
	require(frame->head_bytes <= frame->bytes);
	require(frame->bytes >= NET_ETHERNET_BYTES);
	require(frame->bytes <= NET_MAX_FRAME_BYTES);
	if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		require(le16toh(header->csum_start) +
				le16toh(header->csum_offset) + 2u <=
			frame->bytes);
	if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		require(frame->layout.payload_offset <= frame->head_bytes);
}

static void send_frames(struct forward_port *port,
			const struct net_rx_frame *const *frames,
			unsigned count)
{
	const struct forward_port *in = &all.ports[all.in];

	require(count > 0 && count <= NET_BURST);
	for (unsigned i = 0; i < count; i++)
		check_frame(frames[i]);
	/* What waited is of other bursts, too. */
	if (port->shaper)
		return;
	require(port != in && !in->listens);
	require(!port->group || port->group != in->group || port->listens);
	for (unsigned i = 0; i < count; i++) {
		if (in->guard)
			require(fdb_key_of(frames[i]->head + 6, 0) ==
				load_once(&in->guard->mac));
		require(index_of(frames[i]) < all.count);
		require(all.seen[port->number][index_of(frames[i])]++ == 0);
	}
}

static void make_ports(void)
{
	for (unsigned i = 0; i < PORTS; i++) {
		struct forward_port *port = &all.ports[i];

		port->number = i;
		port->send = send_frames;
		port->vlan.mode = VLAN_ACCESS;
		port->vlan.native = 1;
		all.table.ports[i] = port;
	}
	all.table.end = PORTS;
	all.ports[1].group = all.ports[2].group = 1;
	all.ports[3].vlan.mode = VLAN_TRUNK;
	vlan_port_add_all(&all.ports[3].vlan);
	all.ports[3].vlan.native = VLAN_NONE;
	all.ports[4].vlan.mode = VLAN_TRUNK;
	all.ports[4].vlan.tpid = VLAN_SERVICE_TPID;
	vlan_port_add(&all.ports[4].vlan, 5);
	all.ports[5].vlan.mode = VLAN_TUNNEL;
	all.ports[5].vlan.native = 5;
	vlan_port_add_all(&all.ports[5].vlan);
	all.ports[6].vlan.native = 5;
	limit_set(&all.ports[6].storms[FORWARD_BROADCAST], 10, 2);
}

/* Rules on everything that a key has. */
static void make_acl(void)
{
	static const struct acl_range all_ports = {0, UINT16_MAX};
	struct acl_rule rules[] = {
		{.denies = true,
		 .has_protocol = true,
		 .protocol = 6,
		 .has_ports = true,
		 .from_ports = all_ports,
		 .to_ports = {22, 80}},
		{.family = 4, .vlan = 5},
		{.denies = true,
		 .family = 6,
		 .has_protocol = true,
		 .protocol = 58,
		 .has_icmp_type = true,
		 .icmp_type = 136},
		{.denies = true, .to_mac = {1, 1}},
	};

	require(acl_new(rules, ARRAY_SIZE(rules), &all.acl) == 0);
}

static void make_policies(void)
{
	make_acl();
	all.mirrors.count = 1;
	all.mirrors.to[0] = LISTENER;
	all.mirrors.in[GUARDED] = all.mirrors.out[FILTERED] = 1;
	all.mirrors.vlans[5] = 1;
	require(shaper_new(&all.ports[SHAPED], &all.shaper) == 0);
	require(shaper_set(all.shaper, 1000000, 2000, 8192) == 0);
}

static void choose_policies(uint8_t chosen)
{
	all.guard = (struct guard){.count = chosen & ADDRESSES ? 2 : 0};
	prefix_read("10.0.0.0/8", &all.guard.addresses[0]);
	prefix_read("fe80::/10", &all.guard.addresses[1]);
	all.ports[GUARDED].guard = chosen & GUARD ? &all.guard : NULL;
	all.ports[FILTERED].acl_in = chosen & ACL_IN ? all.acl : NULL;
	all.ports[FILTERED].acl_out = chosen & ACL_OUT ? all.acl : NULL;
	all.ports[LISTENER].listens = chosen & MIRROR;
	all.table.mirrors = chosen & MIRROR ? &all.mirrors : NULL;
	all.ports[SHAPED].shaper = chosen & SHAPE ? all.shaper : NULL;
}

static void start(void)
{
	const struct fdb_config config = {.name = "stations",
					  .capacity = STATIONS};
	struct fdb_config with_rcu = config;

	if (all.fdb)
		return;
	require(eal_start(STATIONS, false, false) == 0);
	all.rcu = rte_zmalloc("rcu", rte_rcu_qsbr_get_memsize(1),
			      RTE_CACHE_LINE_SIZE);
	require(all.rcu && rte_rcu_qsbr_init(all.rcu, 1) == 0);
	with_rcu.rcu = all.rcu;
	require(fdb_new(&with_rcu, &all.fdb) == 0);
	forward_init(&all.forward, all.fdb, &all.table);
	make_ports();
	make_policies();
}

static void forward_all(uint64_t now_ns)
{
	if (all.count > 0)
		forward_burst(&all.forward, &all.ports[all.in], all.frames,
			      all.count, now_ns, all.drops);
	if (all.ports[SHAPED].shaper)
		shaper_drain(all.shaper, now_ns + 1000);
	memset(all.seen, 0, sizeof(all.seen));
	all.count = 0;
}

/* As a device makes it; false: it is none that comes so far. */
static bool make_frame(const uint8_t *data, size_t length)
{
	struct net_rx_frame *frame = &all.frames[all.count];

	*frame = (struct net_rx_frame){
		.header.flags = data[3],
		.header.gso_type = data[4],
		.header.hdr_len = htole16(data[5]),
		.header.gso_size = htole16(data[6]),
		.header.csum_start = htole16(data[7]),
		.header.csum_offset = htole16(data[8]),
	};
	if (length < NET_ETHERNET_BYTES)
		return false;
	frame->bytes = length;
	if (length == NET_COPY_BYTES)
		frame->bytes += data[2] << 8;
	frame->head_bytes = length;
	memcpy(frame->head, data + AT_FRAME, length);
	net_frame_parse(frame->head, length, &frame->layout);
	frame->rest.iov = (const struct iovec *)(uintptr_t)(all.count + 1);
	return frame->bytes <= NET_MAX_FRAME_BYTES &&
	       net_header_judge(&frame->header, &frame->layout, frame->bytes,
				UINT64_MAX) == NET_FAULT_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t now_ns = 1;

	start();
	fdb_flush(all.fdb, FDB_NO_PORT, 0, true);
	if (size == 0)
		return 0;
	choose_policies(data[size - 1]);
	while (size > AT_FRAME) {
		unsigned in = (data[0] & ~END) % PORTS;
		size_t there = MIN(size - AT_FRAME, (size_t)data[1]);
		size_t length = MIN(there, (size_t)NET_COPY_BYTES);

		if (in != all.in || data[0] & END || all.count == NET_BURST)
			forward_all(now_ns += 1000);
		all.in = in;
		all.count += make_frame(data, length);
		data += AT_FRAME + length;
		size -= AT_FRAME + length;
	}
	forward_all(now_ns);
	return 0;
}
