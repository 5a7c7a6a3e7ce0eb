/* SPDX-License-Identifier: Apache-2.0 */
/* Negotiation. QEMU goes through all of it once for each queue pair. */
#include "base/bytes.h"
#include "vhost/session-handlers.h"
#include "vhost/session-state.h"

static int reply_u64(const struct vhost_message *request,
		     struct vhost_message *ret_reply, uint64_t value)
{
	message_begin_reply(ret_reply, request->header.request, sizeof(value));
	ret_reply->payload.u64 = value;
	return 0;
}

/* Every session can do bit 30; it is none of the device's business. */
static uint64_t offered(const struct session *session)
{
	return session->device->features |
	       VHOST_USER_BIT(VHOST_USER_F_PROTOCOL_FEATURES);
}

int session_get_features(struct session *session, struct vhost_message *request,
			 struct vhost_message *ret_reply)
{
	return reply_u64(request, ret_reply, offered(session));
}

void session_tell_features(struct session *session)
{
	const uint64_t ours = VHOST_USER_BIT(VHOST_USER_F_PROTOCOL_FEATURES);

	session->device->ops->set_features(session->device,
					   session->features & ~ours);
}

int session_set_features(struct session *session, struct vhost_message *request,
			 struct vhost_message *ret_reply)
{
	const uint64_t bit30 = VHOST_USER_BIT(VHOST_USER_F_PROTOCOL_FEATURES);
	uint64_t features = request->payload.u64;

	if (features & ~offered(session))
		return session_refuse(
			session, "bits 0x%llx of 0x%llx were not offered",
			(unsigned long long)(features & ~offered(session)),
			(unsigned long long)features);
	if (!session->has_features || features != session->features) {
		/* LOG_ALL comes in mid-run: rings go on where they were. */
		session_stop_rings(session);
		session->features = features;
		session->has_features = true;
		session_tell_features(session);
		session_start_rings(session);
	}
	if (!(features & bit30))
		for (unsigned i = 0; i < session->device->num_queues; i++)
			session_enable_ring(session, i, true);
	return 0;
}

int session_get_protocol_features(struct session *session,
				  struct vhost_message *request,
				  struct vhost_message *ret_reply)
{
	return reply_u64(request, ret_reply,
			 session->device->protocol_features);
}

int session_set_protocol_features(struct session *session,
				  struct vhost_message *request,
				  struct vhost_message *ret_reply)
{
	uint64_t features = request->payload.u64;
	uint64_t wrong = features & ~session->device->protocol_features;

	if (wrong)
		return session_refuse(session,
				      "bits 0x%llx of 0x%llx were not offered",
				      (unsigned long long)wrong,
				      (unsigned long long)features);
	session->protocol_features = features;
	session_tell_config_change(session);
	return 0;
}

int session_get_queue_num(struct session *session,
			  struct vhost_message *request,
			  struct vhost_message *ret_reply)
{
	const struct vhost_device *device = session->device;

	return reply_u64(request, ret_reply,
			 device->num_queues / MAX(device->queues_per_unit, 1));
}
