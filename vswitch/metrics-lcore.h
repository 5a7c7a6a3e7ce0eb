/* SPDX-License-Identifier: Apache-2.0 */
/* Of vswitch/metrics.c: what the serving threads have counted. */
#ifndef VSWITCH_METRICS_LCORE_H
#define VSWITCH_METRICS_LCORE_H

#include <stdio.h>

#include "vswitch/vswitch.h"

/* Control thread. */
void metrics_print_lcores(FILE *page, const struct vswitch *vswitch);

#endif
