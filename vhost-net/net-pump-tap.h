/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump of one pair of queues and one descriptor of a TAP. Mostly nothing is
 * copied by us but headers: the kernel reads from the guest's transmit buffers
 * and writes into its receive buffers. Frames that were sent are written in one
 * batch of the loop; those that come are read by one call each while they are few,
 * and in a batch while they are many.
 *
 * Where that cannot be (buffers too many, a ring that is nearly empty, a frame
 * longer than was to be expected) it goes through a buffer of ours.
 */
#ifndef VHOST_NET_NET_PUMP_TAP_H
#define VHOST_NET_NET_PUMP_TAP_H

#include "vhost-net/net-pump.h"

/* Borrows @fd, too. -ENOMEM. */
int net_pump_tap_new(const struct net_pump_config *config, int fd,
		     struct net_pump **ret_pump);

#endif
