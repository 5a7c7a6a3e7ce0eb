/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/offload.h"

const char *offload_name(enum offload offload)
{
	static const char *const names[OFFLOADS] = {
		[OFFLOAD_CHECKSUM] = "checksum",
		[OFFLOAD_TSO] = "tso",
		[OFFLOAD_COPIED] = "copied",
		[OFFLOAD_REFUSED] = "refused",
	};

	return names[offload];
}
