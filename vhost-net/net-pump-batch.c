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
#include "base/bytes.h"
#include "vhost-net/net-pump-internal.h"

/* Long frames take many buffers each, and are few. */
static bool may_read_batch(const struct net_pump *pump)
{
	return pump->next_reads > FEW_READS && !pump->reads_would_wait &&
	       pump->readable && !pump->has_bounced &&
	       pump->waiting == pump->waiting_end &&
	       pump->expected == pump->usual_frame &&
	       !pump->limits->limits[NET_RECEIVE];
}

static void was_read(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct receiving *r = container_of(op, struct receiving, op);

	r->result = result;
	r->pump->reads_in_flight--;
}

static void submit_read(struct net_pump *pump, struct receiving *r)
{
	struct io_uring_sqe *sqe = loop_sqe(pump->loop);

	io_uring_prep_readv(sqe,
			    pump->tap_slot >= 0 ? pump->tap_slot : pump->tap_fd,
			    r->room - 1, r->segments + OUR_SEGMENTS, 0);
	if (pump->tap_slot >= 0)
		sqe->flags |= IOSQE_FIXED_FILE;
	/* O_NONBLOCK alone would have the ring wait for a frame. */
	sqe->rw_flags = RWF_NOWAIT;
	r->op.done = was_read;
	loop_bind(sqe, &r->op);
	pump->reads_in_flight++;
}

/* A tag or two more than an ordinary buffer holds would be in ours. */
static uint32_t least_room(const struct net_pump *pump)
{
	return pump->usual_frame - NET_MAX_TAGS * NET_TAG_BYTES;
}

/* Lays one more read out, behind @at segments. False: the batch is full. */
static bool add_read(struct net_pump *pump, struct net_tx *tx, unsigned at)
{
	struct receiving *r = &pump->receivings[pump->reads];
	struct iovec *iov = pump->read_iov + at;
	const uint32_t most = net_pump_most_bytes(pump);

	if (READ_SEGMENTS - at <= OUR_SEGMENTS ||
	    net_tx_reserve_chain(tx, pump->reads, least_room(pump),
				 MIN(pump->usual_frame, most), iov + 1,
				 READ_SEGMENTS - at - OUR_SEGMENTS,
				 &r->segments, &r->room_bytes))
		return false;
	r->pump = pump;
	r->room = iov + 1;
	r->bounce = pump->read_bounces[pump->reads];
	r->in_bounce = 0;
	iov[0] = (struct iovec){&r->header, HEADER_BYTES};
	iov[r->segments + 1] =
		(struct iovec){r->bounce + r->room_bytes, most - r->room_bytes};
	pump->reads++;
	return true;
}

bool net_pump_start_reads(struct net_pump *pump, struct net_tx *tx)
{
	unsigned at = 0;

	if (!may_read_batch(pump))
		return false;
	while (pump->reads < pump->next_reads && add_read(pump, tx, at))
		at += pump->receivings[pump->reads - 1].segments + OUR_SEGMENTS;
	for (unsigned i = 0; i < pump->reads; i++)
		submit_read(pump, &pump->receivings[i]);
	/* Until they say so, or the TAP does meanwhile. */
	if (pump->reads > 0)
		pump->readable = false;
	return pump->reads > 0;
}

/* The frame leaves its chain: its room is the ring's again. */
static void take_out(struct receiving *r, uint32_t bytes)
{
	struct iov_cursor from = iov_cursor(r->room, r->segments);

	iov_read(&from, r->bounce, MIN(bytes, r->room_bytes));
	r->in_bounce = bytes;
}

/* Where a frame that fits lies, all before it being committed. */
static bool take_in_place(struct net_pump *pump, struct net_tx *tx,
			  struct receiving *r, uint32_t bytes)
{
	if (bytes > r->room_bytes)
		return false;
	net_pump_capture_received(pump, r->room, r->segments, bytes);
	net_tx_commit(tx, &r->header, bytes);
	return true;
}

/* Whether it was committed where it lies. */
static bool end_read(struct net_pump *pump, struct net_tx *tx,
		     struct receiving *r, bool in_place)
{
	int bytes = net_pump_judge_read(pump, tx, &r->header, r->result);

	if (bytes <= 0)
		return false;
	if (in_place && take_in_place(pump, tx, r, bytes))
		return true;
	take_out(r, bytes);
	return false;
}

/*
 * How many reads brought a frame, of whatever kind. The TAP may have said
 * meanwhile that it has more: that stays so.
 */
static unsigned look_at_results(struct net_pump *pump)
{
	bool woken = pump->readable;
	unsigned got = 0;

	for (unsigned i = 0; i < pump->reads; i++) {
		got += pump->receivings[i].result >= 0;
		pump->readable = true;
		net_pump_look_at_result(pump, pump->receivings[i].result);
	}
	/* A kernel whose TAPs cannot be asked not to wait: one by one, then. */
	if (pump->receivings[0].result == -EOPNOTSUPP)
		pump->reads_would_wait = woken = true;
	pump->readable |= woken;
	return got;
}

static void commit_reads(struct net_pump *pump, struct net_tx *tx)
{
	unsigned committed = 0, left = 0;
	bool in_place = true;

	for (unsigned i = 0; i < pump->reads; i++) {
		struct receiving *r = &pump->receivings[i];

		in_place = end_read(pump, tx, r, in_place);
		committed += in_place;
		left += r->in_bounce > 0;
	}
	if (left > 0) {
		net_tx_release(tx);
		pump->waiting = 0;
		pump->waiting_end = pump->reads;
	}
	if (committed > 0) {
		net_tx_done(tx);
		virtq_notify(netdev_queue_virtq(pump->receive));
	}
}

void net_pump_finish_reads(struct net_pump *pump)
{
	unsigned got;

	if (pump->reads == 0 || pump->reads_in_flight > 0)
		return;
	got = look_at_results(pump);
	/* What a queue that is switched off should receive is dropped. */
	if (netdev_queue_is_enabled(pump->receive))
		commit_reads(pump, netdev_queue_tx(pump->receive));
	else
		net_tx_release(netdev_queue_tx(pump->receive));
	/* The next batch may find fewer, but shall be able to find more. */
	pump->next_reads = got == pump->reads
				   ? MIN(2 * got, (unsigned)MAX_READS)
				   : got + 1;
	pump->reads = 0;
}

bool net_pump_next_waiting(struct net_pump *pump, struct net_tx *tx)
{
	while (pump->waiting < pump->waiting_end) {
		struct receiving *r = &pump->receivings[pump->waiting++];

		if (r->in_bounce > 0 &&
		    net_pump_bounce(pump, tx, &r->header, r->bounce,
				    r->in_bounce))
			return true;
	}
	return false;
}
