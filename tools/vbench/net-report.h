/* SPDX-License-Identifier: Apache-2.0 */
/* What `vbench net` prints of one run: lines for people, or one JSON object. */
#ifndef TOOLS_VBENCH_NET_REPORT_H
#define TOOLS_VBENCH_NET_REPORT_H

#include "tools/vbench/net-load.h"

void net_report_text(const struct net_bench_options *options,
		     const struct net_result *result);
void net_report_json(const struct net_bench_options *options,
		     const struct net_result *result);

#endif
