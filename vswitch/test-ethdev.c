/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever mbufs a device may have: chains, empty pieces, frames that are too
 * short or too long, flags that nobody asked for, buffers that are somebody else's.
 * Each is a frame or is counted, and each comes back to its pool. The device is a
 * ring, into which the test puts them.
 */
#include "vswitch/ethdev.h"

#include <rte_malloc.h>
#include <rte_mbuf_dyn.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vswitch/ethdev-rx.h"
#include "vswitch/ethdev-tx.h"
#include "vswitch/test-eal.h"

enum {
	MBUFS = 1023,
	MAX_BYTES = 68 << 10,
	ROUNDS = 200,
};

static struct rte_mempool *pool; /* the test's */
static struct ethdev dev;
static struct ethdev_rx rx;
static struct ethdev_tx tx;
static uint8_t sent[MAX_BYTES], got[MAX_BYTES];
static char error[ETHDEV_ERROR_BYTES];

static int open_device(const char *devargs, uint16_t queues)
{
	const struct ethdev_config config = {
		.devargs = devargs,
		.queues = queues,
	};

	return ethdev_open(&config, &dev, error);
}

static int open_ring(unsigned number, uint16_t queues)
{
	char devargs[32];

	snprintf(devargs, sizeof(devargs), "net_ring%u", number);
	return open_device(devargs, queues);
}

static int setup(void **state)
{
	for (unsigned i = 0; i < MAX_BYTES; i++)
		sent[i] = i * 7 + i / 251;
	/* No protocol: nothing is read into it. */
	put_be16(sent + 12, 0x88b5);
	if (open_ring(0, 1) < 0)
		return -1;
	rx = (struct ethdev_rx){.id = dev.id,
				.most_bytes = NET_MAX_FRAME_BYTES};
	tx = (struct ethdev_tx){
		.id = dev.id,
		.pool = dev.pool,
		.max_frame_bytes = dev.max_frame_bytes,
	};
	return 0;
}

/* Nothing of either pool is missing. */
static int teardown(void **state)
{
	ethdev_close(&dev);
	return rte_mempool_full(pool) ? 0 : -1;
}

#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* --- mbufs ------------------------------------------------------------------- */

/* The first bytes of `sent`, in pieces of @piece, with an empty one before each if
 * @empty. */
static struct rte_mbuf *make(size_t bytes, size_t piece, bool empty)
{
	struct rte_mbuf *first = NULL, **next = &first;
	size_t at = 0;
	unsigned count = 0;

	do {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

		assert_non_null(m);
		*next = m;
		next = &m->next;
		if (!empty || count % 2) {
			m->data_len = MIN(piece, bytes - at);
			memcpy(rte_pktmbuf_mtod(m, void *), sent + at,
			       m->data_len);
			at += m->data_len;
		}
		first->nb_segs = ++count;
	} while (at < bytes);
	first->pkt_len = bytes;
	return first;
}

static void put(struct rte_mbuf *mbuf)
{
	assert_int_equal(rte_eth_tx_burst(dev.id, 0, &mbuf, 1), 1);
}

/* The frame that comes of @mbuf, until ethdev_rx_done. */
static const struct net_rx_frame *take(struct rte_mbuf *mbuf)
{
	put(mbuf);
	assert_int_equal(ethdev_rx_burst(&rx), 1);
	return &rx.frames[0];
}

static void assert_frame(const struct net_rx_frame *frame, const uint8_t *bytes,
			 size_t count)
{
	struct iov_cursor rest = frame->rest;
	const size_t behind = count - frame->head_bytes;

	assert_int_equal(frame->bytes, count);
	assert_int_equal(frame->head_bytes, MIN(count, (size_t)NET_COPY_BYTES));
	assert_memory_equal(frame->head, bytes, frame->head_bytes);
	assert_int_equal(iov_read(&rest, got, behind), behind);
	assert_memory_equal(got, bytes + frame->head_bytes, behind);
	assert_int_equal(iov_skip(&rest, 1), 0);
}

static void refuse(struct rte_mbuf *mbuf, enum net_fault fault)
{
	const uint64_t before = rx.faults[fault];

	put(mbuf);
	assert_int_equal(ethdev_rx_burst(&rx), 0);
	assert_int_equal(rx.faults[fault], before + 1);
	ethdev_rx_done(&rx);
}

/* --- in ---------------------------------------------------------------------- */

static void a_frame_in_pieces_is_read_whole(void **state)
{
	static const size_t sizes[] = {14, 59, 60, 127, 128, 129, 300};
	static const size_t pieces[] = {1, 11, 13, 64, 127, 128, 1000};

	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++)
		for (unsigned p = 0; p < ARRAY_SIZE(pieces); p++)
			for (unsigned empty = 0; empty < 2; empty++) {
				const size_t n = sizes[s];
				const size_t count =
					(empty + 1) *
					((n + pieces[p] - 1) / pieces[p]);

				if (count > ETHDEV_MAX_SEGMENTS) {
					refuse(make(n, pieces[p], empty),
					       NET_FAULT_LAYOUT);
					continue;
				}
				assert_frame(take(make(n, pieces[p], empty)),
					     sent, n);
				ethdev_rx_done(&rx);
			}
}

/* A device's MTU is about what it sends. */
static void lengths_have_their_bounds(void **state)
{
	const size_t most = NET_MAX_FRAME_BYTES;

	for (size_t n = 1; n < NET_ETHERNET_BYTES; n++)
		refuse(make(n, n, false), NET_FAULT_RUNT);
	refuse(make(0, 1, false), NET_FAULT_RUNT);
	refuse(make(13, 5, true), NET_FAULT_RUNT);
	assert_true(dev.max_frame_bytes < 9014);
	assert_frame(take(make(9014, 2000, false)), sent, 9014);
	ethdev_rx_done(&rx);
	assert_frame(take(make(most, 2000, false)), sent, most);
	ethdev_rx_done(&rx);
	refuse(make(most + 1, 2000, false), NET_FAULT_OVERSIZE);
}

/* What the first buffer says of all is not so. */
static void lengths_that_do_not_fit_are_refused(void **state)
{
	struct rte_mbuf *mbuf = make(300, 100, false);

	mbuf->pkt_len = 299;
	refuse(mbuf, NET_FAULT_LAYOUT);
	mbuf = make(300, 100, false);
	mbuf->pkt_len = UINT32_MAX;
	refuse(mbuf, NET_FAULT_LAYOUT);
	mbuf = make(300, 100, false);
	mbuf->pkt_len = 0;
	refuse(mbuf, NET_FAULT_LAYOUT);
}

/* What a device says of a checksum or a time, nobody goes by. */
static void flags_that_nobody_asked_for_mean_nothing(void **state)
{
	static const uint64_t flags[] = {
		RTE_MBUF_F_RX_IP_CKSUM_BAD,
		RTE_MBUF_F_RX_L4_CKSUM_BAD,
		RTE_MBUF_F_RX_L4_CKSUM_GOOD,
		RTE_MBUF_F_RX_L4_CKSUM_NONE,
		RTE_MBUF_F_RX_VLAN,
		RTE_MBUF_F_RX_RSS_HASH,
		RTE_MBUF_F_RX_LRO,
		RTE_MBUF_F_RX_IEEE1588_TMST,
		RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM,
	};
	static const struct virtio_net_hdr_v1 none;
	uint64_t timestamp;
	int at;

	assert_int_equal(rte_mbuf_dyn_rx_timestamp_register(&at, &timestamp),
			 0);
	for (unsigned i = 0; i <= ARRAY_SIZE(flags); i++) {
		struct rte_mbuf *mbuf = make(200, 90, false);
		const struct net_rx_frame *frame;

		mbuf->ol_flags |= i < ARRAY_SIZE(flags) ? flags[i] : timestamp;
		mbuf->vlan_tci = mbuf->tso_segsz = 77;
		frame = take(mbuf);
		assert_frame(frame, sent, 200);
		assert_memory_equal(&frame->header, &none, sizeof(none));
		ethdev_rx_done(&rx);
	}
}

static void a_tag_that_was_taken_off_is_put_back(void **state)
{
	static const size_t sizes[] = {14, 60, 123, 124, 125, 128, 129, 1514};
	static uint8_t tagged[MAX_BYTES];
	struct rte_mbuf *mbuf;

	memcpy(tagged, sent, 12);
	put_be16(tagged + 12, 0x8100);
	put_be16(tagged + 14, 0x6005);
	memcpy(tagged + 16, sent + 12, MAX_BYTES - 16);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct net_rx_frame *frame;

		mbuf = make(sizes[i], 61, false);
		mbuf->ol_flags |=
			RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
		mbuf->vlan_tci = 0x6005;
		frame = take(mbuf);
		assert_frame(frame, tagged, sizes[i] + 4);
		assert_int_equal(frame->layout.tags, 1);
		assert_int_equal(frame->layout.tci[0], 0x6005);
		ethdev_rx_done(&rx);
	}
	mbuf = make(NET_MAX_FRAME_BYTES, 2000, false);
	mbuf->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	refuse(mbuf, NET_FAULT_OVERSIZE);
	mbuf = make(60, 60, false);
	mbuf->ol_flags |=
		RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_QINQ_STRIPPED;
	refuse(mbuf, NET_FAULT_OFFLOAD);
}

static unsigned given_back;

static void give_back(void *address, void *arg)
{
	given_back++;
}

/* Of another pool's buffer, and of none's. */
static void buffers_of_others_go_back_to_them(void **state)
{
	static uint8_t outside[4096];
	uint16_t room = sizeof(outside);
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool), *clone;

	rte_pktmbuf_attach_extbuf(mbuf, outside, RTE_BAD_IOVA, room,
				  rte_pktmbuf_ext_shinfo_init_helper(
					  outside, &room, give_back, NULL));
	memcpy(rte_pktmbuf_append(mbuf, 600), sent, 600);
	assert_frame(take(mbuf), sent, 600);
	assert_int_equal(given_back, 0);
	ethdev_rx_done(&rx);
	assert_int_equal(given_back, 1);
	mbuf = make(600, 250, false);
	clone = rte_pktmbuf_clone(mbuf, pool);
	rte_pktmbuf_free(mbuf);
	assert_false(rte_mempool_full(pool));
	assert_frame(take(clone), sent, 600);
	ethdev_rx_done(&rx);
	assert_true(rte_mempool_full(pool));
}

/* --- out --------------------------------------------------------------------- */

static void send_frame(uint32_t bytes, struct iovec *rest)
{
	struct net_rx_frame frame = {
		.bytes = bytes,
		.head_bytes = MIN(bytes, (uint32_t)NET_COPY_BYTES),
	};

	*rest = (struct iovec){sent + frame.head_bytes,
			       bytes - frame.head_bytes};
	frame.rest = iov_cursor(rest, 1);
	memcpy(frame.head, sent, frame.head_bytes);
	net_frame_parse(frame.head, frame.head_bytes, &frame.layout);
	ethdev_tx_put(&tx, &frame);
}

/* With nothing of the frame that was in the buffer before. */
static void short_frames_are_filled_up_with_zeros(void **state)
{
	static uint8_t filled[60];
	struct iovec rest;

	/* Every buffer of the device's has been used. */
	for (unsigned i = 0; i < 2 * dev.pool->size; i += ETHDEV_BURST) {
		for (unsigned n = 0; n < ETHDEV_BURST; n++)
			send_frame(200, &rest);
		ethdev_tx_flush(&tx);
		assert_int_equal(ethdev_rx_burst(&rx), ETHDEV_BURST);
		ethdev_rx_done(&rx);
	}
	for (uint32_t n = NET_ETHERNET_BYTES; n <= sizeof(filled); n++) {
		memset(filled, 0, sizeof(filled));
		memcpy(filled, sent, n);
		send_frame(n, &rest);
		ethdev_tx_flush(&tx);
		assert_int_equal(ethdev_rx_burst(&rx), 1);
		assert_frame(&rx.frames[0], filled, sizeof(filled));
		ethdev_rx_done(&rx);
	}
}

static void what_finds_no_place_is_counted(void **state)
{
	struct rte_eth_stats stats;
	struct iovec rest;
	unsigned count = 0;

	send_frame(dev.max_frame_bytes + 1, &rest);
	assert_int_equal(tx.faults[NET_FAULT_OVERSIZE], 1);
	/* The ring, or the pool. */
	while (tx.faults[NET_FAULT_NO_BUFFER] == 0) {
		send_frame(dev.max_frame_bytes, &rest);
		ethdev_tx_flush(&tx);
		count++;
	}
	assert_int_equal(tx.frames_total, count - 1);
	assert_int_equal(tx.bytes_total,
			 (uint64_t)(count - 1) * dev.max_frame_bytes);
	/* Which is no error of the device's: it would be counted again. */
	assert_int_equal(rte_eth_stats_get(dev.id, &stats), 0);
	assert_int_equal(stats.oerrors, 0);
	/* They are in the ring as it goes. */
}

static void what_cannot_be_a_port_is_refused(void **state)
{
	assert_null(ethdev_check("net_af_packet0,iface=eth1"));
	assert_null(ethdev_check("0000:01:00.0"));
	assert_non_null(ethdev_check("0000:01:00"));
	assert_non_null(ethdev_check("net_tap0"));
	assert_non_null(
		strstr(ethdev_check("net_af_xdp0,iface=eth1"), "net_af_xdp"));
}

/* --- devices that go --------------------------------------------------------- */

static unsigned allocations(void)
{
	struct rte_malloc_socket_stats stats;
	unsigned count = 0;

	for (unsigned i = 0; i < RTE_MAX_NUMA_NODES; i++)
		if (rte_malloc_get_socket_stats(i, &stats) == 0)
			count += stats.alloc_count;
	return count;
}

/* The mbufs in its queues are the device's own, and others'. */
static void nothing_is_left_of_devices_that_go(void **state)
{
	unsigned before = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		const unsigned queues = 1 + i % 3;

		assert_int_equal(open_ring(i / 3, queues), 0);
		for (unsigned q = 0; q < queues; q++)
			for (unsigned n = 0; n < i; n++) {
				struct rte_mbuf *m = rte_pktmbuf_alloc(
					n % 4 ? dev.pool : pool);

				if (m &&
				    rte_eth_tx_burst(dev.id, q, &m, 1) == 0)
					rte_pktmbuf_free(m);
			}
		ethdev_close(&dev);
		assert_true(rte_mempool_full(pool));
		if (i == 0)
			before = allocations();
	}
	assert_int_equal(allocations(), before);
}

/* Whose driver forgets its queues; and which has always one frame more. */
static void nothing_is_left_of_null_devices(void **state)
{
	const unsigned before = allocations();

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct rte_mbuf *mbuf;

		assert_int_equal(open_device("net_null0", 1 + i % 3), 0);
		mbuf = rte_pktmbuf_alloc(dev.pool);
		assert_non_null(mbuf);
		put(mbuf);
		ethdev_close(&dev);
	}
	assert_int_equal(allocations(), before);
}

/* What a device keeps for itself holds its pool, and no longer. */
static void a_pool_goes_when_its_last_mbuf_is_back(void **state)
{
	const unsigned before = allocations();
	struct rte_mbuf *kept[2];

	for (unsigned i = 0; i < ARRAY_SIZE(kept); i++) {
		assert_int_equal(open_ring(0, 1), 0);
		kept[i] = rte_pktmbuf_alloc(dev.pool);
		ethdev_close(&dev);
	}
	assert_true(allocations() > before);
	for (unsigned i = 0; i < ARRAY_SIZE(kept); i++)
		rte_pktmbuf_free(kept[i]);
	assert_int_equal(open_ring(0, 1), 0);
	ethdev_close(&dev);
	assert_int_equal(allocations(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RING_TEST(a_frame_in_pieces_is_read_whole),
		RING_TEST(lengths_have_their_bounds),
		RING_TEST(lengths_that_do_not_fit_are_refused),
		RING_TEST(flags_that_nobody_asked_for_mean_nothing),
		RING_TEST(a_tag_that_was_taken_off_is_put_back),
		RING_TEST(buffers_of_others_go_back_to_them),
		RING_TEST(short_frames_are_filled_up_with_zeros),
		RING_TEST(what_finds_no_place_is_counted),
		cmocka_unit_test(what_cannot_be_a_port_is_refused),
		cmocka_unit_test(nothing_is_left_of_devices_that_go),
		cmocka_unit_test(nothing_is_left_of_null_devices),
		cmocka_unit_test(a_pool_goes_when_its_last_mbuf_is_back),
	};

	test_eal_init();
	pool = rte_pktmbuf_pool_create("test", MBUFS, 0, 0,
				       RTE_PKTMBUF_HEADROOM + 2048,
				       SOCKET_ID_ANY);
	assert_non_null(pool);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
