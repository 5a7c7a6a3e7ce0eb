/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What became of what a frame for a device left to be made, a checksum or segments.
 * Each such frame that went to the device is counted as one of these.
 */
#ifndef VSWITCH_OFFLOAD_H
#define VSWITCH_OFFLOAD_H

enum offload {
	OFFLOAD_CHECKSUM, /* the device makes it */
	OFFLOAD_TSO,	  /* the device cuts the frame, and sums its segments */
	OFFLOAD_COPIED,	  /* our copy has it: it was not for this device */
	OFFLOAD_REFUSED,  /* our copy has it: the driver did not want it */
	OFFLOADS,
};

/* As metrics call it. */
const char *offload_name(enum offload offload);

#endif
