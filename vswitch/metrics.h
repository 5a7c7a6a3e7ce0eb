/* SPDX-License-Identifier: Apache-2.0 */
/* What the switch has counted, as OpenMetrics text (version 1.0.0). */
#ifndef VSWITCH_METRICS_H
#define VSWITCH_METRICS_H

#include "vswitch/vswitch.h"

#define METRICS_CONTENT_TYPE \
	"application/openmetrics-text; version=1.0.0; charset=utf-8"

/* For the caller to free; NULL: there is no memory. Control thread. */
char *metrics_page(struct vswitch *vswitch);

#endif
