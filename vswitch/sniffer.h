/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What passes a port, copied as pcapng to whoever asked for it: all that comes
 * in at the port, before anybody judges it, and all that goes out by it. A
 * frame that finds no room on its way is missing from the copy, is counted, and
 * goes on: nothing waits for a sniffer (base/capture.h).
 *
 * A sniffer ends when its reader hangs up or sends nothing more, or when its port
 * goes.
 */
#ifndef VSWITCH_SNIFFER_H
#define VSWITCH_SNIFFER_H

#include <sys/types.h>

#include <pcap/bpf.h>

#include "base/capture.h"
#include "vswitch/forward.h"
#include "vswitch/port.h"

enum {
	SNIFFER_MAX = 8, /* a bit each */
	SNIFFER_MAX_INSTRUCTIONS = 4096,
};

struct sniffer;

/* What serving threads go by. It does not change while it is used: the control
 * thread fills another one, puts it in its place, and waits for a turn of all
 * serving threads. */
struct sniffer_set {
	struct sniffer *sniffers[SNIFFER_MAX];
	uint8_t wants[FDB_PORTS]; /* a bit for each that wants the port's */
};

/* --- serving threads ----------------------------------------------------------- */

/* Shows @count frames of the port @number to those that want it. @lane is the
 * thread's number. */
void sniffer_show(const struct sniffer_set *set, uint16_t number, unsigned lane,
		  enum pcapng_direction direction,
		  const struct net_rx_frame *const *frames, unsigned count);

/* --- the control thread -------------------------------------------------------- */

struct sniffers {
	const struct port_owner *owner; /* borrowed, as the table is */
	struct forward_table *table;
	struct sniffer_set sets[2]; /* in turn */
	struct sniffer *all[SNIFFER_MAX];
};

struct sniffer_config {
	int fd;		     /* a socket that does not block; copied */
	uint16_t number;     /* of the port */
	const char *port;    /* its name; copied */
	uint32_t snap_bytes; /* of a frame; 0: all of it */
	/* Those frames for whose first bytes, NET_COPY_BYTES at most, this says
	 * so; copied. */
	const struct bpf_insn *filter;
	unsigned filter_count; /* 0: all frames */
};

void sniffers_init(struct sniffers *sniffers, const struct port_owner *owner,
		   struct forward_table *table);

/* Begins in a later turn of the control thread's loop: what is written to the
 * descriptor before comes first. -EINVAL: the filter is none; -ENOSPC: there are
 * SNIFFER_MAX. */
int sniffers_add(struct sniffers *sniffers,
		 const struct sniffer_config *config);

/* Of the port @number, which is going. */
void sniffers_end(struct sniffers *sniffers, uint16_t number);
void sniffers_deinit(struct sniffers *sniffers);

#endif
