/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pump moves, shown to the capture. A frame of the guest's is read here
 * as well as by the kernel: a guest that changes it meanwhile spoils what is
 * captured, and nothing else.
 */
#include "vhost-net/net-pump-internal.h"

void net_pump_look_at_capture(struct net_pump *pump)
{
	pump->captures =
		pump->config.lane && capture_lane_is_on(pump->config.lane);
}

static void capture(const struct net_pump *pump,
		    const struct capture_frame *frame)
{
	if (pump->captures)
		capture_frame(pump->config.lane, frame);
}

void net_pump_capture_sent(const struct net_pump *pump,
			   const struct net_rx_frame *frame)
{
	capture(pump, &(struct capture_frame){
			      .direction = PCAPNG_OUTBOUND,
			      .bytes = frame->bytes,
			      .head = frame->head,
			      .head_bytes = frame->head_bytes,
			      .rest = frame->rest,
		      });
}

void net_pump_capture_received(const struct net_pump *pump,
			       const struct iovec *iov, unsigned segments,
			       uint32_t bytes)
{
	capture(pump, &(struct capture_frame){
			      .direction = PCAPNG_INBOUND,
			      .bytes = bytes,
			      .rest = iov_cursor(iov, segments),
		      });
}

void net_pump_capture_bounced(const struct net_pump *pump)
{
	capture(pump, &(struct capture_frame){
			      .direction = PCAPNG_INBOUND,
			      .bytes = pump->bounced.bytes,
			      .head = pump->bounced.head,
			      .head_bytes = pump->bounced.head_bytes,
			      .rest = pump->bounced.rest,
		      });
}
