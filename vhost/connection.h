/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connected vhost-user socket with its session: puts messages together
 * from whatever fragments arrive, hands them to the session, sends replies.
 *
 * It never waits on the socket. While a reply does not fit the socket's buffer
 * nothing more is read, so one reply at most is kept; and after
 * CONNECTION_BUDGET messages others on the loop have their turn.
 *
 * Control thread only.
 */
#ifndef VHOST_CONNECTION_H
#define VHOST_CONNECTION_H

#include "base/loop.h"
#include "vhost/session.h"

enum {
	CONNECTION_BUDGET = 64
};

struct connection;

/* Who is told; never from connection_new or connection_free. */
struct connection_owner {
	/*
	 * Called once, when the front-end has gone (@why is NULL) or is to go
	 * (@why says what it did, and is valid during the call). It frees the
	 * connection.
	 */
	void (*ended)(void *arg, const char *why);
	/* Something went wrong and the session goes on. */
	void (*complain)(void *arg, const char *what);
	void *arg;
};

/* Begins a session on @fd (a stream socket; taken on success only). */
int connection_new(struct loop *loop, struct vhost_device *device, int fd,
		   const struct connection_owner *owner,
		   struct connection **ret_connection);

/* Ends the session and closes the socket. Accepts NULL. */
void connection_free(struct connection *connection);

struct session *connection_session(struct connection *connection);

#endif
