/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user messages as they go over the socket: a header, a payload, file
 * descriptors. The table of all messages, with what each may carry, is in
 * vhost/message.c; vhost/protocol.h has the numbers and wire structures.
 */
#ifndef VHOST_MESSAGE_H
#define VHOST_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost/protocol.h"

/* A message and the descriptors that came or go with it. */
struct vhost_message {
	struct vhost_user_header header;
	union vhost_user_payload payload;
	int fds[VHOST_USER_MAX_FDS];
	unsigned fd_count;
};

static inline bool message_is_none(const struct vhost_message *message)
{
	return message->header.request == 0;
}

/* Closes and forgets the descriptors. */
void message_close_fds(struct vhost_message *message);

#endif
