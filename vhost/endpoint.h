/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket of a vhost-user back-end, in either role, on a control loop.
 *
 * Listening: accepts one front-end at a time; when it goes the next is
 * accepted. Connecting: connects, and again (with a delay) whenever the
 * connection ends. A given descriptor may be a listening socket (systemd, or
 * --fd) or a connected one, told apart by SO_ACCEPTCONN. Messages may arrive
 * in any fragments, are never waited for, and a front-end that stops half-way
 * holds up nobody but itself.
 *
 * Control thread only.
 */
#ifndef VHOST_ENDPOINT_H
#define VHOST_ENDPOINT_H

#include <stdbool.h>

#include "base/loop.h"
#include "vhost/device.h"
#include "vhost/session.h"

struct endpoint;

struct endpoint_config {
	const char *socket_path; /* listen at or connect to; or NULL */
	int fd;			 /* takes it, if socket_path is NULL */
	bool connect;		 /* with socket_path: connect, not listen */
	/*
	 * Called when a session begins and when it has ended, from the loop
	 * and never from within endpoint_new or endpoint_free; may be NULL.
	 * It does not free the endpoint.
	 */
	void (*changed)(void *arg, bool connected);
	/*
	 * Called with each sentence of session_error and endpoint_error that a
	 * message caused, for a log; may be NULL. A front-end can cause as
	 * many as it likes: log_ratelimited.
	 */
	void (*complain)(void *arg, const char *what);
	void *arg;
};

/* Takes config->fd on success only. Borrows @device and @loop. */
int endpoint_new(struct loop *loop, struct vhost_device *device,
		 const struct endpoint_config *config,
		 struct endpoint **ret_endpoint);

/* Ends the session; a listening socket made here is unlinked. */
void endpoint_free(struct endpoint *endpoint);

/* The current session or NULL. */
struct session *endpoint_session(struct endpoint *endpoint);

/*
 * What the front-end of the last session did wrong, as a sentence that names
 * message, field and value; NULL if it just went. For @changed to log.
 */
const char *endpoint_error(const struct endpoint *endpoint);

/* True if no session runs or can come: a given connection has ended. */
bool endpoint_is_over(const struct endpoint *endpoint);

#endif
