/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/hostile.h"

#include <stdio.h>
#include <unistd.h>

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

uint64_t hostile_count_fault(const struct fixture *f, const char *fault)
{
	char words[64];

	snprintf(words, sizeof(words), "sent dropped: %s ", fault);
	fixture_count(f);
	return process_log_number(&f->process, words);
}

void hostile_expect_frame(const struct fixture *f, struct net_driver *d,
			  unsigned pair)
{
	static uint32_t seed;

	frame_make(frame, 300, ++seed);
	assert_int_equal(net_send(d, pair, NULL, frame, 300, NULL), 0);
	assert_int_equal(wire_receive(f, HOSTILE_PATIENCE_MS, NULL, got), 300);
	assert_int_equal(frame_seed(got), seed);
}

void hostile_expect_broken(struct net_driver *d, unsigned ring)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < HOSTILE_PATIENCE_MS && count == 0; i++) {
		if (read(d->rings[ring]->err_fd, &count, sizeof(count)) < 0)
			count = 0;
		if (count == 0)
			usleep(1000);
	}
	assert_true(count > 0);
}

void hostile_start_two_pairs(struct fixture *f)
{
	static const char *const options[] = {"--num-queue-pairs=2", NULL};

	fixture_start(f, options);
	fixture_plug(f);
}
