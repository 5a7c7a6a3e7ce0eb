/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"

struct connection {
	struct loop *loop;
	struct session *session;
	int fd;
	struct connection_owner owner;
	struct loop_watch *readable;
	struct loop_watch *writable; /* only while a reply waits */

	struct vhost_message in;
	size_t in_bytes; /* of header and payload, so far */
	struct vhost_message out;
	size_t out_bytes; /* sent so far */
	bool out_pending;
	char error[MESSAGE_ERROR_BYTES];
};

/* How a step on the socket went. */
enum progress {
	PROGRESS_DONE,	/* go on */
	PROGRESS_WAIT,	/* the socket has or takes no more now */
	PROGRESS_GONE,	/* the front-end closed the connection */
	PROGRESS_WRONG, /* connection->error says why to close it */
};

enum {
	HEADER_BYTES = sizeof(struct vhost_user_header)
};

static enum progress fail(struct connection *c, const char *what, int err)
{
	snprintf(c->error, sizeof(c->error), "%s: %s", what, strerror(err));
	return PROGRESS_WRONG;
}

static enum progress socket_failed(struct connection *c, const char *what)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return PROGRESS_WAIT;
	if (errno == ECONNRESET || errno == EPIPE)
		return PROGRESS_GONE;
	return fail(c, what, errno);
}

union fd_space {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(VHOST_USER_MAX_FDS * sizeof(int))];
};

static void take_fds(struct vhost_message *message, struct msghdr *msg)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET ||
		    cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		message->fd_count =
			(cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(message->fds, CMSG_DATA(cmsg),
		       message->fd_count * sizeof(int));
	}
}

/* Descriptors come with the first byte of a message, and no other. */
static enum progress receive_first(struct connection *c)
{
	union fd_space space;
	struct iovec iov = {&c->in.header, HEADER_BYTES};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &space,
		.msg_controllen = sizeof(space),
	};
	ssize_t got;

	do
		got = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return socket_failed(c, "recvmsg");
	take_fds(&c->in, &msg);
	if (got == 0)
		return PROGRESS_GONE;
	c->in_bytes = got;
	if (!(msg.msg_flags & MSG_CTRUNC))
		return PROGRESS_DONE;
	snprintf(c->error, sizeof(c->error),
		 "more than %d file descriptors with a message, or more than "
		 "this process may open",
		 VHOST_USER_MAX_FDS);
	return PROGRESS_WRONG;
}

/*
 * The rest of a part that ends at byte @end of the message. Descriptors that
 * come here are dropped by the kernel.
 */
static enum progress receive_rest(struct connection *c, char *part,
				  size_t begin, size_t end)
{
	while (c->in_bytes < end) {
		ssize_t got = recv(c->fd, part + (c->in_bytes - begin),
				   end - c->in_bytes, MSG_DONTWAIT);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return socket_failed(c, "recv");
		if (got == 0)
			return PROGRESS_GONE;
		c->in_bytes += got;
	}
	return PROGRESS_DONE;
}

static enum progress receive(struct connection *c)
{
	enum progress progress = PROGRESS_DONE;

	if (c->in_bytes == 0)
		progress = receive_first(c);
	if (progress == PROGRESS_DONE && c->in_bytes < HEADER_BYTES)
		progress =
			receive_rest(c, (char *)&c->in.header, 0, HEADER_BYTES);
	if (progress != PROGRESS_DONE)
		return progress;
	if (!message_check_header(&c->in.header, c->error))
		return PROGRESS_WRONG;
	return receive_rest(c, (char *)&c->in.payload, HEADER_BYTES,
			    HEADER_BYTES + c->in.header.size);
}

static void attach_fds(struct msghdr *msg, union fd_space *space,
		       const struct vhost_message *message)
{
	struct cmsghdr *cmsg;

	if (message->fd_count == 0)
		return;
	memset(space, 0, sizeof(*space));
	msg->msg_control = space;
	msg->msg_controllen = CMSG_SPACE(message->fd_count * sizeof(int));
	cmsg = CMSG_FIRSTHDR(msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(message->fd_count * sizeof(int));
	memcpy(CMSG_DATA(cmsg), message->fds, message->fd_count * sizeof(int));
}

/* Sends what is left of the reply, its descriptors with the first byte. */
static ssize_t send_some(struct connection *c)
{
	union fd_space space;
	size_t header = MIN(c->out_bytes, (size_t)HEADER_BYTES);
	size_t payload = c->out_bytes - header;
	struct iovec iov[2] = {
		{(char *)&c->out.header + header, HEADER_BYTES - header},
		{(char *)&c->out.payload + payload,
		 c->out.header.size - payload},
	};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	if (c->out_bytes == 0)
		attach_fds(&msg, &space, &c->out);
	return sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static enum progress send_reply(struct connection *c)
{
	size_t end = HEADER_BYTES + c->out.header.size;

	while (c->out_bytes < end) {
		ssize_t sent = send_some(c);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return socket_failed(c, "sendmsg");
		c->out_bytes += sent;
	}
	message_close_fds(&c->out);
	c->out_pending = false;
	return PROGRESS_DONE;
}

static enum progress handle(struct connection *c)
{
	int err = session_handle(c->session, &c->in, &c->out);

	c->in_bytes = 0;
	if (err == SESSION_E_CLOSE) {
		snprintf(c->error, sizeof(c->error), "%s",
			 session_error(c->session));
		return PROGRESS_WRONG;
	}
	if (session_error(c->session)[0])
		c->owner.complain(c->owner.arg, session_error(c->session));
	if (message_is_none(&c->out))
		return PROGRESS_DONE;
	c->out_bytes = 0;
	c->out_pending = true;
	return send_reply(c);
}

static void on_writable(void *arg, int revents);
static void on_readable(void *arg, int revents);

/* A reply waits: come back when the socket takes more. */
static enum progress await_writable(struct connection *c)
{
	int err;

	if (c->writable)
		return PROGRESS_WAIT;
	err = loop_watch_new(c->loop, c->fd, POLLOUT, on_writable, c,
			     &c->writable);
	return err < 0 ? fail(c, "watch", -err) : PROGRESS_WAIT;
}

/* A new watch reports what is there already, after the others' turn. */
static enum progress yield_turn(struct connection *c)
{
	int err;

	loop_watch_free(c->readable);
	c->readable = NULL;
	err = loop_watch_new(c->loop, c->fd, POLLIN, on_readable, c,
			     &c->readable);
	return err < 0 ? fail(c, "watch", -err) : PROGRESS_WAIT;
}

static enum progress run(struct connection *c)
{
	for (unsigned i = 0; i < CONNECTION_BUDGET; i++) {
		enum progress progress = receive(c);

		if (progress == PROGRESS_DONE)
			progress = handle(c);
		if (progress == PROGRESS_WAIT && c->out_pending)
			return await_writable(c);
		if (progress != PROGRESS_DONE)
			return progress;
	}
	return yield_turn(c);
}

/* Nothing may touch the connection afterwards. */
static void finish(struct connection *c, enum progress progress)
{
	char why[MESSAGE_ERROR_BYTES];

	if (progress == PROGRESS_GONE) {
		c->owner.ended(c->owner.arg, NULL);
	} else if (progress == PROGRESS_WRONG) {
		memcpy(why, c->error, sizeof(why));
		c->owner.ended(c->owner.arg, why);
	}
}

static void on_readable(void *arg, int revents)
{
	struct connection *c = arg;

	if (revents < 0)
		finish(c, fail(c, "poll", -revents));
	else if (!c->out_pending)
		finish(c, run(c));
}

static void on_writable(void *arg, int revents)
{
	struct connection *c = arg;
	enum progress progress;

	if (revents < 0) {
		finish(c, fail(c, "poll", -revents));
		return;
	}
	progress = send_reply(c);
	if (progress == PROGRESS_DONE) {
		loop_watch_free(c->writable);
		c->writable = NULL;
		progress = run(c);
	}
	finish(c, progress);
}

int connection_new(struct loop *loop, struct vhost_device *device, int fd,
		   const struct connection_owner *owner,
		   struct connection **ret_connection)
{
	struct connection *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	*c = (struct connection){
		.loop = loop,
		.fd = -1,
		.owner = *owner,
	};
	err = session_new(device, &c->session);
	if (err == 0)
		err = loop_watch_new(loop, fd, POLLIN, on_readable, c,
				     &c->readable);
	if (err < 0) {
		connection_free(c);
		return err;
	}
	c->fd = fd;
	*ret_connection = c;
	return 0;
}

void connection_free(struct connection *c)
{
	if (!c)
		return;
	loop_watch_free(c->readable);
	loop_watch_free(c->writable);
	session_free(c->session);
	message_close_fds(&c->in);
	message_close_fds(&c->out);
	fd_close(&c->fd);
	free(c);
}

struct session *connection_session(struct connection *c)
{
	return c->session;
}
