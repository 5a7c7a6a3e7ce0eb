/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second pass over a burst: from egress to egress, each of which gets at once
 * all that it gets.
 */
#include "vswitch/forward-burst.h"
#include "vswitch/mirror.h"
#include "vswitch/sniffer.h"

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

/*
 * For one port: its head is changed where it is. Where it went, if it did and was
 * not changed; else NULL.
 */
static struct forward_bucket *sort_one(struct burst *b, unsigned i)
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
		return NULL;
	}
	bucket = bucket_for(b->f, out);
	bucket->frames[bucket->count++] = &b->frames[i];
	return edit.what == VLAN_KEEP ? bucket : NULL;
}

/* What is decided of the one holds for the other. */
static bool go_the_same_way(const struct forward *f, unsigned i, unsigned other)
{
	const struct vlan_frame *a = &f->vlans[i], *b = &f->vlans[other];

	return f->egress[i] == f->egress[other] && a->vlan == b->vlan &&
	       a->tagged == b->tagged && a->tpid == b->tpid &&
	       a->tci == b->tci && a->content == b->content;
}

/* What its first frame has not decided is decided of each. */
static struct forward_bucket *sort_run(struct burst *b,
				       const struct forward_run *run,
				       struct forward_bucket *bucket)
{
	for (unsigned i = run->first; i < run->first + run->count; i++) {
		if (bucket)
			bucket->frames[bucket->count++] = &b->frames[i];
		else
			bucket = sort_one(b, i);
	}
	return bucket;
}

static void sort_all(struct burst *b)
{
	struct forward *f = b->f;
	struct forward_bucket *bucket = NULL;
	unsigned last = 0;

	f->bucket_count = 0;
	for (unsigned i = 0; i < f->run_count; i++) {
		const struct forward_run *run = &f->runs[i];

		if (f->egress[run->first] >= EVERYWHERE)
			continue;
		if (bucket && !go_the_same_way(f, run->first, last))
			bucket = NULL;
		bucket = sort_run(b, run, bucket);
		last = run->first;
	}
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
		keys[i] = burst_key(b, bucket->frames[i],
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
		burst_sniff_mirrors(b, bucket->frames, wants, bucket->count);
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

/*
 * A port that gets a few frames of many waits for what another core wrote: its
 * rings, then where they say that frames may go. So all of them are fetched
 * before the first is waited for.
 */
static void expect_all(const struct forward *f)
{
	for (unsigned i = 0; i < f->bucket_count; i++) {
		struct forward_port *port = f->buckets[i].port;

		if (port->expect)
			port->expect(port);
	}
	for (unsigned i = 0; i < f->bucket_count; i++) {
		struct forward_port *port = f->buckets[i].port;

		if (port->expect)
			port->expect_frames(port, f->buckets[i].count);
	}
}

static void send_buckets(struct burst *b)
{
	struct forward *f = b->f;

	if (f->bucket_count > 1)
		expect_all(f);
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

void burst_deliver(struct burst *b)
{
	if (b->f->floods > 0)
		flood_all(b);
	sort_all(b);
	send_buckets(b);
}
