/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks that follow from the table of messages. Input: one byte for the
 * number of descriptors, a header, a payload.
 */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "vhost/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What handlers rely on once a message has passed. */
static void check_promises(const struct vhost_message *m)
{
	const union vhost_user_payload *payload = &m->payload;

	switch (m->header.request) {
	case VHOST_USER_SET_MEM_TABLE:
		assert(payload->memory.num_regions <=
		       VHOST_USER_MAX_TABLE_REGIONS);
		assert(m->fd_count == payload->memory.num_regions);
		break;
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
		assert(payload->config.size <= sizeof(payload->config.data));
		break;
	case VHOST_USER_SET_VRING_KICK:
		assert(m->fd_count == (payload->u64 & VHOST_USER_NOFD ? 0 : 1));
		break;
	}
	if (message_rule(m->header.request)->fds == MESSAGE_FDS_ONE)
		assert(m->fd_count == 1);
	if (message_rule(m->header.request)->fds == MESSAGE_FDS_NONE)
		assert(m->fd_count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhost_message m = {0};
	char error[MESSAGE_ERROR_BYTES] = "";

	if (size < 1 + sizeof(m.header))
		return 0;
	m.fd_count = data[0] % (VHOST_USER_MAX_FDS + 1);
	memset(m.fds, 0xff, sizeof(m.fds)); /* closing -1 does nothing */
	memcpy(&m.header, data + 1, sizeof(m.header));
	data += 1 + sizeof(m.header);
	size -= 1 + sizeof(m.header);
	if (!message_check_header(&m.header, error)) {
		assert(error[0] && memchr(error, '\0', sizeof(error)));
		return 0;
	}
	assert(m.header.size <= sizeof(m.payload));
	memcpy(&m.payload, data, MIN(size, m.header.size));
	if (message_check(&m, error))
		check_promises(&m);
	else
		assert(error[0] && memchr(error, '\0', sizeof(error)));
	message_close_fds(&m);
	return 0;
}
