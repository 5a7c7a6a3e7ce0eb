/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session from beginning to end, and what is the same for every message:
 * checks by the table, the call of the handler, the reply.
 */
#include "vhost/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "vhost/session-state.h"

static bool device_is_sound(const struct vhost_device *device)
{
	const uint64_t rarp = VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_RARP);
	const uint64_t mtu = VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_NET_MTU);

	return device->num_queues > 0 &&
	       device->num_queues <= SESSION_MAX_QUEUES &&
	       !(device->protocol_features & ~SESSION_PROTOCOL_FEATURES) &&
	       device->num_queues % MAX(device->queues_per_unit, 1) == 0 &&
	       (device->inflight_area_bytes == 0 ||
		device->ops->inflight_area) &&
	       (!(device->protocol_features & rarp) ||
		device->ops->send_rarp) &&
	       (!(device->protocol_features & mtu) || device->ops->set_mtu);
}

int session_new(struct vhost_device *device, struct session **ret_session)
{
	struct session *session;
	int err;

	if (!device_is_sound(device))
		return -EINVAL;
	session =
		calloc(1, sizeof(*session) + device->num_queues *
						     sizeof(session->rings[0]));
	if (!session)
		return -ENOMEM;
	session->device = device;
	session->state_fd = -1;
	backend_channel_init(&session->channel);
	err = session_init_rings(session);
	if (err < 0) {
		session_deinit_rings(session);
		free(session);
		return err;
	}
	*ret_session = session;
	return 0;
}

void session_free(struct session *session)
{
	if (!session)
		return;
	session_deinit_rings(session);
	session->device->ops->reset(session->device);
	session_drop_inflight(session);
	if (session->log)
		dirty_log_unref(session->log);
	if (session->memory)
		guest_memory_unref(session->memory);
	fd_close(&session->state_fd);
	backend_channel_deinit(&session->channel);
	free(session);
}

const char *session_error(const struct session *session)
{
	return session->error;
}

int session_refuse(struct session *session, const char *format, ...)
{
	char why[MESSAGE_ERROR_BYTES - 32];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	snprintf(session->error, sizeof(session->error), "%s: %s",
		 message_name(session->request), why);
	return SESSION_E_CLOSE;
}

static int run_handler(struct session *session, struct vhost_message *request,
		       struct vhost_message *ret_reply)
{
	const struct message_rule *rule = message_rule(request->header.request);
	uint64_t missing;

	if (!rule->handle)
		return session_refuse(session, "is not supported");
	missing = rule->protocol_features & ~session->device->protocol_features;
	if (missing)
		return session_refuse(session,
				      "needs protocol features 0x%llx, which "
				      "were not offered",
				      (unsigned long long)missing);
	return rule->handle(session, request, ret_reply);
}

static bool wants_ack(const struct session *session,
		      const struct vhost_user_header *header)
{
	switch (message_rule(header->request)->reply) {
	case MESSAGE_REPLY_PAYLOAD:
		return false; /* answered by the handler */
	case MESSAGE_REPLY_LOG:
		if (session_has(session, VHOST_USER_PROTOCOL_F_LOG_SHMFD))
			return true;
		break;
	case MESSAGE_REPLY_ACK:
		break;
	}
	return header->flags & VHOST_USER_NEED_REPLY &&
	       session_has(session, VHOST_USER_PROTOCOL_F_REPLY_ACK);
}

static int handle(struct session *session, struct vhost_message *request,
		  struct vhost_message *ret_reply)
{
	int err;

	if (!message_check_header(&request->header, session->error) ||
	    !message_check(request, session->error))
		return SESSION_E_CLOSE;
	session->request = request->header.request;
	err = run_handler(session, request, ret_reply);
	if (err < 0 && !session->error[0])
		session_refuse(session, "%s", strerror(-err));
	if (err == SESSION_E_CLOSE || !wants_ack(session, &request->header))
		return err;
	message_begin_reply(ret_reply, request->header.request,
			    sizeof(ret_reply->payload.u64));
	ret_reply->payload.u64 = -err;
	return err;
}

int session_handle(struct session *session, struct vhost_message *message,
		   struct vhost_message *ret_reply)
{
	int err;

	ret_reply->header.request = VHOST_USER_NONE;
	ret_reply->fd_count = 0;
	session->error[0] = '\0';
	err = handle(session, message, ret_reply);
	message_close_fds(message);
	if (err == SESSION_E_CLOSE) {
		message_close_fds(ret_reply);
		ret_reply->header.request = VHOST_USER_NONE;
	}
	return err;
}

int session_config_changed(struct session *session)
{
	session->config_changed = true;
	return session_tell_config_change(session);
}
