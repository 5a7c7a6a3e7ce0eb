/* SPDX-License-Identifier: Apache-2.0 */
/* TAPs that the daemon is given by their descriptors. */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/net/tap.h"

enum {
	PATIENCE_MS = 10000,
	QUEUES = 3,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

/* To be inherited, each a queue of a new TAP. */
static void open_queues(const char *name, int fds[static QUEUES])
{
	const short flags = IFF_VNET_HDR | IFF_MULTI_QUEUE;

	for (unsigned i = 0; i < QUEUES; i++) {
		fds[i] = i == 0 ? tap_new(name, flags)
				: tap_open_queue(name, flags);
		fcntl(fds[i], F_SETFD, 0);
	}
}

static void close_queues(const int fds[static QUEUES])
{
	for (unsigned i = 0; i < QUEUES; i++)
		close(fds[i]);
}

static void given_descriptor_is_served(void **state)
{
	struct fixture *f = *state;
	char socket[128], option[32];
	const char *const options[] = {socket, option, NULL};
	int tap = tap_new(FIXTURE_TAP, IFF_VNET_HDR);

	tap_bring_up(FIXTURE_TAP);
	fcntl(tap, F_SETFD, 0);
	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	snprintf(option, sizeof(option), "--tap-fd=%d", tap);
	f->process.pid = process_spawn(&f->process, options);
	tap_reaches_the_wire(f);
	close(tap);
}

/* In both spellings, and with a pair for each. */
static void given_descriptors_are_the_pairs_queues(void **state)
{
	static const struct net_options three = {.pairs = QUEUES};
	struct fixture *f = *state;
	char socket[128], one[32], others[32];
	const char *const options[] = {socket, one, others, NULL};
	struct net_driver *d;
	int fds[QUEUES];

	open_queues(FIXTURE_TAP, fds);
	tap_bring_up(FIXTURE_TAP);
	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	snprintf(one, sizeof(one), "--tap-fd=%d", fds[0]);
	snprintf(others, sizeof(others), "--tap-fd=%d,%d", fds[1], fds[2]);
	f->process.pid = process_spawn(&f->process, options);
	close_queues(fds);
	fixture_plug(f);
	d = fixture_open(f, &three);
	for (unsigned i = 0; i < QUEUES; i++) {
		frame_make(frame, 500, i);
		assert_int_equal(net_send(d, i, NULL, frame, 500, NULL), 0);
		assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), 500);
		assert_int_equal(frame_seed(got), i);
	}
	/* Those that are switched off are no queues of the kernel's. */
	for (unsigned i = 1; i < QUEUES; i++)
		assert_int_equal(frontend_ring_enable(d->fe, 2 * i, false), 0);
	for (unsigned i = 0; i < 50; i++) {
		frame_make(frame, 500, i);
		wire_send(f, NULL, frame, 500);
		assert_int_equal(net_receive(d, 0, NULL, got, sizeof(got)),
				 500);
		assert_int_equal(frame_seed(got), i);
	}
	net_driver_free(d);
}

static void refused_list(struct fixture *f, const char *list, const char *words)
{
	char socket[128], option[64];

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	snprintf(option, sizeof(option), "--tap-fd=%s", list);
	fixture_refused(f, (const char *const[]){socket, option, NULL}, words);
}

static void refused_pair(struct fixture *f, int first, int second,
			 const char *words)
{
	char list[32];

	snprintf(list, sizeof(list), "%d,%d", first, second);
	refused_list(f, list, words);
}

static void descriptors_that_do_not_go_together_are_named(void **state)
{
	static const char *const wrong[] = {
		"",	",",   "5,",   ",5", "5,,6",
		"5 ,6", "5,x", "-1,5", "4K", "99999999999999999999"};
	struct fixture *f = *state;
	int fds[QUEUES], others[QUEUES];
	int single = tap_new("single0", IFF_VNET_HDR);
	int twin = dup(single);

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		refused_list(f, wrong[i],
			     "give numbers of inherited descriptors");
	fcntl(single, F_SETFD, 0);
	open_queues("many0", fds);
	open_queues("other0", others);
	refused_pair(f, fds[0], fds[0], "comes twice");
	refused_pair(f, fds[0], 99, "many0: descriptor 99 is no TAP");
	refused_pair(f, fds[0], others[1],
		     "is a queue of other0: give those of one device");
	refused_pair(f, single, twin,
		     "was opened without IFF_MULTI_QUEUE, and is all");
	refused_pair(f, fds[0], single, "was opened without IFF_MULTI_QUEUE");
	fixture_refused(f,
			(const char *const[]){"--socket-path=x", "--tap-fd=5,6",
					      "--tap-fd=7",
					      "--num-queue-pairs=2", NULL},
			"--num-queue-pairs=2, but 3 --tap-fd");
	close_queues(fds);
	close_queues(others);
	close(single);
	close(twin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(given_descriptor_is_served),
		FIXTURE_TEST(given_descriptors_are_the_pairs_queues),
		FIXTURE_TEST(descriptors_that_do_not_go_together_are_named),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
