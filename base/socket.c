/* SPDX-License-Identifier: Apache-2.0 */
#include "base/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

enum {
	BACKLOG = 16
};

static int make_address(const char *path, struct sockaddr_un *ret_address)
{
	size_t length = strlen(path);

	if (length == 0)
		return -ENOENT;
	if (length >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret_address->sun_path, path, length);
	return 0;
}

static int make_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

static int connect_to(const struct sockaddr_un *address, int *ret_fd)
{
	autoclose int fd = make_socket();

	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	*ret_fd = fd_take(&fd);
	return 0;
}

int socket_connect(const char *path, int *ret_fd)
{
	struct sockaddr_un address;
	int err = make_address(path, &address);

	return err < 0 ? err : connect_to(&address, ret_fd);
}

static int bind_to(int fd, const struct sockaddr_un *address)
{
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	return 0;
}

/* What a program that was killed left behind: refused connections tell. */
static bool is_stale(const struct sockaddr_un *address)
{
	struct stat st;
	autoclose int fd = -1;

	if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	return connect_to(address, &fd) == -ECONNREFUSED;
}

static int bind_replacing(int fd, const struct sockaddr_un *address)
{
	int err = bind_to(fd, address);

	if (err != -EADDRINUSE || !is_stale(address))
		return err;
	if (unlink(address->sun_path) < 0 && errno != ENOENT)
		return -errno;
	return bind_to(fd, address);
}

int socket_listen(const char *path, int *ret_fd, struct socket_file *ret_file)
{
	struct sockaddr_un address;
	struct stat st;
	autoclose int fd = -1;
	int err = make_address(path, &address);

	if (err < 0)
		return err;
	fd = make_socket();
	if (fd < 0)
		return fd;
	err = bind_replacing(fd, &address);
	if (err < 0)
		return err;
	if (listen(fd, BACKLOG) < 0 || lstat(path, &st) < 0) {
		err = -errno;
		unlink(path);
		return err;
	}
	*ret_fd = fd_take(&fd);
	*ret_file = (struct socket_file){st.st_dev, st.st_ino};
	return 0;
}

void socket_unlink(const char *path, const struct socket_file *file)
{
	struct stat st;

	if (lstat(path, &st) == 0 && st.st_dev == file->device &&
	    st.st_ino == file->inode)
		unlink(path);
}

int socket_accept(int listen_fd, int *ret_fd)
{
	int fd;

	do
		fd = accept4(listen_fd, NULL, NULL,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	*ret_fd = fd;
	return 0;
}

static int socket_option(int fd, int option, int *ret_value)
{
	socklen_t length = sizeof(*ret_value);

	if (getsockopt(fd, SOL_SOCKET, option, ret_value, &length) < 0)
		return -errno;
	return 0;
}

int socket_adopt(int fd, bool *ret_listening)
{
	int domain, type, listening, flags;
	int err = socket_option(fd, SO_DOMAIN, &domain);

	if (err == 0)
		err = socket_option(fd, SO_TYPE, &type);
	if (err == 0)
		err = socket_option(fd, SO_ACCEPTCONN, &listening);
	if (err < 0)
		return err;
	if (domain != AF_UNIX || type != SOCK_STREAM)
		return -EPROTOTYPE;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	*ret_listening = listening;
	return 0;
}
