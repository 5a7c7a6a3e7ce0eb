/* SPDX-License-Identifier: Apache-2.0 */
/* How the daemon comes to its TAP: by name. */
#include <fcntl.h>
#include <linux/if_tun.h>
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
#include "tests/net/tap.h"

enum {
	PATIENCE_MS = 10000,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

static void what_is_wrong_at_the_start_is_named(void **state)
{
	struct fixture *f = *state;
	char socket[128], fd[32];
	int tap = tap_new("busy0", IFF_VNET_HDR);
	int plain = tap_new("plain0", 0);

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	fixture_refused(f, (const char *const[]){socket, NULL},
			"--tap is missing");
	fixture_refused(
		f, (const char *const[]){socket, "--tap=x", "--mtu=67", NULL},
		"--mtu=67: give a number from 68 to 65535");
	fixture_refused(
		f,
		(const char *const[]){socket, "--tap=x", "--mac=01:0:0", NULL},
		"--mac=01:0:0: give an address");
	fixture_refused(f,
			(const char *const[]){socket, "--tap=x",
					      "--mac=01:00:00:00:00:01", NULL},
			"group's");
	fixture_refused(f, (const char *const[]){socket, "--tap=busy0", NULL},
			"busy0: another process has it open");
	fixture_refused(f,
			(const char *const[]){socket, "--tap=lo",
					      "--num-queue-pairs=2", NULL},
			"lo: there is such a device, but it is no TAP");
	fixture_refused(f,
			(const char *const[]){
				socket, "--tap=a-name-of-no-device", NULL},
			"more than 15 characters");
	fixture_refused(f, (const char *const[]){socket, "--tap-fd=99", NULL},
			"descriptor 99 is no TAP");
	fixture_refused(
		f,
		(const char *const[]){socket, "--tap=x", "--bridge=none", NULL},
		"x: cannot join the bridge none");
	fixture_refused(f, (const char *const[]){"--tap=x", NULL}, "no socket");
	fixture_refused(f,
			(const char *const[]){socket, "--tap=x",
					      "--capture-snap=64", NULL},
			"--capture-snap captures nothing by itself");
	fixture_refused(f,
			(const char *const[]){socket, "--tap=x",
					      "--capture-limit=1M", NULL},
			"--capture-limit captures nothing by itself");
	fixture_refused(
		f,
		(const char *const[]){socket, "--tap-fd=0", "--tap-napi", NULL},
		"--tap-napi goes with --tap");
	fcntl(plain, F_SETFD, 0);
	snprintf(fd, sizeof(fd), "--tap-fd=%d", plain);
	fixture_refused(f, (const char *const[]){socket, fd, NULL},
			"it was not opened with IFF_TAP, IFF_VNET_HDR");
	close(tap);
	close(plain);
}

/* A TAP of several queues would let anybody join, and share its frames out. */
static void tap_of_another_process_is_not_joined(void **state)
{
	struct fixture *f = *state;
	int tap = tap_new("many0", IFF_VNET_HDR | IFF_MULTI_QUEUE);
	char socket[128];

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	for (int persists = 0; persists < 2; persists++) {
		assert_int_equal(ioctl(tap, TUNSETPERSIST, persists), 0);
		fixture_refused(
			f, (const char *const[]){socket, "--tap=many0", NULL},
			"many0: another process has it open");
		fixture_refused(f,
				(const char *const[]){socket, "--tap=many0",
						      "--num-queue-pairs=2",
						      NULL},
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
	int tap = tap_new(FIXTURE_TAP, IFF_VNET_HDR | IFF_MULTI_QUEUE);
	char socket[128];
	const char *const options[] = {socket, "--tap=" FIXTURE_TAP, NULL};

	assert_int_equal(system("ip link set " FIXTURE_TAP " mtu 9000"), 0);
	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	f->process.pid = process_spawn(&f->process, options);
	wait_until_it_sleeps(f);
	close(tap);
	process_wait_socket(&f->process);
	assert_int_equal(mtu_of(FIXTURE_TAP), 1500);
	tap_reaches_the_wire(f);
}

static void tap_that_lasts_is_used_as_it_is(void **state)
{
	struct fixture *f = *state;
	int tap = tap_new(FIXTURE_TAP, IFF_VNET_HDR | IFF_MULTI_QUEUE);

	assert_int_equal(ioctl(tap, TUNSETPERSIST, 1), 0);
	close(tap);
	assert_int_equal(system("ip link set " FIXTURE_TAP " mtu 2000 up"), 0);
	fixture_start(f, NULL);
	assert_int_equal(mtu_of(FIXTURE_TAP), 2000);
	tap_reaches_the_wire(f);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(what_is_wrong_at_the_start_is_named),
		FIXTURE_TEST(tap_of_another_process_is_not_joined),
		FIXTURE_TEST(tap_of_a_dying_predecessor_is_waited_for),
		FIXTURE_TEST(tap_that_lasts_is_used_as_it_is),
		FIXTURE_TEST(tap_has_napi_if_asked_to),
	};

	namespace_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
