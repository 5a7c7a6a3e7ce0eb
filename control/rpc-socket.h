/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Unix socket at which JSON-RPC is spoken: one request a line, one answer a
 * line. Whoever may connect may do all: the socket is its owner's alone.
 *
 * A client that sends a line without end, or does not read its answers, is
 * hung up on; it holds up nobody.
 *
 * Control thread only.
 */
#ifndef CONTROL_RPC_SOCKET_H
#define CONTROL_RPC_SOCKET_H

#include "base/loop.h"
#include "control/rpc.h"

enum {
	RPC_SOCKET_CLIENTS = 16,
	RPC_SOCKET_MAX_LINE = 1 << 20,
	/* Of answers that a client has not read. */
	RPC_SOCKET_MAX_UNREAD = 16 << 20,
};

struct rpc_socket;

/* Listens at @path. Borrows all. A negative errno, -EADDRINUSE if somebody
 * listens there already. */
int rpc_socket_new(struct loop *loop, const char *path, const struct rpc *rpc,
		   struct rpc_socket **ret_socket);

/* Hangs up, and removes the socket. Accepts NULL. */
void rpc_socket_free(struct rpc_socket *socket);

/*
 * Within a method of an rpc that such a socket answers by: the descriptor of who
 * asks; elsewhere -1. It is the socket's still. What is written to a copy comes
 * after the answer if it is written in a later turn of the loop, and as long as
 * the client asks for nothing else.
 */
int rpc_socket_caller(void);

#endif
