/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/forward.h"

#include <assert.h>
#include <rte_branch_prediction.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "vswitch/guard.h"
#include "vswitch/mirror.h"
#include "vswitch/shaper.h"
#include "vswitch/sniffer.h"

/* Beside the numbers of ports. */
enum {
	NOWHERE = UINT16_MAX,
	EVERYWHERE = UINT16_MAX - 1,
};

static_assert((int)FDB_BURST >= (int)NET_BURST, "a burst is looked up at once");
static_assert((int)NET_BURST < UINT8_MAX, "bucket_of has bytes");
static_assert((int)NET_BURST <= 64, "forward.keyed has a bit for each");
static_assert(FORWARD_GUARD_TYPE - FORWARD_GUARD_MAC == GUARD_TYPE - GUARD_MAC,
	      "verdicts of a guard are reasons");

/* A burst and what is done with it. */
struct burst {
	struct forward *f;
	struct forward_port *in;
	struct net_rx_frame *frames;
	uint64_t now_ns;
	uint64_t *drops;
};

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

static void drop(struct burst *b, unsigned i, enum forward_drop why)
{
	b->drops[why]++;
	b->f->egress[i] = NOWHERE;
}

/* --- sniffers --------------------------------------------------------------- */

/* All that came in, before its heads are changed. */
static void sniff_in(struct burst *b)
{
	const struct net_rx_frame *frames[NET_BURST];

	for (unsigned i = 0; i < b->f->count; i++)
		frames[i] = &b->frames[i];
	sniffer_show(b->f->sniffers, b->in->number, b->f->thread,
		     PCAPNG_INBOUND, frames, b->f->count);
}

/* What a listening port is sent. */
static void sniff_mirrors(struct burst *b,
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

/* --- the first pass --------------------------------------------------------- */

static enum forward_drop enter_vlan(const struct forward_port *in,
				    const struct net_rx_frame *frame,
				    struct vlan_frame *ret)
{
	static const enum forward_drop drops[] = {
		[VLAN_PASS] = FORWARD_PASS,
		[VLAN_DROP_TAGGED] = FORWARD_TAGGED,
		[VLAN_DROP_UNTAGGED] = FORWARD_UNTAGGED,
		[VLAN_DROP_MEMBER] = FORWARD_VLAN,
	};

	return drops[vlan_ingress(&in->vlan, frame, ret)];
}

/* 01-80-C2-00-00-00 to -0F. */
static bool is_reserved(const uint8_t *mac)
{
	static const uint8_t prefix[] = {0x01, 0x80, 0xc2, 0, 0};

	return memcmp(mac, prefix, sizeof(prefix)) == 0 && mac[5] < 0x10;
}

static bool is_within_limits(struct forward_port *in, uint32_t bytes,
			     uint64_t now_ns)
{
	return limit_take(&in->frames, 1, now_ns) &&
	       limit_take(&in->bytes, bytes, now_ns);
}

static enum forward_drop enter(struct burst *b, unsigned i)
{
	const struct net_rx_frame *frame = &b->frames[i];
	struct vlan_frame *vlan = &b->f->vlans[i];
	enum forward_drop why = enter_vlan(b->in, frame, vlan);

	if (why)
		return why;
	b->f->to[i] = fdb_key_of(frame->head, vlan->vlan);
	b->f->from[i] = fdb_key_of(frame->head + 6, vlan->vlan);
	if (fdb_key_is_group(b->f->from[i]))
		return FORWARD_SOURCE;
	if (fdb_key_is_group(b->f->to[i]) && is_reserved(frame->head))
		return FORWARD_RESERVED;
	if (!is_within_limits(b->in, frame->bytes, b->now_ns))
		return FORWARD_LIMIT;
	return FORWARD_PASS;
}

static void enter_all(struct burst *b)
{
	for (unsigned i = 0; i < b->f->count; i++) {
		enum forward_drop why = enter(b, i);

		b->f->egress[i] = EVERYWHERE;
		if (why)
			drop(b, i, why);
	}
}

static bool is_going(const struct forward *f, unsigned i)
{
	return f->egress[i] != NOWHERE;
}

static void guard_all(struct burst *b)
{
	struct guard *guard = b->in->guard;

	if (!guard)
		return;
	for (unsigned i = 0; i < b->f->count; i++) {
		enum guard_verdict verdict;

		if (!is_going(b->f, i))
			continue;
		verdict = guard_judge(guard, &b->frames[i]);
		if (verdict)
			drop(b, i, FORWARD_GUARD_MAC + verdict - GUARD_MAC);
	}
}

/* Made once, however many lists look at it: no tag is part of it. */
static const struct acl_key *
key_of(struct burst *b, const struct net_rx_frame *frame, unsigned i)
{
	struct forward *f = b->f;

	if (!(f->keyed >> i & 1)) {
		acl_key_of(frame, f->vlans[i].vlan, &f->keys[i]);
		f->keyed |= UINT64_C(1) << i;
	}
	return &f->keys[i];
}

static void filter_in(struct burst *b, struct acl *acl)
{
	const struct acl_key *keys[NET_BURST];
	enum acl_verdict verdicts[NET_BURST];
	uint8_t at[NET_BURST];
	unsigned count = 0;

	for (unsigned i = 0; i < b->f->count; i++) {
		if (!is_going(b->f, i))
			continue;
		at[count] = i;
		keys[count++] = key_of(b, &b->frames[i], i);
	}
	if (count == 0)
		return;
	acl_judge(acl, keys, count, verdicts);
	for (unsigned i = 0; i < count; i++)
		if (verdicts[i])
			drop(b, at[i],
			     verdicts[i] == ACL_DENIED ? FORWARD_ACL_IN
						       : FORWARD_ACL_HIDDEN);
}

static void filter_all(struct burst *b)
{
	struct acl *acl = b->in->acl_in;

	b->f->keyed = 0;
	if (acl)
		filter_in(b, acl);
}

/* Places of the keys of all that goes somewhere; a key that follows itself, as
 * most do, is looked up once. */
static void look_up(struct forward *f, const fdb_key *keys)
{
	fdb_key asked[NET_BURST];
	int32_t found[NET_BURST];
	uint8_t answer[NET_BURST];
	unsigned count = 0;

	for (unsigned i = 0; i < f->count; i++) {
		if (!is_going(f, i))
			continue;
		if (count == 0 || asked[count - 1] != keys[i])
			asked[count++] = keys[i];
		answer[i] = count - 1;
	}
	if (count == 0)
		return;
	fdb_look_up(f->fdb, asked, count, found);
	for (unsigned i = 0; i < f->count; i++)
		if (is_going(f, i))
			f->places[i] = found[answer[i]];
}

/* The station is not known at this port. */
static bool may_send(struct burst *b, unsigned i, uint32_t now)
{
	struct forward *f = b->f;
	const uint16_t port = b->in->number;

	if (b->in->is_locked)
		return false;
	f->learned = f->is_trial ? fdb_judge(f->fdb, f->from[i], port)
				 : fdb_learn(f->fdb, f->from[i], port, now);
	return f->learned != FDB_STATIC;
}

static bool is_known(struct burst *b, unsigned i, uint32_t now)
{
	struct forward *f = b->f;

	if (f->is_trial)
		return fdb_port(f->fdb, f->places[i]) == b->in->number;
	return fdb_refresh(f->fdb, f->places[i], b->in->number, now);
}

static void learn_all(struct burst *b)
{
	const uint32_t now = b->now_ns / NS_PER_SECOND;
	struct forward *f = b->f;

	look_up(f, f->from);
	for (unsigned i = 0; i < f->count; i++) {
		if (!is_going(f, i))
			continue;
		if (i > 0 && f->from[i] == f->from[i - 1] && is_going(f, i - 1))
			continue;
		if (!is_known(b, i, now) && !may_send(b, i, now))
			drop(b, i, FORWARD_SPOOFED);
	}
}

/* Before heads are changed. */
static void mirror_in(struct burst *b)
{
	const struct mirror_set *set = load_acquire(&b->f->table->mirrors);
	const struct net_rx_frame *frames[NET_BURST];
	struct forward *f = b->f;

	f->mirrors = set;
	if (!set)
		return;
	for (unsigned i = 0; i < f->count; i++) {
		frames[i] = &b->frames[i];
		f->mirrored[i] = is_going(f, i)
					 ? set->in[b->in->number] |
						   set->vlans[f->vlans[i].vlan]
					 : 0;
	}
	mirror_send(set, f->table, frames, f->mirrored, f->count, b->now_ns);
	if (unlikely(f->sniffers))
		sniff_mirrors(b, frames, f->mirrored, f->count);
}

static enum forward_storm storm_of(fdb_key to)
{
	if (!fdb_key_is_group(to))
		return FORWARD_UNKNOWN;
	return to >> 16 == UINT64_C(0xffffffffffff) ? FORWARD_BROADCAST
						    : FORWARD_MULTICAST;
}

static void decide(struct burst *b, unsigned i)
{
	struct forward *f = b->f;
	uint16_t port = fdb_key_is_group(f->to[i])
				? FDB_NO_PORT
				: fdb_port(f->fdb, f->places[i]);

	if (port != FDB_NO_PORT)
		f->egress[i] = port;
	else if (limit_take(&b->in->storms[storm_of(f->to[i])], 1, b->now_ns))
		f->floods++;
	else
		drop(b, i, FORWARD_STORM);
}

static void decide_all(struct burst *b)
{
	struct forward *f = b->f;

	look_up(f, f->to);
	f->floods = 0;
	for (unsigned i = 0; i < f->count; i++)
		if (is_going(f, i))
			decide(b, i);
}

/* --- the second pass -------------------------------------------------------- */

enum forward_drop forward_leaves(const struct forward_port *in,
				 const struct forward_port *out,
				 const struct vlan_frame *vlan,
				 struct vlan_edit *ret_edit)
{
	if (out == in)
		return FORWARD_SAME_PORT;
	if (out->listens)
		return FORWARD_MIRROR;
	if (out->group && out->group == in->group)
		return FORWARD_ISOLATED;
	if (!vlan_egress(&out->vlan, vlan, ret_edit))
		return FORWARD_VLAN;
	return FORWARD_PASS;
}

static enum forward_drop may_leave(const struct burst *b,
				   const struct forward_port *out, unsigned i,
				   struct vlan_edit *ret_edit)
{
	return forward_leaves(b->in, out, &b->f->vlans[i], ret_edit);
}

static struct forward_bucket *bucket_for(struct forward *f,
					 struct forward_port *out)
{
	uint8_t *of = &f->bucket_of[out->number];

	if (*of == 0) {
		f->buckets[f->bucket_count].port = out;
		f->buckets[f->bucket_count].count = 0;
		*of = ++f->bucket_count;
	}
	return &f->buckets[*of - 1];
}

/* For one port: its head is changed where it is. */
static void sort_one(struct burst *b, unsigned i)
{
	struct forward_port *out =
		load_acquire(&b->f->table->ports[b->f->egress[i]]);
	struct forward_bucket *bucket;
	enum forward_drop why;
	struct vlan_edit edit;

	/* The port is just being removed, and its stations with it. */
	why = out ? may_leave(b, out, i, &edit) : FORWARD_VLAN;
	if (!why && !vlan_apply(&b->frames[i], &edit))
		why = FORWARD_OVERSIZE;
	if (why) {
		b->drops[why]++;
		return;
	}
	bucket = bucket_for(b->f, out);
	bucket->frames[bucket->count++] = &b->frames[i];
}

static void sort_all(struct burst *b)
{
	struct forward *f = b->f;

	f->bucket_count = 0;
	for (unsigned i = 0; i < f->count; i++)
		if (is_going(f, i) && f->egress[i] != EVERYWHERE)
			sort_one(b, i);
}

/* Which frame of the burst it is, or is a copy of. */
static unsigned index_of(const struct burst *b,
			 const struct net_rx_frame *frame)
{
	const uintptr_t at = (uintptr_t)frame - (uintptr_t)b->frames;

	if (at < b->f->count * sizeof(*frame))
		return at / sizeof(*frame);
	return frame - b->f->copies;
}

static void filter_out(struct burst *b, struct acl *acl,
		       struct forward_bucket *bucket)
{
	const struct acl_key *keys[NET_BURST];
	enum acl_verdict verdicts[NET_BURST];
	unsigned count = 0;

	for (unsigned i = 0; i < bucket->count; i++)
		keys[i] = key_of(b, bucket->frames[i],
				 index_of(b, bucket->frames[i]));
	acl_judge(acl, keys, bucket->count, verdicts);
	for (unsigned i = 0; i < bucket->count; i++) {
		if (verdicts[i] == ACL_PASS)
			bucket->frames[count++] = bucket->frames[i];
		else
			b->drops[verdicts[i] == ACL_DENIED
					 ? FORWARD_ACL_OUT
					 : FORWARD_ACL_HIDDEN]++;
	}
	bucket->count = count;
}

/* Who listens to @out, and has the frame not yet. */
static void mirror_out(struct burst *b, uint8_t listeners,
		       const struct forward_bucket *bucket)
{
	struct forward *f = b->f;
	uint8_t wants[NET_BURST];

	for (unsigned i = 0; i < bucket->count; i++) {
		uint8_t *has = &f->mirrored[index_of(b, bucket->frames[i])];

		wants[i] = listeners & ~*has;
		*has |= listeners;
	}
	mirror_send(f->mirrors, f->table, bucket->frames, wants, bucket->count,
		    b->now_ns);
	if (unlikely(f->sniffers))
		sniff_mirrors(b, bucket->frames, wants, bucket->count);
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

static void deliver(struct burst *b, struct forward_port *out,
		    struct forward_bucket *bucket)
{
	const struct mirror_set *mirrors = b->f->mirrors;
	struct acl *acl = out->acl_out;

	if (acl)
		filter_out(b, acl, bucket);
	if (mirrors && mirrors->out[out->number])
		mirror_out(b, mirrors->out[out->number], bucket);
	if (bucket->count == 0)
		return;
	if (unlikely(b->f->sniffers))
		sniffer_show(b->f->sniffers, out->number, b->f->thread,
			     PCAPNG_OUTBOUND, bucket->frames, bucket->count);
	forward_send(out, bucket->frames, bucket->count, b->now_ns);
}

static void send_buckets(struct burst *b)
{
	struct forward *f = b->f;

	for (unsigned i = 0; i < f->bucket_count; i++) {
		struct forward_bucket *bucket = &f->buckets[i];

		f->bucket_of[bucket->port->number] = 0;
		deliver(b, bucket->port, bucket);
	}
}

/* A frame for many ports, as this one wants it; NULL: it gets none. */
static const struct net_rx_frame *
for_port(struct burst *b, const struct forward_port *out, unsigned i)
{
	struct net_rx_frame *copy = &b->f->copies[i];
	struct vlan_edit edit;

	if (may_leave(b, out, i, &edit))
		return NULL;
	if (edit.what == VLAN_KEEP)
		return &b->frames[i];
	*copy = b->frames[i];
	if (vlan_apply(copy, &edit))
		return copy;
	b->drops[FORWARD_OVERSIZE]++;
	return NULL;
}

static void flood_to(struct burst *b, struct forward_port *out)
{
	struct forward_bucket *flood = &b->f->flood;
	const struct net_rx_frame *frame;

	flood->count = 0;
	for (unsigned i = 0; i < b->f->count; i++) {
		if (b->f->egress[i] != EVERYWHERE)
			continue;
		frame = for_port(b, out, i);
		if (frame)
			flood->frames[flood->count++] = frame;
	}
	if (flood->count > 0)
		deliver(b, out, flood);
}

static void flood_all(struct burst *b)
{
	const struct forward_table *table = b->f->table;
	const unsigned end = load_acquire(&table->end);

	for (unsigned i = 0; i < end; i++) {
		struct forward_port *out = load_acquire(&table->ports[i]);

		if (out && out != b->in && !out->listens)
			flood_to(b, out);
	}
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
	enter_all(&burst);
	guard_all(&burst);
	filter_all(&burst);
	learn_all(&burst);
	mirror_in(&burst);
	decide_all(&burst);
	if (forward->floods > 0)
		flood_all(&burst);
	sort_all(&burst);
	send_buckets(&burst);
}
