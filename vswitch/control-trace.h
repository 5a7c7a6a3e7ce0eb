/* SPDX-License-Identifier: Apache-2.0 */
/* Of vswitch/control.c: the method that traces a frame. */
#ifndef VSWITCH_CONTROL_TRACE_H
#define VSWITCH_CONTROL_TRACE_H

#include "control/rpc.h"

extern const struct rpc_param control_trace_params[];
int control_trace(void *arg, json_t *params, json_t **ret_result,
		  char ret_error[static RPC_ERROR_BYTES]);

#endif
