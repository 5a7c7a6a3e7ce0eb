/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PATIENCE_MS = 10000,
};

static uint8_t frame[FIXTURE_FRAME_BYTES], got[FIXTURE_FRAME_BYTES];

int tap_open_queue(const char *name, short flags)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | flags};
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

int tap_new(const char *name, short flags)
{
	return tap_open_queue(name, IFF_TUN_EXCL | flags);
}

void tap_bring_up(const char *name)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
	request.ifr_flags |= IFF_UP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

void tap_reaches_the_wire(struct fixture *f)
{
	struct net_driver *d;

	fixture_plug(f);
	d = fixture_open(f, NULL);
	frame_make(frame, 500, 1);
	assert_int_equal(net_send(d, 0, NULL, frame, 500, NULL), 0);
	assert_int_equal(wire_receive(f, PATIENCE_MS, NULL, got), 500);
	net_driver_free(d);
}
