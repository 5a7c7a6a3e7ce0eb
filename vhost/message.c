/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vhost/session-handlers.h"

#define F(name)	    VHOST_USER_BIT(VHOST_USER_PROTOCOL_F_##name)
#define BYTES(type) sizeof(((union vhost_user_payload *)NULL)->type)

enum {
	U64 = BYTES(u64),
	STATE = BYTES(state),
	ADDR = BYTES(addr),
	REGION = BYTES(single_region),
	CONFIG = BYTES(config),
	CONFIG_HEADER = VHOST_USER_CONFIG_HEADER_BYTES,
	TABLE_HEADER = offsetof(struct vhost_user_memory, regions),
	TABLE = BYTES(memory),
	LOG = BYTES(log),
	INFLIGHT = BYTES(inflight),
	INFLIGHT_TEXT = VHOST_USER_INFLIGHT_TEXT_BYTES,
	LONGEST = VHOST_USER_MAX_PAYLOAD,
};

/* clang-format off */
#define RULE(request, min, max, fd_policy, reply_policy, features, handler) \
	[VHOST_USER_##request] = {#request,                      \
				  (min),                         \
				  (max),                         \
				  MESSAGE_FDS_##fd_policy,       \
				  MESSAGE_REPLY_##reply_policy,  \
				  (features),                    \
				  (handler)}
/* clang-format on */

/*
 * Every message of the specification. A row's features are what must have been
 * offered, not negotiated: front-ends exist that leave SET_PROTOCOL_FEATURES
 * out or late (cloud-hypervisor asks GET_CONFIG in any case).
 */
static const struct message_rule rules[VHOST_USER_REQUESTS] = {
	RULE(GET_FEATURES, 0, 0, NONE, PAYLOAD, 0, session_get_features),
	RULE(SET_FEATURES, U64, U64, NONE, ACK, 0, session_set_features),
	RULE(SET_OWNER, 0, 0, NONE, ACK, 0, session_set_owner),
	RULE(RESET_OWNER, 0, 0, NONE, ACK, 0, session_reset_owner),
	RULE(SET_MEM_TABLE, TABLE_HEADER, TABLE, PER_REGION, ACK, 0,
	     session_set_mem_table),
	RULE(SET_LOG_BASE, U64, LOG, ONE, LOG, F(LOG_SHMFD),
	     session_set_log_base),
	RULE(SET_LOG_FD, 0, U64, ONE, ACK, 0, session_set_log_fd),
	RULE(SET_VRING_NUM, STATE, STATE, NONE, ACK, 0, session_set_vring_num),
	RULE(SET_VRING_ADDR, ADDR, ADDR, NONE, ACK, 0, session_set_vring_addr),
	RULE(SET_VRING_BASE, STATE, STATE, NONE, ACK, 0,
	     session_set_vring_base),
	RULE(GET_VRING_BASE, STATE, STATE, NONE, PAYLOAD, 0,
	     session_get_vring_base),
	RULE(SET_VRING_KICK, U64, U64, NOFD_BIT, ACK, 0,
	     session_set_vring_kick),
	RULE(SET_VRING_CALL, U64, U64, NOFD_BIT, ACK, 0,
	     session_set_vring_call),
	RULE(SET_VRING_ERR, U64, U64, NOFD_BIT, ACK, 0, session_set_vring_err),
	RULE(GET_PROTOCOL_FEATURES, 0, 0, NONE, PAYLOAD, 0,
	     session_get_protocol_features),
	RULE(SET_PROTOCOL_FEATURES, U64, U64, NONE, ACK, 0,
	     session_set_protocol_features),
	RULE(GET_QUEUE_NUM, 0, 0, NONE, PAYLOAD, F(MQ), session_get_queue_num),
	RULE(SET_VRING_ENABLE, STATE, STATE, NONE, ACK, 0,
	     session_set_vring_enable),
	RULE(SEND_RARP, U64, U64, NONE, ACK, F(RARP), session_send_rarp),
	RULE(NET_SET_MTU, U64, U64, NONE, ACK, F(NET_MTU), session_set_mtu),
	RULE(SET_BACKEND_REQ_FD, 0, 0, ONE, ACK, F(BACKEND_REQ),
	     session_set_backend_req_fd),
	RULE(IOTLB_MSG, 0, LONGEST, NONE, PAYLOAD, 0, NULL),
	RULE(SET_VRING_ENDIAN, STATE, STATE, NONE, ACK, F(CROSS_ENDIAN), NULL),
	RULE(GET_CONFIG, CONFIG_HEADER, CONFIG, NONE, PAYLOAD, F(CONFIG),
	     session_get_config),
	RULE(SET_CONFIG, CONFIG_HEADER, CONFIG, NONE, ACK, F(CONFIG),
	     session_set_config),
	RULE(CREATE_CRYPTO_SESSION, 0, LONGEST, NONE, PAYLOAD,
	     F(CRYPTO_SESSION), NULL),
	RULE(CLOSE_CRYPTO_SESSION, U64, U64, NONE, ACK, F(CRYPTO_SESSION),
	     NULL),
	RULE(POSTCOPY_ADVISE, 0, 0, NONE, PAYLOAD, F(PAGEFAULT), NULL),
	RULE(POSTCOPY_LISTEN, 0, 0, NONE, ACK, F(PAGEFAULT), NULL),
	RULE(POSTCOPY_END, 0, 0, NONE, PAYLOAD, F(PAGEFAULT), NULL),
	RULE(GET_INFLIGHT_FD, INFLIGHT_TEXT, INFLIGHT, NONE, PAYLOAD,
	     F(INFLIGHT_SHMFD), session_get_inflight_fd),
	RULE(SET_INFLIGHT_FD, INFLIGHT_TEXT, INFLIGHT, ONE, ACK,
	     F(INFLIGHT_SHMFD), session_set_inflight_fd),
	RULE(GPU_SET_SOCKET, 0, 0, ONE, ACK, 0, NULL),
	RULE(RESET_DEVICE, 0, 0, NONE, ACK, F(RESET_DEVICE),
	     session_reset_device),
	RULE(VRING_KICK, STATE, STATE, NONE, ACK, F(INBAND_NOTIFICATIONS),
	     NULL),
	RULE(GET_MAX_MEM_SLOTS, 0, 0, NONE, PAYLOAD, F(CONFIGURE_MEM_SLOTS),
	     session_get_max_mem_slots),
	RULE(ADD_MEM_REG, REGION, REGION, ONE, ACK, F(CONFIGURE_MEM_SLOTS),
	     session_add_mem_reg),
	RULE(REM_MEM_REG, REGION, REGION, NONE, ACK, F(CONFIGURE_MEM_SLOTS),
	     session_rem_mem_reg),
	RULE(SET_STATUS, U64, U64, NONE, ACK, F(STATUS), session_set_status),
	RULE(GET_STATUS, 0, 0, NONE, PAYLOAD, F(STATUS), session_get_status),
	RULE(GET_SHARED_OBJECT, 16, 16, NONE, PAYLOAD, F(SHARED_OBJECT), NULL),
	RULE(SET_DEVICE_STATE_FD, 8, 8, ONE, PAYLOAD, F(DEVICE_STATE),
	     session_set_device_state_fd),
	RULE(CHECK_DEVICE_STATE, 0, 0, NONE, PAYLOAD, F(DEVICE_STATE),
	     session_check_device_state),
	RULE(GET_SHMEM_CONFIG, 0, 0, NONE, PAYLOAD, F(SHMEM), NULL),
	RULE(GET_VRING_BASE_SKIP_DRAIN, STATE, STATE, NONE, PAYLOAD,
	     F(GET_VRING_BASE_SKIP_DRAIN), NULL),
};

const struct message_rule *message_rule(uint32_t request)
{
	if (request >= ARRAY_SIZE(rules) || !rules[request].name)
		return NULL;
	return &rules[request];
}

const char *message_name(uint32_t request)
{
	static char number[sizeof("request 4294967295")];
	const struct message_rule *rule = message_rule(request);

	if (rule)
		return rule->name;
	snprintf(number, sizeof(number), "request %u", request);
	return number;
}

void message_close_fds(struct vhost_message *message)
{
	for (unsigned i = 0; i < message->fd_count; i++)
		close(message->fds[i]);
	message->fd_count = 0;
}

void message_begin_reply(struct vhost_message *ret_reply, uint32_t request,
			 uint32_t size)
{
	memset(&ret_reply->payload, 0, size);
	ret_reply->header = (struct vhost_user_header){
		.request = request,
		.flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
		.size = size,
	};
	ret_reply->fd_count = 0;
}

__attribute__((format(printf, 2, 3))) static bool
refuse(char error[static MESSAGE_ERROR_BYTES], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, MESSAGE_ERROR_BYTES, format, args);
	va_end(args);
	return false;
}

bool message_check_header(const struct vhost_user_header *header,
			  char ret_error[static MESSAGE_ERROR_BYTES])
{
	const struct message_rule *rule = message_rule(header->request);

	if (!rule)
		return refuse(ret_error, "%s is not known",
			      message_name(header->request));
	if ((header->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
		return refuse(ret_error,
			      "%s: protocol version %u in flags 0x%x is not 1",
			      rule->name,
			      header->flags & VHOST_USER_VERSION_MASK,
			      header->flags);
	if (header->flags & VHOST_USER_REPLY)
		return refuse(ret_error, "%s: a reply (flags 0x%x) to nothing",
			      rule->name, header->flags);
	if (header->size < rule->min_bytes || header->size > rule->max_bytes)
		return refuse(ret_error,
			      "%s: payload size %u is not within %u to %u",
			      rule->name, header->size, rule->min_bytes,
			      rule->max_bytes);
	return true;
}

static bool check_table(const struct vhost_message *message,
			char error[static MESSAGE_ERROR_BYTES])
{
	uint32_t regions = message->payload.memory.num_regions;
	size_t room = (message->header.size - TABLE_HEADER) /
		      sizeof(struct vhost_user_region);

	if (regions > room)
		return refuse(error,
			      "SET_MEM_TABLE: %u regions in a payload for %zu",
			      regions, room);
	return true;
}

static bool check_config(const struct vhost_message *message,
			 char error[static MESSAGE_ERROR_BYTES])
{
	const struct vhost_user_config *config = &message->payload.config;
	/* GET_CONFIG need not bring the room for the answer. */
	size_t room = message->header.request == VHOST_USER_GET_CONFIG
			      ? sizeof(config->data)
			      : message->header.size - CONFIG_HEADER;

	if (config->size > room)
		return refuse(error, "%s: config size %u is more than %zu",
			      message_name(message->header.request),
			      config->size, room);
	return true;
}

static bool check_payload(const struct vhost_message *message,
			  char error[static MESSAGE_ERROR_BYTES])
{
	switch (message->header.request) {
	case VHOST_USER_SET_MEM_TABLE:
		return check_table(message, error);
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
		return check_config(message, error);
	default:
		return true;
	}
}

static bool check_fds(struct vhost_message *message,
		      const struct message_rule *rule,
		      char error[static MESSAGE_ERROR_BYTES])
{
	unsigned wanted = 0;

	switch (rule->fds) {
	case MESSAGE_FDS_NONE:
		message_close_fds(message);
		break;
	case MESSAGE_FDS_ONE:
		wanted = 1;
		break;
	case MESSAGE_FDS_NOFD_BIT:
		wanted = !(message->payload.u64 & VHOST_USER_NOFD);
		break;
	case MESSAGE_FDS_PER_REGION:
		wanted = message->payload.memory.num_regions;
		break;
	}
	if (message->fd_count != wanted)
		return refuse(error, "%s: %u file descriptors, not %u",
			      rule->name, message->fd_count, wanted);
	return true;
}

bool message_check(struct vhost_message *message,
		   char ret_error[static MESSAGE_ERROR_BYTES])
{
	const struct message_rule *rule = message_rule(message->header.request);

	return check_payload(message, ret_error) &&
	       check_fds(message, rule, ret_error);
}
