/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/switch-load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

enum {
	/* Frames that did not arrive for so long are not waited for. */
	LOST_NS = 100 * 1000 * 1000,
	/* Rounds between two looks at the clock. */
	CLOCK_ROUNDS = 16,
};

static uint64_t under_way(const struct switch_load *load, unsigned guest,
			  const struct switch_pattern *pattern)
{
	const struct switch_counts *c = &load->counts[guest];
	const uint64_t known = c->arrived + c->lost;
	const uint64_t copies = c->sent * pattern->copies;

	return copies > known && !pattern->hurries ? copies - known : 0;
}

static int send_some(struct switch_load *load, unsigned from,
		     const struct switch_pattern *pattern)
{
	struct switch_guest *guest = load->guests[from];
	const unsigned depth = load->options->depth;
	uint64_t frames =
		(under_way(load, from, pattern) + pattern->copies - 1) /
		pattern->copies;
	struct switch_target to;
	int err = switch_guest_reap(guest);

	if (err < 0)
		return err;
	for (; frames < depth && pattern->next(pattern->arg, from, &to);
	     frames++) {
		/* The frame that is not sent now is asked for again. */
		if (!switch_guest_send(guest, to.from_station, to.guest,
				       to.station))
			break;
		load->counts[from].sent++;
		load->next[from]++;
	}
	switch_guest_publish(guest);
	return 0;
}

static int take_some(struct switch_load *load, unsigned at)
{
	struct switch_arrival arrivals[SWITCH_GUEST_BURST];
	int count = switch_guest_receive(load->guests[at], arrivals,
					 SWITCH_GUEST_BURST);

	for (int i = 0; i < count; i++) {
		if (arrivals[i].is_stray) {
			load->counts[at].strays++;
			continue;
		}
		load->counts[at].taken++;
		load->counts[arrivals[i].from].arrived++;
	}
	return count;
}

int switch_load_round(struct switch_load *load,
		      const struct switch_pattern *pattern)
{
	int err = 0, taken = 0;

	for (unsigned i = 0; i < pattern->senders && err == 0; i++)
		err = send_some(load, i, pattern);
	for (unsigned i = 0; i < pattern->takers && err >= 0; i++) {
		err = take_some(load, i);
		taken += MAX(err, 0);
	}
	if (err < 0)
		return err;
	if (taken > 0)
		load->heard_ns = 0;
	return 0;
}

/* Of what has not arrived when there was nothing for long. */
static void give_up(struct switch_load *load,
		    const struct switch_pattern *pattern, uint64_t now_ns)
{
	if (load->heard_ns == 0)
		load->heard_ns = now_ns;
	if (now_ns - load->heard_ns < LOST_NS)
		return;
	for (unsigned i = 0; i < pattern->senders; i++)
		load->counts[i].lost += under_way(load, i, pattern);
	load->heard_ns = now_ns;
}

int switch_load_run(struct switch_load *load,
		    const struct switch_pattern *pattern, uint64_t time_ns)
{
	const uint64_t until = clock_ns() + time_ns;
	int err = 0;

	load->heard_ns = 0;
	for (unsigned round = 0; err == 0; round++) {
		if (round % CLOCK_ROUNDS == 0) {
			const uint64_t now = clock_ns();

			if (now >= until)
				break;
			give_up(load, pattern, now);
		}
		err = switch_load_round(load, pattern);
	}
	return err;
}

static bool is_quiet(const struct switch_load *load,
		     const struct switch_pattern *pattern)
{
	for (unsigned i = 0; i < pattern->senders; i++) {
		struct switch_target to;

		if (under_way(load, i, pattern) > 0 ||
		    pattern->next(pattern->arg, i, &to))
			return false;
	}
	return true;
}

int switch_load_finish(struct switch_load *load,
		       const struct switch_pattern *pattern)
{
	int err = 0;

	load->heard_ns = 0;
	while (err == 0 && !is_quiet(load, pattern)) {
		err = switch_load_round(load, pattern);
		give_up(load, pattern, clock_ns());
	}
	return err;
}

void switch_load_reset(struct switch_load *load)
{
	memset(load->counts, 0, sizeof(load->counts));
	memset(load->next, 0, sizeof(load->next));
}

/* --- guests come ------------------------------------------------------------- */

struct introduction {
	struct switch_load *load;
	unsigned guest; /* whose turn it is */
};

static bool next_introduction(void *arg, unsigned from,
			      struct switch_target *ret_target)
{
	const struct introduction *introduction = arg;

	*ret_target = (struct switch_target){.guest = SWITCH_TO_ALL};
	return from == introduction->guest &&
	       introduction->load->next[from] == 0;
}

int switch_load_introduce(struct switch_load *load, unsigned guest)
{
	const unsigned guests = load->options->guests;
	struct introduction introduction = {.load = load, .guest = guest};
	const struct switch_pattern pattern = {
		.next = next_introduction,
		.arg = &introduction,
		.senders = guests,
		.takers = guests,
		.copies = guests - 1,
	};
	int err;

	switch_load_reset(load);
	err = switch_load_finish(load, &pattern);
	return err == 0 && load->counts[guest].lost > 0 ? -ETIMEDOUT : err;
}

static int introduce_all(struct switch_load *load)
{
	int err = 0;

	for (unsigned i = 0; i < load->options->guests && err == 0; i++)
		err = switch_load_introduce(load, i);
	if (err < 0)
		fprintf(stderr,
			"vbench: guests do not hear of each other: %s\n",
			strerror(-err));
	return err;
}

int switch_load_new(const struct switch_bench_options *options,
		    struct switch_load **ret_load)
{
	struct switch_load *load = calloc(1, sizeof(*load));
	int err = 0;

	if (!load)
		return -ENOMEM;
	load->options = options;
	for (unsigned i = 0; i < options->guests && err == 0; i++)
		err = switch_guest_new(options, i, &load->guests[i]);
	if (err == 0)
		err = introduce_all(load);
	if (err < 0) {
		switch_load_free(load);
		return err;
	}
	*ret_load = load;
	return 0;
}

void switch_load_free(struct switch_load *load)
{
	if (!load)
		return;
	for (unsigned i = 0; i < load->options->guests; i++)
		switch_guest_free(load->guests[i]);
	free(load);
}
