/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's capture: the file that --capture names, and what SIGUSR2 does.
 * The file is opened while files can be, and written by a thread of its own
 * (base/capture.h).
 *
 * Control thread only. As a part of main.c it logs.
 */
#ifndef VHOST_NET_NET_CAPTURE_H
#define VHOST_NET_NET_CAPTURE_H

#include "base/capture.h"
#include "vhost-net/net-options.h"

struct net_capture {
	const struct net_capture_options *options; /* borrowed */
	const char *name;			   /* of the TAP; borrowed */
	int fd;
	struct capture *capture; /* NULL: there is none, or not yet */
};

/* Makes the file, anew if it is there. 0, also if none is wanted, or a negative
 * errno, with a message. */
int net_capture_open(struct net_capture *capture,
		     const struct net_capture_options *options,
		     const char *name);

/* Once privileges are given up: makes the writer, and @lanes, one for each
 * serving thread and one for the control thread. As net_capture_open. */
int net_capture_start(struct net_capture *capture, unsigned lanes);

/* No thread uses a lane any more. Also of one that was opened half-way. */
void net_capture_close(struct net_capture *capture);

void net_capture_toggle(const struct net_capture *capture);
void net_capture_log(const struct net_capture *capture);

#endif
