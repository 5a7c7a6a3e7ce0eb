/* SPDX-License-Identifier: Apache-2.0 */
/* Of vswitch/control.c: the method that captures frames. */
#ifndef VSWITCH_CONTROL_CAPTURE_H
#define VSWITCH_CONTROL_CAPTURE_H

#include "control/rpc.h"

extern const struct rpc_param control_capture_params[];
/* Of a request over a socket (rpc_socket_caller) only: behind the answer comes
 * pcapng, until the client sends no more or hangs up. */
int control_capture(void *arg, json_t *params, json_t **ret_result,
		    char ret_error[static RPC_ERROR_BYTES]);

#endif
