/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be asked of a running switch over its control socket: JSON-RPC
 * methods on ports, stations and counters, and a page of OpenMetrics.
 *
 * Control thread only.
 */
#ifndef VSWITCH_CONTROL_H
#define VSWITCH_CONTROL_H

#include "control/rpc.h"
#include "vswitch/vswitch.h"

/* The methods, on @vswitch, which is borrowed. */
struct rpc control_rpc(struct vswitch *vswitch);

#endif
