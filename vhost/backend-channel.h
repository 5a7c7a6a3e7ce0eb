/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The back-end's own way to the front-end: the socket of SET_BACKEND_REQ_FD.
 * vhost-user specification, "Back-end communication".
 *
 * Only notices go here that need no answer, so nothing is ever read. A channel
 * that is full already holds an unread notice of the same kind, and one more
 * would say nothing new: sending never waits.
 *
 * Control thread only.
 */
#ifndef VHOST_BACKEND_CHANNEL_H
#define VHOST_BACKEND_CHANNEL_H

#include <stdbool.h>

struct backend_channel {
	int fd; /* -1: the front-end gave none */
};

void backend_channel_init(struct backend_channel *channel);
void backend_channel_deinit(struct backend_channel *channel);

/*
 * Takes @fd, whatever the outcome, in place of an earlier one. -ENOTSOCK for
 * what is not a stream socket.
 */
int backend_channel_set(struct backend_channel *channel, int fd);

bool backend_channel_is_open(const struct backend_channel *channel);

/*
 * Sends BACKEND_CONFIG_CHANGE_MSG. A channel whose other end has gone is
 * closed: a negative errno once, and it is not open any more.
 */
int backend_channel_config_change(struct backend_channel *channel);

#endif
