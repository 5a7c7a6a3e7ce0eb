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

/* As the frame came in, whatever else there is of its kind. */
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
	return FORWARD_PASS;
}

/* Frames without a tag, whose addresses and type are those of the one before. */
static inline bool repeats(const struct net_rx_frame *frame)
{
	const uint8_t *head = frame->head, *before = (frame - 1)->head;

	return (frame->layout.tags | (frame - 1)->layout.tags) == 0 &&
	       get_le64(head) == get_le64(before) &&
	       get_le64(head + NET_ETHERNET_BYTES - 8) ==
		       get_le64(before + NET_ETHERNET_BYTES - 8);
}

static inline void enter_again(struct forward *f, unsigned i)
{
	f->vlans[i] = f->vlans[i - 1];
	f->to[i] = f->to[i - 1];
	f->from[i] = f->from[i - 1];
	f->repeats |= UINT64_C(1) << i;
}

static void enter_all(struct burst *b)
{
	enum forward_drop why = FORWARD_PASS;
	struct forward *f = b->f;

	f->repeats = 0;
	for (unsigned i = 0; i < f->count; i++) {
		if (i > 0 && repeats(&b->frames[i]))
			enter_again(f, i);
		else
			why = enter(b, i);
		f->egress[i] = EVERYWHERE;
		if (why)
			burst_drop(b, i, why);
		else if (!is_within_limits(b->in, b->frames[i].bytes,
					   b->now_ns))
			burst_drop(b, i, FORWARD_LIMIT);
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

/* Of all that goes somewhere. */
static void find_runs(struct forward *f)
{
	struct forward_run *run = NULL;

	f->run_count = 0;
	for (unsigned i = 0; i < f->count; i++) {
		if (!is_going(f, i)) {
			run = NULL;
		} else if (run && f->repeats >> i & 1) {
			run->count++;
		} else {
			run = &f->runs[f->run_count++];
			run->first = i;
			run->count = 1;
		}
	}
}

/* Places of the runs' keys; one that follows itself is looked up once. */
static void look_up(struct forward *f, const fdb_key *keys)
{
	fdb_key asked[NET_BURST];
	int32_t found[NET_BURST];
	uint8_t answer[NET_BURST];
	unsigned count = 0;

	for (unsigned i = 0; i < f->run_count; i++) {
		const fdb_key key = keys[f->runs[i].first];

		if (count == 0 || asked[count - 1] != key)
			asked[count++] = key;
		answer[i] = count - 1;
	}
	if (count == 0)
		return;
	fdb_look_up(f->fdb, asked, count, found);
	for (unsigned i = 0; i < f->run_count; i++)
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

static bool is_known(struct burst *b, int32_t place, uint32_t now)
{
	struct forward *f = b->f;

	if (f->is_trial)
		return fdb_port(f->fdb, place) == b->in->number;
	return fdb_refresh(f->fdb, place, b->in->number, now);
}

static void drop_run(struct burst *b, const struct forward_run *run,
		     enum forward_drop why)
{
	for (unsigned i = 0; i < run->count; i++)
		burst_drop(b, run->first + i, why);
}

/* Runs of stations that may not send are none any more. */
static void learn_all(struct burst *b)
{
	const uint32_t now = b->now_ns / NS_PER_SECOND;
	struct forward *f = b->f;
	unsigned count = 0;
	fdb_key before = 0;
	bool may = false;

	look_up(f, f->from);
	for (unsigned i = 0; i < f->run_count; i++) {
		const struct forward_run run = f->runs[i];

		if (i == 0 || f->from[run.first] != before)
			may = is_known(b, f->places[i], now) ||
			      may_send(b, run.first, now);
		before = f->from[run.first];
		if (may)
			f->runs[count++] = run;
		else
			drop_run(b, &run, FORWARD_SPOOFED);
	}
	f->run_count = count;
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

/* Each frame on its own. */
static void flood_run(struct burst *b, const struct forward_run *run)
{
	struct forward *f = b->f;
	struct limit *limit = &b->in->storms[storm_of(f->to[run->first])];

	for (unsigned i = run->first; i < run->first + run->count; i++) {
		if (limit_take(limit, 1, b->now_ns))
			f->floods++;
		else
			burst_drop(b, i, FORWARD_STORM);
	}
}

static void decide(struct burst *b, const struct forward_run *run,
		   int32_t place)
{
	struct forward *f = b->f;
	const uint16_t port = fdb_key_is_group(f->to[run->first])
				      ? FDB_NO_PORT
				      : fdb_port(f->fdb, place);

	if (port == FDB_NO_PORT) {
		flood_run(b, run);
		return;
	}
	for (unsigned i = run->first; i < run->first + run->count; i++)
		f->egress[i] = port;
}

static void decide_all(struct burst *b)
{
	struct forward *f = b->f;

	look_up(f, f->to);
	f->floods = 0;
	for (unsigned i = 0; i < f->run_count; i++)
		decide(b, &f->runs[i], f->places[i]);
}

void burst_judge(struct burst *b)
{
	enter_all(b);
	guard_all(b);
	filter_all(b);
	find_runs(b->f);
	learn_all(b);
	mirror_in(b);
	decide_all(b);
}
