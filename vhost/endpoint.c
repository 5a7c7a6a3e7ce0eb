/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where connections come from. A connection that ends leads to the next one:
 * accepted if it waits already, or connected after a delay. The delay doubles
 * with each failure in a row, and keeps a front-end that closes at once from
 * keeping us busy.
 */
#include "vhost/endpoint.h"
#include "vhost/doorbell.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/socket.h"
#include "vhost/connection.h"

static const uint64_t retry_first_ns = NS_PER_SECOND / 10;
static const uint64_t retry_most_ns = NS_PER_SECOND * 3;

struct endpoint {
	struct loop *loop;
	struct vhost_device *device;
	struct endpoint_config config;
	char *path;		 /* or NULL: a descriptor was given */
	struct socket_file file; /* with @path, listening */
	int listen_fd;		 /* -1: we do not listen */
	int given_fd;		 /* connected, until its session begins */
	struct loop_watch *incoming;
	int timer_fd;
	struct loop_watch *timer;
	uint64_t retry_ns;
	struct connection *connection;
	char error[MESSAGE_ERROR_BYTES]; /* empty: it ended in peace */
};

static void try_in(struct endpoint *e, uint64_t ns)
{
	const struct itimerspec when = {
		.it_value.tv_sec = ns / NS_PER_SECOND,
		.it_value.tv_nsec = ns % NS_PER_SECOND,
	};

	timerfd_settime(e->timer_fd, 0, &when, NULL);
}

static void retry_later(struct endpoint *e)
{
	try_in(e, e->retry_ns);
	e->retry_ns *= 2;
	if (e->retry_ns > retry_most_ns)
		e->retry_ns = retry_most_ns;
}

static void next_connection(struct endpoint *e);

static void on_complaint(void *arg, const char *what)
{
	struct endpoint *e = arg;

	if (e->config.complain)
		e->config.complain(e->config.arg, what);
}

static void on_ended(void *arg, const char *why)
{
	struct endpoint *e = arg;

	snprintf(e->error, sizeof(e->error), "%s", why ? why : "");
	log_debug("%s: front-end gone%s%s", e->device->name, why ? ": " : "",
		  e->error);
	if (why)
		on_complaint(e, e->error);
	connection_free(e->connection);
	e->connection = NULL;
	if (e->config.changed)
		e->config.changed(e->config.arg, false);
	if (e->listen_fd >= 0)
		next_connection(e);
	else if (e->path)
		retry_later(e);
}

/* Takes *@fd on success. */
static int begin(struct endpoint *e, int *fd)
{
	const struct connection_owner owner = {
		.ended = on_ended,
		.complain = on_complaint,
		.arg = e,
	};
	int err =
		connection_new(e->loop, e->device, *fd, &owner, &e->connection);

	if (err < 0)
		return err;
	*fd = -1;
	e->retry_ns = retry_first_ns;
	e->error[0] = '\0';
	if (e->config.changed)
		e->config.changed(e->config.arg, true);
	return 0;
}

static int find_connection(struct endpoint *e)
{
	autoclose int fd = -1;
	int err;

	if (e->given_fd >= 0)
		return begin(e, &e->given_fd);
	err = e->listen_fd >= 0 ? socket_accept(e->listen_fd, &fd)
				: socket_connect(e->path, &fd);
	return err < 0 ? err : begin(e, &fd);
}

static void next_connection(struct endpoint *e)
{
	int err;

	if (e->connection)
		return;
	err = find_connection(e);
	if (err == 0 || (err == -EAGAIN && e->listen_fd >= 0))
		return;
	log_debug("%s: no connection: %s", e->device->name, strerror(-err));
	retry_later(e);
}

static void on_incoming(void *arg, int revents)
{
	next_connection(arg);
}

static void on_timer(void *arg, int revents)
{
	struct endpoint *e = arg;
	uint64_t expirations;

	/* Non-blocking; the count says nothing of use. */
	if (read(e->timer_fd, &expirations, sizeof(expirations)) < 0)
		return;
	next_connection(e);
}

static int watch_timer(struct endpoint *e)
{
	e->timer_fd =
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (e->timer_fd < 0)
		return -errno;
	return loop_watch_new(e->loop, e->timer_fd, POLLIN, on_timer, e,
			      &e->timer);
}

static int watch_incoming(struct endpoint *e)
{
	return loop_watch_new(e->loop, e->listen_fd, POLLIN, on_incoming, e,
			      &e->incoming);
}

static int open_path(struct endpoint *e)
{
	int err;

	e->path = strdup(e->config.socket_path);
	if (!e->path)
		return -ENOMEM;
	if (e->config.connect) {
		try_in(e, 1);
		return 0;
	}
	err = socket_listen(e->path, &e->listen_fd, &e->file);
	return err < 0 ? err : watch_incoming(e);
}

static int open_given(struct endpoint *e)
{
	bool listening;
	int err = socket_adopt(e->config.fd, &listening);

	if (err < 0)
		return err;
	if (!listening) {
		e->given_fd = e->config.fd;
		try_in(e, 1);
		return 0;
	}
	e->listen_fd = e->config.fd;
	err = watch_incoming(e);
	if (err < 0)
		e->listen_fd = -1; /* still the caller's */
	return err;
}

int endpoint_new(struct loop *loop, struct vhost_device *device,
		 const struct endpoint_config *config,
		 struct endpoint **ret_endpoint)
{
	struct endpoint *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	*e = (struct endpoint){
		.loop = loop,
		.device = device,
		.config = *config,
		.listen_fd = -1,
		.given_fd = -1,
		.timer_fd = -1,
		.retry_ns = retry_first_ns,
	};
	doorbell_setup();
	err = watch_timer(e);
	if (err == 0)
		err = config->socket_path ? open_path(e) : open_given(e);
	if (err < 0) {
		endpoint_free(e);
		return err;
	}
	*ret_endpoint = e;
	return 0;
}

void endpoint_free(struct endpoint *e)
{
	if (!e)
		return;
	connection_free(e->connection);
	loop_watch_free(e->incoming);
	loop_watch_free(e->timer);
	fd_close(&e->timer_fd);
	if (e->path && e->listen_fd >= 0)
		socket_unlink(e->path, &e->file);
	fd_close(&e->listen_fd);
	fd_close(&e->given_fd);
	free(e->path);
	free(e);
}

struct session *endpoint_session(struct endpoint *e)
{
	return e->connection ? connection_session(e->connection) : NULL;
}

bool endpoint_is_over(const struct endpoint *e)
{
	return !e->connection && e->listen_fd < 0 && e->given_fd < 0 &&
	       !e->path;
}

const char *endpoint_error(const struct endpoint *e)
{
	return e->error[0] ? e->error : NULL;
}
