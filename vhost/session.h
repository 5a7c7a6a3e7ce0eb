/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vhost-user conversation, as an engine that owns no socket: a message
 * goes in, effects on the device happen, perhaps a reply comes out. The socket
 * is vhost/endpoint.h's; a test or a fuzzer needs none.
 *
 * Control thread only.
 */
#ifndef VHOST_SESSION_H
#define VHOST_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost/device.h"
#include "vhost/message.h"

enum session_outcome {
	/* The front-end broke the protocol; session_error says how. Close. */
	SESSION_E_CLOSE = 1,
};

struct session;

/* Borrows @device until session_free. */
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

/* The last protocol error: names the message, the field and the value. */
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
