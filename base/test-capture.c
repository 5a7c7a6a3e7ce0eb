/* SPDX-License-Identifier: Apache-2.0 */
/* Frames into a file, read back by libpcap; and what happens when they do not
 * fit, into the ring, the file or the disk. */
#include "base/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/cmocka.h"

enum {
	SMALL_RING = 64 << 10,
	SMALL_SNAP = 2048,
	FRAMES = 2000,
	THREADS = 3,
	THREAD_FRAMES = 20000,
	FILE_LIMIT = 100 << 10,
	STATISTICS = 5, /* a type of block */
	PACKET = 6,
};

struct file {
	char path[32];
	int fd;
};

static struct file make_file(void)
{
	struct file file = {.path = "/tmp/capture-XXXXXX"};

	file.fd = mkostemp(file.path, O_CLOEXEC);
	assert_true(file.fd >= 0);
	return file;
}

static void remove_file(struct file *file)
{
	close(file->fd);
	unlink(file->path);
}

static struct capture *start(const struct capture_config *config, int fd)
{
	struct capture_config with_fd = *config;
	struct capture *capture;
	uint32_t interface;

	with_fd.fd = fd;
	with_fd.program = "test";
	with_fd.lanes = MAX(config->lanes, 1u);
	with_fd.max_interfaces = 2;
	assert_int_equal(capture_new(&with_fd, &capture), 0);
	assert_int_equal(capture_add_interface(capture, "left", &interface), 0);
	assert_int_equal(interface, 0);
	assert_int_equal(capture_add_interface(capture, "right", &interface),
			 0);
	assert_int_equal(interface, 1);
	assert_int_equal(capture_add_interface(capture, "none", &interface),
			 -ENOSPC);
	return capture;
}

/* What frame @seed has at @offset. */
static uint8_t byte_of(uint32_t seed, uint32_t offset)
{
	return offset < 4 ? seed >> 8 * offset : seed * 31 + offset;
}

static uint32_t length_of(uint32_t seed)
{
	return 14 + seed * 7 % 1500;
}

/* A frame in three pieces. */
static void put_frame(struct capture_lane *lane, uint32_t seed)
{
	uint8_t bytes[2048];
	const uint32_t length = length_of(seed);
	const uint32_t head = MIN(length, 1 + seed % 128);
	const uint32_t middle = (length - head) / 2;
	const struct iovec rest[] = {
		{bytes + head, middle},
		{bytes + head + middle, length - head - middle},
	};
	const struct capture_frame frame = {
		.interface = seed % 2,
		.direction = seed % 3 ? PCAPNG_INBOUND : PCAPNG_OUTBOUND,
		.bytes = length,
		.head = bytes,
		.head_bytes = head,
		.rest = iov_cursor(rest, ARRAY_SIZE(rest)),
	};

	for (uint32_t i = 0; i < length; i++)
		bytes[i] = byte_of(seed, i);
	capture_frame(lane, &frame);
}

static uint32_t seed_of(const uint8_t *bytes)
{
	return bytes[0] | bytes[1] << 8 | bytes[2] << 16;
}

static void check_frame(const struct pcap_pkthdr *header, const uint8_t *bytes,
			uint32_t snap)
{
	const uint32_t seed = seed_of(bytes);

	assert_int_equal(header->len, length_of(seed));
	assert_int_equal(header->caplen, MIN(header->len, snap));
	for (uint32_t i = 0; i < header->caplen; i++)
		assert_int_equal(bytes[i], byte_of(seed, i));
}

static pcap_t *open_file(const char *path)
{
	char error[PCAP_ERRBUF_SIZE];
	pcap_t *pcap = pcap_open_offline_with_tstamp_precision(
		path, PCAP_TSTAMP_PRECISION_NANO, error);

	if (!pcap)
		fail_msg("%s", error);
	assert_int_equal(pcap_datalink(pcap), DLT_EN10MB);
	return pcap;
}

/* Frames in the file, all of them whole. */
static unsigned count_frames(const char *path, uint32_t snap)
{
	pcap_t *pcap = open_file(path);
	struct pcap_pkthdr *header;
	const uint8_t *bytes;
	unsigned count = 0;
	int outcome;

	while ((outcome = pcap_next_ex(pcap, &header, &bytes)) == 1) {
		check_frame(header, bytes, snap);
		count++;
	}
	assert_int_equal(outcome, PCAP_ERROR_BREAK);
	pcap_close(pcap);
	return count;
}

static void captured_frames_are_read_by_libpcap(void **state)
{
	static const struct capture_config config = {.lanes = 2};
	struct file file = make_file();
	struct capture *capture = start(&config, file.fd);
	time_t before = time(NULL);
	struct pcap_pkthdr *header;
	const uint8_t *bytes;
	uint64_t last_ns = 0;
	pcap_t *pcap;

	capture_switch(capture, true);
	for (uint32_t i = 0; i < FRAMES; i++)
		put_frame(capture_lane(capture, i % 5 % 2), i);
	capture_free(capture);

	pcap = open_file(file.path);
	for (uint32_t i = 0; i < FRAMES; i++) {
		uint64_t ns;

		assert_int_equal(pcap_next_ex(pcap, &header, &bytes), 1);
		check_frame(header, bytes, UINT32_MAX);
		/* In the order of time, whichever lane they came by. */
		assert_int_equal(seed_of(bytes), i);
		ns = header->ts.tv_sec * NS_PER_SECOND + header->ts.tv_usec;
		assert_true(ns >= last_ns);
		assert_true(header->ts.tv_sec >= before &&
			    header->ts.tv_sec <= time(NULL));
		last_ns = ns;
	}
	assert_int_equal(pcap_next_ex(pcap, &header, &bytes), PCAP_ERROR_BREAK);
	pcap_close(pcap);
	remove_file(&file);
}

/* What libpcap does not show: the blocks themselves. */
struct tally {
	unsigned inbound, outbound, statistics;
	uint64_t received, dropped;
};

static struct tally read_blocks(const char *path)
{
	struct tally tally = {0};
	FILE *in = fopen(path, "re");
	uint32_t head[2];

	assert_non_null(in);
	while (fread(head, sizeof(head), 1, in) == 1) {
		uint8_t *body = malloc(head[1]);
		uint32_t flags;

		assert_int_equal(fread(body, head[1] - sizeof(head), 1, in), 1);
		/* Behind the packet: 2, 4, flags, end, and the length. */
		memcpy(&flags, body + head[1] - sizeof(head) - 12, 4);
		tally.inbound += head[0] == PACKET && flags == 1;
		tally.outbound += head[0] == PACKET && flags == 2;
		tally.statistics += head[0] == STATISTICS;
		if (head[0] == STATISTICS) {
			uint64_t numbers[2];

			memcpy(&numbers[0], body + 16, sizeof(uint64_t));
			memcpy(&numbers[1], body + 28, sizeof(uint64_t));
			tally.received += numbers[0];
			tally.dropped += numbers[1];
		}
		free(body);
	}
	fclose(in);
	return tally;
}

static void directions_and_counts_are_in_the_file(void **state)
{
	static const struct capture_config config = {0};
	struct file file = make_file();
	struct capture *capture = start(&config, file.fd);
	struct tally tally;

	capture_switch(capture, true);
	for (uint32_t i = 0; i < 300; i++)
		put_frame(capture_lane(capture, 0), i);
	capture_free(capture);
	tally = read_blocks(file.path);
	assert_int_equal(tally.inbound, 200);
	assert_int_equal(tally.outbound, 100);
	assert_int_equal(tally.statistics, 2);
	assert_int_equal(tally.received, 300);
	assert_int_equal(tally.dropped, 0);
	remove_file(&file);
}

static void nothing_is_wanted_while_it_is_off(void **state)
{
	static const struct capture_config config = {0};
	struct file file = make_file();
	struct capture *capture = start(&config, file.fd);

	for (unsigned i = 0; i < 3; i++) {
		assert_false(capture_lane_is_on(capture_lane(capture, 0)));
		capture_switch(capture, true);
		assert_true(capture_lane_is_on(capture_lane(capture, 0)));
		put_frame(capture_lane(capture, 0), i);
		capture_switch(capture, false);
	}
	assert_false(capture_is_on(capture));
	capture_free(capture);
	assert_int_equal(count_frames(file.path, UINT32_MAX), 3);
	remove_file(&file);
}

static void frames_are_cut_at_the_snap_length(void **state)
{
	static const struct capture_config config = {.snap_bytes = 96};
	struct file file = make_file();
	struct capture *capture = start(&config, file.fd);

	capture_switch(capture, true);
	for (uint32_t i = 0; i < 500; i++)
		put_frame(capture_lane(capture, 0), i);
	capture_free(capture);
	assert_int_equal(count_frames(file.path, 96), 500);
	remove_file(&file);
}

static struct capture_counters counters_of(struct capture *capture)
{
	struct capture_counters counters;

	capture_count(capture, &counters);
	return counters;
}

/* Once it has ended by itself: until each of FRAMES is written or dropped. */
static struct capture_counters wait_for_all(struct capture *capture)
{
	while (capture_is_on(capture))
		usleep(1000);
	/* It cannot be switched on again, but looks what is left. */
	capture_switch(capture, true);
	assert_false(capture_is_on(capture));
	for (;;) {
		struct capture_counters counters = counters_of(capture);

		if (counters.frames + counters.dropped >= FRAMES)
			return counters;
		usleep(1000);
	}
}

/* What it is given: where to read from, and to write to. */
static void *read_pipe(void *arg)
{
	const int *fds = arg;
	uint8_t some[4096];
	ssize_t got;

	while ((got = read(fds[0], some, sizeof(some))) > 0)
		assert_int_equal(write(fds[1], some, got), got);
	return NULL;
}

/* A file that takes no more, until somebody reads it. */
static void who_captures_never_waits(void **state)
{
	static const struct capture_config config = {.snap_bytes = SMALL_SNAP,
						     .lane_bytes = SMALL_RING};
	struct file file = make_file();
	struct capture *capture;
	uint64_t dropped;
	pthread_t reader;
	int ends[2], fds[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	capture = start(&config, ends[1]);
	capture_switch(capture, true);
	/* A pipe holds 64 KiB, the writer a few hundred, the ring 64. */
	for (uint32_t i = 0; i < FRAMES; i++)
		put_frame(capture_lane(capture, 0), i);
	dropped = counters_of(capture).dropped;
	assert_true(dropped > FRAMES / 2);
	fds[0] = ends[0];
	fds[1] = file.fd;
	assert_int_equal(pthread_create(&reader, NULL, read_pipe, fds), 0);
	capture_free(capture);
	close(ends[1]);
	pthread_join(reader, NULL);
	close(ends[0]);
	assert_int_equal(count_frames(file.path, SMALL_SNAP), FRAMES - dropped);
	remove_file(&file);
}

static void *put_many(void *lane)
{
	for (uint32_t i = 0; i < THREAD_FRAMES; i++)
		put_frame(lane, i);
	return NULL;
}

static void each_frame_of_many_threads_is_written_or_counted(void **state)
{
	static const struct capture_config config = {
		.lanes = THREADS,
		.snap_bytes = SMALL_SNAP,
		.lane_bytes = SMALL_RING,
	};
	struct file file = make_file();
	struct capture *capture = start(&config, file.fd);
	pthread_t threads[THREADS];
	uint64_t dropped;

	capture_switch(capture, true);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, put_many,
						capture_lane(capture, i)),
				 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	dropped = counters_of(capture).dropped;
	capture_free(capture);
	assert_int_equal(count_frames(file.path, UINT32_MAX) + dropped,
			 THREADS * THREAD_FRAMES);
	assert_int_equal(read_blocks(file.path).dropped, dropped);
	remove_file(&file);
}

static void full_file_ends_the_capture(void **state)
{
	static const struct capture_config config = {.max_file_bytes =
							     FILE_LIMIT};
	struct file file = make_file();
	struct capture *capture = start(&config, file.fd);
	struct capture_counters counters;
	struct stat status;

	capture_switch(capture, true);
	for (uint32_t i = 0; i < FRAMES; i++)
		put_frame(capture_lane(capture, 0), i);
	counters = wait_for_all(capture);
	assert_true(counters.full);
	assert_int_equal(counters.error, 0);
	capture_free(capture);
	assert_int_equal(count_frames(file.path, UINT32_MAX), counters.frames);
	assert_int_equal(fstat(file.fd, &status), 0);
	/* All but the statistics lie below the limit. */
	assert_true(status.st_size <= FILE_LIMIT + 2 * PCAPNG_MAX_BLOCK_BYTES);
	assert_true(status.st_size > FILE_LIMIT - 2000);
	assert_int_equal(read_blocks(file.path).dropped, counters.dropped);
	remove_file(&file);
}

/* The disk is full in the middle of a block. */
static void file_that_cannot_be_written_is_readable_up_to_there(void **state)
{
	static const struct capture_config config = {0};
	const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
	struct rlimit limit = {SMALL_RING + 1, RLIM_INFINITY};
	struct file file = make_file();
	struct capture *capture = start(&config, file.fd);
	struct capture_counters counters;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	capture_switch(capture, true);
	for (uint32_t i = 0; i < FRAMES; i++)
		put_frame(capture_lane(capture, 0), i);
	counters = wait_for_all(capture);
	assert_int_equal(counters.error, -EFBIG);
	capture_free(capture);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(count_frames(file.path, UINT32_MAX), counters.frames);
	remove_file(&file);
}

static void what_is_out_of_range_is_refused(void **state)
{
	static const struct capture_config wrong[] = {
		{.lanes = 0, .max_interfaces = 1},
		{.lanes = CAPTURE_MAX_LANES + 1, .max_interfaces = 1},
		{.lanes = 1, .max_interfaces = 0},
		{.lanes = 1, .max_interfaces = CAPTURE_MAX_INTERFACES + 1},
		{.lanes = 1,
		 .max_interfaces = 1,
		 .snap_bytes = CAPTURE_MAX_SNAP_BYTES + 1},
		{.lanes = 1, .max_interfaces = 1, .lane_bytes = 3 << 20},
		/* A ring that does not hold two frames. */
		{.lanes = 1, .max_interfaces = 1, .lane_bytes = 256 << 10},
	};
	struct capture *capture;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(capture_new(&wrong[i], &capture), -EINVAL);
	capture_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(captured_frames_are_read_by_libpcap),
		cmocka_unit_test(directions_and_counts_are_in_the_file),
		cmocka_unit_test(nothing_is_wanted_while_it_is_off),
		cmocka_unit_test(frames_are_cut_at_the_snap_length),
		cmocka_unit_test(who_captures_never_waits),
		cmocka_unit_test(
			each_frame_of_many_threads_is_written_or_counted),
		cmocka_unit_test(full_file_ends_the_capture),
		cmocka_unit_test(
			file_that_cannot_be_written_is_readable_up_to_there),
		cmocka_unit_test(what_is_out_of_range_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
