/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net: a guest with a network card, and somebody at the other end of the wire.
 *
 * The wire is another process. Our monitor and the other machine's each share
 * their guest's memory with it; a frame is copied from the one's memory into the
 * other's (vswitch), or goes to the host's kernel (vhost-net), and neither
 * monitor sees it. To the guest all that looks like a card: buffers are put into
 * a queue and come back, sent or filled.
 *
 * One of two sides asks, the other answers each frame with one of the same
 * number. Nothing tells them when the other is there but the wire itself, so
 * the first frames are a greeting, sent until one is answered. From then on no
 * frame may be missing. What is shown, once by looking and once by interrupts:
 *
 *	each frame arrives once, in order, as it was sent, at every length;
 *	with buffers that are too short for it, in several ("merge");
 *	how long one takes there and back.
 *
 * Words on the command line:
 *	peer=N		the other side is machine N
 *	ask		this side asks; otherwise it answers
 *	packed, merge	which queues and buffers, see card.h
 *	frames=N	in each turn
 *	trips=N		round trips to be measured
 */
#include "tests/kvm/frames.h"
#include "tests/kvm/guests/card.h"
#include "tests/kvm/guests/kernel.h"

enum {
	/* On their way at once: as many as fit into the buffers in any case. */
	WINDOW = VIRTIO_SLOTS / 2,
	DEFAULT_FRAMES = 100,
	DEFAULT_TRIPS = 200,
	/* Until a greeting is repeated. */
	PATIENCE_TICKS = 200000000,
};

/* Turns that are counted from 1 on; those in which both wait by interrupts. */
enum turn {
	NO_TURN,
	LOOKING,
	LOOKING_TRIPS,
	INTERRUPTS,
	INTERRUPTS_TRIPS,
};

static struct card card;
static uint8_t me, peer;

static bool by_interrupts(unsigned turn)
{
	return turn >= INTERRUPTS;
}

static void put(enum frames_kind kind, unsigned turn, uint32_t number)
{
	const struct frames_word word = {peer, me, kind, turn, number};
	static uint8_t frame[FRAMES_MOST_BYTES];

	card_send(&card, frame, frames_make(&word, frame));
}

/* False if there is none, or one that is not for us to judge. */
static bool get(struct frames_word *ret_word)
{
	static uint8_t frame[FRAMES_MOST_BYTES];
	uint32_t bytes = card_receive(&card, frame);
	const char *wrong;

	if (bytes == 0 || !frames_read(frame, bytes, ret_word, &wrong))
		return false;
	if (wrong)
		print("frame %u of turn %u: %s\n", (uint64_t)ret_word->number,
		      (uint64_t)ret_word->turn, wrong);
	expect(!wrong, "a frame is as it was sent");
	expect(ret_word->to == me && ret_word->from == peer,
	       "a frame comes from the other side, and is for us");
	return true;
}

/* --- who asks --- */

/* Greetings that were sent before the other was there are nowhere now. */
static void greet(void)
{
	struct frames_word word;
	uint64_t until;

	for (uint32_t i = 0;; i++) {
		put(FRAMES_HELLO, NO_TURN, i);
		until = time_stamp() + PATIENCE_TICKS;
		while (time_stamp() < until)
			if (get(&word) && word.kind == FRAMES_HELLO)
				return;
	}
}

/* The answer that is due; answers to further greetings come before it. */
static void get_answer(enum frames_kind kind, unsigned turn, uint32_t number)
{
	struct frames_word word;

	while (!get(&word) || word.kind == FRAMES_HELLO)
		;
	expect(word.kind == kind && word.turn == turn && word.number == number,
	       "no frame is lost, doubled or before its time");
}

/* Ticks from the first question to the last answer. */
static uint64_t ask(unsigned turn, uint32_t frames, uint32_t at_once)
{
	uint64_t began = time_stamp();
	uint32_t asked = 0;

	card_wait_by_interrupt(&card, by_interrupts(turn));
	for (uint32_t answered = 0; answered < frames; answered++) {
		while (asked < frames && asked - answered < at_once)
			put(FRAMES_DATA, turn, asked++);
		get_answer(FRAMES_DATA, turn, answered);
	}
	return time_stamp() - began;
}

static void measure(const struct guest_boot *boot, unsigned turn)
{
	uint64_t trips = option_number(boot, "trips", DEFAULT_TRIPS);
	uint64_t khz = option_number(boot, "tsc_khz", 0);
	uint64_t ticks = ask(turn, trips, 1);

	print("round trip, %s: ",
	      by_interrupts(turn) ? "interrupts" : "looking");
	if (khz > 0)
		print("%u ns on average\n", ticks / trips * 1000000 / khz);
	else
		print("%u ticks on average\n", ticks / trips);
}

static void ask_all(const struct guest_boot *boot)
{
	uint32_t frames = option_number(boot, "frames", DEFAULT_FRAMES);
	uint64_t before;

	greet();
	ask(LOOKING, frames, WINDOW);
	measure(boot, LOOKING_TRIPS);
	before = interrupts_seen();
	ask(INTERRUPTS, frames, WINDOW);
	measure(boot, INTERRUPTS_TRIPS);
	/* If we looked in time each time, they still wait at our door. */
	kernel_call(KERNEL_WAIT, before, 0, 0);
	put(FRAMES_FAREWELL, NO_TURN, 0);
	get_answer(FRAMES_FAREWELL, NO_TURN, 0);
}

/* --- who answers --- */

static void answer_all(void)
{
	unsigned turn = NO_TURN;
	struct frames_word word;
	uint32_t due = 0;

	do {
		while (!get(&word))
			;
		if (word.turn != turn) {
			turn = word.turn;
			due = 0;
			card_wait_by_interrupt(&card, by_interrupts(turn));
		}
		if (word.kind == FRAMES_DATA)
			expect(word.number == due++,
			       "no frame is lost, doubled or out of order");
		put(word.kind, word.turn, word.number);
	} while (word.kind != FRAMES_FAREWELL);
}

int guest_main(const struct guest_boot *boot)
{
	int machine;

	card_open(&card, boot, 0);
	machine = frames_machine(card.address);
	expect(machine >= 0, "the card has a machine's address");
	me = machine;
	peer = option_number(boot, "peer", 0);
	print("machine %u: %s queues, %s buffers\n", (uint64_t)me,
	      card.virtio.queues[0].packed ? "packed" : "split",
	      card.merges ? "merged" : "whole");
	if (option_given(boot, "ask"))
		ask_all(boot);
	else
		answer_all();
	/* What was said last is still to be fetched from our memory. */
	card_drain(&card);
	virtio_reset(&card.virtio);
	print("net: every frame came, as it was sent\n");
	return MACHINE_OK;
}
