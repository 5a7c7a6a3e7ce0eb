/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-xdp.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "base/bytes.h"
#include "base/fd.h"

enum {
	BUSY_RETRIES = 80,
	BUSY_RETRY_US = 25000,
};

struct opening {
	const struct net_xdp_config *config;
	struct net_xdp *xdp;
	char *error;
	int socket_fd; /* any socket: for what is asked of devices */
};

__attribute__((format(printf, 3, 4))) static int
fail(struct opening *o, int err, const char *format, ...)
{
	char what[NET_XDP_ERROR_BYTES - 32];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	snprintf(o->error, NET_XDP_ERROR_BYTES, "%s: %s", o->xdp->name, what);
	return err;
}

static int lacks_rights(struct opening *o)
{
	return fail(o, -EPERM,
		    "AF_XDP needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF: %s",
		    o->config->words->rights);
}

/* --- the interface ---------------------------------------------------------- */

static int ask(struct opening *o, unsigned long what, struct ifreq *request)
{
	memcpy(request->ifr_name, o->xdp->name, sizeof(request->ifr_name));
	return ioctl(o->socket_fd, what, request) < 0 ? -errno : 0;
}

static int find_interface(struct opening *o)
{
	struct net_xdp *xdp = o->xdp;
	struct ifreq request = {0};
	const size_t length =
		snprintf(xdp->name, sizeof(xdp->name), "%s", o->config->name);

	/* In a sandbox no socket is to be had. Nothing else is tried there, for
	 * which it might end the process. */
	if (o->socket_fd < 0)
		return lacks_rights(o);
	if (length >= sizeof(xdp->name) || ask(o, SIOCGIFINDEX, &request) < 0)
		return fail(o, -ENODEV, "there is no such interface");
	xdp->ifindex = request.ifr_ifindex;
	if (ask(o, SIOCGIFFLAGS, &request) == 0 &&
	    !(request.ifr_flags & IFF_UP))
		return fail(o, -ENETDOWN,
			    "the interface is down: ip link set %s up",
			    xdp->name);
	return 0;
}

static int check_mtu(struct opening *o)
{
	struct ifreq request = {0};
	uint32_t mtu = o->config->mtu;
	int err = ask(o, SIOCGIFMTU, &request);

	if (err < 0)
		return fail(o, err, "has no MTU: %s", strerror(-err));
	if (mtu > (uint32_t)request.ifr_mtu)
		return fail(o, -EINVAL,
			    "its MTU is %d, and %s%u: give no more than that",
			    request.ifr_mtu, o->config->words->mtu, mtu);
	if (mtu == 0)
		mtu = request.ifr_mtu;
	if (mtu > NET_XDP_MAX_MTU)
		return fail(o, -EMSGSIZE,
			    "an MTU of %u is more than AF_XDP's buffers hold: "
			    "ip link set %s mtu %u, or give %s%u",
			    mtu, o->xdp->name, NET_XDP_MAX_MTU,
			    o->config->words->mtu, NET_XDP_MAX_MTU);
	o->xdp->mtu = mtu;
	return 0;
}

/* Of a device that cannot say it has one, as all have. */
static unsigned count_queues(struct opening *o)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq request = {.ifr_data = (void *)&channels};
	unsigned queues;

	if (ask(o, SIOCETHTOOL, &request) < 0)
		return 1;
	queues = channels.combined_count +
		 MIN(channels.rx_count, channels.tx_count);
	return MAX(queues, 1u);
}

static int check_queues(struct opening *o)
{
	const unsigned queues = count_queues(o);

	if (o->config->count <= queues)
		return 0;
	return fail(o, -EINVAL,
		    "its queues are %u, and %s%u: give no more, or ethtool -L "
		    "%s combined %u",
		    queues, o->config->words->queues, o->config->count,
		    o->xdp->name, o->config->count);
}

/* --- the program ------------------------------------------------------------ */

static int load(struct opening *o)
{
	int err = net_xdp_program_load(o->config->count, &o->xdp->program);

	if (err == -EPERM)
		return lacks_rights(o);
	return err < 0 ? fail(o, err, "this kernel takes no XDP program: %s",
			      strerror(-err))
		       : 0;
}

static int try_attach(struct opening *o, bool native)
{
	int err = net_xdp_program_attach(&o->xdp->program, o->xdp->ifindex,
					 native);

	/* A predecessor that was killed ends in a moment. */
	for (unsigned i = 0; i < BUSY_RETRIES && err == -EBUSY; i++) {
		usleep(BUSY_RETRY_US);
		err = net_xdp_program_attach(&o->xdp->program, o->xdp->ifindex,
					     native);
	}
	o->xdp->is_native = err == 0 && native;
	return err;
}

static int why_not_attached(struct opening *o, int err)
{
	if (err == -EBUSY)
		return fail(o, err,
			    "has an XDP program already, of another process or "
			    "by hand: end that (ip link show %s; ip link set "
			    "%s xdp off)",
			    o->xdp->name, o->xdp->name);
	if (o->config->mode == NET_XDP_NATIVE)
		return fail(o, err,
			    "its driver refuses native mode: %s: give %scopy",
			    strerror(-err), o->config->words->mode);
	return fail(o, err, "takes no XDP program: %s", strerror(-err));
}

static int attach(struct opening *o)
{
	const enum net_xdp_mode mode = o->config->mode;
	int err = -EOPNOTSUPP;

	if (mode != NET_XDP_COPY)
		err = try_attach(o, true);
	if (mode == NET_XDP_COPY ||
	    (mode == NET_XDP_AUTO && err < 0 && err != -EBUSY))
		err = try_attach(o, false);
	return err < 0 ? why_not_attached(o, err) : 0;
}

/* A tag that is taken off before we see the frame is lost: the frame would be
 * another VLAN's. Of an interface that is ours by now. */
static int keep_tags(struct opening *o)
{
	struct ethtool_value flags = {.cmd = ETHTOOL_GFLAGS};
	struct ifreq request = {.ifr_data = (void *)&flags};
	int err;

	if (ask(o, SIOCETHTOOL, &request) < 0 ||
	    !(flags.data & ETH_FLAG_RXVLAN))
		return 0;
	flags.cmd = ETHTOOL_SFLAGS;
	flags.data &= ~ETH_FLAG_RXVLAN;
	err = ask(o, SIOCETHTOOL, &request);
	return err < 0 ? fail(o, err,
			      "its driver takes VLAN tags off, and cannot be told "
			      "not to: %s",
			      strerror(-err))
		       : 0;
}

/* --- sockets ---------------------------------------------------------------- */

static int why_not_open(struct opening *o, unsigned queue,
			enum net_xdp_step step, int err)
{
	if (step == NET_XDP_BIND && err == -EBUSY)
		return fail(o, err,
			    "queue %u is taken by an AF_XDP socket of another "
			    "process: end that",
			    queue);
	if (step == NET_XDP_BIND)
		return fail(o, err, "queue %u takes no AF_XDP socket: %s",
			    queue, strerror(-err));
	if (step == NET_XDP_UMEM && err == -ENOBUFS)
		return fail(o, err,
			    "the %u MiB of a queue cannot be locked: raise "
			    "the limit (ulimit -l)",
			    NET_XDP_MEMORY_BYTES >> 20);
	return fail(o, err, "no memory for queue %u: %s", queue,
		    strerror(-err));
}

static int try_open(struct opening *o, unsigned queue,
		    enum net_xdp_step *ret_step)
{
	struct net_xdp *xdp = o->xdp;
	struct net_xdp_socket *socket = &xdp->sockets[queue];
	int err = net_xdp_socket_open(xdp->name, queue,
				      xdp->is_native ? 0 : XDP_COPY, socket,
				      ret_step);

	if (err == 0)
		err = net_xdp_program_direct(&xdp->program, queue, socket->fd);
	if (err < 0)
		net_xdp_socket_close(socket);
	return err;
}

/* Its sockets last until the kernel has ended its requests. */
static int open_socket(struct opening *o, unsigned queue)
{
	enum net_xdp_step step;
	int err = try_open(o, queue, &step);

	for (unsigned i = 0; i < BUSY_RETRIES && err == -EBUSY; i++) {
		usleep(BUSY_RETRY_US);
		err = try_open(o, queue, &step);
	}
	return err < 0 ? why_not_open(o, queue, step, err) : 0;
}

static int open_sockets(struct opening *o)
{
	struct net_xdp *xdp = o->xdp;
	int err = 0;

	xdp->sockets = calloc(o->config->count, sizeof(*xdp->sockets));
	if (!xdp->sockets)
		return fail(o, -ENOMEM, "no memory");
	while (err == 0 && xdp->count < o->config->count) {
		err = open_socket(o, xdp->count);
		xdp->count += err == 0;
	}
	return err;
}

static int open_packet_socket(struct opening *o)
{
	const struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_ifindex = o->xdp->ifindex,
	};
	/* Frames for addresses that are not the interface's; until it is closed. */
	const struct packet_mreq all = {
		.mr_ifindex = o->xdp->ifindex,
		.mr_type = PACKET_MR_PROMISC,
	};
	int *fd = &o->xdp->packet_fd;

	/* Protocol 0: nothing comes. */
	*fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (*fd < 0 ||
	    bind(*fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(*fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all,
		       sizeof(all)) < 0)
		return fail(o, -errno, "has no packet socket: %s",
			    strerror(errno));
	return 0;
}

int net_xdp_open(const struct net_xdp_config *config, struct net_xdp *ret_xdp,
		 char ret_error[static NET_XDP_ERROR_BYTES])
{
	static int (*const steps[])(struct opening *) = {
		find_interface, check_mtu, check_queues, load,
		attach,		keep_tags, open_sockets, open_packet_socket,
	};
	autoclose int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct net_xdp xdp = NET_XDP_NONE;
	struct opening o = {
		.config = config,
		.xdp = &xdp,
		.error = ret_error,
		.socket_fd = socket_fd,
	};
	int err = 0;

	/* What went wrong is said here. */
	libbpf_set_print(NULL);
	libxdp_set_print(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(steps) && err == 0; i++)
		err = steps[i](&o);
	if (err < 0) {
		net_xdp_close(&xdp);
		return err;
	}
	net_xdp_program_close_loaded(&xdp.program);
	*ret_xdp = xdp;
	return 0;
}

void net_xdp_close(struct net_xdp *xdp)
{
	/* Frames are the host's again before nobody takes them. */
	net_xdp_program_close(&xdp->program);
	for (unsigned i = 0; i < xdp->count; i++)
		net_xdp_socket_close(&xdp->sockets[i]);
	free(xdp->sockets);
	fd_close(&xdp->packet_fd);
	*xdp = NET_XDP_NONE;
}

const char *net_xdp_kind(const struct net_xdp *xdp)
{
	if (!xdp->is_native)
		return "AF_XDP in copy mode";
	return net_xdp_socket_is_zero_copy(&xdp->sockets[0])
		       ? "AF_XDP in native mode, without copies"
		       : "AF_XDP in native mode, with copies";
}
