/* SPDX-License-Identifier: Apache-2.0 */
/* --capture: what passed between guest and TAP is in the file, as libpcap reads
 * it, and the traffic goes on whatever becomes of the file. */
#include <linux/virtio_ring.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/net/fixture.h"

enum {
	PATIENCE_MS = 10000,
	PAIRS = 3,
	ROUNDS = 40,
	EITHER = 1500, /* and PAIRS more: captured or not */
	LIMIT = 64 << 10,
	SNAP = 100,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

/* Where @f captures to: in its folder. */
static const char *path_of(const struct fixture *f)
{
	static char path[96];

	snprintf(path, sizeof(path), "%s/pcapng", f->process.folder);
	return path;
}

static void start_with(struct fixture *f, const char *option,
		       const char *another)
{
	char capture[128];
	const char *const options[] = {capture, option, another, NULL};

	snprintf(capture, sizeof(capture), "--capture=%s", path_of(f));
	fixture_start(f, options);
	fixture_plug(f);
}

static void toggle(const struct fixture *f, const char *words)
{
	assert_int_equal(kill(f->process.pid, SIGUSR2), 0);
	process_wait_log(&f->process, words);
}

/* The writer has its own time. */
static void wait_until_full(const struct fixture *f)
{
	do
		fixture_count(f);
	while (process_log_number(&f->process, " dropped ") == 0);
	process_wait_log(&f->process, ": the file has reached --capture-limit");
}

static void pass_both_ways(const struct fixture *f, struct net_driver *d,
			   unsigned pair, uint32_t seed, size_t bytes)
{
	frame_make(frame, bytes, 2 * seed);
	assert_int_equal(net_send(d, pair, NULL, frame, bytes, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), bytes);
	frame_make(frame, bytes, 2 * seed + 1);
	wire_send(f, NULL, frame, bytes);
	assert_int_equal(net_receive(d, 0, NULL, got, sizeof(got)), bytes);
}

/* Longer than a short frame's room: by way of the bounce buffer. */
static void pass_long_ones(const struct fixture *f, struct net_driver *d)
{
	struct virtio_net_hdr_v1 header;
	size_t bytes = frame_make_tso(frame, 40000, &header);

	assert_int_equal(net_send(d, 0, &header, frame, bytes, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), bytes);
	wire_send(f, (struct virtio_net_hdr *)&header, frame, bytes);
	assert_int_equal(net_receive(d, 0, NULL, got, sizeof(got)), bytes);
	assert_memory_equal(got, frame, bytes);
}

static pcap_t *open_capture(const struct fixture *f)
{
	char error[PCAP_ERRBUF_SIZE];
	pcap_t *pcap = pcap_open_offline(path_of(f), error);

	if (!pcap)
		fail_msg("%s", error);
	assert_int_equal(pcap_datalink(pcap), DLT_EN10MB);
	return pcap;
}

/* A thread looks at the switch once a round, and may have begun one before. */
static void pass_either(const struct fixture *f, struct net_driver *d)
{
	for (unsigned i = 0; i < PAIRS; i++)
		pass_both_ways(f, d, i, EITHER + i, 100);
}

static bool is_either(const uint8_t *bytes)
{
	return frame_seed(bytes) >= 2 * EITHER &&
	       frame_seed(bytes) < 2 * (EITHER + PAIRS);
}

/* The next of the test's frames: others are the kernel's own. */
static bool next_frame(pcap_t *pcap, struct pcap_pkthdr **ret_header,
		       const uint8_t **ret_bytes)
{
	int outcome;

	do
		outcome = pcap_next_ex(pcap, ret_header, ret_bytes);
	while (outcome == 1 &&
	       (memcmp(*ret_bytes + 6, "\2\0\0\0\0\1", 6) != 0 ||
		is_either(*ret_bytes)));
	assert_true(outcome == 1 || outcome == PCAP_ERROR_BREAK);
	return outcome == 1;
}

static void check_long_ones(pcap_t *pcap)
{
	struct virtio_net_hdr_v1 header;
	struct pcap_pkthdr *captured;
	const uint8_t *bytes;
	size_t length = frame_make_tso(frame, 40000, &header);

	for (unsigned i = 0; i < 2; i++) {
		assert_true(next_frame(pcap, &captured, &bytes));
		assert_int_equal(captured->caplen, length);
		assert_memory_equal(bytes, frame, length);
	}
}

static void what_passes_meanwhile_is_captured(void **state)
{
	struct fixture *f = *state;
	const struct net_options o = {.pairs = PAIRS};
	struct pcap_pkthdr *captured;
	const uint8_t *bytes;
	struct net_driver *d;
	struct stat status;
	pcap_t *pcap;

	start_with(f, "--num-queue-pairs=3", "--threads=2");
	d = fixture_open(f, &o);
	/* All comes by the first queue. */
	for (unsigned i = 1; i < PAIRS; i++)
		assert_int_equal(frontend_ring_enable(d->fe, 2 * i, false), 0);
	pass_both_ways(f, d, 0, 1000, 100);
	toggle(f, "capturing into");
	pass_either(f, d);
	for (uint32_t i = 0; i < ROUNDS; i++)
		pass_both_ways(f, d, i % PAIRS, i, 60 + 37 * i);
	pass_long_ones(f, d);
	toggle(f, "no longer capturing into");
	pass_either(f, d);
	pass_both_ways(f, d, 0, 2000, 100);
	net_driver_free(d);
	process_stop(&f->process, SIGTERM);

	assert_int_equal(stat(path_of(f), &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	pcap = open_capture(f);
	for (uint32_t i = 0; i < 2 * ROUNDS; i++) {
		const size_t length = 60 + 37 * (i / 2);

		assert_true(next_frame(pcap, &captured, &bytes));
		frame_make(frame, length, i);
		assert_int_equal(captured->len, length);
		assert_int_equal(captured->caplen, length);
		assert_memory_equal(bytes, frame, length);
	}
	check_long_ones(pcap);
	assert_false(next_frame(pcap, &captured, &bytes));
	pcap_close(pcap);
	unlink(path_of(f));
}

/* A guest in few buffers: frames that wait in the daemon's. */
static void frame_that_waited_is_captured_whole(void **state)
{
	struct fixture *f = *state;
	const struct net_options o = {.buffers = 12,
				      .without = UINT64_C(1)
						 << VIRTIO_NET_F_MRG_RXBUF,
				      .buffer_bytes = 45000};
	struct pcap_pkthdr *captured;
	const uint8_t *bytes;
	struct net_driver *d;
	pcap_t *pcap;

	start_with(f, NULL, NULL);
	d = fixture_open(f, &o);
	toggle(f, "capturing into");
	pass_both_ways(f, d, 0, EITHER, 100);
	pass_long_ones(f, d);
	net_driver_free(d);
	process_stop(&f->process, SIGTERM);
	pcap = open_capture(f);
	check_long_ones(pcap);
	assert_false(next_frame(pcap, &captured, &bytes));
	pcap_close(pcap);
	unlink(path_of(f));
}

/* Sent by the control thread, for a guest that has moved. */
static void announcement_is_captured(void **state)
{
	struct fixture *f = *state;
	static const uint8_t mac[] = {2, 0, 0, 0, 0, 1};
	struct pcap_pkthdr *captured;
	const uint8_t *bytes;
	struct net_driver *d;
	uint64_t value = 0;
	size_t length;
	pcap_t *pcap;

	memcpy(&value, mac, sizeof(mac));
	start_with(f, NULL, NULL);
	d = fixture_open(f, NULL);
	assert_int_equal(frontend_set_u64(d->fe, VHOST_USER_SEND_RARP, value),
			 0);
	assert_true(wire_receive(f, PATIENCE_MS, NULL, got) > 0);
	toggle(f, "capturing into");
	assert_int_equal(frontend_set_u64(d->fe, VHOST_USER_SEND_RARP, value),
			 0);
	length = wire_receive(f, PATIENCE_MS, NULL, got);
	net_driver_free(d);
	process_stop(&f->process, SIGTERM);

	pcap = open_capture(f);
	assert_true(next_frame(pcap, &captured, &bytes));
	assert_int_equal(captured->caplen, length);
	assert_memory_equal(bytes, got, length);
	assert_int_equal(get_be16(bytes + 12), 0x8035);
	assert_false(next_frame(pcap, &captured, &bytes));
	pcap_close(pcap);
	unlink(path_of(f));
}

static void file_stays_below_its_limit_and_traffic_goes_on(void **state)
{
	struct fixture *f = *state;
	struct pcap_pkthdr *captured;
	const uint8_t *bytes;
	struct net_driver *d;
	struct stat status;
	unsigned count = 0;
	pcap_t *pcap;

	start_with(f, "--capture-limit=64K", "--capture-snap=100");
	d = fixture_open(f, NULL);
	toggle(f, "capturing into");
	pass_both_ways(f, d, 0, EITHER, 100);
	for (uint32_t i = 0; i < 500; i++)
		pass_both_ways(f, d, 0, i, 600);
	wait_until_full(f);
	toggle(f, "has ended: the file has reached --capture-limit");
	pass_both_ways(f, d, 0, 0, 600);
	net_driver_free(d);
	process_stop(&f->process, SIGTERM);

	assert_int_equal(stat(path_of(f), &status), 0);
	assert_true(status.st_size <= LIMIT + 128);
	pcap = open_capture(f);
	while (next_frame(pcap, &captured, &bytes)) {
		frame_make(frame, SNAP, count++);
		assert_int_equal(captured->len, 600);
		assert_int_equal(captured->caplen, SNAP);
		assert_memory_equal(bytes, frame, SNAP);
	}
	/* 144 bytes each. */
	assert_true(count > 400 && count <= LIMIT / 144);
	pcap_close(pcap);
	unlink(path_of(f));
}

static void signal_without_a_file_is_answered(void **state)
{
	struct fixture *f = *state;

	toggle(f, "only if --capture has named a file");
	process_assert_alive(&f->process);
}

static void what_is_no_file_is_refused(void **state)
{
	static const char *const cases[][2] = {
		{"--capture=/dev/null", "give an ordinary file"},
		{"--capture=/none/such", "No such file or directory"},
		{"--capture=", "give the name of a file"},
		{"--capture-snap=13", "give a number from 14 to 262144"},
		{"--capture-limit=0", "give a number over 0"},
	};
	struct fixture *f = *state;
	char socket[128];

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const options[] = {socket, "--tap=" FIXTURE_TAP,
					       cases[i][0], NULL};
		pid_t pid = process_spawn(&f->process, options);

		assert_int_equal(process_wait_exit(pid), 1);
		process_wait_log(&f->process, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(what_passes_meanwhile_is_captured),
		FIXTURE_TEST(frame_that_waited_is_captured_whole),
		FIXTURE_TEST(announcement_is_captured),
		FIXTURE_TEST(file_stays_below_its_limit_and_traffic_goes_on),
		DAEMON_TEST(signal_without_a_file_is_answered),
		FIXTURE_TEST(what_is_no_file_is_refused),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
