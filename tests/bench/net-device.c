/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the network device itself costs: 64-byte frames that a guest sends are
 * taken, judged and dropped; frames made in memory are put into its buffers.
 * Both on split and packed rings, with the driver's side on the same thread
 * and outside the measured time, so that the ring is warm: what a second core
 * adds by its caches is in `tests/bench/net`.
 *
 * Printed is, for each round, the median lap of the ring in nanoseconds a
 * frame: laps that were interrupted do not count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "vhost-net/net-tx.h"
#include "vhost/test-driver.h"

enum {
	RING = 256,
	FRAME_BYTES = 64,
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	BUFFER_BYTES = 1536,
	LAPS = 20000,
	ROUNDS = 5,
	NO_CALLS = 1, /* VRING_AVAIL_F_NO_INTERRUPT, …_EVENT_FLAG_DISABLE */
};

static struct net_rx rx;
static struct net_tx tx;
static struct net_rx_frame made[NET_BURST];
static const struct net_rx_frame *made_at[NET_BURST];

static void calls_off(struct driver *driver)
{
	if (driver->packed)
		driver->driver_event->flags = htole16(NO_CALLS);
	else
		driver->avail->flags = htole16(NO_CALLS);
}

static void offer(struct driver *driver, uint32_t bytes, bool write)
{
	for (unsigned i = 0; i < RING; i++) {
		const struct buffer buffer = {GUEST_DATA_GPA + i * BUFFER_BYTES,
					      bytes, write};

		driver_add(driver, &buffer, 1);
	}
}

static void take_back(struct driver *driver)
{
	uint32_t length;

	while (driver_used(driver, &length) >= 0)
		;
}

static unsigned send_burst(struct ring_test *f)
{
	unsigned count = net_rx_burst(&rx, NET_BURST);

	net_rx_done(&rx);
	virtq_notify(f->vq);
	return count;
}

static unsigned receive_burst(struct ring_test *f)
{
	unsigned count = net_tx_put_burst(&tx, made_at, NET_BURST);

	net_tx_done(&tx);
	virtq_notify(f->vq);
	return count;
}

static double lap(struct ring_test *f, bool sends)
{
	uint64_t began;
	unsigned frames = 0;

	offer(&f->driver, sends ? HEADER_BYTES + FRAME_BYTES : BUFFER_BYTES,
	      !sends);
	began = clock_ns();
	while (frames < RING) {
		unsigned now = sends ? send_burst(f) : receive_burst(f);

		if (now == 0)
			fail_msg("a burst of none");
		frames += now;
	}
	began = clock_ns() - began;
	take_back(&f->driver);
	return (double)began / RING;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(struct ring_test *f, bool sends)
{
	static double laps[LAPS];

	for (unsigned n = 0; n < LAPS; n++)
		laps[n] = lap(f, sends);
	qsort(laps, LAPS, sizeof(laps[0]), by_size);
	return laps[LAPS / 2];
}

/* A UDP packet, as most frames of that size are. */
static void make_frame(uint8_t *frame)
{
	memset(frame, 0, FRAME_BYTES);
	frame[0] = frame[6] = 2;
	frame[12] = 8; /* IPv4 */
	frame[14] = 0x45;
	frame[17] = FRAME_BYTES - 14;
	frame[22] = 64;
	frame[23] = 17;
	frame[39] = FRAME_BYTES - 34;
}

static void make_frames(void)
{
	for (unsigned i = 0; i < NET_BURST; i++) {
		struct net_rx_frame *frame = &made[i];

		make_frame(frame->head);
		frame->bytes = frame->head_bytes = FRAME_BYTES;
		frame->rest = iov_cursor(NULL, 0);
		net_frame_parse(frame->head, FRAME_BYTES, &frame->layout);
		made_at[i] = frame;
	}
}

static void measure(bool packed)
{
	void *state = packed ? (void *)"packed" : NULL;
	struct ring_test *f;

	ring_setup(&state);
	f = state;
	ring_start(f, RING);
	calls_off(&f->driver);
	for (unsigned i = 0; i < RING; i++) {
		uint8_t *at =
			guest_at(&f->guest, GUEST_DATA_GPA + i * BUFFER_BYTES);

		make_frame(at + HEADER_BYTES);
	}
	net_rx_start(&rx, f->vq, 0, HEADER_BYTES);
	net_tx_start(&tx, f->vq, NET_FEATURE(MRG_RXBUF), HEADER_BYTES);
	printf("%s: sent by the guest %.1f", packed ? "packed" : "split",
	       median(f, true));
	printf(", received %.1f ns a frame\n", median(f, false));
	ring_teardown(&state);
}

int main(void)
{
	make_frames();
	for (unsigned i = 0; i < ROUNDS; i++) {
		measure(false);
		measure(true);
	}
	return 0;
}
