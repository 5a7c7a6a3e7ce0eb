/* SPDX-License-Identifier: Apache-2.0 */
/* Each pair of guests gets what both negotiated, and no more. */
#include <linux/virtio_net.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/frame.h"
#include "tests/switch/fixture.h"

#define NET_BIT(name) (UINT64_C(1) << VIRTIO_NET_F_##name)

enum {
	PAYLOAD = 20000,
	GSO_BYTES = 1400,
	CASES = 16,
};

static const char *const two[] = {"", "", NULL};
static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

/* Bits of a case: what each side lacks. */
enum {
	SENDER_CSUM = 1,
	SENDER_TSO = 2,
	RECEIVER_CSUM = 4,
	RECEIVER_TSO = 8,
};

static void join(struct fixture *f, unsigned bits)
{
	struct net_options sends = {0}, receives = {0};

	if (bits & SENDER_CSUM)
		sends.without |= NET_BIT(CSUM);
	if (bits & (SENDER_TSO | SENDER_CSUM))
		sends.without |= NET_BIT(HOST_TSO4) | NET_BIT(HOST_TSO6) |
				 UINT64_C(1) << 56;
	if (bits & RECEIVER_CSUM)
		receives.without |= NET_BIT(GUEST_CSUM);
	if (bits & (RECEIVER_TSO | RECEIVER_CSUM))
		receives.without |= NET_BIT(GUEST_TSO4) | NET_BIT(GUEST_TSO6) |
				    NET_BIT(GUEST_ECN) | UINT64_C(3) << 54;
	fixture_join(f, 0, &sends);
	fixture_join(f, 1, &receives);
}

/* What the sender may ask for; payload bytes in the frame. */
static size_t make(unsigned bits, struct virtio_net_hdr_v1 *header,
		   size_t *ret_bytes)
{
	size_t payload = bits & (SENDER_TSO | SENDER_CSUM) ? 1000 : PAYLOAD;

	*ret_bytes = frame_make_tso(frame, payload, header);
	if (bits & (SENDER_TSO | SENDER_CSUM)) {
		header->gso_type = VIRTIO_NET_HDR_GSO_NONE;
		header->gso_size = header->hdr_len = 0;
	}
	if (bits & SENDER_CSUM) {
		memset(header, 0, sizeof(*header));
		frame_finish_tcp(frame, *ret_bytes);
	}
	return payload;
}

/* One frame, or as many as the receiver wants; whole if it wants them so. */
static void expect(struct fixture *f, unsigned bits, size_t payload)
{
	for (size_t at = 0; at < payload;) {
		struct virtio_net_hdr_v1 header;
		int n = net_receive(f->guests[1], 0, &header, got, sizeof(got));
		size_t part = n - FRAME_TCP_HEADERS;

		assert_true(n > FRAME_TCP_HEADERS);
		if (bits & (RECEIVER_TSO | RECEIVER_CSUM)) {
			assert_int_equal(header.gso_type,
					 VIRTIO_NET_HDR_GSO_NONE);
			assert_true(part <= GSO_BYTES);
		} else {
			assert_int_equal(part, payload);
		}
		if (bits & RECEIVER_CSUM)
			assert_int_equal(header.flags, 0);
		if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			frame_finish_tcp(got, n);
		frame_assert_tcp(got, n, at);
		at += part;
		assert_true(at <= payload);
	}
}

static void every_pair_of_guests_gets_what_both_can_do(void **state)
{
	struct fixture *f = *state;

	fixture_start(f, "", two);
	for (unsigned bits = 0; bits < CASES; bits++) {
		struct virtio_net_hdr_v1 header;
		size_t bytes, payload = make(bits, &header, &bytes);

		join(f, bits);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(net_send(f->guests[0], 0, &header,
						  frame, bytes, NULL),
					 0);
			expect(f, bits, payload);
		}
		fixture_leave(f, 0);
		fixture_leave(f, 1);
	}
}

/* A tag that is put in moves all places that the header names. */
static void offloads_work_with_a_tag_put_in(void **state)
{
	static const char *const ports[] = {
		"vlan: 7", "vlan-mode: trunk, vlans: [\"7\"]", NULL};
	struct fixture *f = *state;

	fixture_start(f, "", ports);
	for (unsigned bits = 0; bits < CASES; bits++) {
		struct virtio_net_hdr_v1 header;
		size_t bytes, payload = make(bits, &header, &bytes);

		join(f, bits);
		assert_int_equal(
			net_send(f->guests[0], 0, &header, frame, bytes, NULL),
			0);
		for (size_t at = 0; at < payload;) {
			int n = net_receive(f->guests[1], 0, &header, got,
					    sizeof(got));

			assert_true(n > FRAME_TCP_HEADERS + 4);
			assert_int_equal(get_be16(got + 12), 0x8100);
			assert_int_equal(get_be16(got + 14), 7);
			if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
				assert_int_equal(le16toh(header.csum_start),
						 38);
			memmove(got + 12, got + 16, n - 16);
			n -= 4;
			if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
				frame_finish_tcp(got, n);
			frame_assert_tcp(got, n, at);
			at += n - FRAME_TCP_HEADERS;
		}
		fixture_leave(f, 0);
		fixture_leave(f, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(every_pair_of_guests_gets_what_both_can_do),
		SWITCH_TEST(offloads_work_with_a_tag_put_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
