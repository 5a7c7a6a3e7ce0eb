/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VLANs: every kind of port towards every other, with every kind of tag, beside
 * a table that says what has to come out; and what a changed tag does to all
 * that knows places in the frame.
 */
#include "vswitch/vlan.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/test-packet.h"

enum {
	RED = 10,
	BLUE = 20,
	GREEN = 4094,
	PRIORITY = 5 << 13,
	DROPPED = -1,
	BARE = 0,    /* no tag */
	S = 1 << 16, /* a tag of the other type */
};

/* --- Ports and frames ------------------------------------------------------ */

enum {
	ACCESS_RED,
	ACCESS_BLUE,
	TRUNK,	     /* red and blue, no native VLAN */
	TRUNK_RED,   /* red untagged, blue tagged */
	TRUNK_TAGS,  /* the same, but red leaves tagged */
	TRUNK_GREEN, /* green alone */
	SERVICE,     /* a trunk of service tags, red and blue */
	TUNNEL_RED,  /* everything of the customer's */
	TUNNEL_BLUE, /* the customer's green alone */
	PORTS
};

static struct vlan_port ports[PORTS] = {
	[ACCESS_RED] = {.mode = VLAN_ACCESS, .native = RED},
	[ACCESS_BLUE] = {.mode = VLAN_ACCESS, .native = BLUE},
	[TRUNK] = {.mode = VLAN_TRUNK},
	[TRUNK_RED] = {.mode = VLAN_TRUNK, .native = RED},
	[TRUNK_TAGS] = {.mode = VLAN_TRUNK, .native = RED, .tags_native = true},
	[TRUNK_GREEN] = {.mode = VLAN_TRUNK},
	[SERVICE] = {.mode = VLAN_TRUNK, .tpid = VLAN_SERVICE_TPID},
	[TUNNEL_RED] = {.mode = VLAN_TUNNEL, .native = RED},
	[TUNNEL_BLUE] = {.mode = VLAN_TUNNEL, .native = BLUE},
};

static int set_up(void **state)
{
	static const int reds[] = {TRUNK, SERVICE};
	static const int blues[] = {TRUNK, TRUNK_RED, TRUNK_TAGS, SERVICE};

	for (size_t i = 0; i < ARRAY_SIZE(reds); i++)
		vlan_port_add(&ports[reds[i]], RED);
	for (size_t i = 0; i < ARRAY_SIZE(blues); i++)
		vlan_port_add(&ports[blues[i]], BLUE);
	vlan_port_add(&ports[TRUNK_GREEN], GREEN);
	vlan_port_add_all(&ports[TUNNEL_RED]);
	vlan_port_add(&ports[TUNNEL_BLUE], GREEN);
	return 0;
}

/* A tag as a number: TCI, and S for a service tag. BARE: none. */
static void put_tag(struct packet *packet, int tag)
{
	if (tag == BARE)
		return;
	memmove(packet->data + 16, packet->data + 12, packet->bytes - 12);
	put_be16(packet->data + 12, tag & S ? VLAN_SERVICE_TPID : VLAN_TPID);
	put_be16(packet->data + 14, tag & UINT16_MAX);
	packet->bytes += 4;
	packet->l3 += 4;
	packet->l4 += 4;
	packet->payload += 4;
}

static void read_frame(const struct packet *packet, struct net_rx_frame *frame,
		       struct iovec *rest)
{
	*frame = (struct net_rx_frame){
		.bytes = packet->bytes,
		.head_bytes = MIN(packet->bytes, (size_t)NET_COPY_BYTES),
	};
	memcpy(frame->head, packet->data, frame->head_bytes);
	*rest = (struct iovec){(void *)(packet->data + frame->head_bytes),
			       packet->bytes - frame->head_bytes};
	frame->rest = iov_cursor(rest, 1);
	net_frame_parse(frame->head, frame->head_bytes, &frame->layout);
}

static void check_bytes(const struct net_rx_frame *frame,
			const struct packet *expected)
{
	struct iov_cursor rest = frame->rest;
	size_t rest_bytes = expected->bytes - frame->head_bytes;
	uint8_t *bytes = malloc(expected->bytes);

	assert_int_equal(frame->bytes, expected->bytes);
	memcpy(bytes, frame->head, frame->head_bytes);
	iov_read(&rest, bytes + frame->head_bytes, rest_bytes);
	assert_memory_equal(bytes, expected->data, expected->bytes);
	free(bytes);
}

static void make(struct packet *packet, int tag, unsigned payload)
{
	const struct packet_shape shape = {
		.l3 = NET_L3_IPV4,
		.l4 = NET_L4_TCP,
		.payload_bytes = payload,
	};

	packet_make(packet, &shape);
	put_tag(packet, tag);
}

/* --- The table ------------------------------------------------------------- */

static struct packet in, out;

/* What comes out of @to: a tag, BARE or DROPPED. @on: what lies under it. */
static void expect(int from, int tag, int to, int expected, int on)
{
	struct vlan_frame seen;
	struct net_rx_frame frame;
	struct vlan_edit edit;
	struct iovec rest;
	bool passes;

	make(&in, tag, 200);
	read_frame(&in, &frame, &rest);
	passes = vlan_ingress(&ports[from], &frame, &seen) == VLAN_PASS &&
		 vlan_egress(&ports[to], &seen, &edit);
	if (passes != (expected != DROPPED))
		fail_msg("from %d with %#x to %d: %s", from, tag, to,
			 passes ? "passed" : "dropped");
	if (!passes)
		return;
	assert_true(vlan_apply(&frame, &edit));
	make(&out, on, 200);
	put_tag(&out, expected);
	if (frame.bytes != out.bytes ||
	    memcmp(frame.head + 12, out.data + 12, 12) != 0)
		fail_msg("from %d with %#x to %d: wrong tag %#x", from, tag, to,
			 get_be32(frame.head + 12));
	check_bytes(&frame, &out);
}

static void access_ports_are_apart(void **state)
{
	expect(ACCESS_RED, BARE, ACCESS_RED, BARE, BARE);
	expect(ACCESS_RED, BARE, ACCESS_BLUE, DROPPED, BARE);
	expect(ACCESS_RED, RED, ACCESS_RED, DROPPED, BARE);
	expect(ACCESS_RED, BLUE, ACCESS_BLUE, DROPPED, BARE);
	expect(ACCESS_RED, BLUE, ACCESS_RED, DROPPED, BARE);
	/* A priority is taken off again, content of another type is content. */
	expect(ACCESS_RED, PRIORITY, ACCESS_RED, BARE, BARE);
	expect(ACCESS_RED, S | BLUE, ACCESS_RED, BARE, S | BLUE);
	expect(ACCESS_RED, S | BLUE, ACCESS_BLUE, DROPPED, BARE);
}

static void trunks_say_the_vlan(void **state)
{
	expect(ACCESS_RED, BARE, TRUNK, RED, BARE);
	expect(ACCESS_BLUE, BARE, TRUNK, BLUE, BARE);
	expect(ACCESS_RED, PRIORITY, TRUNK, PRIORITY | RED, BARE);
	expect(ACCESS_RED, BARE, TRUNK_GREEN, DROPPED, BARE);
	expect(TRUNK, RED, ACCESS_RED, BARE, BARE);
	expect(TRUNK, PRIORITY | RED, ACCESS_RED, BARE, BARE);
	expect(TRUNK, RED, ACCESS_BLUE, DROPPED, BARE);
	expect(TRUNK, GREEN, TRUNK_GREEN, DROPPED, BARE);
	expect(TRUNK, BARE, TRUNK, DROPPED, BARE);
	expect(TRUNK, PRIORITY, TRUNK, DROPPED, BARE);
	expect(TRUNK, 4095, TRUNK, DROPPED, BARE);
	expect(TRUNK, PRIORITY | BLUE, TRUNK, PRIORITY | BLUE, BARE);
	expect(TRUNK_GREEN, GREEN, TRUNK_GREEN, GREEN, BARE);
}

static void a_native_vlan_is_untagged(void **state)
{
	expect(TRUNK_RED, BARE, ACCESS_RED, BARE, BARE);
	expect(TRUNK_RED, RED, ACCESS_RED, BARE, BARE);
	expect(TRUNK_RED, BARE, TRUNK, RED, BARE);
	expect(TRUNK_RED, BARE, TRUNK_TAGS, RED, BARE);
	expect(TRUNK, RED, TRUNK_RED, BARE, BARE);
	expect(TRUNK, BLUE, TRUNK_RED, BLUE, BARE);
	expect(TRUNK_TAGS, BARE, TRUNK_RED, BARE, BARE);
	expect(TRUNK_TAGS, RED, TRUNK_TAGS, RED, BARE);
	expect(TRUNK_RED, PRIORITY, TRUNK_RED, BARE, BARE);
	expect(TRUNK_RED, PRIORITY, TRUNK_TAGS, PRIORITY | RED, BARE);
}

static void tunnels_carry_tags(void **state)
{
	expect(TUNNEL_RED, BARE, SERVICE, S | RED, BARE);
	expect(TUNNEL_RED, BLUE, SERVICE, S | RED, BLUE);
	expect(TUNNEL_RED, BLUE, TUNNEL_RED, BARE, BLUE);
	expect(TUNNEL_RED, BLUE, TRUNK, RED, BLUE);
	expect(TUNNEL_RED, BLUE, ACCESS_BLUE, DROPPED, BARE);
	expect(TUNNEL_RED, PRIORITY | BLUE, SERVICE, S | RED, PRIORITY | BLUE);
	expect(TUNNEL_BLUE, GREEN, SERVICE, S | BLUE, GREEN);
	expect(TUNNEL_BLUE, RED, SERVICE, DROPPED, BARE);
	expect(TUNNEL_BLUE, BARE, SERVICE, DROPPED, BARE);
	expect(SERVICE, S | RED, TUNNEL_RED, BARE, BARE);
	expect(SERVICE, S | RED, TRUNK, RED, BARE);
	expect(TRUNK, RED, SERVICE, S | RED, BARE);
	/* The other type's tag is content, and there is no native VLAN. */
	expect(SERVICE, RED, TUNNEL_RED, DROPPED, BARE);
}

/* Under the first tag, or in a tunnel, lies one for a VLAN that is not theirs. */
static void nobody_hops_into_another_vlan(void **state)
{
	struct vlan_frame seen;
	struct net_rx_frame frame;
	struct vlan_edit edit;
	struct iovec rest;

	expect(TUNNEL_RED, BLUE, TRUNK_RED, RED, BLUE);
	expect(TUNNEL_RED, S | BLUE, TRUNK_RED, BARE, S | BLUE);
	make(&in, BLUE, 100);
	put_tag(&in, PRIORITY);
	read_frame(&in, &frame, &rest);
	assert_int_equal(vlan_ingress(&ports[ACCESS_RED], &frame, &seen),
			 VLAN_PASS);
	assert_true(vlan_egress(&ports[TRUNK_RED], &seen, &edit));
	assert_true(vlan_apply(&frame, &edit));
	assert_int_equal(get_be32(frame.head + 12),
			 (uint32_t)VLAN_TPID << 16 | PRIORITY | RED);
	assert_int_equal(get_be32(frame.head + 16),
			 (uint32_t)VLAN_TPID << 16 | BLUE);
}

/* --- Places ---------------------------------------------------------------- */

static void check_places(const struct net_rx_frame *frame,
			 const struct packet *packet)
{
	struct net_frame layout;

	net_frame_parse(packet->data,
			MIN(packet->bytes, (size_t)NET_COPY_BYTES), &layout);
	assert_int_equal(frame->layout.tags, layout.tags);
	assert_memory_equal(frame->layout.tci, layout.tci,
			    layout.tags * sizeof(layout.tci[0]));
	assert_int_equal(frame->layout.ethertype, layout.ethertype);
	assert_int_equal(frame->layout.l3_offset, layout.l3_offset);
	assert_int_equal(frame->layout.l4, NET_L4_TCP);
	assert_int_equal(frame->layout.l4_offset, layout.l4_offset);
	assert_int_equal(frame->layout.payload_offset, layout.payload_offset);
	assert_int_equal(le16toh(frame->header.csum_start), layout.l4_offset);
	assert_int_equal(le16toh(frame->header.csum_offset), 16);
	assert_int_equal(le16toh(frame->header.hdr_len), layout.payload_offset);
	check_bytes(frame, packet);
}

/* Frames that are all head, just so, and more than that. */
static void what_lies_behind_a_tag_moves_with_it(void **state)
{
	static const unsigned payloads[] = {0, 60, 69, 70, 71, 74, 75, 1460};
	const struct vlan_edit put = {VLAN_PUSH, VLAN_TPID, BLUE};
	const struct vlan_edit take = {.what = VLAN_POP};
	struct net_rx_frame frame;
	struct iovec rest;

	for (size_t i = 0; i < ARRAY_SIZE(payloads); i++)
		for (unsigned tagged = 0; tagged < 2; tagged++) {
			make(&in, tagged ? RED : BARE, payloads[i]);
			make(&out, tagged ? RED : BARE, payloads[i]);
			put_tag(&out, BLUE);
			read_frame(&in, &frame, &rest);
			frame.header = (struct virtio_net_hdr_v1){
				.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
				.csum_start = htole16(in.l4),
				.csum_offset = htole16(16),
				.hdr_len = htole16(in.payload),
			};
			assert_true(vlan_apply(&frame, &put));
			check_places(&frame, &out);
			assert_true(vlan_apply(&frame, &take));
			check_places(&frame, &in);
		}
}

static void a_header_without_offloads_stays(void **state)
{
	const struct vlan_edit put = {VLAN_PUSH, VLAN_TPID, BLUE};
	static const struct virtio_net_hdr_v1 none;
	struct net_rx_frame frame;
	struct iovec rest;

	make(&in, BARE, 100);
	read_frame(&in, &frame, &rest);
	assert_true(vlan_apply(&frame, &put));
	assert_memory_equal(&frame.header, &none, sizeof(none));
}

static void no_frame_gets_longer_than_the_longest(void **state)
{
	const struct vlan_edit put = {VLAN_PUSH, VLAN_TPID, BLUE};
	struct net_rx_frame frame, before;
	struct iovec rest;

	make(&in, BARE, 100);
	read_frame(&in, &frame, &rest);
	frame.bytes = NET_MAX_FRAME_BYTES - NET_TAG_BYTES + 1;
	before = frame;
	assert_false(vlan_apply(&frame, &put));
	assert_memory_equal(&frame, &before, sizeof(frame));
	frame.bytes--;
	assert_true(vlan_apply(&frame, &put));
	/* Nor does what is seen of it. */
	frame.bytes = NET_HEAD_BYTES;
	frame.head_bytes = NET_HEAD_BYTES - NET_TAG_BYTES + 1;
	assert_false(vlan_apply(&frame, &put));
}

/* The shortest frame with a tag, and a tag that is cut off. */
static void short_frames_are_no_harm(void **state)
{
	struct net_rx_frame frame = {.bytes = 18, .head_bytes = 18};
	const struct vlan_edit take = {.what = VLAN_POP};
	struct vlan_frame seen;

	put_be16(frame.head + 12, VLAN_TPID);
	put_be16(frame.head + 14, RED);
	put_be16(frame.head + 16, 0x0800);
	net_frame_parse(frame.head, 18, &frame.layout);
	assert_int_equal(vlan_ingress(&ports[TRUNK], &frame, &seen), VLAN_PASS);
	assert_true(vlan_apply(&frame, &take));
	assert_int_equal(frame.bytes, 14);
	assert_int_equal(get_be16(frame.head + 12), 0x0800);
	frame = (struct net_rx_frame){.bytes = 16, .head_bytes = 16};
	put_be16(frame.head + 12, VLAN_TPID);
	put_be16(frame.head + 14, RED);
	net_frame_parse(frame.head, 16, &frame.layout);
	assert_int_equal(vlan_ingress(&ports[TRUNK], &frame, &seen),
			 VLAN_DROP_UNTAGGED);
	/* It is no tag: there is none to be taken away. */
	assert_int_equal(vlan_ingress(&ports[ACCESS_RED], &frame, &seen),
			 VLAN_PASS);
	assert_false(seen.tagged);
}

static void settings_that_cannot_be_are_told(void **state)
{
	struct vlan_port port = {.mode = VLAN_ACCESS};

	for (unsigned i = 0; i < PORTS; i++)
		assert_null(vlan_port_check(&ports[i]));
	assert_non_null(vlan_port_check(&port));
	port.native = 4095;
	assert_non_null(vlan_port_check(&port));
	port.native = GREEN;
	assert_null(vlan_port_check(&port));
	vlan_port_add(&port, RED);
	assert_non_null(vlan_port_check(&port));
	port.mode = VLAN_TUNNEL;
	assert_null(vlan_port_check(&port));
	port.mode = VLAN_TRUNK;
	port.tpid = 0x9100;
	assert_non_null(vlan_port_check(&port));
	port.tpid = VLAN_SERVICE_TPID;
	assert_null(vlan_port_check(&port));
	vlan_port_add(&port, 0);
	assert_non_null(vlan_port_check(&port));
	port = (struct vlan_port){.mode = VLAN_TRUNK};
	assert_non_null(vlan_port_check(&port));
	port.native = RED;
	assert_null(vlan_port_check(&port));
	vlan_port_add(&port, 4095);
	assert_non_null(vlan_port_check(&port));
	port = (struct vlan_port){.mode = VLAN_TUNNEL, .native = RED};
	assert_non_null(vlan_port_check(&port));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(access_ports_are_apart),
		cmocka_unit_test(trunks_say_the_vlan),
		cmocka_unit_test(a_native_vlan_is_untagged),
		cmocka_unit_test(tunnels_carry_tags),
		cmocka_unit_test(nobody_hops_into_another_vlan),
		cmocka_unit_test(what_lies_behind_a_tag_moves_with_it),
		cmocka_unit_test(a_header_without_offloads_stays),
		cmocka_unit_test(no_frame_gets_longer_than_the_longest),
		cmocka_unit_test(short_frames_are_no_harm),
		cmocka_unit_test(settings_that_cannot_be_are_told),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
