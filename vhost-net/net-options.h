/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of vhost-net, read into one structure and checked as far as
 * it can be without touching a device.
 */
#ifndef VHOST_NET_NET_OPTIONS_H
#define VHOST_NET_NET_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost-net/net-limits.h"
#include "vhost-net/net-xdp-config.h"
#include "vhost/daemon-options.h"

enum {
	NET_OPTIONS_MAX_PAIRS = 128, /* NETDEV_MAX_PAIRS, NET_TAP_MAX_QUEUES */
	NET_OPTIONS_MAX_THREADS = 64,
};

struct net_capture_options {
	const char *file; /* NULL: none */
	uint32_t snap_bytes;
	uint64_t limit_bytes; /* of the file */
};

/* Strings are those of argv. */
struct net_options {
	struct daemon_options daemon; /* first */
	const char *tap;	      /* NULL: by descriptors, or xdp */
	int tap_fds[NET_OPTIONS_MAX_PAIRS];
	unsigned tap_fd_count;
	bool tap_napi;
	const char *xdp; /* an interface, instead of a TAP; or NULL */
	enum net_xdp_mode xdp_mode;
	bool has_xdp_mode;
	const char *bridge; /* NULL: none */
	uint16_t pairs;
	uint16_t threads;
	bool has_mac;
	uint8_t mac[6];
	uint16_t mtu; /* 0: the device's */
	struct net_rates rates;
	struct net_capture_options capture;
};

/* As options_parse. */
int net_options_parse(int argc, char **argv, struct net_options *ret_options,
		      char ret_error[static OPTIONS_ERROR_BYTES]);

void net_options_print_help(const char *program);

#endif
