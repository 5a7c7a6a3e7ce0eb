/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One page of text that a daemon makes of itself, over HTTP: what --metrics is
 * at any of them. Whoever collects asks with GET /metrics (or /), at a Unix socket
 * or a TCP one. RFC 9112, as little as a client can rely on: each answer ends its
 * connection.
 *
 * Clients may be anybody. One that sends without end, asks for something else or
 * reads nothing has its place until others need it, and holds up nobody; a page
 * that is younger than PAGE_SOCKET_FRESH_NS is given again, whoever asks how often.
 *
 * Control thread only.
 */
#ifndef CONTROL_PAGE_SOCKET_H
#define CONTROL_PAGE_SOCKET_H

#include "base/loop.h"

enum {
	PAGE_SOCKET_CLIENTS = 16,
	PAGE_SOCKET_MAX_HEAD = 8192, /* of a request */
	PAGE_SOCKET_FRESH_NS = 100 * 1000 * 1000,
};

struct page_socket;

struct page_socket_config {
	/* A path, with a slash in it, or ADDR:PORT, [ADDR]:PORT; borrowed while
	 * it is made. */
	const char *address;
	const char *content_type; /* borrowed */
	/* The page, to be freed; NULL: there is no memory. */
	char *(*make)(void *arg);
	void *arg;
};

/*
 * Listens. Borrows @loop. A negative errno: -EINVAL for what is no address,
 * -EADDRINUSE, -EADDRNOTAVAIL, ….
 */
int page_socket_new(struct loop *loop, const struct page_socket_config *config,
		    struct page_socket **ret_socket);

/* Hangs up, and removes the socket's file. Accepts NULL. */
void page_socket_free(struct page_socket *socket);

#endif
