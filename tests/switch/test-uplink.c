/* SPDX-License-Identifier: Apache-2.0 */
/* A switch as the driver of another one's port, by DPDK's virtio driver. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/frame.h"
#include "tests/switch/uplink.h"

enum {
	BURST = 40,
	ROUNDS = 10,
	FLOWS = 30,
	TSO_PAYLOAD = 20000,
	POLLS = 1000,
	POLL_US = 10000,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static struct fixture *side(const struct uplink *u, unsigned guest)
{
	return guest == UPLINK_BACK_GUEST ? u->back : u->front;
}

static void pass(struct uplink *u, unsigned from, size_t bytes)
{
	const unsigned to = 1 - from;

	fixture_frame(frame, to, from, bytes, ++seed);
	fixture_send(side(u, from), from, frame, bytes);
	fixture_expect(side(u, to), to, frame, bytes);
}

static void both_ways(struct uplink *u)
{
	static const size_t sizes[] = {60, 127, 128, 129, 1000, 1514};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		for (unsigned from = 0; from < 2; from++)
			pass(u, from, sizes[i]);
}

/* In order, none twice, all of them. */
static void bursts(struct uplink *u)
{
	const uint32_t first = seed + 1;

	for (unsigned round = 0; round < ROUNDS; round++) {
		const unsigned from = round % 2, to = 1 - from;

		for (unsigned i = 0; i < BURST; i++) {
			fixture_frame(frame, to, from, 300, ++seed);
			assert_int_equal(net_send(side(u, from)->guests[from],
						  0, NULL, frame, 300, NULL),
					 0);
		}
		for (unsigned i = 0; i < BURST; i++) {
			fixture_frame(frame, to, from, 300,
				      first + round * BURST + i);
			fixture_expect(side(u, to), to, frame, 300);
		}
	}
}

static void frames_pass_from_switch_to_switch(void **state)
{
	struct uplink *u = *state;

	uplink_start(u, "", "", "");
	both_ways(u);
	bursts(u);
}

static void packed_rings_carry_them_too(void **state)
{
	struct uplink *u = *state;

	uplink_start(u, "", ",packed_vq=1,in_order=0", "");
	both_ways(u);
	bursts(u);
}

/* Of which there may be none: then it is other memory that is shared. */
static void memory_in_hugepages_is_shared_as_well(void **state)
{
	struct uplink *u = *state;

	uplink_start(u, "hugepages: yes", "", "");
	both_ways(u);
}

static void flows_go_by_several_queues(void **state)
{
	struct uplink *u = *state;

	uplink_start(u, "", ",queues=2", ", queues: 2");
	both_ways(u);
	for (unsigned i = 0; i < FLOWS; i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, UPLINK_FRONT_GUEST, 200,
			      ++seed);
		frame[11] = i + 2;
		fixture_send(u->front, UPLINK_FRONT_GUEST, frame, 200);
		fixture_expect(u->back, UPLINK_BACK_GUEST, frame, 200);
	}
	both_ways(u);
}

/* Which could take them as they are, but must not. */
static void segments_are_cut_for_the_way(void **state)
{
	struct uplink *u = *state;
	struct virtio_net_hdr_v1 header;
	size_t bytes;

	uplink_start_back(u, "");
	uplink_start_front(u, "", "", ", offloads: false");
	uplink_join(u);
	bytes = frame_make_tso(frame, TSO_PAYLOAD, &header);
	assert_int_equal(net_send(u->front->guests[UPLINK_FRONT_GUEST], 0,
				  &header, frame, bytes, NULL),
			 0);
	for (size_t at = 0; at < TSO_PAYLOAD;) {
		int n = net_receive(u->back->guests[UPLINK_BACK_GUEST], 0, NULL,
				    got, sizeof(got));

		assert_true(n > FRAME_TCP_HEADERS && n <= 1514);
		frame_assert_tcp(got, n, at);
		at += n - FRAME_TCP_HEADERS;
	}
}

static void wait_link(struct fixture *f, const char *words)
{
	for (unsigned i = 0; i < POLLS; i++) {
		assert_int_equal(fixture_ctl(f, "port show"), 0);
		if (strstr(f->said, words))
			return;
		usleep(POLL_US);
	}
	fail_msg("not \"%s\" but %s", words, f->said);
}

/* Without rights, and with frames for it all the time. */
static void a_switch_that_dies_takes_nobody_along(void **state)
{
	struct uplink *u = *state;
	char add[256];

	uplink_start(u, "", "", "");
	for (unsigned i = 0; i < 2; i++) {
		both_ways(u);
		process_stop(&u->back->process, SIGKILL);
		fixture_leave(u->back, UPLINK_BACK_GUEST);
		wait_link(u->front, "w     dpdk        0       no");
		for (unsigned n = 0; n < 400; n++) {
			fixture_frame(frame, FIXTURE_BROADCAST,
				      UPLINK_FRONT_GUEST, 200, ++seed);
			fixture_send(u->front, UPLINK_FRONT_GUEST, frame, 200);
		}
		fixture_ctl_says(u->front, "port del w", "");
		uplink_start_back(u, "");
		fixture_join(u->back, UPLINK_BACK_GUEST, NULL);
		snprintf(add, sizeof(add),
			 "port add name=w kind=dpdk devargs=%s", u->devargs);
		fixture_ctl_says(u->front, add, "");
		fixture_ctl_says(u->front, "port show",
				 "w     dpdk        0       yes");
	}
	both_ways(u);
}

static void what_cannot_be_is_named(void **state)
{
	struct uplink *u = *state;

	uplink_start(u, "", "", "");
	assert_int_not_equal(fixture_ctl(u->front,
					 "port add name=x kind=dpdk "
					 "devargs=net_virtio_user1,path=/tmp/x,"
					 "server=1"),
			     0);
	assert_non_null(
		strstr(u->front->said,
		       "net_virtio_user connects, and does not listen"));
	assert_int_not_equal(
		fixture_ctl(u->front, "port add name=x kind=dpdk "
				      "devargs=net_virtio_user1,path=/nowhere"),
		0);
	assert_non_null(strstr(u->front->said, "there is no such device"));
	both_ways(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UPLINK_TEST(frames_pass_from_switch_to_switch),
		UPLINK_TEST(packed_rings_carry_them_too),
		UPLINK_TEST(memory_in_hugepages_is_shared_as_well),
		UPLINK_TEST(flows_go_by_several_queues),
		UPLINK_TEST(segments_are_cut_for_the_way),
		UPLINK_TEST(a_switch_that_dies_takes_nobody_along),
		UPLINK_TEST(what_cannot_be_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
