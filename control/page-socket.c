/* SPDX-License-Identifier: Apache-2.0 */
#include "control/page-socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/socket.h"
#include "control/page-request.h"

enum {
	BACKLOG = 16,
	HOST_BYTES = 64,
	READ_BYTES = 4096,
};

struct client {
	struct page_socket *socket;
	int fd; /* -1: the place is free */
	uint64_t arrival;
	struct loop_watch *watch;
	bool is_over; /* it sends nothing more */
	char head[PAGE_SOCKET_MAX_HEAD];
	size_t head_bytes;
	char *answer; /* NULL: not asked yet */
	size_t answer_bytes, sent;
};

struct page_socket {
	struct page_socket_config config;
	struct loop *loop;
	char *path; /* NULL: TCP */
	struct socket_file file;
	int listen_fd;
	struct loop_watch *incoming;
	uint64_t arrivals;
	char *page; /* of made_ns */
	uint64_t made_ns;
	struct client clients[PAGE_SOCKET_CLIENTS];
};

/* --- answers ----------------------------------------------------------------- */

static const char *fresh_page(struct page_socket *s)
{
	const uint64_t now = clock_ns();

	if (s->page && now - s->made_ns < PAGE_SOCKET_FRESH_NS)
		return s->page;
	free(s->page);
	s->page = s->config.make(s->config.arg);
	s->made_ns = now;
	return s->page;
}

static int answer(struct client *client, enum page_request request)
{
	struct page_socket *s = client->socket;
	const char *status = page_request_status(request);
	const char *page = NULL;
	bool has_page =
		request == PAGE_REQUEST_GET || request == PAGE_REQUEST_HEAD;
	int n;

	if (has_page) {
		page = fresh_page(s);
		if (!page)
			return -ENOMEM;
	}
	n = asprintf(&client->answer,
		     "HTTP/1.1 %s\r\n"
		     "Content-Type: %s\r\n"
		     "Content-Length: %zu\r\n"
		     "%s"
		     "Connection: close\r\n\r\n%s%s",
		     status, has_page ? s->config.content_type : "text/plain",
		     has_page ? strlen(page) : strlen(status) + 1,
		     request == PAGE_REQUEST_OTHER_METHOD
			     ? "Allow: GET, HEAD\r\n"
			     : "",
		     request == PAGE_REQUEST_HEAD ? ""
		     : has_page			  ? page
						  : status,
		     has_page ? "" : "\n");
	if (n < 0) {
		client->answer = NULL;
		return -ENOMEM;
	}
	client->answer_bytes = n;
	return 0;
}

/* --- clients ----------------------------------------------------------------- */

static void hang_up(struct client *client)
{
	loop_watch_free(client->watch);
	client->watch = NULL;
	client->is_over = false;
	fd_close(&client->fd);
	free(client->answer);
	client->answer = NULL;
	client->head_bytes = client->answer_bytes = client->sent = 0;
}

/* As much as the socket takes; after the last byte we say that it was. */
static int write_out(struct client *client)
{
	while (client->sent < client->answer_bytes) {
		ssize_t n =
			send(client->fd, client->answer + client->sent,
			     client->answer_bytes - client->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		client->sent += n;
		if (client->sent == client->answer_bytes)
			shutdown(client->fd, SHUT_WR);
	}
	return 0;
}

static int take(struct client *client, const char *bytes, size_t count)
{
	enum page_request request;

	/* What comes after the request is nobody's, and keeps an end of the
	 * connection from taking the answer with it. */
	if (client->answer)
		return 0;
	if (count > sizeof(client->head) - client->head_bytes)
		return -EMSGSIZE;
	memcpy(client->head + client->head_bytes, bytes, count);
	client->head_bytes += count;
	request = page_request_read(client->head, client->head_bytes);
	return request == PAGE_REQUEST_PART ? 0 : answer(client, request);
}

/* Until it would block. */
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
		err = take(client, bytes, n);
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
	if (err < 0 ||
	    (client->is_over && client->sent == client->answer_bytes))
		hang_up(client);
}

/* A free place, or that of whoever has had one for the longest time. */
static struct client *make_place(struct page_socket *s)
{
	struct client *oldest = &s->clients[0];

	for (unsigned i = 0; i < PAGE_SOCKET_CLIENTS; i++) {
		struct client *client = &s->clients[i];

		if (client->fd < 0)
			return client;
		if (client->arrival < oldest->arrival)
			oldest = client;
	}
	hang_up(oldest);
	return oldest;
}

static void client_came(void *arg, int revents)
{
	struct page_socket *s = arg;
	struct client *client;
	int fd;

	while (socket_accept(s->listen_fd, &fd) == 0) {
		client = make_place(s);
		client->fd = fd;
		client->arrival = ++s->arrivals;
		if (loop_watch_new(s->loop, fd, POLLIN | POLLOUT, client_ready,
				   client, &client->watch) < 0)
			hang_up(client);
	}
}

/* --- listening --------------------------------------------------------------- */

/* "ADDR:PORT", "[ADDR]:PORT": numbers only, nobody is asked for names. */
static int resolve(const char *address, struct addrinfo **ret_info)
{
	const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM,
	};
	const char *colon = strrchr(address, ':');
	char host[HOST_BYTES];
	size_t length = colon ? (size_t)(colon - address) : 0;

	if (length == 0 || length >= sizeof(host) || colon[1] == '\0')
		return -EINVAL;
	if (address[0] == '[') {
		if (length < 3 || colon[-1] != ']')
			return -EINVAL;
		address++;
		length -= 2;
	}
	snprintf(host, sizeof(host), "%.*s", (int)length, address);
	return getaddrinfo(host, colon + 1, &hints, ret_info) == 0 ? 0
								   : -EINVAL;
}

static int listen_at(const struct addrinfo *info, int *ret_fd)
{
	autoclose int fd = socket(
		info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, info->ai_addr, info->ai_addrlen) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = fd_take(&fd);
	return 0;
}

static int open_tcp(struct page_socket *s, const char *address)
{
	struct addrinfo *info;
	int err = resolve(address, &info);

	if (err < 0)
		return err;
	err = listen_at(info, &s->listen_fd);
	freeaddrinfo(info);
	return err;
}

static int open_unix(struct page_socket *s, const char *path)
{
	s->path = strdup(path);
	return s->path ? socket_listen(path, &s->listen_fd, &s->file) : -ENOMEM;
}

int page_socket_new(struct loop *loop, const struct page_socket_config *config,
		    struct page_socket **ret_socket)
{
	struct page_socket *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->loop = loop;
	s->listen_fd = -1;
	for (unsigned i = 0; i < PAGE_SOCKET_CLIENTS; i++) {
		s->clients[i].socket = s;
		s->clients[i].fd = -1;
	}
	err = strchr(config->address, '/') ? open_unix(s, config->address)
					   : open_tcp(s, config->address);
	if (err == 0)
		err = loop_watch_new(loop, s->listen_fd, POLLIN, client_came, s,
				     &s->incoming);
	if (err < 0) {
		page_socket_free(s);
		return err;
	}
	*ret_socket = s;
	return 0;
}

void page_socket_free(struct page_socket *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < PAGE_SOCKET_CLIENTS; i++)
		if (s->clients[i].fd >= 0)
			hang_up(&s->clients[i]);
	loop_watch_free(s->incoming);
	if (s->path && s->listen_fd >= 0)
		socket_unlink(s->path, &s->file);
	fd_close(&s->listen_fd);
	free(s->path);
	free(s->page);
	free(s);
}
