/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vhost-user conversation, as an engine that owns no socket: a message
 * goes in, effects on the device happen, perhaps a reply comes out. The socket
 * is vhost/endpoint.h's; a test or a fuzzer needs none.
 *
 * Kick, call and error descriptors are eventfds, pipes or sockets, and made
 * non-blocking here; their other end may be closed (vhost/doorbell.h).
 *
 * Control thread only.
 */
#ifndef VHOST_SESSION_H
#define VHOST_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost/device.h"
#include "vhost/message.h"

enum {
	SESSION_MAX_QUEUES = 256, /* the index in SET_VRING_KICK has 8 bits */
};

/*
 * The protocol features that a session can do; a device offers some of them.
 * One with a state of its own, beyond rings and configuration space, leaves
 * DEVICE_STATE out: the session moves an empty state.
 * Bit 30 of the virtio features is the session's own and always offered.
 */
#define SESSION_PROTOCOL_FEATURES                                    \
	(VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_MQ) |                  \
	 VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_LOG_SHMFD) |           \
	 VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_RARP) |                \
	 VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_NET_MTU) |             \
	 VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) |           \
	 VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |         \
	 VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_CONFIG) |              \
	 VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |      \
	 VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |        \
	 VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) | \
	 VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_STATUS) |              \
	 VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_DEVICE_STATE))

enum session_outcome {
	/* The front-end broke the protocol; session_error says how. Close. */
	SESSION_E_CLOSE = 1,
};

struct session;

/*
 * Borrows @device until session_free. -EINVAL if it has no queue or more than
 * SESSION_MAX_QUEUES, or offers what a session cannot do.
 */
int session_new(struct vhost_device *device, struct session **ret_session);

/* Stops all rings, resets the device, closes and unmaps everything. */
void session_free(struct session *session);

/*
 * Handles one complete message. Takes the descriptors in @message, whatever
 * the outcome. *@ret_reply has size 0 in its header's request field
 * (message_is_none) when none is to be sent; otherwise it is to be sent with
 * its descriptors, which are then the caller's to close. A negative errno is
 * our own failure (the session goes on, REPLY_ACK carries it if asked for);
 * SESSION_E_CLOSE ends the conversation.
 */
int session_handle(struct session *session, struct vhost_message *message,
		   struct vhost_message *ret_reply);

/*
 * What went wrong with the last message, or at the last session_queue_broken:
 * a sentence that names the message or queue, the field and the value. Empty
 * if nothing did. Also set where the session goes on: a ring that could not
 * start, or lost its memory, is not always an error of the message.
 */
const char *session_error(const struct session *session);

/*
 * Tells the front-end that the configuration space changed
 * (BACKEND_CONFIG_CHANGE_MSG), if it gave us a channel. 0 also if it did not.
 */
int session_config_changed(struct session *session);

/*
 * A ring of queue @index broke or its memory was lost (seen by the device on
 * its thread, reported on the control thread): stop it.
 */
void session_queue_broken(struct session *session, unsigned index);

#endif
