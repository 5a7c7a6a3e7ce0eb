/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent for a guest that has moved here, whatever it is sent by. */
#ifndef VHOST_NET_NET_ANNOUNCE_H
#define VHOST_NET_NET_ANNOUNCE_H

#include "base/capture.h"
#include "vhost-net/net-frame.h"

/* Makes net_frame_rarp, and captures it before the kernel has it: what answers
 * comes behind. @lane: this thread's, as if the guest had sent it; or NULL. */
void net_announce_make(const uint8_t mac[static 6], struct capture_lane *lane,
		       uint8_t ret_frame[static NET_RARP_BYTES]);

#endif
