/* SPDX-License-Identifier: Apache-2.0 */
/* A port on an interface by AF_XDP: frames between guests and a network. */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/frame.h"
#include "tests/namespace.h"

#include "tests/switch/fixture.h"

enum {
	WIRE = 7, /* who is behind it */
	TSO_PAYLOAD = 20000,
	FLOWS = 40,
	FLOW_BYTE = 10, /* of a source address */
	ROUNDS = 50,
	LONG_ROUNDS = 100,
	LONG_FRAMES = 12, /* of each guest, at once */
	BYTES = 200,
	KERNEL_FRAMES = 2048, /* that the kernel has room for */
	POLLS = 1000,
	POLL_US = 10000,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];
static uint32_t seed;

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

static void lay_wire(unsigned queues)
{
	char add[256];

	system("ip link del rle0 2>/dev/null");
	snprintf(
		add, sizeof(add),
		"ip link add rle0 numtxqueues %u numrxqueues %u type veth peer "
		"name rle1 numtxqueues %u numrxqueues %u && "
		"ip link set rle0 addrgenmode none up && "
		"ip link set rle1 addrgenmode none up",
		queues, queues, queues, queues);
	run(add);
}

#define WIRED(more) "  - {name: w, kind: xdp, interface: rle0" more "}\n"

/* Port p<n> has what @ports has, beside the wire's, whose line @wire is; @head stands
 * before all. */
static void start(struct fixture *f, const char *head, const char *wire,
		  const char *const *ports)
{
	char text[512], option[160], path[128];
	const char *const options[] = {option, NULL};

	fixture_control_path(f, path);
	snprintf(option, sizeof(option), "--control=%s", path);
	snprintf(text, sizeof(text), "%s\nports:\n%s", head, wire);
	for (unsigned i = 0; ports[i]; i++) {
		const size_t at = strlen(text);

		fixture_socket(f, i, path);
		snprintf(text + at, sizeof(text) - at,
			 "  - {name: p%u, kind: vhost-user, socket-path: "
			 "%s%s}\n",
			 i, path, ports[i]);
	}
	f->process.pid = fixture_spawn(f, text, options);
	fixture_wait_control(f);
}

static const char *const one[] = {"", NULL};
static const char *const two[] = {"", "", NULL};

/* One guest and the other end of the wire. */
static int set_out(struct fixture *f, const char *wire)
{
	lay_wire(1);
	start(f, "", wire, one);
	fixture_join(f, 0, NULL);
	return fixture_open_wire("rle1");
}

static void expect_on_wire(int fd, const uint8_t *bytes, size_t length)
{
	assert_int_equal(fixture_receive_wire(fd, got), length);
	assert_memory_equal(got, bytes, length);
}

static void send_wire(int fd, size_t bytes)
{
	assert_int_equal(send(fd, frame, bytes, 0), bytes);
}

/* For what comes before somebody looks. */
static void make_room(int wire)
{
	const int room = 64 << 20;

	assert_int_equal(setsockopt(wire, SOL_SOCKET, SO_RCVBUFFORCE, &room,
				    sizeof(room)),
			 0);
}

static void guest_to_wire(struct fixture *f, int wire, size_t bytes)
{
	fixture_frame(frame, FIXTURE_BROADCAST, 0, bytes, ++seed);
	fixture_send(f, 0, frame, bytes);
	expect_on_wire(wire, frame, bytes);
}

static void wire_to_guest(struct fixture *f, int wire, size_t bytes)
{
	fixture_frame(frame, 0, WIRE, bytes, ++seed);
	send_wire(wire, bytes);
	fixture_expect(f, 0, frame, bytes);
}

/* --- frames -------------------------------------------------------------------- */

static void both_ways(struct fixture *f, int wire)
{
	static const size_t sizes[] = {60, 127, 128, 129, 1000, 1514};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		guest_to_wire(f, wire, sizes[i]);
		wire_to_guest(f, wire, sizes[i]);
	}
}

/* What the guest left to be done is done. */
static void cut(struct fixture *f, int wire)
{
	struct virtio_net_hdr_v1 header;
	size_t bytes = frame_make_tso(frame, TSO_PAYLOAD, &header);

	assert_int_equal(net_send(f->guests[0], 0, &header, frame, bytes, NULL),
			 0);
	for (size_t at = 0; at < TSO_PAYLOAD;) {
		int n = fixture_receive_wire(wire, got);

		assert_true(n > FRAME_TCP_HEADERS && n <= 1514);
		frame_assert_tcp(got, n, at);
		at += n - FRAME_TCP_HEADERS;
	}
	bytes = frame_make_tso(frame, 1000, &header);
	header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
	header.gso_size = header.hdr_len = 0;
	assert_int_equal(net_send(f->guests[0], 0, &header, frame, bytes, NULL),
			 0);
	assert_int_equal(fixture_receive_wire(wire, got), bytes);
	frame_assert_tcp(got, bytes, 0);
}

static void try_mode(struct fixture *f, const char *line, const char *way)
{
	int wire = set_out(f, line);

	both_ways(f, wire);
	cut(f, wire);
	fixture_ctl_says(f, "--json port show", way);
	fixture_ctl_says(f, "--json port show", "\"interface\": \"rle0\"");
	fixture_end_wire(wire);
}

static void frames_pass_in_copy_mode(void **state)
{
	try_mode(*state, WIRED(", xdp-mode: copy"),
		 "\"way\": \"AF_XDP in copy mode\"");
}

static void frames_pass_in_native_mode(void **state)
{
	try_mode(*state, WIRED(", xdp-mode: native"),
		 "\"way\": \"AF_XDP in native mode");
}

/* Nobody else's bytes fill up what is too short for a network. */
static void short_frames_are_filled_up(void **state)
{
	struct fixture *f = *state;
	int wire = set_out(f, WIRED(""));

	for (unsigned i = 0; i < 2 * KERNEL_FRAMES; i++) {
		const size_t bytes = i % 2 ? 1500 : 42;

		fixture_frame(frame, FIXTURE_BROADCAST, 0, bytes, ++seed);
		fixture_send(f, 0, frame, bytes);
		memset(frame + bytes, 0, 60);
		expect_on_wire(wire, frame, MAX(bytes, (size_t)60));
	}
	fixture_end_wire(wire);
}

static void what_is_no_frame_of_the_network_is_counted(void **state)
{
	struct fixture *f = *state;
	int wire = set_out(f, WIRED(", mtu: 1000"));
	struct virtio_net_hdr_v1 header;
	size_t bytes;

	/* Two tags have room. */
	guest_to_wire(f, wire, 1022);
	fixture_frame(frame, FIXTURE_BROADCAST, 0, 1023, ++seed);
	fixture_send(f, 0, frame, 1023);
	bytes = frame_make_tso(frame, TSO_PAYLOAD, &header);
	assert_int_equal(net_send(f->guests[0], 0, &header, frame, bytes, NULL),
			 0);
	assert_int_equal(net_send_wait(f->guests[0], 0), 0);
	assert_int_equal(fixture_counted(f, "w: received dropped: oversize "),
			 2);
	guest_to_wire(f, wire, 100);
	fixture_end_wire(wire);
}

static void ask_device(const char *interface, struct ethtool_value *value)
{
	struct ifreq request = {.ifr_data = (void *)value};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(request.ifr_name, interface);
	assert_int_equal(ioctl(fd, SIOCETHTOOL, &request), 0);
	close(fd);
}

/* Before anybody sees the frame: it would be another VLAN's then. */
static bool takes_tags_off(const char *interface)
{
	struct ethtool_value flags = {.cmd = ETHTOOL_GFLAGS};

	ask_device(interface, &flags);
	return flags.data & ETH_FLAG_RXVLAN;
}

static void tags_are_put_in_and_taken_off(void **state)
{
	struct fixture *f = *state;
	int wire;

	lay_wire(1);
	assert_true(takes_tags_off("rle0"));
	start(f, "", WIRED(", vlan-mode: trunk, vlans: [\"7\"]"),
	      (const char *const[]){", vlan: 7", NULL});
	fixture_join(f, 0, NULL);
	wire = fixture_open_wire("rle1");
	assert_false(takes_tags_off("rle0"));
	fixture_frame(frame, 0, 7, 100, ++seed);
	/* Another VLAN's does not come. */
	fixture_tag(frame, 100, ETH_P_8021Q, 8);
	send_wire(wire, 104);
	fixture_tag(frame, 100, ETH_P_8021Q, 7);
	memmove(frame + 16, frame + 20, 84);
	send_wire(wire, 104);
	memmove(frame + 12, frame + 16, 88);
	fixture_expect(f, 0, frame, 100);
	fixture_end_wire(wire);
}

/* From where the kernel put a frame to where it takes another. */
static void two_networks_are_joined(void **state)
{
	struct fixture *f = *state;
	int first, second;

	lay_wire(1);
	system("ip link del rlf0 2>/dev/null");
	run("ip link add rlf0 type veth peer name rlf1 && "
	    "ip link set rlf0 addrgenmode none up && "
	    "ip link set rlf1 addrgenmode none up");
	start(f, "lcores: 2",
	      WIRED("") "  - {name: v, kind: xdp, interface: rlf0}\n",
	      (const char *const[]){NULL});
	first = fixture_open_wire("rle1");
	second = fixture_open_wire("rlf1");
	for (unsigned i = 0; i < ROUNDS; i++) {
		fixture_frame(frame, 2, 1, 60 + i * 29, ++seed);
		send_wire(first, 60 + i * 29);
		expect_on_wire(second, frame, 60 + i * 29);
		fixture_frame(frame, 1, 2, 60 + i * 29, ++seed);
		send_wire(second, 60 + i * 29);
		expect_on_wire(first, frame, 60 + i * 29);
	}
	fixture_end_wire(first);
	close(second);
	run("ip link del rlf0");
}

/* --- queues and threads ---------------------------------------------------------- */

static unsigned taken[2 * FLOWS];

/* Those of a flow in their order, whole, and none twice. */
static void take_from_wire(int wire)
{
	const size_t bytes = fixture_receive_wire(wire, got);
	const unsigned flow = got[FLOW_BYTE];
	uint8_t wanted[BYTES];

	assert_in_range(flow, 0, 2 * FLOWS - 1);
	fixture_frame(wanted, WIRE, got[11], BYTES, taken[flow]++);
	wanted[FLOW_BYTE] = flow;
	assert_int_equal(bytes, BYTES);
	assert_memory_equal(got, wanted, BYTES);
}

/* Two guests that two threads serve, by the queues of one interface. */
static void send_flows(struct fixture *f)
{
	int wire;

	lay_wire(3);
	start(f, "lcores: 2\nbalance: off", WIRED(", queues: 3"), two);
	fixture_join_all(f, 2);
	wire = fixture_open_wire("rle1");
	memset(taken, 0, sizeof(taken));
	/* The station is known from here on. */
	wire_to_guest(f, wire, 100);
	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned n = 0; n < 2 * FLOWS; n++) {
			const unsigned guest = n % 2;

			fixture_frame(frame, WIRE, guest, BYTES, i);
			frame[FLOW_BYTE] = n;
			assert_int_equal(net_send(f->guests[guest], 0, NULL,
						  frame, BYTES, NULL),
					 0);
		}
		for (unsigned n = 0; n < 2 * FLOWS; n++)
			take_from_wire(wire);
	}
	fixture_end_wire(wire);
}

static void send_long(struct fixture *f, unsigned guest)
{
	struct virtio_net_hdr_v1 header;
	const size_t bytes = frame_make_tso(frame, TSO_PAYLOAD, &header);

	memcpy(frame, (uint8_t[]){2, 0, 0, 0, 0, WIRE}, 6);
	frame[11] = guest;
	assert_int_equal(
		net_send(f->guests[guest], 0, &header, frame, bytes, NULL), 0);
}

/* Until the frames of both guests are whole; the segments of each are in order. */
static void take_long(int wire)
{
	const size_t all = LONG_FRAMES * TSO_PAYLOAD;
	size_t at[2] = {0};

	while (at[0] < all || at[1] < all) {
		const int n = fixture_receive_wire(wire, got);
		const unsigned guest = got[11];

		assert_in_range(guest, 0, 1);
		frame_assert_tcp(got, n, at[guest] % TSO_PAYLOAD);
		at[guest] += n - FRAME_TCP_HEADERS;
		assert_true(at[guest] <= all);
	}
}

/* Each is at it for long enough to be there with the other. */
static void threads_send_by_one_queue(void **state)
{
	struct fixture *f = *state;
	int wire;

	lay_wire(1);
	start(f, "lcores: 2\nbalance: off", WIRED(""), two);
	fixture_join_all(f, 2);
	wire = fixture_open_wire("rle1");
	make_room(wire);
	/* The station is known from here on. */
	wire_to_guest(f, wire, 100);
	for (unsigned i = 0; i < LONG_ROUNDS; i++) {
		for (unsigned n = 0; n < LONG_FRAMES; n++) {
			send_long(f, 0);
			send_long(f, 1);
		}
		take_long(wire);
	}
	fixture_end_wire(wire);
}

/* Frames that went by a queue of the interface's; of the page that was printed. */
static uint64_t sent_by(const struct fixture *f, unsigned pair)
{
	char name[128];
	const char *at;

	snprintf(name, sizeof(name),
		 "vswitch_queue_frames_total{port=\"w\",pair=\"%u\","
		 "direction=\"received\"} ",
		 pair);
	at = strstr(f->said, name);
	assert_non_null(at);
	return strtoull(at + strlen(name), NULL, 10);
}

static void flows_go_by_several_queues(void **state)
{
	struct fixture *f = *state;
	uint64_t sum = 0;

	send_flows(f);
	assert_int_equal(fixture_ctl(f, "metrics"), 0);
	for (unsigned pair = 0; pair < 3; pair++) {
		assert_true(sent_by(f, pair) >= ROUNDS);
		sum += sent_by(f, pair);
	}
	assert_int_equal(sum, 2 * FLOWS * ROUNDS);
}

/* --- sleep, and what the kernel keeps -------------------------------------------- */

static void an_idle_port_sleeps_and_is_woken(void **state)
{
	struct fixture *f = *state;
	int wire = set_out(f, WIRED(""));
	uint64_t before;

	both_ways(f, wire);
	before = process_cpu_ms(&f->process);
	/* No event to wait for: over these seconds it is to do nothing. */
	sleep(2);
	assert_true(process_cpu_ms(&f->process) - before <= 30);
	wire_to_guest(f, wire, 100);
	fixture_end_wire(wire);
}

static void what_finds_no_room_is_the_kernels_to_count(void **state)
{
	struct fixture *f = *state;
	unsigned polls = 0;
	uint64_t dropped;
	int status;
	int wire = set_out(f, WIRED(""));

	wire_to_guest(f, wire, 100);
	assert_int_equal(kill(f->process.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(f->process.pid, &status, WUNTRACED),
			 f->process.pid);
	for (unsigned i = 0; i < KERNEL_FRAMES + 500; i++) {
		fixture_frame(frame, 0, 7, BYTES, i);
		send_wire(wire, BYTES);
	}
	assert_int_equal(kill(f->process.pid, SIGCONT), 0);
	do {
		assert_true(polls++ < POLLS);
		usleep(POLL_US);
		dropped = fixture_counted(f, "w: sent dropped: no-buffer ");
	} while (fixture_counted(f, "w: sent frames ") + dropped <
		 KERNEL_FRAMES + 501);
	/* Some may have been lent as it stopped. */
	assert_in_range(dropped, 500, 564);
	fixture_end_wire(wire);
}

/* Frames that one becomes in a moment, while nothing else is sent. */
static void what_the_kernel_took_comes_out(void **state)
{
	struct fixture *f = *state;
	int wire = set_out(f, WIRED(", xdp-mode: copy"));
	struct virtio_net_hdr_v1 header;
	const size_t bytes = frame_make_tso(frame, 60000, &header);
	struct ethtool_value value;
	uint64_t sent;

	/* The other end takes them in when it comes to it. */
	value.cmd = ETHTOOL_SGRO;
	value.data = 1;
	ask_device("rle1", &value);
	make_room(wire);
	header.gso_size = htole16(40);
	for (unsigned i = 0; i < NET_SEND_SLOTS; i++)
		assert_int_equal(
			net_send(f->guests[0], 0, &header, frame, bytes, NULL),
			0);
	assert_int_equal(net_send_wait(f->guests[0], 0), 0);
	sent = fixture_counted(f, "w: received frames ") -
	       fixture_counted(f, "w: received dropped: device ");
	assert_in_range(sent, KERNEL_FRAMES, NET_SEND_SLOTS * 1500);
	for (uint64_t i = 0; i < sent; i++)
		assert_true(fixture_receive_wire(wire, got) > 0);
	guest_to_wire(f, wire, 100);
	fixture_end_wire(wire);
}

/* A sanitizer wants to be the first library otherwise. */
static void preload(void)
{
	const char *asan = getenv("ASAN_OPTIONS");
	char options[512];

	snprintf(options, sizeof(options), "%s:verify_asan_link_order=0",
		 asan ? asan : "");
	setenv("ASAN_OPTIONS", options, 1);
	setenv("LD_PRELOAD", getenv("BUSY_KERNEL"), 1);
	setenv("BUSY_CALLS", "1000", 1);
}

/* No frame behind it has the kernel asked: that happens by itself. */
static void a_kernel_that_is_busy_is_asked_again(void **state)
{
	struct fixture *f = *state;
	int wire;

	preload();
	wire = set_out(f, WIRED(", xdp-mode: copy"));
	unsetenv("LD_PRELOAD");
	for (unsigned i = 0; i < 20; i++)
		guest_to_wire(f, wire, 100);
	fixture_end_wire(wire);
}

/* --- the interface's ways -------------------------------------------------------- */

/* The guest's port is up in any case. */
static void wait_link(struct fixture *f, bool up)
{
	unsigned polls = 0;

	do {
		assert_true(polls++ < POLLS);
		usleep(POLL_US);
		assert_int_equal(fixture_ctl(f, "--json port show"), 0);
	} while (!strstr(f->said, "\"up\": false") != up);
}

static void frames_for_a_link_that_is_down_are_dropped(void **state)
{
	struct fixture *f = *state;
	int wire = set_out(f, WIRED(""));

	wait_link(f, true);
	run("ip link set rle0 down");
	wait_link(f, false);
	for (unsigned i = 0; i < 3000; i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, 0, 300, i);
		fixture_send(f, 0, frame, 300);
	}
	assert_true(fixture_counted(f, "w: received dropped: device ") > 2900);
	run("ip link set rle0 up");
	wait_link(f, true);
	close(wire);
	wire = fixture_open_wire("rle1");
	fixture_frame(frame, FIXTURE_BROADCAST, 0, 301, ++seed);
	fixture_send(f, 0, frame, 301);
	/* Behind those that were with the kernel as it went down. */
	while (fixture_receive_wire(wire, got) != 301)
		assert_in_range(fixture_seed(got), 0, 99);
	assert_memory_equal(got, frame, 301);
	wire_to_guest(f, wire, 100);
	fixture_end_wire(wire);
}

static void others_go_on_without_an_interface_that_is_gone(void **state)
{
	struct fixture *f = *state;
	uint64_t before;
	int wire;

	lay_wire(1);
	start(f, "", WIRED(""), two);
	fixture_join_all(f, 2);
	wire = fixture_open_wire("rle1");
	guest_to_wire(f, wire, 100);
	fixture_expect(f, 1, frame, 100);
	fixture_end_wire(wire);
	process_wait_log(&f->process, "w: the interface is gone");
	fixture_ctl_says(f, "--json port show", "\"up\": false");
	for (unsigned i = 0; i < 200; i++) {
		fixture_frame(frame, FIXTURE_BROADCAST, 0, 100, ++seed);
		fixture_send(f, 0, frame, 100);
		fixture_expect(f, 1, frame, 100);
	}
	before = process_cpu_ms(&f->process);
	/* No event to wait for: it is to do nothing meanwhile. */
	sleep(1);
	assert_true(process_cpu_ms(&f->process) - before <= 30);
	fixture_ctl_says(f, "port del w", "");
	fixture_expect_nothing(f, 1, 0);
}

/* --- the process's --------------------------------------------------------------- */

/* Whether it takes frames for all addresses: who listens at it wants it. */
static bool is_promiscuous(void)
{
	return system("ip -d link show rle0 | grep -q 'promiscuity 1'") == 0;
}

static bool is_free(void)
{
	return system("ip -d link show rle0 | grep -q 'promiscuity 0' && "
		      "! ip link show rle0 | grep -q xdp") == 0;
}

static void nothing_is_left_of_a_process_that_is_killed(void **state)
{
	struct fixture *f = *state;
	int wire = set_out(f, WIRED(""));
	char path[128];

	assert_true(is_promiscuous());
	guest_to_wire(f, wire, 100);
	fixture_leave(f, 0);
	process_stop(&f->process, SIGKILL);
	/* The old ones would answer until the kernel has done with them. */
	fixture_socket(f, 0, path);
	unlink(path);
	fixture_control_path(f, path);
	unlink(path);
	f->process.pid = fixture_spawn_again(f);
	fixture_wait_control(f);
	fixture_join(f, 0, NULL);
	both_ways(f, wire);
	fixture_leave(f, 0);
	process_stop(&f->process, SIGKILL);
	for (unsigned i = 0; i < POLLS && !is_free(); i++)
		usleep(POLL_US);
	assert_true(is_free());
	fixture_end_wire(wire);
}

static void refused(struct fixture *f, const char *keys, const char *words)
{
	char add[256];

	snprintf(add, sizeof(add), "port add %s", keys);
	assert_int_not_equal(fixture_ctl(f, add), 0);
	if (!strstr(f->said, words))
		fail_msg("not \"%s\" but %s", words, f->said);
}

/* Without rights it is told so, and nothing is tried that would end the process. */
static void a_port_cannot_be_added_without_rights(void **state)
{
	struct fixture *f = *state;

	lay_wire(1);
	fixture_start_controlled(f, "", two);
	fixture_join_all(f, 2);
	/* Without a sandbox it has no capabilities at least. */
	if (!getenv("RINGLINE_NO_SANDBOX"))
		process_wait_status(&f->process, "Seccomp:", 2);
	refused(f, "name=w kind=xdp interface=rle0",
		"w: rle0: AF_XDP needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF: "
		"such a port is opened at the start");
	fixture_introduce(f, 2);
	run("ip link del rle0");
}

/* What a restart would open, a reload does not: all goes on as it was. */
static void a_reload_opens_no_interface(void **state)
{
	static const char edit[] =
		"sed -i 's/interface: rle0/interface: rle0, mtu: 1000/' %s";
	struct fixture *f = *state;
	int wire = set_out(f, WIRED(""));
	char command[256];

	snprintf(command, sizeof(command), edit, f->config);
	run(command);
	assert_int_not_equal(fixture_ctl(f, "reload"), 0);
	assert_non_null(strstr(f->said, ": w: only a restart can change what"));
	both_ways(f, wire);
	fixture_end_wire(wire);
}

static void ports_come_and_go(void **state)
{
	static const char *const unboxed[] = {"--sandbox=off", NULL};
	struct fixture *f = *state;
	unsigned fds = 0;

	lay_wire(1);
	fixture_start_controlled_with(f, "", one, unboxed);
	fixture_join(f, 0, NULL);
	for (unsigned i = 0; i < 20; i++) {
		int wire;

		fixture_ctl_says(f, "port add name=w kind=xdp interface=rle0",
				 "");
		wire = fixture_open_wire("rle1");
		wire_to_guest(f, wire, 100);
		guest_to_wire(f, wire, 100);
		close(wire);
		fixture_ctl_says(f, "port del w", "");
		if (i == 2)
			fds = process_count_fds(&f->process);
	}
	process_assert_fds(&f->process, fds);
	for (unsigned i = 0; i < POLLS && !is_free(); i++)
		usleep(POLL_US);
	assert_true(is_free());
	run("ip link del rle0");
}

static void interfaces_that_do_not_do_are_named(void **state)
{
	static const char *const unboxed[] = {"--sandbox=off", NULL};
	struct fixture *f = *state;

	lay_wire(1);
	fixture_start_controlled_with(f, "", one, unboxed);
	refused(f, "name=w kind=xdp", "interface: an xdp port needs the name");
	refused(f, "name=w kind=xdp interface=none0",
		"w: none0: there is no such interface");
	refused(f, "name=w kind=xdp interface=rle0 queues=2",
		"w: rle0: its queues are 1, and queues: 2");
	refused(f, "name=w kind=xdp interface=rle0 mtu=1501",
		"w: rle0: its MTU is 1500, and mtu: 1501");
	refused(f, "name=w kind=xdp interface=rle0 xdp-mode=fast", "xdp-mode");
	refused(f, "name=w kind=internal interface=rle0",
		"interface: only xdp ports have one");
	refused(f, "name=w kind=internal xdp-mode=copy",
		"xdp-mode: only xdp ports have one");
	run("ip link set lo up");
	refused(f, "name=w kind=xdp interface=lo mtu=1500 xdp-mode=native",
		"lo: its driver refuses native mode");
	fixture_ctl_says(f, "port add name=w kind=xdp interface=rle0", "");
	refused(f, "name=v kind=xdp interface=rle0",
		"interface: the port w has it already");
	fixture_ctl_says(f, "config show", "interface: rle0");
	run("ip link del rle0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWITCH_TEST(frames_pass_in_copy_mode),
		SWITCH_TEST(frames_pass_in_native_mode),
		SWITCH_TEST(short_frames_are_filled_up),
		SWITCH_TEST(what_is_no_frame_of_the_network_is_counted),
		SWITCH_TEST(tags_are_put_in_and_taken_off),
		SWITCH_TEST(two_networks_are_joined),
		SWITCH_TEST(threads_send_by_one_queue),
		SWITCH_TEST(flows_go_by_several_queues),
		SWITCH_TEST(an_idle_port_sleeps_and_is_woken),
		SWITCH_TEST(what_finds_no_room_is_the_kernels_to_count),
		SWITCH_TEST(what_the_kernel_took_comes_out),
		SWITCH_TEST(a_kernel_that_is_busy_is_asked_again),
		SWITCH_TEST(frames_for_a_link_that_is_down_are_dropped),
		SWITCH_TEST(others_go_on_without_an_interface_that_is_gone),
		SWITCH_TEST(nothing_is_left_of_a_process_that_is_killed),
		SWITCH_TEST(a_port_cannot_be_added_without_rights),
		SWITCH_TEST(a_reload_opens_no_interface),
		SWITCH_TEST(ports_come_and_go),
		SWITCH_TEST(interfaces_that_do_not_do_are_named),
	};

	namespace_enter_xdp();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
