/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The methods of the control socket on what ports may do. Each has a switch as
 * its @arg; see control/rpc.h.
 */
#ifndef VSWITCH_CONTROL_POLICY_H
#define VSWITCH_CONTROL_POLICY_H

#include "control/rpc.h"

int control_guard_list(void *arg, json_t *params, json_t **ret_result,
		       char ret_error[static RPC_ERROR_BYTES]);
int control_guard_set(void *arg, json_t *params, json_t **ret_result,
		      char ret_error[static RPC_ERROR_BYTES]);
int control_guard_remove(void *arg, json_t *params, json_t **ret_result,
			 char ret_error[static RPC_ERROR_BYTES]);

int control_acl_list(void *arg, json_t *params, json_t **ret_result,
		     char ret_error[static RPC_ERROR_BYTES]);
int control_acl_set(void *arg, json_t *params, json_t **ret_result,
		    char ret_error[static RPC_ERROR_BYTES]);

/* Any keys of a port that can change while it is used. */
int control_port_set(void *arg, json_t *params, json_t **ret_result,
		     char ret_error[static RPC_ERROR_BYTES]);

#endif
