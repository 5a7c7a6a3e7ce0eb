/* SPDX-License-Identifier: Apache-2.0 */
/* Of vswitch/control.c: the methods on serving threads and their queues. */
#ifndef VSWITCH_CONTROL_LCORE_H
#define VSWITCH_CONTROL_LCORE_H

#include "control/rpc.h"

int control_lcore_list(void *arg, json_t *params, json_t **ret_result,
		       char ret_error[static RPC_ERROR_BYTES]);
int control_lcore_queues(void *arg, json_t *params, json_t **ret_result,
			 char ret_error[static RPC_ERROR_BYTES]);
int control_lcore_move(void *arg, json_t *params, json_t **ret_result,
		       char ret_error[static RPC_ERROR_BYTES]);

#endif
