/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as a process: its command line, its TAP, its end, its return. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/net/fixture.h"

#define BIT(n) (UINT64_C(1) << (n))

enum {
	PATIENCE_MS = 10000,
	FLOW_FRAMES = 3000,
	KILLS = 3,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

/* A new one: that of a killed daemon lasts for a moment. */
static int open_tap(const char *name, short flags)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI |
					     IFF_TUN_EXCL | flags};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), err;

	assert_true(fd >= 0);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	for (unsigned i = 0; i < 1000; i++) {
		err = ioctl(fd, TUNSETIFF, &request);
		if (err == 0 || errno != EBUSY)
			break;
		usleep(10000);
	}
	assert_int_equal(err, 0);
	return fd;
}

static void bring_up(const char *name)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
	request.ifr_flags |= IFF_UP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

/* The daemon does not start, and says @words. */
static void is_refused(struct fixture *f, const char *const *options,
		       const char *words)
{
	pid_t pid = process_spawn(&f->process, options);

	assert_int_equal(process_wait_exit(pid), 1);
	process_wait_log(&f->process, words);
	assert_int_equal(truncate(f->process.log, 0), 0);
}

static void what_is_wrong_at_the_start_is_named(void **state)
{
	struct fixture *f = *state;
	char socket[128], fd[32];
	int tap = open_tap("busy0", IFF_VNET_HDR);
	int plain = open_tap("plain0", 0);

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	is_refused(f, (const char *const[]){socket, NULL}, "--tap is missing");
	is_refused(f,
		   (const char *const[]){socket, "--tap=x", "--mtu=67", NULL},
		   "--mtu=67: give a number from 68 to 65535");
	is_refused(
		f,
		(const char *const[]){socket, "--tap=x", "--mac=01:0:0", NULL},
		"--mac=01:0:0: give an address");
	is_refused(f,
		   (const char *const[]){socket, "--tap=x",
					 "--mac=01:00:00:00:00:01", NULL},
		   "group's");
	is_refused(f, (const char *const[]){socket, "--tap=busy0", NULL},
		   "busy0: another process has it open");
	is_refused(f,
		   (const char *const[]){socket, "--tap=lo",
					 "--num-queue-pairs=2", NULL},
		   "lo: there is such a device, but it is no TAP");
	is_refused(f,
		   (const char *const[]){socket, "--tap=a-name-of-no-device",
					 NULL},
		   "more than 15 characters");
	is_refused(f, (const char *const[]){socket, "--tap-fd=99", NULL},
		   "descriptor 99 is no TAP");
	is_refused(
		f,
		(const char *const[]){socket, "--tap=x", "--bridge=none", NULL},
		"x: cannot join the bridge none");
	is_refused(f, (const char *const[]){"--tap=x", NULL}, "no socket");
	is_refused(f,
		   (const char *const[]){socket, "--tap=x", "--capture-snap=64",
					 NULL},
		   "--capture-snap captures nothing by itself");
	is_refused(f,
		   (const char *const[]){socket, "--tap=x",
					 "--capture-limit=1M", NULL},
		   "--capture-limit captures nothing by itself");
	is_refused(
		f,
		(const char *const[]){socket, "--tap-fd=0", "--tap-napi", NULL},
		"--tap-napi goes with --tap");
	fcntl(plain, F_SETFD, 0);
	snprintf(fd, sizeof(fd), "--tap-fd=%d", plain);
	is_refused(f, (const char *const[]){socket, fd, NULL},
		   "it was not opened with IFF_TAP, IFF_VNET_HDR");
	close(tap);
	close(plain);
}

/* A TAP of several queues would let anybody join, and share its frames out. */
static void tap_of_another_process_is_not_joined(void **state)
{
	struct fixture *f = *state;
	int tap = open_tap("many0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
	char socket[128];

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	for (int persists = 0; persists < 2; persists++) {
		assert_int_equal(ioctl(tap, TUNSETPERSIST, persists), 0);
		is_refused(f,
			   (const char *const[]){socket, "--tap=many0", NULL},
			   "many0: another process has it open");
		is_refused(f,
			   (const char *const[]){socket, "--tap=many0",
						 "--num-queue-pairs=2", NULL},
			   "many0: another process has it open");
	}
	assert_int_equal(ioctl(tap, TUNSETPERSIST, 0), 0);
	close(tap);
}

static int mtu_of(const char *name)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, SIOCGIFMTU, &request), 0);
	close(fd);
	return request.ifr_mtu;
}

/* As the kernel has it for a while after a daemon was killed. */
static void guest_reaches_the_wire(struct fixture *f)
{
	struct net_driver *d;

	fixture_plug(f);
	d = fixture_open(f, NULL);
	frame_make(frame, 500, 1);
	assert_int_equal(net_send(d, 0, NULL, frame, 500, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), 500);
	net_driver_free(d);
}

/* Which a daemon that starts does only where it finds its TAP taken. */
static void wait_until_it_sleeps(const struct fixture *f)
{
	long call = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)f->process.pid);
	for (unsigned i = 0; i < PATIENCE_MS && call != SYS_clock_nanosleep;
	     i++) {
		FILE *file = fopen(path, "re");

		assert_non_null(file);
		/* "running" is no number. */
		if (fscanf(file, "%ld", &call) != 1)
			call = -1;
		fclose(file);
		process_assert_alive(&f->process);
		usleep(1000);
	}
	assert_int_equal(call, SYS_clock_nanosleep);
}

static void tap_of_a_dying_predecessor_is_waited_for(void **state)
{
	struct fixture *f = *state;
	int tap = open_tap(FIXTURE_TAP, IFF_VNET_HDR | IFF_MULTI_QUEUE);
	char socket[128];
	const char *const options[] = {socket, "--tap=" FIXTURE_TAP, NULL};

	assert_int_equal(system("ip link set " FIXTURE_TAP " mtu 9000"), 0);
	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	f->process.pid = process_spawn(&f->process, options);
	wait_until_it_sleeps(f);
	close(tap);
	process_wait_socket(&f->process);
	assert_int_equal(mtu_of(FIXTURE_TAP), 1500);
	guest_reaches_the_wire(f);
}

static void tap_that_lasts_is_used_as_it_is(void **state)
{
	struct fixture *f = *state;
	int tap = open_tap(FIXTURE_TAP, IFF_VNET_HDR | IFF_MULTI_QUEUE);

	assert_int_equal(ioctl(tap, TUNSETPERSIST, 1), 0);
	close(tap);
	assert_int_equal(system("ip link set " FIXTURE_TAP " mtu 2000 up"), 0);
	fixture_start(f, NULL);
	assert_int_equal(mtu_of(FIXTURE_TAP), 2000);
	guest_reaches_the_wire(f);
	process_stop(&f->process, SIGTERM);
	assert_int_equal(system("ip link del " FIXTURE_TAP), 0);
}

/* The daemon's own descriptor of its TAP, by another name. */
static int borrow_tap(const struct fixture *f)
{
	int process = syscall(SYS_pidfd_open, f->process.pid, 0);

	assert_true(process >= 0);
	for (int fd = 3; fd < 64; fd++) {
		char link[64], target[64] = "";

		snprintf(link, sizeof(link), "/proc/%d/fd/%d",
			 (int)f->process.pid, fd);
		if (readlink(link, target, sizeof(target) - 1) < 0 ||
		    strcmp(target, "/dev/net/tun") != 0)
			continue;
		fd = syscall(SYS_pidfd_getfd, process, fd, 0);
		close(process);
		return fd;
	}
	close(process);
	return -1;
}

static bool tap_has_napi(const struct fixture *f)
{
	struct ifreq request = {0};
	int tap = borrow_tap(f);

	assert_true(tap >= 0);
	assert_int_equal(ioctl(tap, TUNGETIFF, &request), 0);
	close(tap);
	return request.ifr_flags & IFF_NAPI;
}

static bool kernel_has_napi(void)
{
	unsigned features = 0;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_int_equal(ioctl(fd, TUNGETFEATURES, &features), 0);
	close(fd);
	return features & IFF_NAPI;
}

static void tap_has_napi_if_asked_to(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {"--tap-napi", NULL};
	const struct net_options one = {0};
	struct virtio_net_hdr_v1 header;
	struct net_driver *d;
	size_t bytes;

	if (!kernel_has_napi())
		skip();
	fixture_start(f, NULL);
	assert_false(tap_has_napi(f));
	process_stop(&f->process, SIGTERM);
	fixture_start(f, options);
	assert_true(tap_has_napi(f));
	fixture_plug(f);
	d = fixture_open(f, &one);
	for (unsigned i = 0; i < 200; i++) {
		frame_make(frame, 500 + i, i);
		assert_int_equal(net_send(d, 0, NULL, frame, 500 + i, NULL), 0);
		assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got),
				 500 + i);
		assert_memory_equal(got, frame, 500 + i);
		wire_send(f, NULL, frame, 500 + i);
		assert_int_equal(net_receive(d, 0, NULL, got, sizeof(got)),
				 500 + i);
	}
	bytes = frame_make_tso(frame, 60000, &header);
	assert_int_equal(net_send(d, 0, &header, frame, bytes, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), bytes);
	assert_memory_equal(got, frame, bytes);
	net_driver_free(d);
}

static void socket_in_use_is_named(void **state)
{
	struct fixture *f = *state;
	char socket[128];

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	is_refused(f, (const char *const[]){socket, "--tap=other0", NULL},
		   "Address already in use");
}

static void capabilities_are_printed(void **state)
{
	struct fixture *f = *state;
	const char *const options[] = {"--print-capabilities", NULL};

	assert_int_equal(process_wait_exit(process_spawn(&f->process, options)),
			 0);
	process_wait_log(&f->process, "\"type\": \"net\"");
}

static void given_descriptor_is_served(void **state)
{
	struct fixture *f = *state;
	char socket[128], option[32];
	const char *const options[] = {socket, option, NULL};
	int tap = open_tap(FIXTURE_TAP, IFF_VNET_HDR);

	bring_up(FIXTURE_TAP);
	fcntl(tap, F_SETFD, 0);
	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	snprintf(option, sizeof(option), "--tap-fd=%d", tap);
	f->process.pid = process_spawn(&f->process, options);
	guest_reaches_the_wire(f);
	close(tap);
}

static void front_end_that_listens_is_served(void **state)
{
	struct fixture *f = *state;
	char socket[128];
	const char *const options[] = {socket, "--tap=" FIXTURE_TAP,
				       "--connect", NULL};
	const struct net_options none = {0};
	int listener;

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	assert_int_equal(frontend_listen(f->process.socket, &listener), 0);
	f->process.pid = process_spawn(&f->process, options);
	for (unsigned i = 0; i < 2; i++) {
		struct net_driver *d;
		struct frontend *fe;

		assert_int_equal(frontend_accept(listener, PATIENCE_MS, &fe),
				 0);
		assert_int_equal(net_driver_new(fe, &none, &d), 0);
		if (f->wire_fd < 0)
			fixture_plug(f);
		frame_make(frame, 500, i);
		assert_int_equal(net_send(d, 0, NULL, frame, 500, NULL), 0);
		assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), 500);
		net_driver_free(d);
	}
	close(listener);
}

static void tap_that_is_deleted_ends_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);

	assert_int_equal(system("ip link del " FIXTURE_TAP), 0);
	frame_make(frame, 100, 1);
	net_send(d, 0, NULL, frame, 100, NULL);
	assert_int_equal(process_wait_exit(f->process.pid), 1);
	f->process.pid = 0;
	process_wait_log(&f->process, FIXTURE_TAP ": the TAP was deleted");
	net_driver_free(d);
}

static void privileges_are_given_up(void **state)
{
	struct fixture *f = *state;

	/* Not in a build with the address sanitizer. */
	if (!getenv("RINGLINE_NO_SANDBOX")) {
		process_wait_status(&f->process, "NoNewPrivs:", 1);
		process_wait_status(&f->process, "Seccomp:", 2);
	}

	/* CAP_DAC_OVERRIDE at most. */
	assert_int_equal(process_status(&f->process, "CapPrm:") & ~UINT64_C(2),
			 0);
	assert_int_equal(process_status(&f->process, "CapEff:") & ~UINT64_C(2),
			 0);
}

static void idle_daemon_sleeps(void **state)
{
	struct fixture *f = *state;
	struct net_driver *d = fixture_open(f, NULL);
	uint64_t before, spent;

	frame_make(frame, 500, 1);
	assert_int_equal(net_send(d, 0, NULL, frame, 500, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), 500);
	before = process_cpu_ms(&f->process);
	/* No event to wait for: over these seconds it is to do nothing. */
	sleep(2);
	spent = process_cpu_ms(&f->process) - before;
	assert_true(spent <= 20);
	net_driver_free(d);
}

/* How long @frames took that the guest sent, or received. */
static double seconds_for(const struct fixture *f, struct net_driver *d,
			  unsigned frames, size_t bytes, bool sends)
{
	uint64_t began = clock_ns();

	for (unsigned i = 0; i < frames; i++) {
		frame_make(frame, bytes, i);
		if (sends) {
			assert_int_equal(
				net_send(d, 0, NULL, frame, bytes, NULL), 0);
		} else {
			wire_send(f, NULL, frame, bytes);
			assert_int_equal(
				net_receive(d, 0, NULL, got, sizeof(got)),
				bytes);
		}
	}
	if (sends)
		assert_int_equal(net_send_wait(d, 0), 0);
	for (unsigned i = 0; i < frames && sends; i++)
		assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got),
				 bytes);
	return (double)(clock_ns() - began) / NS_PER_SECOND;
}

/* A busy machine takes longer, but never less; nothing is lost. */
static void limits_are_kept_and_lose_nothing(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = {
		"--send-bps=1000000", "--send-fps=4000",
		"--receive-bps=1000000", "--receive-fps=4000", NULL};
	struct net_driver *d;
	uint64_t before;

	fixture_start(f, options);
	fixture_plug(f);
	d = fixture_open(f, NULL);
	before = process_cpu_ms(&f->process);
	for (int sends = 0; sends < 2; sends++) {
		/* 600,000 bytes, less a burst of some 66,000 and of eight. */
		assert_true(seconds_for(f, d, 500, 1200, sends) > 0.5);
		/* 2000 frames, less forty and eight. */
		assert_true(seconds_for(f, d, 2000, 60, sends) > 0.48);
	}
	/* It sleeps meanwhile. */
	assert_true(process_cpu_ms(&f->process) - before < 1500);
	net_driver_free(d);
}

/* What arrived of a flow: no seed twice, and in order. */
struct flow {
	uint32_t last;
	unsigned arrived;
};

static bool take(const struct fixture *f, struct flow *flow, int timeout_ms)
{
	if (wire_receive(f, timeout_ms, NULL, got) <= 0)
		return false;
	assert_true(frame_seed(got) > flow->last);
	flow->last = frame_seed(got);
	flow->arrived++;
	return true;
}

/* What is there. */
static void drain(const struct fixture *f, struct flow *flow)
{
	while (take(f, flow, 1))
		;
}

/* A packet socket knows one device only: that of the new daemon is another. */
static void start_again(struct fixture *f, struct net_driver *d)
{
	struct frontend *fe;

	/* The old one would answer until the kernel has done with it. */
	unlink(f->process.socket);
	fixture_start(f, NULL);
	close(f->wire_fd);
	fixture_plug(f);
	assert_int_equal(frontend_connect(f->process.socket, &fe), 0);
	assert_int_equal(net_driver_reconnect(d, fe), 0);
}

static void kill_in_mid_traffic(struct fixture *f, bool packed)
{
	const struct net_options o = {
		.without = packed ? 0 : BIT(VIRTIO_F_RING_PACKED)};
	struct net_driver *d = fixture_open(f, &o);
	struct flow flow = {0};
	uint32_t seed = 0;

	for (unsigned kill = 0; kill < KILLS; kill++) {
		uint64_t began;

		for (unsigned i = 0; i < FLOW_FRAMES; i++) {
			frame_make(frame, 64 + i % 1000, ++seed);
			assert_int_equal(net_send(d, 0, NULL, frame,
						  64 + i % 1000, NULL),
					 0);
			if (i % 64 == 0)
				drain(f, &flow);
		}
		/* Some of the last are with the daemon as it dies. */
		process_stop(&f->process, SIGKILL);
		drain(f, &flow);
		began = clock_ns();
		start_again(f, d);
		assert_int_equal(net_send_wait(d, 0), 0);
		drain(f, &flow);
		frame_make(frame, 100, ++seed);
		assert_int_equal(net_send(d, 0, NULL, frame, 100, NULL), 0);
		while (flow.last != seed)
			assert_true(take(f, &flow, PATIENCE_MS));
		print_message("# goes on after %u ms\n",
			      (unsigned)((clock_ns() - began) / 1000000));
	}
	/* Lost are at most what was under way, and what the wire had no room
	 * for: the socket is new at each start. */
	assert_true(flow.arrived >= KILLS * (FLOW_FRAMES - 2 * NET_SEND_SLOTS));
	net_driver_free(d);
}

static void killed_daemon_sends_no_frame_twice(void **state)
{
	kill_in_mid_traffic(*state, false);
	kill_in_mid_traffic(*state, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(what_is_wrong_at_the_start_is_named),
		FIXTURE_TEST(tap_of_another_process_is_not_joined),
		FIXTURE_TEST(tap_of_a_dying_predecessor_is_waited_for),
		FIXTURE_TEST(tap_that_lasts_is_used_as_it_is),
		FIXTURE_TEST(tap_has_napi_if_asked_to),
		DAEMON_TEST(socket_in_use_is_named),
		FIXTURE_TEST(capabilities_are_printed),
		FIXTURE_TEST(given_descriptor_is_served),
		FIXTURE_TEST(front_end_that_listens_is_served),
		DAEMON_TEST(tap_that_is_deleted_ends_the_daemon),
		DAEMON_TEST(privileges_are_given_up),
		DAEMON_TEST(idle_daemon_sleeps),
		FIXTURE_TEST(limits_are_kept_and_lose_nothing),
		DAEMON_TEST(killed_daemon_sends_no_frame_twice),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
