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

/* Which descriptors come with a request. What is too much is an error, except
 * with MESSAGE_FDS_NONE: those are closed unheeded, as peers do send some. */
enum message_fds {
	MESSAGE_FDS_NONE,
	MESSAGE_FDS_ONE,
	MESSAGE_FDS_NOFD_BIT,	/* one, or none and VHOST_USER_NOFD */
	MESSAGE_FDS_PER_REGION, /* as many as memory.num_regions */
};

enum message_reply {
	MESSAGE_REPLY_ACK,     /* a u64, 0 or not, if NEED_REPLY asks for it */
	MESSAGE_REPLY_PAYLOAD, /* always, with content of its own */
	/* A u64 if NEED_REPLY asks or LOG_SHMFD was negotiated. */
	MESSAGE_REPLY_LOG,
};

struct session;

/* See vhost/session-handlers.h. */
typedef int (*message_handler)(struct session *session,
			       struct vhost_message *request,
			       struct vhost_message *ret_reply);

/* One row of the table. */
struct message_rule {
	const char *name; /* without VHOST_USER_ */
	uint16_t min_bytes;
	uint16_t max_bytes;
	enum message_fds fds;
	enum message_reply reply;
	/* What must have been offered for it, as a mask; 0: nothing. */
	uint64_t protocol_features;
	message_handler handle; /* NULL: refused by name */
};

static inline bool message_is_none(const struct vhost_message *message)
{
	return message->header.request == 0;
}

/* Closes and forgets the descriptors. */
void message_close_fds(struct vhost_message *message);

/* The row of a front-end's request; NULL for a number that has none. */
const struct message_rule *message_rule(uint32_t request);

/* For people: "SET_FEATURES", or "request 99". Any number; static storage. */
const char *message_name(uint32_t request);

/* Bytes of an error text of this room, its NUL included. */
enum {
	MESSAGE_ERROR_BYTES = 256
};

/*
 * Whether a header that came in announces a payload that may be read: version,
 * flags, known request, size within the row's limits. False with a sentence
 * in @ret_error that names request, field and value.
 */
bool message_check_header(const struct vhost_user_header *header,
			  char ret_error[static MESSAGE_ERROR_BYTES]);

/*
 * Whether a complete message that passed message_check_header has a payload
 * that fits its own counts, and the descriptors that its row asks for.
 * Descriptors that are too much but harmless are closed here.
 */
bool message_check(struct vhost_message *message,
		   char ret_error[static MESSAGE_ERROR_BYTES]);

/* Begins @ret_reply as the reply to @request, with @size bytes of payload,
 * all zero, and no descriptors. */
void message_begin_reply(struct vhost_message *ret_reply, uint32_t request,
			 uint32_t size);

#endif
