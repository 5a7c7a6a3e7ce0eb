/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The methods of the control socket that list what ports were told, of one kind of
 * key each. Each has a switch as its @arg; see control/rpc.h.
 */
#ifndef VSWITCH_CONTROL_LISTS_H
#define VSWITCH_CONTROL_LISTS_H

#include "control/rpc.h"

/* Ports that listen, and to what. */
int control_mirror_list(void *arg, json_t *params, json_t **ret_result,
			char ret_error[static RPC_ERROR_BYTES]);

/* What ports may send, and how fast they get it; one entry a limit. */
int control_limit_list(void *arg, json_t *params, json_t **ret_result,
		       char ret_error[static RPC_ERROR_BYTES]);

/* Ports whose frames are content of a VLAN, tags and all. */
int control_tunnel_list(void *arg, json_t *params, json_t **ret_result,
			char ret_error[static RPC_ERROR_BYTES]);

#endif
