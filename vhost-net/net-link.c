/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-link.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"

enum {
	/* Of one device, without those behind it. */
	REPLY_BYTES = 32 << 10,
};

struct request {
	struct nlmsghdr header;
	struct ifinfomsg link;
	struct rtattr name;
	char text[IFNAMSIZ];
};

static int ask(int fd, const char *name)
{
	const size_t bytes = strlen(name) + 1;
	struct request request = {
		.header = {.nlmsg_type = RTM_GETLINK,
			   .nlmsg_flags = NLM_F_REQUEST},
		.name = {.rta_len = RTA_LENGTH(bytes), .rta_type = IFLA_IFNAME},
	};

	if (bytes > sizeof(request.text))
		return -ENAMETOOLONG;
	strcpy(request.text, name);
	request.header.nlmsg_len =
		NLMSG_LENGTH(sizeof(request.link)) + RTA_SPACE(bytes);
	return send(fd, &request, request.header.nlmsg_len, 0) < 0 ? -errno : 0;
}

/* Attributes one behind the other. An int, as the macros want it. */
struct attributes {
	const struct rtattr *first;
	int bytes;
};

static const struct rtattr *find(struct attributes in, unsigned type)
{
	const struct rtattr *at = in.first;

	for (; RTA_OK(at, in.bytes); at = RTA_NEXT(at, in.bytes))
		if ((at->rta_type & NLA_TYPE_MASK) == type)
			return at;
	return NULL;
}

static struct attributes enter(struct attributes in, unsigned type)
{
	const struct rtattr *at = find(in, type);

	if (!at)
		return (struct attributes){0};
	return (struct attributes){RTA_DATA(at), RTA_PAYLOAD(at)};
}

static uint32_t number(struct attributes in, unsigned type)
{
	const struct rtattr *at = find(in, type);
	uint32_t value = 0;

	if (at)
		memcpy(&value, RTA_DATA(at),
		       MIN(sizeof(value), (size_t)RTA_PAYLOAD(at)));
	return value;
}

static bool is_tun(struct attributes info)
{
	struct attributes kind = enter(info, IFLA_INFO_KIND);

	return kind.bytes >= (int)sizeof("tun") &&
	       strcmp((const char *)kind.first, "tun") == 0;
}

static void read_link(const struct nlmsghdr *header, struct net_link *link)
{
	const struct attributes all = {IFLA_RTA(NLMSG_DATA(header)),
				       IFLA_PAYLOAD(header)};
	const struct attributes info = enter(all, IFLA_LINKINFO);
	const struct attributes tun = enter(info, IFLA_INFO_DATA);

	link->exists = true;
	link->is_tun = is_tun(info);
	if (!link->is_tun)
		return;
	link->persists = number(tun, IFLA_TUN_PERSIST);
	link->has_queues = number(tun, IFLA_TUN_MULTI_QUEUE);
	link->queues = number(tun, IFLA_TUN_NUM_QUEUES) +
		       number(tun, IFLA_TUN_NUM_DISABLED_QUEUES);
}

static int read_answer(int fd, struct net_link *ret_link)
{
	_Alignas(struct nlmsghdr) char reply[REPLY_BYTES];
	const struct nlmsghdr *header = (const struct nlmsghdr *)reply;
	const struct nlmsgerr *error = NLMSG_DATA(header);
	ssize_t got = recv(fd, reply, sizeof(reply), 0);
	struct net_link link = {0};

	if (got < 0)
		return -errno;
	if (!NLMSG_OK(header, (size_t)got))
		return -EPROTO;
	if (header->nlmsg_type == RTM_NEWLINK &&
	    header->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		read_link(header, &link);
	else if (header->nlmsg_type != NLMSG_ERROR ||
		 header->nlmsg_len < NLMSG_LENGTH(sizeof(*error)))
		return -EPROTO;
	else if (error->error != -ENODEV)
		return error->error;
	*ret_link = link;
	return 0;
}

int net_link_find(const char *name, struct net_link *ret_link)
{
	autoclose int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int err;

	if (fd < 0)
		return -errno;
	err = ask(fd, name);
	return err < 0 ? err : read_answer(fd, ret_link);
}
