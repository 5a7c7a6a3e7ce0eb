/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON-RPC 2.0: a table of methods, and requests answered by it. Knows no
 * socket (control/rpc-socket.h does). The method rpc.discover, which describes
 * the others (OpenRPC 1.2), is always there.
 *
 * Control thread only.
 */
#ifndef CONTROL_RPC_H
#define CONTROL_RPC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	RPC_ERROR_BYTES = 512,
	RPC_MAX_BATCH = 64,
	/* "Error object" of the specification; other codes are the methods'. */
	RPC_E_PARSE = -32700,
	RPC_E_REQUEST = -32600,
	RPC_E_METHOD = -32601,
	RPC_E_PARAMS = -32602,
	RPC_E_FAILED = 1, /* what was asked for could not be done */
};

struct rpc_param {
	const char *name; /* NULL ends a list */
	const char *type; /* a JSON type: "string", "object", "boolean" */
	bool required;
	const char *summary;
};

struct rpc_method {
	const char *name;
	const char *summary;
	const struct rpc_param *params; /* NULL: none */
	/*
	 * @params is an object with what the list says, and nothing else. 0
	 * with a new reference, or one of RPC_E_… with a sentence.
	 */
	int (*call)(void *arg, json_t *params, json_t **ret_result,
		    char ret_error[static RPC_ERROR_BYTES]);
};

struct rpc {
	const char *title, *version;
	const struct rpc_method *methods;
	size_t count;
	void *arg;
};

/*
 * Answers @text, a request or a batch: the answer, for the caller to free, or
 * NULL if none is due (notifications) or there is no memory.
 */
char *rpc_answer(const struct rpc *rpc, const char *text, size_t length);

#endif
