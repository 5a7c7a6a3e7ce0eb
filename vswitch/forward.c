/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/forward.h"

#include <assert.h>
#include <string.h>

#include "vswitch/forward-burst.h"
#include "vswitch/guard.h"
#include "vswitch/mirror.h"
#include "vswitch/shaper.h"
#include "vswitch/sniffer.h"

static_assert((int)FDB_BURST >= (int)NET_BURST, "a burst is looked up at once");
static_assert((int)NET_BURST < UINT8_MAX, "bucket_of has bytes");
static_assert((int)NET_BURST <= 64, "forward.keyed has a bit for each");
static_assert(FORWARD_GUARD_TYPE - FORWARD_GUARD_MAC == GUARD_TYPE - GUARD_MAC,
	      "verdicts of a guard are reasons");

const char *forward_drop_name(enum forward_drop drop)
{
	static const char *const names[] = {
		[FORWARD_PASS] = "pass",
		[FORWARD_TAGGED] = "tagged",
		[FORWARD_UNTAGGED] = "untagged",
		[FORWARD_VLAN] = "vlan",
		[FORWARD_SOURCE] = "source",
		[FORWARD_SPOOFED] = "spoofed",
		[FORWARD_RESERVED] = "reserved",
		[FORWARD_LIMIT] = "limit",
		[FORWARD_STORM] = "storm",
		[FORWARD_SAME_PORT] = "same-port",
		[FORWARD_ISOLATED] = "isolated",
		[FORWARD_OVERSIZE] = "oversize",
		[FORWARD_GUARD_MAC] = "guard-mac",
		[FORWARD_GUARD_ARP] = "guard-arp",
		[FORWARD_GUARD_ND] = "guard-nd",
		[FORWARD_GUARD_IP] = "guard-ip",
		[FORWARD_GUARD_TYPE] = "guard-type",
		[FORWARD_ACL_IN] = "acl-in",
		[FORWARD_ACL_OUT] = "acl-out",
		[FORWARD_ACL_HIDDEN] = "acl-unreadable",
		[FORWARD_MIRROR] = "mirror",
	};

	return names[drop];
}

void forward_init(struct forward *forward, struct fdb *fdb,
		  const struct forward_table *table)
{
	memset(forward, 0, sizeof(*forward));
	forward->fdb = fdb;
	forward->table = table;
}

/* All that came in, before its heads are changed. */
static void sniff_in(struct burst *b)
{
	const struct net_rx_frame *frames[NET_BURST];

	for (unsigned i = 0; i < b->f->count; i++)
		frames[i] = &b->frames[i];
	sniffer_show(b->f->sniffers, b->in->number, b->f->thread,
		     PCAPNG_INBOUND, frames, b->f->count);
}

void burst_sniff_mirrors(struct burst *b,
			 const struct net_rx_frame *const *frames,
			 const uint8_t *wants, unsigned count)
{
	const struct mirror_set *set = b->f->mirrors;

	for (unsigned m = 0; m < set->count; m++)
		for (unsigned i = 0; i < count; i++)
			if (wants[i] >> m & 1)
				sniffer_show(b->f->sniffers, set->to[m],
					     b->f->thread, PCAPNG_OUTBOUND,
					     &frames[i], 1);
}

void forward_send(struct forward_port *port,
		  const struct net_rx_frame *const *frames, unsigned count,
		  uint64_t now_ns)
{
	struct shaper *shaper = load_acquire(&port->shaper);

	if (shaper)
		shaper_send(shaper, frames, count, now_ns);
	else
		port->send(port, frames, count);
}

void forward_burst(struct forward *forward, struct forward_port *in,
		   struct net_rx_frame *frames, unsigned count, uint64_t now_ns,
		   uint64_t drops[static FORWARD_DROPS])
{
	struct burst burst = {
		.f = forward,
		.in = in,
		.frames = frames,
		.now_ns = now_ns,
		.drops = drops,
	};

	forward->count = count;
	forward->sniffers = load_acquire(&forward->table->sniffers);
	if (unlikely(forward->sniffers))
		sniff_in(&burst);
	if (in->listens) {
		drops[FORWARD_MIRROR] += count;
		return;
	}
	burst_judge(&burst);
	burst_deliver(&burst);
}
