/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session is made of, for the session-*.c files alone.
 *
 * A ring has three facts that the front-end controls (configured: size and
 * addresses are known; kicked: SET_VRING_KICK came and GET_VRING_BASE has not;
 * enabled) and one that follows: running, when the device serves it. It runs
 * whenever it is configured, kicked, not broken, and memory holds it. So
 * whoever changes something that a running ring uses (memory, the log, the
 * features, its own configuration) does:
 *
 *	session_stop_ring(s); change; session_start_ring(s)
 *
 * where starting is a no-op for a ring that is not to run. Stopping drains the
 * ring and keeps its base, so the driver notices nothing.
 */
#ifndef VHOST_SESSION_STATE_H
#define VHOST_SESSION_STATE_H

#include "vhost/backend-channel.h"
#include "vhost/dirty-log.h"
#include "vhost/inflight.h"
#include "vhost/memory.h"
#include "vhost/session.h"

struct session_ring {
	struct virtq *vq;
	struct virtq_config config; /* owns call_fd and err_fd */
	int kick_fd;		    /* owned; -1: poll, or not kicked */
	bool has_size;
	bool has_addresses;
	bool kicked;
	bool enabled;
	bool running;
	bool settled; /* when it last stopped, nothing was in flight */
	bool broken;  /* until the front-end configures it anew */
};

struct session {
	struct vhost_device *device;
	uint64_t features;	    /* acknowledged, bit 30 included */
	uint64_t protocol_features; /* acknowledged */
	bool has_features;
	uint8_t status;
	struct guest_memory *memory; /* or NULL */
	struct dirty_log *log;	     /* or NULL; covers all of memory */
	struct inflight *inflight;   /* or NULL */
	bool has_area;		     /* the device was given its part */
	/* What the last GET_INFLIGHT_FD gave out; all zero: none. */
	struct vhost_user_inflight inflight_given;
	/* What came with @inflight. */
	struct vhost_user_inflight inflight_taken;
	int state_fd;	   /* a device state to be loaded; or -1 */
	bool state_failed; /* until CHECK_DEVICE_STATE has said so */
	struct backend_channel channel;
	bool config_changed; /* and the front-end does not know yet */
	uint32_t request;    /* being handled, for messages */
	char error[MESSAGE_ERROR_BYTES];
	struct session_ring rings[];
};

/* Sets session_error, with the request's name before it: SESSION_E_CLOSE. */
int session_refuse(struct session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The ring that a message is about, or NULL after session_refuse. */
struct session_ring *session_ring(struct session *session, uint64_t index);

static inline bool session_has(const struct session *session, unsigned feature)
{
	return session->protocol_features & VHOST_USER_BIT(feature);
}

/* session-ring.c */

/*
 * Starts the ring if it is to run. What the front-end or the driver got wrong
 * marks it broken and signals its err fd; memory that does not hold it signals
 * too, but the ring starts once it does. A negative errno in all these cases,
 * with session_error set: the session goes on.
 */
int session_start_ring(struct session *session, unsigned index);
void session_stop_ring(struct session *session, unsigned index);

/* All of them; a ring that fails to start is told by its err fd alone. */
void session_start_rings(struct session *session);
void session_stop_rings(struct session *session);
bool session_is_running(const struct session *session);

/* Whatever its state; a running one is told to the device. */
void session_enable_ring(struct session *session, unsigned index, bool enabled);

/* Stops the ring and forgets the kick: as GET_VRING_BASE does. */
void session_disarm_ring(struct session *session, unsigned index);

/* Back to a new session's rings, but for call and err fds. */
void session_reset_rings(struct session *session);

int session_init_rings(struct session *session);
void session_deinit_rings(struct session *session);

/* session-features.c: the acknowledged ones, to the device. */
void session_tell_features(struct session *session);

/* session-device.c: sends what waits for a channel, features and a running
 * ring; as session_config_changed. */
int session_tell_config_change(struct session *session);

/* session-inflight.c: no ring may be running. Dropping it alone keeps what
 * was settled about sizes. */
void session_drop_inflight(struct session *session);
void session_forget_inflight(struct session *session);

#endif
