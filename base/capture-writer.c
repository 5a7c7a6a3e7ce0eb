/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer: every ROUND_NS, while the capture is on, it looks how far the
 * lanes' threads have come, and moves what is there up to that point, the oldest
 * block first, through a buffer into the file. Descriptions of interfaces that
 * came meanwhile go before them.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/capture-internal.h"

enum {
	ROUND_NS = 10 * 1000 * 1000,
	/* A reader that does not read: how often we look whether that is to
	 * end, and how long it has once it is. */
	STALL_MS = 50,
	STALLS_AT_END = 20,
};

/* --- the file ------------------------------------------------------------- */

/* Of a socket whose reader is slow: false once it has had its time. */
static bool await_room(struct capture *capture)
{
	struct pollfd room = {.fd = capture->config.fd, .events = POLLOUT};

	if (load_acquire(&capture->quit) && ++capture->stalls > STALLS_AT_END)
		return false;
	poll(&room, 1, STALL_MS);
	return true;
}

/* How much of it was written, all or until *@ret_err. */
static size_t write_out(struct capture *capture, int *ret_err)
{
	size_t done = 0;

	*ret_err = 0;
	while (done < capture->out_bytes && *ret_err == 0) {
		ssize_t wrote = write(capture->config.fd, capture->out + done,
				      capture->out_bytes - done);

		if (wrote > 0)
			done += wrote;
		else if (wrote == 0)
			*ret_err = -EIO;
		else if (errno == EAGAIN && await_room(capture))
			continue;
		else if (errno != EINTR)
			*ret_err = -errno;
	}
	return done;
}

static void lose(struct capture *capture, const void *block)
{
	uint64_t *lost = &capture->lost[pcapng_packet_interface(block)];

	store_once(lost, *lost + 1);
}

/* The blocks of @out, of which @written bytes are in the file. */
static void count_out(struct capture *capture, size_t written)
{
	size_t at = 0, bytes;

	for (; at < capture->out_bytes; at += bytes) {
		const uint8_t *block = capture->out + at;
		const bool is_packet = pcapng_block_is_packet(block);

		bytes = pcapng_block_bytes(block);
		if (!range_fits(at, bytes, written)) {
			if (is_packet)
				lose(capture, block);
			continue;
		}
		store_once(&capture->frames, capture->frames + is_packet);
		store_once(&capture->file_bytes, capture->file_bytes + bytes);
	}
}

/* A block that is there in part would be an error to who reads the file. A pipe
 * cannot be cut; but neither can it be read again. */
static void cut_file(const struct capture *capture)
{
	if (ftruncate(capture->config.fd, capture->file_bytes) < 0)
		return;
}

static void flush(struct capture *capture)
{
	size_t written = 0;
	int err = 0;

	if (capture->error == 0)
		written = write_out(capture, &err);
	count_out(capture, written);
	capture->out_bytes = 0;
	if (err == 0)
		return;
	cut_file(capture);
	store_once(&capture->error, err);
	store_release(&capture->on, false);
}

static bool fits(const struct capture *capture, const void *block)
{
	return pcapng_block_bytes(block) <=
	       CAPTURE_OUT_BYTES - capture->out_bytes;
}

static void append(struct capture *capture, const void *block)
{
	const uint32_t bytes = pcapng_block_bytes(block);

	memcpy(capture->out + capture->out_bytes, block, bytes);
	capture->out_bytes += bytes;
}

static void put(struct capture *capture, const void *block)
{
	if (!fits(capture, block))
		flush(capture);
	append(capture, block);
}

/* Of frames alone: what describes them is written in any case. */
static bool has_room(const struct capture *capture, const void *block)
{
	const uint64_t max = capture->config.max_file_bytes;

	return max == 0 || range_fits(capture->file_bytes + capture->out_bytes,
				      pcapng_block_bytes(block), max);
}

static void put_packet(struct capture *capture, const void *block)
{
	store_once(&capture->full, capture->full || !has_room(capture, block));
	if (capture->error || capture->full) {
		/* Again: it may have been switched on meanwhile. */
		store_release(&capture->on, false);
		lose(capture, block);
		return;
	}
	put(capture, block);
}

/* --- a round -------------------------------------------------------------- */

/* The lane whose next block is the oldest, and that; NULL: none has one from
 * before @until_ns. */
static struct capture_lane *oldest(struct capture *capture, uint64_t until_ns,
				   const void **ret_block)
{
	struct capture_lane *found = NULL;
	uint64_t found_ns = 0;

	for (unsigned i = 0; i < capture->config.lanes; i++) {
		const void *block =
			capture_lane_peek(&capture->lanes[i], capture->ends[i]);
		uint64_t ns = block ? pcapng_packet_time_ns(block) : 0;

		if (!block || ns >= until_ns || (found && ns >= found_ns))
			continue;
		found = &capture->lanes[i];
		found_ns = ns;
		*ret_block = block;
	}
	return found;
}

/* What fits: whether that was all of it. Nothing is written under the lock,
 * which may take as long as a disk likes. */
static bool take_pending(struct capture *capture)
{
	uint8_t *block = capture->pending, *end;

	pthread_mutex_lock(&capture->lock);
	end = block + capture->pending_bytes;
	for (; block < end && fits(capture, block);
	     block += pcapng_block_bytes(block))
		append(capture, block);
	capture->pending_bytes = end - block;
	memmove(capture->pending, block, capture->pending_bytes);
	pthread_mutex_unlock(&capture->lock);
	return block == end;
}

static void put_pending(struct capture *capture)
{
	while (!take_pending(capture))
		flush(capture);
}

/*
 * What was captured later than a round begins waits for the next one: of two
 * frames on two lanes, one the answer to the other, the answer alone could be
 * seen. Not if there may be none, or the date was set back.
 */
static uint64_t begin_round(struct capture *capture, bool is_on)
{
	const uint64_t now = capture_date_ns();
	const bool waits = is_on && now >= capture->round_ns;

	capture->round_ns = now;
	return waits ? now : UINT64_MAX;
}

/* Ends before descriptions: who put a block before its lane's end had its
 * interface described before that. */
static void drain(struct capture *capture, bool is_on)
{
	const uint64_t until_ns = begin_round(capture, is_on);
	struct capture_lane *lane;
	const void *block;

	for (unsigned i = 0; i < capture->config.lanes; i++)
		capture->ends[i] = load_acquire(&capture->lanes[i].head);
	put_pending(capture);
	while ((lane = oldest(capture, until_ns, &block)) != NULL) {
		put_packet(capture, block);
		capture_lane_pass(lane, pcapng_block_bytes(block));
	}
}

struct capture_tally capture_tally(const struct capture *capture,
				   unsigned interface)
{
	struct capture_tally sum = {
		.dropped = load_once(&capture->lost[interface])};

	for (unsigned i = 0; i < capture->config.lanes; i++) {
		const struct capture_tally *tally =
			&capture->lanes[i].tallies[interface];
		uint64_t dropped = load_once(&tally->dropped);

		sum.taken += load_once(&tally->taken) + dropped;
		sum.dropped += dropped;
	}
	return sum;
}

/* Behind the last frame, if there were any since the last time. */
static void put_statistics(struct capture *capture, unsigned interfaces)
{
	uint64_t taken = 0;

	for (unsigned i = 0; i < interfaces; i++)
		taken += capture_tally(capture, i).taken;
	if (taken == capture->reported)
		return;
	capture->reported = taken;
	for (unsigned i = 0; i < interfaces; i++) {
		const struct capture_tally sum = capture_tally(capture, i);
		uint8_t block[PCAPNG_MAX_BLOCK_BYTES];

		pcapng_put_statistics(block, i, capture_date_ns(), sum.taken,
				      sum.dropped);
		put(capture, block);
	}
}

/* --- the thread ----------------------------------------------------------- */

static void wait_for_round(struct capture *capture)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ROUND_NS;
	if (until.tv_nsec >= (long)NS_PER_SECOND) {
		until.tv_nsec -= NS_PER_SECOND;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&capture->told, &capture->lock, &until);
}

/* Until the next round is due: false once there is to be no other. */
static bool await(struct capture *capture, unsigned *ret_interfaces)
{
	bool goes_on;

	pthread_mutex_lock(&capture->lock);
	if (!capture->is_told && load_acquire(&capture->on))
		wait_for_round(capture);
	else if (!capture->is_told)
		pthread_cond_wait(&capture->told, &capture->lock);
	capture->is_told = false;
	goes_on = !capture->quit;
	*ret_interfaces = capture->interfaces;
	pthread_mutex_unlock(&capture->lock);
	return goes_on;
}

void *capture_writer(void *arg)
{
	struct capture *capture = arg;
	bool goes_on = true;

	prctl(PR_SET_NAME, "capture");
	while (goes_on) {
		unsigned interfaces;
		bool is_on;

		goes_on = await(capture, &interfaces);
		is_on = load_acquire(&capture->on);
		drain(capture, is_on);
		if (!is_on)
			put_statistics(capture, interfaces);
		flush(capture);
	}
	return NULL;
}
