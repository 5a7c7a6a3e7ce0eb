/* SPDX-License-Identifier: Apache-2.0 */
/* The first pass over a burst: each frame by its private head. */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "vswitch/forward-burst.h"
#include "vswitch/guard.h"
#include "vswitch/mirror.h"

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
	return (!limit_is_set(&in->frames) ||
		limit_take(&in->frames, 1, now_ns)) &&
	       (!limit_is_set(&in->bytes) ||
		limit_take(&in->bytes, bytes, now_ns));
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
			burst_drop(b, i, why);
	}
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
			burst_drop(b, i,
				   FORWARD_GUARD_MAC + verdict - GUARD_MAC);
	}
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
		keys[count++] = burst_key(b, &b->frames[i], i);
	}
	if (count == 0)
		return;
	acl_judge(acl, keys, count, verdicts);
	for (unsigned i = 0; i < count; i++)
		if (verdicts[i])
			burst_drop(b, at[i],
				   verdicts[i] == ACL_DENIED
					   ? FORWARD_ACL_IN
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
			burst_drop(b, i, FORWARD_SPOOFED);
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
		burst_sniff_mirrors(b, frames, f->mirrored, f->count);
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
		burst_drop(b, i, FORWARD_STORM);
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

void burst_judge(struct burst *b)
{
	enter_all(b);
	guard_all(b);
	filter_all(b);
	learn_all(b);
	mirror_in(b);
	decide_all(b);
}
