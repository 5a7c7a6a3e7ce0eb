/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages that move a device's internal state to another back-end;
 * vhost-user specification, "Migrating back-end state".
 *
 * What our devices know beyond their rings is in the configuration space or
 * comes from the command line, so the state is empty: saving it is to close the
 * channel, and loading it is to find the channel at its end. A state that is
 * not empty belongs to some other back-end, and is refused when the front-end
 * asks how it went. Nothing here waits for the channel.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "vhost/session-handlers.h"
#include "vhost/session-state.h"

enum {
	DIRECTION_SAVE = 0,
	DIRECTION_LOAD = 1,
	PHASE_STOPPED = 0,

	/* Of the answer's bits 0 to 7. */
	STATE_OK = 0,
	STATE_FAILED = 1,
};

static void reply_value(const struct vhost_message *request,
			struct vhost_message *ret_reply, uint64_t value)
{
	message_begin_reply(ret_reply, request->header.request, sizeof(value));
	ret_reply->payload.u64 = value;
}

int session_set_device_state_fd(struct session *session,
				struct vhost_message *request,
				struct vhost_message *ret_reply)
{
	const struct vhost_user_device_state *asked =
		&request->payload.device_state;

	if (asked->direction > DIRECTION_LOAD)
		return session_refuse(session, "direction %u is not 0 or 1",
				      asked->direction);
	if (asked->phase != PHASE_STOPPED)
		return session_refuse(session, "phase %u is not 0",
				      asked->phase);
	fd_close(&session->state_fd);
	session->state_failed = false;
	if (session_is_running(session)) {
		session->state_failed = true;
		reply_value(request, ret_reply, VHOST_USER_NOFD | STATE_FAILED);
		return 0;
	}
	if (asked->direction == DIRECTION_LOAD) {
		session->state_fd = request->fds[0];
		request->fd_count = 0;
	}
	reply_value(request, ret_reply, VHOST_USER_NOFD | STATE_OK);
	return 0;
}

/*
 * The front-end asks once it has closed its end: what is left is there. It
 * shares the descriptor's flags, and could make a read of an open pipe wait.
 */
static bool is_at_its_end(int fd)
{
	struct pollfd end = {.fd = fd, .events = POLLIN};
	char byte;
	ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);

	if (got >= 0 || errno != ENOTSOCK)
		return got == 0;
	return poll(&end, 1, 0) == 1 && end.revents == POLLHUP;
}

int session_check_device_state(struct session *session,
			       struct vhost_message *request,
			       struct vhost_message *ret_reply)
{
	bool failed = session->state_failed;

	if (session->state_fd >= 0 && !is_at_its_end(session->state_fd))
		failed = true;
	fd_close(&session->state_fd);
	session->state_failed = false;
	reply_value(request, ret_reply, failed ? STATE_FAILED : STATE_OK);
	return 0;
}
