/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user front-end: the socket, the conversation, and what of it has to
 * be remembered. It says what it is told to say, sensible or not: nothing here
 * protects a back-end from a bad message.
 *
 * Layers, each usable alone:
 *
 *	frontend_send_raw, frontend_receive	bytes and descriptors
 *	frontend_tell, frontend_ask		one message, its reply or ack
 *	frontend_set_memory, …			one message with its payload
 *	tests/frontend/profile.h		a whole start, as a real
 *						front-end does it
 *
 * Functions return 0 or a negative errno: -ETIMEDOUT (fe->timeout_ms),
 * -ECONNRESET when the back-end closed, -EPROTO for a reply that does not fit
 * the question, -EREMOTEIO when the back-end acknowledged with a failure. One
 * thread.
 */
#ifndef TESTS_FRONTEND_FRONTEND_H
#define TESTS_FRONTEND_FRONTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/frontend/driver-ring.h"
#include "tests/frontend/ram.h"
#include "vhost/protocol.h"

/* What is behind the socket, as far as starting it depends on that. */
enum frontend_device {
	FRONTEND_BLK,
	FRONTEND_NET, /* whose queues are counted in pairs */
};

struct frontend {
	enum frontend_device device;
	int fd;
	int channel_fd; /* our end of the back-end request channel, or -1 */
	int timeout_ms; /* for a reply; 5000 */

	/* Offered and chosen; chosen is what was last set. */
	uint64_t offered;
	uint64_t features;
	uint64_t protocol_offered;
	uint64_t protocol;
	/* What a profile may choose at all; everything by default. */
	uint64_t features_limit;
	uint64_t protocol_limit;

	bool need_reply; /* ask for an ack wherever REPLY_ACK allows it */
	uint64_t ack;	 /* the last one */

	struct ram *ram; /* borrowed, once frontend_set_memory told of it */
	uint64_t queue_num;
	uint64_t max_slots;

	struct vhost_user_inflight inflight;
	size_t inflight_wire_bytes; /* 20 or 24, see vhost/protocol.h */
	int inflight_fd;	    /* or -1 */

	int log_fd; /* or -1 */
	uint64_t *log;
	uint64_t log_bytes;
};

/* A message from the back-end. The descriptors are the caller's. */
struct frontend_message {
	struct vhost_user_header header;
	union vhost_user_payload payload;
	int fds[VHOST_USER_MAX_FDS];
	unsigned fd_count;
};

/* Connects, trying again for up to two seconds while nobody listens yet. */
int frontend_connect(const char *path, struct frontend **ret_fe);

/* Takes @fd, a connected socket, in any case. */
int frontend_new(int fd, struct frontend **ret_fe);

/* A listening socket for a back-end that connects; replaces what is there. */
int frontend_listen(const char *path, int *ret_fd);
int frontend_accept(int listen_fd, int timeout_ms, struct frontend **ret_fe);

/* Hangs up. Accepts NULL. */
void frontend_free(struct frontend *fe);

/* The process at the other end, or 0 if the socket does not tell. */
int frontend_peer_pid(const struct frontend *fe);

/* --- bytes and messages --- */

/* One sendmsg(2): @bytes of @data and @count descriptors, which stay ours. */
int frontend_send_raw(struct frontend *fe, const void *data, size_t bytes,
		      const int *fds, unsigned count);

/* The next message from @fd, fe->fd or fe->channel_fd. */
int frontend_receive(const struct frontend *fe, int fd,
		     struct frontend_message *ret_message);

/*
 * 0 once the back-end has closed the connection, -ETIMEDOUT if it has not
 * within @timeout_ms. Replies that come before are read and dropped.
 */
int frontend_wait_closed(const struct frontend *fe, int timeout_ms);

/* Sends a request that has no reply; waits for the ack if fe->need_reply. */
int frontend_tell(struct frontend *fe, uint32_t request, const void *payload,
		  size_t bytes, const int *fds, unsigned count);

/* Sends a request that has a reply, and receives it. */
int frontend_ask(struct frontend *fe, uint32_t request, const void *payload,
		 size_t bytes, struct frontend_message *ret_reply);

/* --- requests --- */

int frontend_set_u64(struct frontend *fe, uint32_t request, uint64_t value);
int frontend_get_u64(struct frontend *fe, uint32_t request,
		     uint64_t *ret_value);

/* GET_FEATURES, GET_PROTOCOL_FEATURES: remembered as offered. */
int frontend_get_features(struct frontend *fe);
int frontend_get_protocol_features(struct frontend *fe);
/* SET_…: what is set is remembered, if it was told without an error. */
int frontend_set_features(struct frontend *fe, uint64_t features);
int frontend_set_protocol_features(struct frontend *fe, uint64_t features);

static inline bool frontend_has(const struct frontend *fe, unsigned bit)
{
	return fe->features >> bit & 1;
}

static inline bool frontend_has_protocol(const struct frontend *fe,
					 unsigned bit)
{
	return fe->protocol >> bit & 1;
}

/* SET_MEM_TABLE; borrows @ram until the front-end is freed. */
int frontend_set_memory(struct frontend *fe, struct ram *ram);
/* ADD_MEM_REG and REM_MEM_REG of one region of @ram. */
int frontend_add_region(struct frontend *fe, struct ram *ram, unsigned index);
int frontend_remove_region(struct frontend *fe, struct ram *ram,
			   unsigned index);

int frontend_ring_num(struct frontend *fe, unsigned index, uint32_t size);
int frontend_ring_base(struct frontend *fe, unsigned index, uint32_t base);
/* @log: with VHOST_VRING_F_LOG and the ring's own used address. */
int frontend_ring_addr(struct frontend *fe, unsigned index,
		       const struct driver_ring *ring, bool log);
/* SET_VRING_KICK, _CALL or _ERR; @fd -1 says NOFD. */
int frontend_ring_fd(struct frontend *fe, uint32_t request, unsigned index,
		     int fd);
int frontend_ring_enable(struct frontend *fe, unsigned index, bool enable);
/* GET_VRING_BASE: stops the ring. @ret_base may be NULL. */
int frontend_ring_stop(struct frontend *fe, unsigned index, uint32_t *ret_base);

/* At most VHOST_USER_MAX_CONFIG_BYTES at once. */
int frontend_get_config(struct frontend *fe, uint32_t offset, void *ret_data,
			uint32_t bytes);
int frontend_set_config(struct frontend *fe, uint32_t offset, const void *data,
			uint32_t bytes);

/* GET_INFLIGHT_FD: the region is kept in fe->inflight and fe->inflight_fd. */
int frontend_get_inflight(struct frontend *fe, uint16_t queues, uint16_t size);
int frontend_set_inflight(struct frontend *fe);
/* Moves the region from a front-end to the one that follows it. */
void frontend_hand_inflight(struct frontend *from, struct frontend *to);

/*
 * SET_LOG_BASE with a new, clear log that covers fe->ram. Logging itself
 * begins with SET_FEATURES and VHOST_F_LOG_ALL.
 */
int frontend_log_start(struct frontend *fe);
bool frontend_log_test(const struct frontend *fe, uint64_t gpa);
/* How many pages are dirty. */
uint64_t frontend_log_count(const struct frontend *fe);
void frontend_log_clear(struct frontend *fe);

/* SET_BACKEND_REQ_FD with a new channel. */
int frontend_open_channel(struct frontend *fe);
/* The next request on the channel; acknowledged if it asks for it. */
int frontend_channel_receive(struct frontend *fe, uint32_t *ret_request);

#endif
