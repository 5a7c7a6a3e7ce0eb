/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rpc-socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/socket.h"

enum {
	READ_BYTES = 4096,
	OWNER_ALONE = 0077,
};

/* Bytes that grow as they come; none are there while data is NULL. */
struct text {
	char *data;
	size_t length;
	size_t room;
};

struct client {
	struct rpc_socket *socket;
	int fd; /* -1: the place is free */
	struct loop_watch *watch;
	bool is_over; /* it sends nothing more */
	struct text in, out;
};

struct rpc_socket {
	struct loop *loop;
	const struct rpc *rpc;
	char *path;
	struct socket_file file;
	int listen_fd;
	struct loop_watch *incoming;
	struct client clients[RPC_SOCKET_CLIENTS];
};

static bool text_add(struct text *text, const char *bytes, size_t count,
		     size_t most)
{
	if (count == 0)
		return true;
	if (count > most - text->length)
		return false;
	if (text->length + count > text->room) {
		size_t room = MAX(2 * text->room, text->length + count);
		char *data = realloc(text->data, room);

		if (!data)
			return false;
		text->data = data;
		text->room = room;
	}
	memcpy(text->data + text->length, bytes, count);
	text->length += count;
	return true;
}

static void text_drop(struct text *text, size_t count)
{
	text->length -= count;
	memmove(text->data, text->data + count, text->length);
}

static void text_free(struct text *text)
{
	free(text->data);
	*text = (struct text){0};
}

static void hang_up(struct client *client)
{
	loop_watch_free(client->watch);
	client->watch = NULL;
	fd_close(&client->fd);
	text_free(&client->in);
	text_free(&client->out);
}

/* As much as the socket takes; the watch tells when there is room again. */
static int write_out(struct client *client)
{
	while (client->out.length > 0) {
		ssize_t n = send(client->fd, client->out.data,
				 client->out.length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		text_drop(&client->out, n);
	}
	return 0;
}

static int caller = -1;

int rpc_socket_caller(void)
{
	return caller;
}

static int answer(struct client *client, const char *line, size_t length)
{
	bool fits = true;
	char *bytes;

	caller = client->fd;
	bytes = rpc_answer(client->socket->rpc, line, length);
	caller = -1;
	if (bytes)
		fits = text_add(&client->out, bytes, strlen(bytes),
				RPC_SOCKET_MAX_UNREAD) &&
		       text_add(&client->out, "\n", 1, RPC_SOCKET_MAX_UNREAD);
	free(bytes);
	return fits ? 0 : -ENOBUFS;
}

/* All lines that are whole; blank ones are none. */
static int answer_lines(struct client *client)
{
	size_t done = 0;
	int err = 0;

	while (err == 0 && done < client->in.length) {
		const char *line = client->in.data + done;
		const char *end = memchr(line, '\n', client->in.length - done);

		if (!end)
			break;
		if (end > line)
			err = answer(client, line, end - line);
		done += end - line + 1;
	}
	if (done > 0)
		text_drop(&client->in, done);
	return err;
}

/* Until it would block; lines are answered as they come. */
static int read_in(struct client *client)
{
	char bytes[READ_BYTES];
	int err = 0;

	while (err == 0 && !client->is_over) {
		ssize_t n = recv(client->fd, bytes, sizeof(bytes), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		client->is_over = n == 0;
		if (!text_add(&client->in, bytes, n, RPC_SOCKET_MAX_LINE))
			return -EMSGSIZE;
		err = answer_lines(client);
	}
	return err;
}

static void client_ready(void *arg, int revents)
{
	struct client *client = arg;
	int err = revents < 0 ? revents : read_in(client);

	if (err == 0)
		err = write_out(client);
	/* Who has sent all may still read. */
	if (err < 0 || (client->is_over && client->out.length == 0))
		hang_up(client);
}

static struct client *free_place(struct rpc_socket *s)
{
	for (unsigned i = 0; i < RPC_SOCKET_CLIENTS; i++)
		if (s->clients[i].fd < 0)
			return &s->clients[i];
	return NULL;
}

static void take_client(struct rpc_socket *s, int fd)
{
	struct client *client = free_place(s);

	if (!client) {
		close(fd);
		return;
	}
	client->fd = fd;
	client->is_over = false;
	if (loop_watch_new(s->loop, fd, POLLIN | POLLOUT, client_ready, client,
			   &client->watch) < 0)
		hang_up(client);
}

static void client_came(void *arg, int revents)
{
	struct rpc_socket *s = arg;
	int fd;

	while (socket_accept(s->listen_fd, &fd) == 0)
		take_client(s, fd);
}

/* The mode of a socket is what the mask leaves. */
static int listen_alone(struct rpc_socket *s)
{
	mode_t before = umask(OWNER_ALONE);
	int err = socket_listen(s->path, &s->listen_fd, &s->file);

	umask(before);
	return err;
}

int rpc_socket_new(struct loop *loop, const char *path, const struct rpc *rpc,
		   struct rpc_socket **ret_socket)
{
	struct rpc_socket *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->rpc = rpc;
	s->listen_fd = -1;
	for (unsigned i = 0; i < RPC_SOCKET_CLIENTS; i++) {
		s->clients[i].socket = s;
		s->clients[i].fd = -1;
	}
	s->path = strdup(path);
	err = s->path ? listen_alone(s) : -ENOMEM;
	if (err == 0)
		err = loop_watch_new(loop, s->listen_fd, POLLIN, client_came, s,
				     &s->incoming);
	if (err < 0) {
		rpc_socket_free(s);
		return err;
	}
	*ret_socket = s;
	return 0;
}

void rpc_socket_free(struct rpc_socket *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < RPC_SOCKET_CLIENTS; i++)
		if (s->clients[i].fd >= 0)
			hang_up(&s->clients[i]);
	loop_watch_free(s->incoming);
	if (s->listen_fd >= 0)
		socket_unlink(s->path, &s->file);
	fd_close(&s->listen_fd);
	free(s->path);
	free(s);
}
