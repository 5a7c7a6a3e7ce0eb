/* SPDX-License-Identifier: Apache-2.0 */
/* The socket, and messages as bytes; requests are in frontend-request.c. */
#include "tests/frontend/frontend.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

enum {
	DEFAULT_TIMEOUT_MS = 5000,
	CONNECT_TRIES = 200,
	CONNECT_PAUSE_US = 10000,
};

static int socket_address(const char *path, struct sockaddr_un *ret_address)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	*ret_address = address;
	return 0;
}

int frontend_new(int fd, struct frontend **ret_fe)
{
	struct frontend *fe = calloc(1, sizeof(*fe));

	if (!fe) {
		close(fd);
		return -ENOMEM;
	}
	fe->fd = fd;
	fe->channel_fd = fe->inflight_fd = fe->log_fd = -1;
	fe->timeout_ms = DEFAULT_TIMEOUT_MS;
	fe->features_limit = fe->protocol_limit = UINT64_MAX;
	fe->inflight_wire_bytes = sizeof(fe->inflight);
	*ret_fe = fe;
	return 0;
}

int frontend_connect(const char *path, struct frontend **ret_fe)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	int err = socket_address(path, &address);

	if (fd < 0)
		return -errno;
	if (err < 0)
		return err;
	for (unsigned tries = 0; tries < CONNECT_TRIES; tries++) {
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) ==
		    0)
			return frontend_new(fd_take(&fd), ret_fe);
		if (errno != ENOENT && errno != ECONNREFUSED)
			return -errno;
		usleep(CONNECT_PAUSE_US);
	}
	return -errno;
}

int frontend_listen(const char *path, int *ret_fd)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	int err = socket_address(path, &address);

	if (fd < 0)
		return -errno;
	if (err < 0)
		return err;
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 8) < 0)
		return -errno;
	*ret_fd = fd_take(&fd);
	return 0;
}

/* 0 once @fd is readable or at its end. */
static int wait_readable(int fd, uint64_t deadline_ns)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	uint64_t now;
	int ready;

	do {
		now = clock_ns();
		if (now >= deadline_ns)
			return -ETIMEDOUT;
		ready = poll(&pfd, 1, (deadline_ns - now) / 1000000 + 1);
	} while (ready == 0 || (ready < 0 && errno == EINTR));
	return ready < 0 ? -errno : 0;
}

static uint64_t deadline_in(int timeout_ms)
{
	return clock_ns() + (uint64_t)timeout_ms * 1000000;
}

int frontend_accept(int listen_fd, int timeout_ms, struct frontend **ret_fe)
{
	int err = wait_readable(listen_fd, deadline_in(timeout_ms));
	int fd;

	if (err < 0)
		return err;
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	return fd < 0 ? -errno : frontend_new(fd, ret_fe);
}

void frontend_free(struct frontend *fe)
{
	if (!fe)
		return;
	fd_close(&fe->fd);
	fd_close(&fe->channel_fd);
	fd_close(&fe->inflight_fd);
	fd_close(&fe->log_fd);
	if (fe->log)
		munmap(fe->log, fe->log_bytes);
	free(fe);
}

int frontend_peer_pid(const struct frontend *fe)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fe->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return 0;
	return peer.pid;
}

int frontend_send_raw(struct frontend *fe, const void *data, size_t bytes,
		      const int *fds, unsigned count)
{
	char control[CMSG_SPACE(sizeof(int) * 253)] = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data,
			    .iov_len = bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cmsg = (struct cmsghdr *)control;
	ssize_t sent;

	if (count > 253) /* SCM_MAX_FD */
		return -EINVAL;
	if (count > 0) {
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
	}
	sent = sendmsg(fe->fd, &msg, MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EPIPE ? -ECONNRESET : -errno;
	return (size_t)sent == bytes ? 0 : -EIO;
}

/* Keeps the descriptors that came with @msg, as far as there is room. */
static void take_fds(struct msghdr *msg, struct frontend_message *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR(msg, c)) {
		unsigned count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (unsigned i = 0; i < count; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (m->fd_count < VHOST_USER_MAX_FDS)
				m->fds[m->fd_count++] = fd;
			else
				close(fd);
		}
	}
}

static int receive_exactly(int fd, void *to, size_t bytes, uint64_t deadline,
			   struct frontend_message *m)
{
	char control[CMSG_SPACE(sizeof(int) * VHOST_USER_MAX_FDS)];
	uint8_t *at = to;
	int err;

	while (bytes > 0) {
		struct iovec iov = {.iov_base = at, .iov_len = bytes};
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};
		ssize_t got;

		err = wait_readable(fd, deadline);
		if (err < 0)
			return err;
		got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
		if (got < 0)
			return -errno;
		if (got == 0)
			return -ECONNRESET;
		take_fds(&msg, m);
		at += got;
		bytes -= got;
	}
	return 0;
}

static void close_fds(struct frontend_message *m)
{
	while (m->fd_count > 0)
		close(m->fds[--m->fd_count]);
}

int frontend_receive(const struct frontend *fe, int fd,
		     struct frontend_message *ret_message)
{
	struct frontend_message *m = ret_message;
	uint64_t deadline = deadline_in(fe->timeout_ms);
	int err;

	memset(m, 0, sizeof(*m));
	err = receive_exactly(fd, &m->header, sizeof(m->header), deadline, m);
	if (err == 0 && m->header.size > sizeof(m->payload))
		err = -EPROTO;
	if (err == 0)
		err = receive_exactly(fd, &m->payload, m->header.size, deadline,
				      m);
	if (err < 0)
		close_fds(m);
	return err;
}

int frontend_wait_closed(const struct frontend *fe, int timeout_ms)
{
	uint64_t deadline = deadline_in(timeout_ms);
	char dropped[4096];
	ssize_t got;
	int err;

	for (;;) {
		err = wait_readable(fe->fd, deadline);
		if (err < 0)
			return err;
		got = recv(fe->fd, dropped, sizeof(dropped), 0);
		if (got == 0 || (got < 0 && errno == ECONNRESET))
			return 0;
		if (got < 0)
			return -errno;
	}
}

static int send_message(struct frontend *fe, uint32_t request, uint32_t flags,
			const void *payload, size_t bytes, const int *fds,
			unsigned count)
{
	struct {
		struct vhost_user_header header;
		uint8_t payload[sizeof(union vhost_user_payload)];
	} message = {
		.header = {.request = request, .flags = flags, .size = bytes}};

	if (bytes > sizeof(message.payload))
		return -EINVAL;
	if (bytes > 0)
		memcpy(message.payload, payload, bytes);
	return frontend_send_raw(fe, &message, sizeof(message.header) + bytes,
				 fds, count);
}

/* The next message must be the reply to @request. */
static int receive_reply(struct frontend *fe, uint32_t request,
			 struct frontend_message *ret_reply)
{
	int err = frontend_receive(fe, fe->fd, ret_reply);

	if (err < 0)
		return err;
	if (ret_reply->header.request == request &&
	    ret_reply->header.flags & VHOST_USER_REPLY)
		return 0;
	close_fds(ret_reply);
	return -EPROTO;
}

int frontend_tell(struct frontend *fe, uint32_t request, const void *payload,
		  size_t bytes, const int *fds, unsigned count)
{
	bool ack = fe->need_reply &&
		   frontend_has_protocol(fe, VHOST_USER_PROTOCOL_F_REPLY_ACK);
	struct frontend_message reply;
	int err;

	err = send_message(fe, request,
			   VHOST_USER_VERSION |
				   (ack ? VHOST_USER_NEED_REPLY : 0),
			   payload, bytes, fds, count);
	if (err < 0 || !ack)
		return err;
	err = receive_reply(fe, request, &reply);
	if (err < 0)
		return err;
	close_fds(&reply);
	if (reply.header.size != sizeof(reply.payload.u64))
		return -EPROTO;
	fe->ack = reply.payload.u64;
	return fe->ack == 0 ? 0 : -EREMOTEIO;
}

int frontend_ask(struct frontend *fe, uint32_t request, const void *payload,
		 size_t bytes, struct frontend_message *ret_reply)
{
	int err = send_message(fe, request, VHOST_USER_VERSION, payload, bytes,
			       NULL, 0);

	return err < 0 ? err : receive_reply(fe, request, ret_reply);
}
