/* SPDX-License-Identifier: Apache-2.0 */
/* The messages about the device as a whole: reset, status, configuration. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "vhost/session-handlers.h"
#include "vhost/session-state.h"

int session_set_owner(struct session *session, struct vhost_message *request,
		      struct vhost_message *ret_reply)
{
	return 0;
}

/*
 * Deprecated. The specification lets us ignore it or disable all rings; a
 * front-end without SET_VRING_ENABLE could never enable them again.
 */
int session_reset_owner(struct session *session, struct vhost_message *request,
			struct vhost_message *ret_reply)
{
	if (session->features & VHOST_USER_BIT(VHOST_USER_F_PROTOCOL_FEATURES))
		for (unsigned i = 0; i < session->device->num_queues; i++)
			session_enable_ring(session, i, false);
	return 0;
}

/*
 * The device is new; the conversation is not. Memory, negotiation and the
 * call and err fds stay, as QEMU sends an err fd only once. The device, which
 * forgets them, is told the features anew: the same SET_FEATURES once more
 * changes nothing that the session would pass on.
 */
int session_reset_device(struct session *session, struct vhost_message *request,
			 struct vhost_message *ret_reply)
{
	session_reset_rings(session);
	session_forget_inflight(session);
	session->status = 0;
	session->device->ops->reset(session->device);
	if (session->has_features)
		session_tell_features(session);
	return 0;
}

int session_get_status(struct session *session, struct vhost_message *request,
		       struct vhost_message *ret_reply)
{
	message_begin_reply(ret_reply, request->header.request,
			    sizeof(ret_reply->payload.u64));
	ret_reply->payload.u64 = session->status;
	return 0;
}

int session_set_status(struct session *session, struct vhost_message *request,
		       struct vhost_message *ret_reply)
{
	uint64_t status = request->payload.u64;

	if (status > UINT8_MAX)
		return session_refuse(session, "0x%llx has more than 8 bits",
				      (unsigned long long)status);
	/* The driver reset the device (virtio 1.2, 2.4): no ring may run. */
	if (status == 0)
		for (unsigned i = 0; i < session->device->num_queues; i++)
			session_disarm_ring(session, i);
	session->status = status;
	if (session->device->ops->set_status)
		session->device->ops->set_status(session->device, status);
	return 0;
}

/*
 * Front-ends of another age know a longer or shorter configuration space: what
 * lies past ours reads as zeroes, and feature bits say what counts. An answer
 * without payload says that there is nothing to read.
 */
int session_get_config(struct session *session, struct vhost_message *request,
		       struct vhost_message *ret_reply)
{
	const struct vhost_user_config *asked = &request->payload.config;
	struct vhost_device *device = session->device;
	uint32_t size, ours;

	message_begin_reply(ret_reply, request->header.request, 0);
	if (asked->offset >= device->config_size)
		return 0;
	ours = MIN(asked->size, device->config_size - asked->offset);
	size = VHOST_USER_CONFIG_HEADER_BYTES + asked->size;
	message_begin_reply(ret_reply, request->header.request, size);
	ret_reply->payload.config.offset = asked->offset;
	ret_reply->payload.config.size = asked->size;
	ret_reply->payload.config.flags = asked->flags;
	if (device->ops->get_config(device, asked->offset,
				    ret_reply->payload.config.data, ours) < 0)
		message_begin_reply(ret_reply, request->header.request, 0);
	return 0;
}

int session_set_config(struct session *session, struct vhost_message *request,
		       struct vhost_message *ret_reply)
{
	const struct vhost_user_config *config = &request->payload.config;
	struct vhost_device *device = session->device;

	/* Not worth a connection: rust-vmm has flags of its own. */
	if (config->flags != VHOST_USER_CONFIG_WRITABLE &&
	    config->flags != VHOST_USER_CONFIG_MIGRATION) {
		session_refuse(session, "flags 0x%x are not 0 or 1",
			       config->flags);
		return -EINVAL;
	}
	if (!range_fits(config->offset, config->size, device->config_size)) {
		session_refuse(session, "offset %u, size %u, but there are %u",
			       config->offset, config->size,
			       device->config_size);
		return -EINVAL;
	}
	return device->ops->set_config(device, config->offset, config->data,
				       config->size, config->flags);
}

int session_set_mtu(struct session *session, struct vhost_message *request,
		    struct vhost_message *ret_reply)
{
	uint64_t mtu = request->payload.u64;
	int err = session->device->ops->set_mtu(session->device, mtu);

	if (err < 0)
		session_refuse(session, "the network does not take %llu bytes",
			       (unsigned long long)mtu);
	return err;
}

/* The address is the first six bytes, as the machine has them in memory. */
int session_send_rarp(struct session *session, struct vhost_message *request,
		      struct vhost_message *ret_reply)
{
	uint8_t mac[6];

	memcpy(mac, &request->payload.u64, sizeof(mac));
	return session->device->ops->send_rarp(session->device, mac);
}

int session_set_backend_req_fd(struct session *session,
			       struct vhost_message *request,
			       struct vhost_message *ret_reply)
{
	int fd = request->fds[0];

	request->fd_count = 0;
	if (backend_channel_set(&session->channel, fd) < 0)
		return session_refuse(session,
				      "the descriptor is no stream socket");
	session_tell_config_change(session);
	return 0;
}

/*
 * A suspended device, one with no ring running, sends nothing ("Suspended
 * device state"): the notice waits for the first ring.
 */
int session_tell_config_change(struct session *session)
{
	int err;

	if (!session->config_changed ||
	    !session_has(session, VHOST_USER_PROTOCOL_F_CONFIG) ||
	    !backend_channel_is_open(&session->channel) ||
	    !session_is_running(session))
		return 0;
	session->config_changed = false;
	err = backend_channel_config_change(&session->channel);
	if (err < 0)
		log_debug("%s: back-end channel: %s", session->device->name,
			  strerror(-err));
	return err;
}
