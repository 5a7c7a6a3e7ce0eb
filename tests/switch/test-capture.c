/* SPDX-License-Identifier: Apache-2.0 */
/* `vswitch ctl capture`: what passes a port, as libpcap reads it, and readers who
 * go, stop or ask for nonsense. */
#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/switch/fixture.h"

enum {
	BYTES = 200,
	LARGE = 60000,
	PACKET_BLOCK = 6,
	MOST_INSTRUCTIONS = 4096,
	REQUEST_BYTES = 1 << 18,
	IN = 1,
	OUT = 2,
};

static uint8_t frame[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void start(struct fixture *f, unsigned guests)
{
	static const char *const ports[] = {"", "", "", NULL};

	fixture_start_controlled(f, "", ports);
	fixture_join_all(f, guests);
}

static void pass(struct fixture *f, unsigned to, unsigned from)
{
	fixture_frame(frame, to, from, BYTES, ++seed);
	fixture_send(f, from, frame, BYTES);
	fixture_expect(f, to, frame, BYTES);
}

/* --- captures ------------------------------------------------------------------ */

struct sniffer {
	pid_t pid;
	char file[160];
};

static off_t size_of(const char *path)
{
	struct stat status;

	return stat(path, &status) < 0 ? 0 : status.st_size;
}

/* With @arguments, ended by NULL. It has begun. */
static struct sniffer sniff(struct fixture *f, const char *const *arguments)
{
	static unsigned number;
	char control[160], path[128], write[192];
	const char *argv[16] = {getenv("VSWITCH"), "ctl", control, "capture",
				write};
	struct sniffer s;

	fixture_control_path(f, path);
	snprintf(control, sizeof(control), "--control=%s", path);
	snprintf(s.file, sizeof(s.file), "/tmp/ringline-sniff-%d-%u", getpid(),
		 number++);
	snprintf(write, sizeof(write), "--write=%s", s.file);
	for (unsigned i = 0; arguments[i]; i++)
		argv[5 + i] = arguments[i];
	s.pid = fork();
	if (s.pid == 0) {
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (size_of(s.file) == 0) {
		assert_int_equal(waitpid(s.pid, NULL, WNOHANG), 0);
		usleep(1000);
	}
	/* The thread that made the file's head answers after it has begun. */
	fixture_ctl_says(f, "port show", "p0");
	return s;
}

static struct sniffer sniff_port(struct fixture *f, const char *port)
{
	const char *const arguments[] = {port, NULL};

	return sniff(f, arguments);
}

static void stop(struct sniffer *s)
{
	assert_int_equal(kill(s->pid, SIGINT), 0);
	assert_int_equal(process_wait_exit(s->pid), 0);
}

static pcap_t *open_file(const struct sniffer *s)
{
	char error[PCAP_ERRBUF_SIZE];
	pcap_t *pcap = pcap_open_offline(s->file, error);

	if (!pcap)
		fail_msg("%s", error);
	return pcap;
}

/* The next frame is that of @bytes at @wanted; NULL: there is none. */
static void expect(pcap_t *pcap, const uint8_t *wanted, size_t bytes)
{
	struct pcap_pkthdr *header;
	const u_char *got;
	int outcome = pcap_next_ex(pcap, &header, &got);

	if (!wanted) {
		assert_int_equal(outcome, PCAP_ERROR_BREAK);
		return;
	}
	assert_int_equal(outcome, 1);
	assert_int_equal(header->len, bytes);
	assert_memory_equal(got, wanted, header->caplen);
}

static void expect_seed(pcap_t *pcap, unsigned to, unsigned from,
			uint32_t which)
{
	uint8_t wanted[BYTES];

	fixture_frame(wanted, to, from, BYTES, which);
	expect(pcap, wanted, BYTES);
}

static void end_file(pcap_t *pcap, struct sniffer *s)
{
	expect(pcap, NULL, 0);
	pcap_close(pcap);
	unlink(s->file);
}

/* What libpcap does not tell: epb_flags of all packets, from the option of that
 * code. draft-ietf-opsawg-pcapng, "Enhanced Packet Block". */
static unsigned directions(const struct sniffer *s, uint8_t *ret, unsigned max)
{
	static const uint8_t option[] = {2, 0, 4, 0};
	FILE *file = fopen(s->file, "re");
	uint32_t head[7];
	unsigned count = 0;

	assert_non_null(file);
	while (fread(head, 8, 1, file) == 1) {
		uint8_t block[4096];
		const uint8_t *at;

		assert_in_range(head[1], 12, sizeof(block));
		assert_int_equal(fread(block, head[1] - 8, 1, file), 1);
		if (head[0] != PACKET_BLOCK)
			continue;
		memcpy(head, block, 20);
		at = block + 20 + align_up(head[3], 4);
		assert_memory_equal(at, option, sizeof(option));
		assert_true(count < max);
		ret[count++] = at[4] & 3;
	}
	fclose(file);
	return count;
}

/* --- tests --------------------------------------------------------------------- */

static void what_passes_the_port_is_captured(void **state)
{
	struct fixture *f = *state;
	struct sniffer s;
	uint8_t ways[8], dropped[BYTES + 4];
	uint32_t first;
	pcap_t *pcap;

	start(f, 3);
	fixture_introduce(f, 3);
	s = sniff_port(f, "p0");
	first = seed;
	pass(f, 1, 0);
	pass(f, 0, 1);
	pass(f, 2, 1);
	/* It goes nowhere, and is seen nevertheless. */
	fixture_frame(dropped, 1, 0, BYTES, ++seed);
	fixture_tag(dropped, BYTES, 0x8100, 9);
	fixture_send_dropped(f, 0, dropped, BYTES + 4, "tagged");
	stop(&s);
	pass(f, 1, 0);
	pcap = open_file(&s);
	assert_int_equal(pcap_datalink(pcap), DLT_EN10MB);
	expect_seed(pcap, 1, 0, first + 1);
	expect_seed(pcap, 0, 1, first + 2);
	expect(pcap, dropped, BYTES + 4);
	assert_int_equal(directions(&s, ways, ARRAY_SIZE(ways)), 3);
	assert_int_equal(ways[0], IN);
	assert_int_equal(ways[1], OUT);
	assert_int_equal(ways[2], IN);
	end_file(pcap, &s);
}

/* Which a filter can tell by its last words: the text is put together. */
static void filter_and_count_choose(void **state)
{
	static const char *const arguments[] = {
		"--count=2", "--snap=64",	  "p0", "ether",
		"src",	     "02:00:00:00:00:01", NULL};
	struct fixture *f = *state;
	struct pcap_pkthdr *header;
	const u_char *bytes;
	struct sniffer s;
	uint32_t first;
	pcap_t *pcap;

	start(f, 3);
	fixture_introduce(f, 3);
	s = sniff(f, arguments);
	first = seed;
	pass(f, 1, 0);
	pass(f, 0, 2);
	pass(f, 0, 1);
	pass(f, 0, 2);
	pass(f, 0, 1);
	pass(f, 0, 1);
	assert_int_equal(process_wait_exit(s.pid), 0);
	pcap = open_file(&s);
	assert_int_equal(pcap_next_ex(pcap, &header, &bytes), 1);
	assert_int_equal(header->len, BYTES);
	assert_int_equal(header->caplen, 64);
	fixture_frame(frame, 0, 1, BYTES, first + 3);
	assert_memory_equal(bytes, frame, 64);
	fixture_frame(frame, 0, 1, BYTES, first + 5);
	expect(pcap, frame, BYTES);
	end_file(pcap, &s);
}

static void two_captures_and_a_mirror_do_not_meet(void **state)
{
	static const char *const ports[] = {"", "", "mirror: {ports: [p0]}",
					    NULL};
	struct fixture *f = *state;
	struct sniffer all[3];
	pcap_t *pcap;

	fixture_start_controlled(f, "", ports);
	fixture_join_all(f, 3);
	all[0] = sniff_port(f, "p0");
	all[1] = sniff_port(f, "p1");
	all[2] = sniff_port(f, "p2");
	fixture_frame(frame, FIXTURE_BROADCAST, 0, BYTES, ++seed);
	fixture_send(f, 0, frame, BYTES);
	fixture_expect(f, 1, frame, BYTES);
	fixture_expect(f, 2, frame, BYTES);
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		uint8_t way;

		stop(&all[i]);
		pcap = open_file(&all[i]);
		expect_seed(pcap, FIXTURE_BROADCAST, 0, seed);
		assert_int_equal(directions(&all[i], &way, 1), 1);
		assert_int_equal(way, i == 0 ? IN : OUT);
		end_file(pcap, &all[i]);
	}
}

static void reader_that_dies_is_forgotten(void **state)
{
	struct fixture *f = *state;
	unsigned fds;

	start(f, 2);
	pass(f, 1, 0);
	pass(f, 0, 1);
	fds = process_count_fds(&f->process);
	for (unsigned i = 0; i < 6; i++) {
		struct sniffer s = sniff_port(f, i & 1 ? "p0" : "p1");

		pass(f, 1, 0);
		assert_int_equal(kill(s.pid, SIGKILL), 0);
		assert_int_equal(process_wait_exit(s.pid), 128 + SIGKILL);
		unlink(s.file);
	}
	process_assert_fds(&f->process, fds);
	pass(f, 0, 1);
}

/* All that it can hold, and more, passes by. */
static void reader_that_stops_holds_nobody_up(void **state)
{
	struct fixture *f = *state;
	struct pcap_pkthdr *header;
	const u_char *bytes;
	struct sniffer s;
	unsigned frames = 0;
	pcap_t *pcap;

	start(f, 2);
	pass(f, 1, 0);
	pass(f, 0, 1);
	s = sniff_port(f, "p0");
	assert_int_equal(kill(s.pid, SIGSTOP), 0);
	for (unsigned i = 0; i < 200; i++) {
		fixture_frame(frame, 1, 0, LARGE, ++seed);
		fixture_send(f, 0, frame, LARGE);
		fixture_expect(f, 1, frame, LARGE);
	}
	assert_int_equal(kill(s.pid, SIGCONT), 0);
	stop(&s);
	pcap = open_file(&s);
	while (pcap_next_ex(pcap, &header, &bytes) == 1) {
		assert_int_equal(header->len, LARGE);
		frames++;
	}
	assert_in_range(frames, 1, 199);
	pcap_close(pcap);
	unlink(s.file);
}

static void port_that_goes_ends_it(void **state)
{
	struct fixture *f = *state;
	struct sniffer s;
	pcap_t *pcap;

	start(f, 3);
	fixture_introduce(f, 3);
	s = sniff_port(f, "p2");
	pass(f, 2, 0);
	fixture_ctl_says(f, "port del p2", "");
	assert_int_equal(process_wait_exit(s.pid), 0);
	pcap = open_file(&s);
	expect_seed(pcap, 2, 0, seed);
	end_file(pcap, &s);
	pass(f, 1, 0);
}

static void refused(struct fixture *f, const char *arguments, int status,
		    const char *words)
{
	int got = fixture_ctl(f, arguments);

	if (got != status || !strstr(f->said, words))
		fail_msg("%s: status %d: %s", arguments, got, f->said);
}

/* What the client would not send. */
static void ask(struct fixture *f, const char *request, const char *words)
{
	fixture_ask(f, request);
	if (!strstr(f->said, words))
		fail_msg("%s: %s", request, f->said);
}

#define REQUEST(params)                                         \
	"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"capture\"," \
	"\"params\":{\"port\":\"p0\"," params "}}\n"

/* A program of so many instructions, all of which end it. */
static void ask_of(struct fixture *f, unsigned instructions, const char *words)
{
	static char request[REQUEST_BYTES];
	FILE *to = fmemopen(request, sizeof(request), "w");

	assert_non_null(to);
	fputs("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"capture\","
	      "\"params\":{\"port\":\"p0\",\"filter\":[[6,0,0,1]",
	      to);
	for (unsigned i = 1; i < instructions; i++)
		fputs(",[6,0,0,1]", to);
	fputs("]}}\n", to);
	assert_int_equal(fclose(to), 0);
	ask(f, request, words);
}

static void nonsense_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	struct sniffer all[8];

	start(f, 2);
	refused(f, "capture --write=/dev/null nobody", 1,
		"nobody: no port has this name");
	refused(f, "capture --write=/dev/null p0 tcp port x", 1,
		"tcp port x: ");
	refused(f, "capture --write=/nowhere/x p0", 1,
		"/nowhere/x: No such file");
	refused(f, "capture --count=0 p0", 2, "Usage:");
	refused(f, "capture", 2, "Usage:");
	refused(f, "capture --write=/dev/null --snap=300000 p0", 1,
		"snap: give 262144 bytes at most");
	ask(f, REQUEST("\"filter\":[[1,2,3]]"), "instructions of");
	ask(f, REQUEST("\"filter\":[[6,0,0,-1]]"), "instructions of");
	ask(f, REQUEST("\"filter\":[[6,0,0,1,0]]"), "instructions of");
	ask(f, REQUEST("\"filter\":[[65542,0,0,1]]"), "instructions of");
	ask(f, REQUEST("\"filter\":[[6,256,0,1]]"), "instructions of");
	ask(f, REQUEST("\"filter\":[[6,0,256,1]]"), "instructions of");
	ask(f, REQUEST("\"filter\":[[6,0,0,4294967296]]"), "instructions of");
	ask(f, REQUEST("\"filter\":[[6,0,0,\"x\"]]"), "instructions of");
	ask(f, REQUEST("\"filter\":[[6,0,0,1.5]]"), "instructions of");
	ask(f, REQUEST("\"snap\":262145"), "snap: give");
	ask(f, REQUEST("\"snap\":262144"), "pcapng");
	ask_of(f, MOST_INSTRUCTIONS, "pcapng");
	ask_of(f, MOST_INSTRUCTIONS + 1, "filter: give at most 4096");
	ask_of(f, 3 * MOST_INSTRUCTIONS, "filter: give at most 4096");
	/* No end; a jump out of it; memory that there is not. */
	ask(f, REQUEST("\"filter\":[[0,0,0,1]]"), "no program of BPF");
	ask(f, REQUEST("\"filter\":[[5,0,0,4000000000],[6,0,0,1]]"),
	    "no program of BPF");
	ask(f, REQUEST("\"filter\":[[2,0,0,16],[6,0,0,1]]"),
	    "no program of BPF");
	ask(f, REQUEST("\"snap\":-1"), "snap: give");
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		all[i] = sniff_port(f, "p0");
	refused(f, "capture --write=/dev/null p0", 1,
		"there are 8 captures already");
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		stop(&all[i]);
		unlink(all[i].file);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(what_passes_the_port_is_captured),
		SWITCH_TEST(filter_and_count_choose),
		SWITCH_TEST(two_captures_and_a_mirror_do_not_meet),
		SWITCH_TEST(reader_that_dies_is_forgotten),
		SWITCH_TEST(reader_that_stops_holds_nobody_up),
		SWITCH_TEST(port_that_goes_ends_it),
		SWITCH_TEST(nonsense_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
