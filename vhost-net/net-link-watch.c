/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-link-watch.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/fd.h"

enum {
	/* Several messages about one device each. */
	MESSAGES_BYTES = 32 << 10,
};

struct net_link_watch {
	int fd, ifindex;
	enum net_link_state state;
	struct loop_watch *watch;
	void (*changed)(void *arg);
	void *arg;
};

/* The answer comes among what is told unasked. */
static int ask(const struct net_link_watch *watch)
{
	const struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
	} request = {
		.header = {.nlmsg_len = sizeof(request),
			   .nlmsg_type = RTM_GETLINK,
			   .nlmsg_flags = NLM_F_REQUEST},
		.link.ifi_index = watch->ifindex,
	};

	return send(watch->fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

static enum net_link_state state_of(const struct ifinfomsg *link)
{
	const unsigned needed = IFF_UP | IFF_RUNNING;

	return (link->ifi_flags & needed) == needed ? NET_LINK_UP
						    : NET_LINK_DOWN;
}

/* A bridge speaks of its ports' links, too, as another family. */
static bool is_about(const struct net_link_watch *watch,
		     const struct nlmsghdr *header)
{
	const struct ifinfomsg *link = NLMSG_DATA(header);

	return header->nlmsg_len >= NLMSG_LENGTH(sizeof(*link)) &&
	       link->ifi_family == AF_UNSPEC &&
	       link->ifi_index == watch->ifindex;
}

/* Only our question can fail. */
static bool says_gone(const struct nlmsghdr *header)
{
	const struct nlmsgerr *error = NLMSG_DATA(header);

	return header->nlmsg_len >= NLMSG_LENGTH(sizeof(*error)) &&
	       error->error == -ENODEV;
}

static void take(struct net_link_watch *watch, const struct nlmsghdr *header)
{
	if (header->nlmsg_type == RTM_NEWLINK && is_about(watch, header))
		watch->state = state_of(NLMSG_DATA(header));
	else if (header->nlmsg_type == RTM_DELLINK && is_about(watch, header))
		watch->state = NET_LINK_GONE;
	else if (header->nlmsg_type == NLMSG_ERROR && says_gone(header))
		watch->state = NET_LINK_GONE;
}

/* What one call brings: 0, or a negative errno. */
static int receive(struct net_link_watch *watch, int flags)
{
	_Alignas(struct nlmsghdr) char messages[MESSAGES_BYTES];
	const struct nlmsghdr *at = (const struct nlmsghdr *)messages;
	ssize_t got = recv(watch->fd, messages, sizeof(messages), flags);
	size_t left = got;

	/* Messages were lost: then what is so now. */
	if (got < 0)
		return errno == ENOBUFS ? ask(watch) : -errno;
	for (; NLMSG_OK(at, left) && watch->state != NET_LINK_GONE;
	     at = NLMSG_NEXT(at, left))
		take(watch, at);
	return 0;
}

static void ready(void *arg, int revents)
{
	struct net_link_watch *watch = arg;
	const enum net_link_state before = watch->state;

	while (receive(watch, MSG_DONTWAIT) == 0)
		;
	if (watch->state != before)
		watch->changed(watch->arg);
}

static int open_watch(struct net_link_watch *watch, struct loop *loop)
{
	const struct sockaddr_nl address = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK,
	};
	int err;

	watch->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (watch->fd < 0 || bind(watch->fd, (const struct sockaddr *)&address,
				  sizeof(address)) < 0)
		return -errno;
	err = ask(watch);
	while (err == 0 && watch->state == NET_LINK_UNKNOWN)
		err = receive(watch, 0);
	return err < 0 ? err
		       : loop_watch_new(loop, watch->fd, POLLIN, ready, watch,
					&watch->watch);
}

int net_link_watch_new(struct loop *loop, int ifindex,
		       void (*changed)(void *arg), void *arg,
		       struct net_link_watch **ret_watch)
{
	struct net_link_watch *watch = calloc(1, sizeof(*watch));
	int err;

	if (!watch)
		return -ENOMEM;
	*watch = (struct net_link_watch){
		.fd = -1,
		.ifindex = ifindex,
		.changed = changed,
		.arg = arg,
	};
	err = open_watch(watch, loop);
	if (err < 0) {
		net_link_watch_free(watch);
		return err;
	}
	*ret_watch = watch;
	return 0;
}

void net_link_watch_free(struct net_link_watch *watch)
{
	if (!watch)
		return;
	loop_watch_free(watch->watch);
	fd_close(&watch->fd);
	free(watch);
}

enum net_link_state net_link_watch_state(const struct net_link_watch *watch)
{
	return watch->state;
}
