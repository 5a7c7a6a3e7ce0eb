/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-announce.h"

void net_announce_make(const uint8_t mac[static 6], struct capture_lane *lane,
		       uint8_t ret_frame[static NET_RARP_BYTES])
{
	net_frame_rarp(mac, ret_frame);
	if (lane && capture_lane_is_on(lane))
		capture_frame(lane, &(struct capture_frame){
					    .direction = PCAPNG_OUTBOUND,
					    .bytes = NET_RARP_BYTES,
					    .head = ret_frame,
					    .head_bytes = NET_RARP_BYTES,
				    });
}
