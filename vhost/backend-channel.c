/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/backend-channel.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "vhost/protocol.h"

void backend_channel_init(struct backend_channel *channel)
{
	channel->fd = -1;
}

void backend_channel_deinit(struct backend_channel *channel)
{
	fd_close(&channel->fd);
}

static int check_socket(int fd)
{
	int type;
	socklen_t length = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0)
		return -errno;
	return type == SOCK_STREAM ? 0 : -ENOTSOCK;
}

int backend_channel_set(struct backend_channel *channel, int fd)
{
	int err = check_socket(fd);

	backend_channel_deinit(channel);
	channel->fd = fd;
	if (err < 0)
		backend_channel_deinit(channel);
	return err;
}

bool backend_channel_is_open(const struct backend_channel *channel)
{
	return channel->fd >= 0;
}

int backend_channel_config_change(struct backend_channel *channel)
{
	const struct vhost_user_header header = {
		.request = VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
		.flags = VHOST_USER_VERSION,
	};
	ssize_t sent;
	int err;

	do
		sent = send(channel->fd, &header, sizeof(header),
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent == sizeof(header))
		return 0;
	if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	/* A part of a header would put everything after it out of step. */
	err = sent < 0 ? -errno : -EPIPE;
	backend_channel_deinit(channel);
	return err;
}
