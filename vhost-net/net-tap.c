/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "vhost-net/net-announce.h"
#include "vhost-net/net-header.h"
#include "vhost-net/net-link.h"

/* Linux 6.2: newer than some headers. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum {
	BUSY_RETRIES = 80,
	BUSY_RETRY_US = 25000,
};

const unsigned long net_tap_ioctls[] = {TUNSETOFFLOAD, TUNSETQUEUE};
const unsigned net_tap_ioctl_count = ARRAY_SIZE(net_tap_ioctls);

struct opening {
	const struct net_tap_config *config;
	struct net_tap *tap;
	char *error;
	int socket_fd; /* any socket: for what is asked of devices */
};

__attribute__((format(printf, 3, 4))) static int
fail(struct opening *o, int err, const char *format, ...)
{
	char what[NET_TAP_ERROR_BYTES - 64];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	snprintf(o->error, NET_TAP_ERROR_BYTES, "%s: %s",
		 o->tap->name[0] ? o->tap->name : "the TAP", what);
	return err;
}

static struct ifreq request_for(const struct net_tap *tap)
{
	struct ifreq request = {0};

	memcpy(request.ifr_name, tap->name, sizeof(request.ifr_name));
	return request;
}

static int why_not(struct opening *o, int err)
{
	switch (err) {
	case -EPERM:
		return fail(o, err,
			    "it belongs to somebody else, or making it needs "
			    "CAP_NET_ADMIN: start as root, or make it for this "
			    "user with ip tuntap add … user …");
	case -EBUSY:
		return fail(o, err,
			    "another process has it open: end that, or give "
			    "another name");
	case -EINVAL:
		return fail(o, err,
			    "there is such a device, but it is no TAP, or one "
			    "of a single queue: use --num-queue-pairs=1, or "
			    "make it with multi_queue");
	default:
		return fail(o, err, "cannot be opened: %s", strerror(-err));
	}
}

/* Linux 4.16, with CONFIG_TUN. */
static int check_napi(struct opening *o, int fd)
{
	unsigned features;

	if (!o->config->napi)
		return 0;
	if (ioctl(fd, TUNGETFEATURES, &features) < 0 || !(features & IFF_NAPI))
		return fail(o, -EOPNOTSUPP,
			    "this kernel has no NAPI for TAPs: leave "
			    "--tap-napi out");
	return 0;
}

static int open_queue(struct opening *o, unsigned flags, int *ret_fd)
{
	struct ifreq request = request_for(o->tap);
	int err;
	autoclose int fd =
		open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return fail(o, -errno,
			    "/dev/net/tun: %s: is the module tun "
			    "loaded?",
			    strerror(errno));
	err = check_napi(o, fd);
	if (err < 0)
		return err;
	request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags;
	if (o->config->napi)
		request.ifr_flags |= IFF_NAPI;
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return -errno;
	memcpy(o->tap->name, request.ifr_name, sizeof(o->tap->name));
	*ret_fd = fd_take(&fd);
	return 0;
}

/*
 * A device that somebody made for us lasts without us. One that does not is
 * another process's, and one of several queues could be joined: its frames
 * would be shared out between us. One queue is as it comes, since whoever made
 * the device may have made it either way.
 */
static int choose_flags(const struct net_link *link, unsigned count,
			unsigned *ret_flags)
{
	*ret_flags = count > 1 ? IFF_MULTI_QUEUE : 0;
	if (!link->exists) {
		*ret_flags |= IFF_TUN_EXCL;
		return 0;
	}
	if (!link->is_tun)
		return -EINVAL;
	if (!link->persists || link->queues > 0)
		return -EBUSY;
	if (link->has_queues)
		*ret_flags |= IFF_MULTI_QUEUE;
	return 0;
}

static int try_first(struct opening *o, unsigned *ret_flags)
{
	struct net_link link;
	int err = net_link_find(o->tap->name, &link);

	if (err == 0)
		err = choose_flags(&link, o->config->count, ret_flags);
	if (err == 0)
		err = open_queue(o, *ret_flags, &o->tap->fds[0]);
	*ret_flags &= ~IFF_TUN_EXCL;
	return err;
}

/*
 * The TAP of a daemon that was killed lasts until the kernel has ended its
 * requests, and whoever restarts it does so at once.
 */
static int open_first(struct opening *o, unsigned *ret_flags)
{
	int err = try_first(o, ret_flags);

	for (unsigned i = 0; i < BUSY_RETRIES && err == -EBUSY; i++) {
		usleep(BUSY_RETRY_US);
		err = try_first(o, ret_flags);
	}
	return err;
}

static int open_by_name(struct opening *o)
{
	struct net_tap *tap = o->tap;
	unsigned flags = 0;
	int err;

	if (strlen(o->config->name) >= sizeof(tap->name))
		return fail(o, -ENAMETOOLONG, "%s has more than %zu characters",
			    o->config->name, sizeof(tap->name) - 1);
	strcpy(tap->name, o->config->name);
	err = open_first(o, &flags);
	for (tap->count = err == 0; err == 0 && tap->count < o->config->count;
	     tap->count += err == 0)
		err = open_queue(o, flags, &tap->fds[tap->count]);
	return err < 0 && !o->error[0] ? why_not(o, err) : err;
}

/* Of several each is a queue of the same device. */
static int check_queue(struct opening *o, int fd, const struct ifreq *request)
{
	if (o->config->count == 1)
		return 0;
	if (!(request->ifr_flags & IFF_MULTI_QUEUE))
		return fail(o, -EINVAL,
			    "descriptor %d was opened without IFF_MULTI_QUEUE, "
			    "and is all that its device has: give it alone",
			    fd);
	if (o->tap->name[0] &&
	    strncmp(o->tap->name, request->ifr_name, sizeof(o->tap->name)) != 0)
		return fail(o, -EINVAL,
			    "descriptor %d is a queue of %.*s: give those of "
			    "one device",
			    fd, IFNAMSIZ, request->ifr_name);
	return 0;
}

static int take_fd(struct opening *o, int fd)
{
	struct ifreq request = {0};
	int flags = fcntl(fd, F_GETFL), err;

	if (flags < 0 || ioctl(fd, TUNGETIFF, &request) < 0)
		return fail(o, -EBADF, "descriptor %d is no TAP", fd);
	if (!(request.ifr_flags & IFF_TAP) ||
	    !(request.ifr_flags & IFF_VNET_HDR) ||
	    !(request.ifr_flags & IFF_NO_PI))
		return fail(o, -EINVAL,
			    "descriptor %d: it was not opened with IFF_TAP, "
			    "IFF_VNET_HDR and IFF_NO_PI",
			    fd);
	err = check_queue(o, fd, &request);
	if (err < 0)
		return err;
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return fail(o, -errno, "descriptor %d: %s", fd,
			    strerror(errno));
	memcpy(o->tap->name, request.ifr_name, sizeof(o->tap->name));
	return 0;
}

static int take_fds(struct opening *o)
{
	int err = 0;

	for (unsigned i = 0; i < o->config->count && err == 0; i++)
		err = take_fd(o, o->config->fds[i]);
	for (unsigned i = 0; i < o->config->count && err == 0; i++)
		o->tap->fds[o->tap->count++] = o->config->fds[i];
	return err;
}

static int set_header(struct opening *o)
{
	int bytes = sizeof(struct virtio_net_hdr_v1), little_endian = 1;

	for (unsigned i = 0; i < o->tap->count; i++) {
		if (ioctl(o->tap->fds[i], TUNSETVNETHDRSZ, &bytes) < 0 ||
		    ioctl(o->tap->fds[i], TUNSETVNETLE, &little_endian) < 0)
			return fail(o, -errno,
				    "cannot carry virtio-net headers: %s",
				    strerror(errno));
	}
	return 0;
}

static int set_mtu(struct opening *o)
{
	struct ifreq request = request_for(o->tap);

	if (o->config->mtu) {
		request.ifr_mtu = o->config->mtu;
		if (ioctl(o->socket_fd, SIOCSIFMTU, &request) < 0)
			return fail(o, -errno, "MTU %u cannot be set: %s",
				    o->config->mtu, strerror(errno));
	}
	if (ioctl(o->socket_fd, SIOCGIFMTU, &request) < 0)
		return fail(o, -errno, "has no MTU: %s", strerror(errno));
	o->tap->mtu = request.ifr_mtu;
	return 0;
}

static int join_bridge(struct opening *o)
{
	struct ifreq request = {0};
	const char *bridge = o->config->bridge;

	if (!bridge)
		return 0;
	if (strlen(bridge) >= sizeof(request.ifr_name))
		return fail(o, -ENAMETOOLONG, "no bridge is called %s", bridge);
	strcpy(request.ifr_name, bridge);
	request.ifr_ifindex = if_nametoindex(o->tap->name);
	if (ioctl(o->socket_fd, SIOCBRADDIF, &request) < 0 && errno != EBUSY)
		return fail(o, -errno, "cannot join the bridge %s: %s", bridge,
			    strerror(errno));
	return 0;
}

/*
 * Whoever made the device says when it is up. One that ends with its last
 * descriptor is ours.
 */
static int bring_up(struct opening *o)
{
	struct ifreq request = {0};

	if (ioctl(o->tap->fds[0], TUNGETIFF, &request) < 0)
		return fail(o, -errno, "has no flags: %s", strerror(errno));
	if (!o->config->name || (request.ifr_flags & IFF_PERSIST))
		return 0;
	request = request_for(o->tap);
	if (ioctl(o->socket_fd, SIOCGIFFLAGS, &request) < 0)
		return fail(o, -errno, "has no flags: %s", strerror(errno));
	request.ifr_flags |= IFF_UP;
	if (ioctl(o->socket_fd, SIOCSIFFLAGS, &request) < 0)
		return fail(o, -errno, "cannot be brought up: %s",
			    strerror(errno));
	return 0;
}

/* One queue may be all that the device has; then there is nothing to detach. */
static int find_abilities(struct opening *o)
{
	struct net_tap *tap = o->tap;
	const unsigned uso = TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6;
	int err = 0;

	tap->has_queues = tap->count > 1;
	tap->has_uso = ioctl(tap->fds[0], TUNSETOFFLOAD, uso) == 0;
	if (ioctl(tap->fds[0], TUNSETOFFLOAD, 0) < 0)
		return fail(o, -errno, "has no offloads: %s", strerror(errno));
	for (unsigned i = 0; i < tap->count; i++)
		tap->attached[i] = true;
	for (unsigned i = 1; i < tap->count && err == 0; i++)
		err = net_tap_attach(tap, i, false);
	return err < 0 ? fail(o, err,
			      "has queues that cannot be switched off: "
			      "%s",
			      strerror(-err))
		       : 0;
}

static int set_up(struct opening *o)
{
	static int (*const steps[])(struct opening *) = {
		set_header, set_mtu, join_bridge, bring_up, find_abilities,
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && err == 0; i++)
		err = steps[i](o);
	return err;
}

int net_tap_open(const struct net_tap_config *config, struct net_tap *ret_tap,
		 char ret_error[static NET_TAP_ERROR_BYTES])
{
	autoclose int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct net_tap tap = {0};
	struct opening o = {
		.config = config,
		.tap = &tap,
		.error = ret_error,
		.socket_fd = socket_fd,
	};
	int err;

	ret_error[0] = '\0';
	if (config->count == 0 || config->count > NET_TAP_MAX_QUEUES)
		return fail(&o, -EINVAL, "%u queues are not within 1 to %u",
			    config->count, NET_TAP_MAX_QUEUES);
	err = config->name ? open_by_name(&o) : take_fds(&o);
	if (err == 0)
		err = set_up(&o);
	if (err < 0 && config->name)
		net_tap_close(&tap);
	if (err == 0)
		*ret_tap = tap;
	return err;
}

void net_tap_close(struct net_tap *tap)
{
	for (unsigned i = 0; i < tap->count; i++)
		fd_close(&tap->fds[i]);
	tap->count = 0;
}

/* The kernel gives segments of UDP only to who takes both kinds. */
static bool takes_uso(uint64_t features)
{
	return (features & NET_FEATURE(GUEST_USO4)) &&
	       (features & NET_FEATURE(GUEST_USO6));
}

int net_tap_offload(struct net_tap *tap, uint64_t features)
{
	unsigned flags = 0;

	if (features & NET_FEATURE(GUEST_CSUM)) {
		flags |= TUN_F_CSUM;
		if (features & NET_FEATURE(GUEST_TSO4))
			flags |= TUN_F_TSO4;
		if (features & NET_FEATURE(GUEST_TSO6))
			flags |= TUN_F_TSO6;
		if (flags != TUN_F_CSUM && (features & NET_FEATURE(GUEST_ECN)))
			flags |= TUN_F_TSO_ECN;
		if (tap->has_uso && takes_uso(features))
			flags |= TUN_F_USO4 | TUN_F_USO6;
	}
	return ioctl(tap->fds[0], TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

int net_tap_attach(struct net_tap *tap, unsigned index, bool on)
{
	struct ifreq request = {0};

	if (!tap->has_queues || tap->attached[index] == on)
		return 0;
	request.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
	if (ioctl(tap->fds[index], TUNSETQUEUE, &request) < 0)
		return -errno;
	tap->attached[index] = on;
	return 0;
}

int net_tap_announce(struct net_tap *tap, const uint8_t mac[6],
		     struct capture_lane *lane)
{
	struct virtio_net_hdr_v1 header = {0};
	uint8_t frame[NET_RARP_BYTES];
	const struct iovec iov[] = {
		{&header, sizeof(header)},
		{frame, sizeof(frame)},
	};

	net_announce_make(mac, lane, frame);
	return writev(tap->fds[0], iov, ARRAY_SIZE(iov)) < 0 ? -errno : 0;
}
