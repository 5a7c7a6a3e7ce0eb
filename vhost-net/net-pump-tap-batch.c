/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several frames from the TAP at once: a system call costs more than to take a
 * short frame, so where frames come faster than we look, as many reads as brought
 * something last time are submitted together, and with what the guest sends. The
 * reads do not wait: one without a frame ends at once.
 *
 * Each frame has a chain of the guest's for itself, so that none has to know how
 * long those before it are; and what a chain does not hold goes on in a buffer of
 * ours. As long as each read brings a frame that fits and is good, they are
 * committed as they lie. From the first that does not, those behind it are taken out
 * of their chains, which go back to the ring, and are put one by one, as rings
 * in order want it.
 */
#include "vhost-net/net-pump-tap-internal.h"

/* Long frames take many buffers each, and are few. */
static bool may_read_batch(const struct tap_pump *tap)
{
	return tap->next_reads > FEW_READS && !tap->reads_would_wait &&
	       tap->pump.readable && !tap->pump.has_bounced &&
	       tap->waiting == tap->waiting_end &&
	       tap->expected == tap->usual_frame &&
	       !tap->pump.config.limits->limits[NET_RECEIVE];
}

static void was_read(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct receiving *r = container_of(op, struct receiving, op);

	r->result = result;
	r->tap->reads_in_flight--;
}

static void submit_read(struct tap_pump *tap, struct receiving *r)
{
	struct io_uring_sqe *sqe = loop_sqe(tap->pump.config.loop);

	io_uring_prep_readv(sqe, tap->slot >= 0 ? tap->slot : tap->pump.fd,
			    r->room - 1, r->segments + OUR_SEGMENTS, 0);
	if (tap->slot >= 0)
		sqe->flags |= IOSQE_FIXED_FILE;
	/* O_NONBLOCK alone would have the ring wait for a frame. */
	sqe->rw_flags = RWF_NOWAIT;
	r->op.done = was_read;
	loop_bind(sqe, &r->op);
	tap->reads_in_flight++;
}

/* A tag or two more than an ordinary buffer holds would be in ours. */
static uint32_t least_room(const struct tap_pump *tap)
{
	return tap->usual_frame - NET_MAX_TAGS * NET_TAG_BYTES;
}

/* Lays one more read out, behind @at segments. False: the batch is full. */
static bool add_read(struct tap_pump *tap, struct net_tx *tx, unsigned at)
{
	struct receiving *r = &tap->receivings[tap->reads];
	struct iovec *iov = tap->read_iov + at;
	const uint32_t most = tap_pump_most_bytes(tap);

	if (READ_SEGMENTS - at <= OUR_SEGMENTS ||
	    net_tx_reserve_chain(tx, tap->reads, least_room(tap),
				 MIN(tap->usual_frame, most), iov + 1,
				 READ_SEGMENTS - at - OUR_SEGMENTS,
				 &r->segments, &r->room_bytes))
		return false;
	r->tap = tap;
	r->room = iov + 1;
	r->bounce = tap->read_bounces[tap->reads];
	r->in_bounce = 0;
	iov[0] = (struct iovec){&r->header, HEADER_BYTES};
	iov[r->segments + 1] =
		(struct iovec){r->bounce + r->room_bytes, most - r->room_bytes};
	tap->reads++;
	return true;
}

bool tap_pump_start_reads(struct tap_pump *tap, struct net_tx *tx)
{
	unsigned at = 0;

	if (!may_read_batch(tap))
		return false;
	while (tap->reads < tap->next_reads && add_read(tap, tx, at))
		at += tap->receivings[tap->reads - 1].segments + OUR_SEGMENTS;
	for (unsigned i = 0; i < tap->reads; i++)
		submit_read(tap, &tap->receivings[i]);
	/* Until they say so, or the TAP does meanwhile. */
	if (tap->reads > 0)
		tap->pump.readable = false;
	return tap->reads > 0;
}

/* The frame leaves its chain: its room is the ring's again. */
static void take_out(struct receiving *r, uint32_t bytes)
{
	struct iov_cursor from = iov_cursor(r->room, r->segments);

	iov_read(&from, r->bounce, MIN(bytes, r->room_bytes));
	r->in_bounce = bytes;
}

/* Where a frame that fits lies, all before it being committed. */
static bool take_in_place(struct tap_pump *tap, struct net_tx *tx,
			  struct receiving *r, uint32_t bytes)
{
	if (bytes > r->room_bytes)
		return false;
	net_pump_capture_received(&tap->pump, r->room, r->segments, bytes);
	net_tx_commit(tx, &r->header, bytes);
	return true;
}

/* Whether it was committed where it lies. */
static bool end_read(struct tap_pump *tap, struct net_tx *tx,
		     struct receiving *r, bool in_place)
{
	int bytes = tap_pump_judge_read(tap, tx, &r->header, r->result);

	if (bytes <= 0)
		return false;
	if (in_place && take_in_place(tap, tx, r, bytes))
		return true;
	take_out(r, bytes);
	return false;
}

/*
 * How many reads brought a frame, of whatever kind. The TAP may have said
 * meanwhile that it has more: that stays so.
 */
static unsigned look_at_results(struct tap_pump *tap)
{
	bool woken = tap->pump.readable;
	unsigned got = 0;

	for (unsigned i = 0; i < tap->reads; i++) {
		got += tap->receivings[i].result >= 0;
		tap->pump.readable = true;
		tap_pump_look_at_result(tap, tap->receivings[i].result);
	}
	/* A kernel whose TAPs cannot be asked not to wait: one by one, then. */
	if (tap->receivings[0].result == -EOPNOTSUPP)
		tap->reads_would_wait = woken = true;
	tap->pump.readable |= woken;
	return got;
}

static void commit_reads(struct tap_pump *tap, struct net_tx *tx)
{
	unsigned committed = 0, left = 0;
	bool in_place = true;

	for (unsigned i = 0; i < tap->reads; i++) {
		struct receiving *r = &tap->receivings[i];

		in_place = end_read(tap, tx, r, in_place);
		committed += in_place;
		left += r->in_bounce > 0;
	}
	if (left > 0) {
		net_tx_release(tx);
		tap->waiting = 0;
		tap->waiting_end = tap->reads;
	}
	if (committed > 0) {
		net_tx_done(tx);
		virtq_notify(netdev_queue_virtq(tap->pump.receive));
	}
}

void tap_pump_finish_reads(struct tap_pump *tap)
{
	unsigned got;

	if (tap->reads == 0 || tap->reads_in_flight > 0)
		return;
	got = look_at_results(tap);
	/* What a queue that is switched off should receive is dropped. */
	if (netdev_queue_is_enabled(tap->pump.receive))
		commit_reads(tap, netdev_queue_tx(tap->pump.receive));
	else
		net_tx_release(netdev_queue_tx(tap->pump.receive));
	/* The next batch may find fewer, but shall be able to find more. */
	tap->next_reads =
		got == tap->reads ? MIN(2 * got, (unsigned)MAX_READS) : got + 1;
	tap->reads = 0;
}

bool tap_pump_next_waiting(struct tap_pump *tap, struct net_tx *tx)
{
	while (tap->waiting < tap->waiting_end) {
		struct receiving *r = &tap->receivings[tap->waiting++];

		if (r->in_bounce > 0 &&
		    tap_pump_bounce(tap, tx, &r->header, r->bounce,
				    r->in_bounce))
			return true;
	}
	return false;
}
