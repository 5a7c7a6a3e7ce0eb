/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers that vhost/message.c's table points to. Each is called with a
 * request that passed message_check, and answers 0, a negative errno of our
 * own (the session goes on), or SESSION_E_CLOSE after session_refuse. Handlers
 * of requests that are answered with a payload of their own begin @ret_reply;
 * the others leave it alone. Descriptors left in @request are closed by the
 * caller.
 */
#ifndef VHOST_SESSION_HANDLERS_H
#define VHOST_SESSION_HANDLERS_H

#include "vhost/message.h"

#define SESSION_HANDLER(name)                             \
	int session_##name(struct session *session,       \
			   struct vhost_message *request, \
			   struct vhost_message *ret_reply)

/* session-features.c */
SESSION_HANDLER(get_features);
SESSION_HANDLER(set_features);
SESSION_HANDLER(get_protocol_features);
SESSION_HANDLER(set_protocol_features);
SESSION_HANDLER(get_queue_num);

/* session-device.c */
SESSION_HANDLER(set_owner);
SESSION_HANDLER(reset_owner);
SESSION_HANDLER(reset_device);
SESSION_HANDLER(get_config);
SESSION_HANDLER(set_config);
SESSION_HANDLER(get_status);
SESSION_HANDLER(set_status);
SESSION_HANDLER(set_backend_req_fd);
SESSION_HANDLER(set_mtu);
SESSION_HANDLER(send_rarp);

/* session-memory.c */
SESSION_HANDLER(set_mem_table);
SESSION_HANDLER(get_max_mem_slots);
SESSION_HANDLER(add_mem_reg);
SESSION_HANDLER(rem_mem_reg);

/* session-migration.c */
SESSION_HANDLER(set_device_state_fd);
SESSION_HANDLER(check_device_state);

/* session-log.c */
SESSION_HANDLER(set_log_base);
SESSION_HANDLER(set_log_fd);

/* session-inflight.c */
SESSION_HANDLER(get_inflight_fd);
SESSION_HANDLER(set_inflight_fd);

/* session-queue.c */
SESSION_HANDLER(set_vring_num);
SESSION_HANDLER(set_vring_addr);
SESSION_HANDLER(set_vring_base);
SESSION_HANDLER(get_vring_base);
SESSION_HANDLER(set_vring_kick);
SESSION_HANDLER(set_vring_call);
SESSION_HANDLER(set_vring_err);
SESSION_HANDLER(set_vring_enable);

#endif
