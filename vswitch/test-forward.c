/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forwarding in bursts, beside a model that takes one frame after the other: who
 * gets which frame, once and with which tag, in which order, and that each that
 * goes nowhere is counted once, and for what. Ports are of all kinds: of groups
 * and VLANs, locked, with a guard, ACLs and limits, one that listens, and one that
 * comes and goes.
 */
#include "vswitch/forward.h"

#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/cmocka.h"
#include "tests/random.h"
#include "vswitch/guard.h"
#include "vswitch/mirror.h"
#include "vswitch/test-eal.h"

enum {
	BURSTS = 20000,
	ADDRESSES = 24, /* of stations; number n lives at port n % PORTS */
	CAPACITY = 4096,
	BYTES = 64,
	DENIED_TYPE = 0x88b6,
	PASSING_TYPE = 0x88b5,
	/* Of RED, and not heard elsewhere: at PLAIN and at LOCKED. */
	GUARDED_STATION = 8,
	LOCKED_STATION = 7,
	LISTENING_STATION = 6, /* at LISTENER, as if it could be reached */
	/* VLANs */
	RED = 1,
	BLUE = 5,
	GREEN = 9,
};

enum {
	PLAIN,
	LEFT, /* of one group with RIGHT */
	RIGHT,
	TRUNK, /* of all VLANs */
	IN_BLUE,
	NATIVE,	  /* a trunk of red, untagged, and of blue */
	LISTENER, /* to what RIGHT sends, IN_BLUE and TRUNK get, and to
		     green */
	LOCKED,	  /* which is there half of the time */
	PORTS
};

struct frame {
	struct net_rx_frame sent; /* as it came in */
	unsigned to, from;	  /* addresses; beyond ADDRESSES: of nobody */
	struct vlan_frame vlan;
	fdb_key to_key, from_key;
	enum forward_drop why;
	bool wanted[PORTS], got[PORTS];
};

static struct fdb *fdb;
static struct forward forward;
static struct forward_table table;
static struct forward_port ports[PORTS];
static struct guard guard;
static struct mirror_set mirrors;

/* The burst at hand. */
static unsigned in, count;
static struct net_rx_frame burst[NET_BURST];
static struct frame frames[NET_BURST];
static uint64_t drops[FORWARD_DROPS], wanted_drops[FORWARD_DROPS];

/* The model's own: where each station is, and what is left of limits. */
static uint16_t where[ADDRESSES][VLAN_IDS];
static struct limit frames_left[PORTS], bytes_left[PORTS];
static struct limit storms_left[PORTS][FORWARD_STORMS];
static uint64_t random_state = 1;

static unsigned below(unsigned limit)
{
	return random_below(&random_state, limit);
}

/* --- what comes out ----------------------------------------------------------- */

/* Heads may be copies: the rest tells which frame it is. */
static unsigned index_of(const struct net_rx_frame *frame)
{
	return (uintptr_t)frame->rest.iov - 1;
}

static void assert_tagged(const struct forward_port *port,
			  const struct frame *f, const struct net_rx_frame *got)
{
	struct net_rx_frame want = f->sent;
	struct vlan_edit edit;

	assert_true(vlan_egress(&port->vlan, &f->vlan, &edit));
	assert_true(vlan_apply(&want, &edit));
	assert_int_equal(got->bytes, want.bytes);
	assert_int_equal(got->head_bytes, want.head_bytes);
	assert_memory_equal(got->head, want.head, want.head_bytes);
}

static void take_frames(struct forward_port *port,
			const struct net_rx_frame *const *sent, unsigned n)
{
	int last = -1;

	assert_in_range(n, 1, NET_BURST);
	for (unsigned i = 0; i < n; i++) {
		const unsigned index = index_of(sent[i]);

		assert_true(index < count);
		/* All at once are in order. */
		assert_true((int)index > last);
		last = index;
		assert_false(frames[index].got[port->number]);
		frames[index].got[port->number] = true;
		if (!port->listens)
			assert_tagged(port, &frames[index], sent[i]);
	}
}

/* --- the model ---------------------------------------------------------------- */

static bool is_group(const struct frame *f)
{
	return f->sent.head[0] & 1;
}

static enum forward_drop enter(struct frame *f, uint64_t now_ns)
{
	static const uint8_t bridges[] = {1, 0x80, 0xc2, 0, 0};
	static const enum forward_drop reasons[] = {
		[VLAN_DROP_TAGGED] = FORWARD_TAGGED,
		[VLAN_DROP_UNTAGGED] = FORWARD_UNTAGGED,
		[VLAN_DROP_MEMBER] = FORWARD_VLAN,
	};
	enum vlan_drop vlan = vlan_ingress(&ports[in].vlan, &f->sent, &f->vlan);

	if (vlan)
		return reasons[vlan];
	if (f->sent.head[6] & 1)
		return FORWARD_SOURCE;
	if (memcmp(f->sent.head, bridges, sizeof(bridges)) == 0 &&
	    f->sent.head[5] <= 0xf)
		return FORWARD_RESERVED;
	if (!limit_take(&frames_left[in], 1, now_ns) ||
	    !limit_take(&bytes_left[in], BYTES, now_ns))
		return FORWARD_LIMIT;
	if (in == PLAIN && f->from != GUARDED_STATION)
		return FORWARD_GUARD_MAC;
	if (in == LEFT && f->sent.layout.ethertype == DENIED_TYPE)
		return FORWARD_ACL_IN;
	return FORWARD_PASS;
}

static enum forward_drop learn(const struct frame *f)
{
	uint16_t *at = &where[f->from][f->vlan.vlan];
	const bool is_static =
		f->vlan.vlan == RED &&
		(f->from == GUARDED_STATION || f->from == LOCKED_STATION ||
		 f->from == LISTENING_STATION);

	if (*at == in)
		return FORWARD_PASS;
	if (in == LOCKED || is_static)
		return FORWARD_SPOOFED;
	*at = in;
	return FORWARD_PASS;
}

static enum forward_drop leave(const struct frame *f, unsigned out)
{
	struct vlan_edit edit;

	if (out == in)
		return FORWARD_SAME_PORT;
	if (out == LISTENER)
		return FORWARD_MIRROR;
	if ((in == LEFT && out == RIGHT) || (in == RIGHT && out == LEFT))
		return FORWARD_ISOLATED;
	if (!table.ports[out] ||
	    !vlan_egress(&ports[out].vlan, &f->vlan, &edit))
		return FORWARD_VLAN;
	if (out == NATIVE && f->sent.layout.ethertype == DENIED_TYPE)
		return FORWARD_ACL_OUT;
	return FORWARD_PASS;
}

static void want_at(struct frame *f, unsigned out)
{
	f->wanted[out] = true;
	if (out == IN_BLUE || out == TRUNK)
		f->wanted[LISTENER] = true;
}

static void want_everywhere(struct frame *f, uint64_t now_ns)
{
	enum forward_storm storm = FORWARD_UNKNOWN;

	if (is_group(f))
		storm = f->sent.head[0] == 0xff ? FORWARD_BROADCAST
						: FORWARD_MULTICAST;
	if (!limit_take(&storms_left[in][storm], 1, now_ns)) {
		wanted_drops[FORWARD_STORM]++;
		return;
	}
	for (unsigned out = 0; out < PORTS; out++) {
		enum forward_drop why;

		if (out == LISTENER || !table.ports[out])
			continue;
		why = leave(f, out);
		if (why == FORWARD_PASS)
			want_at(f, out);
		else if (why == FORWARD_ACL_OUT)
			wanted_drops[why]++;
	}
}

static void want(struct frame *f, uint64_t now_ns)
{
	uint16_t out = FDB_NO_PORT;
	enum forward_drop why;

	if (!is_group(f) && f->to < ADDRESSES)
		out = where[f->to][f->vlan.vlan];
	if (out == FDB_NO_PORT) {
		want_everywhere(f, now_ns);
		return;
	}
	why = leave(f, out);
	if (why)
		wanted_drops[why]++;
	else
		want_at(f, out);
}

static void want_all(uint64_t now_ns)
{
	if (in == LISTENER) {
		wanted_drops[FORWARD_MIRROR] += count;
		return;
	}
	for (unsigned i = 0; i < count; i++)
		frames[i].why = enter(&frames[i], now_ns);
	for (unsigned i = 0; i < count; i++)
		if (!frames[i].why)
			frames[i].why = learn(&frames[i]);
	for (unsigned i = 0; i < count; i++) {
		struct frame *f = &frames[i];

		if (f->why) {
			wanted_drops[f->why]++;
			continue;
		}
		if (in == RIGHT || f->vlan.vlan == GREEN)
			f->wanted[LISTENER] = true;
		want(f, now_ns);
	}
}

/* --- what comes in ------------------------------------------------------------ */

static const uint8_t groups[][6] = {
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	{1, 0, 0x5e, 0, 0, 1},
	{1, 0x80, 0xc2, 0, 0, 0},
	{1, 0x80, 0xc2, 0, 0, 0xf},
	{1, 0x80, 0xc2, 0, 0, 0x10},
};

static void put_address(uint8_t *mac, unsigned address)
{
	if (address < ADDRESSES)
		memcpy(mac, (uint8_t[]){2, 0, 0, 0, 0, address}, 6);
	else
		memcpy(mac, groups[address - ADDRESSES], 6);
}

/* Mostly of a station that lives here; a few move, lie, or are none. */
static unsigned choose_source(void)
{
	if (below(40) == 0)
		return ADDRESSES + below(ARRAY_SIZE(groups));
	if (below(12) == 0)
		return below(ADDRESSES);
	return below(ADDRESSES / PORTS) * PORTS + in;
}

static void make_frame(unsigned i)
{
	static const uint16_t tags[] = {0,     RED,	BLUE,
					GREEN, 3 << 13, RED | 7 << 13};
	struct frame *f = &frames[i];
	struct net_rx_frame *frame = &f->sent;
	const bool follows = i > 0 && below(3) == 0;
	uint8_t *at = frame->head + 12;

	*f = (struct frame){0};
	frame->bytes = frame->head_bytes = BYTES;
	f->from = follows ? frames[i - 1].from : choose_source();
	f->to = follows && below(2) ? frames[i - 1].to
				    : below(ADDRESSES + ARRAY_SIZE(groups));
	put_address(frame->head, f->to);
	put_address(frame->head + 6, f->from);
	if (below(3) > 0 && (ports[in].vlan.mode == VLAN_TRUNK || !below(8))) {
		put_be16(at, VLAN_TPID);
		put_be16(at + 2, tags[below(ARRAY_SIZE(tags))]);
		at += 4;
	}
	/* Content that begins as a trunk's tag does. */
	if (below(4) == 0) {
		put_be16(at, VLAN_TPID);
		put_be16(at + 2, BLUE);
		at += 4;
	}
	put_be16(at, below(4) ? PASSING_TYPE : DENIED_TYPE);
	net_frame_parse(frame->head, BYTES, &frame->layout);
	frame->rest.iov = (const struct iovec *)(uintptr_t)(i + 1);
	burst[i] = *frame;
}

/* --- the switch --------------------------------------------------------------- */

static void make_fdb(void)
{
	struct fdb_config config = {.name = "test", .capacity = CAPACITY};

	config.rcu = rte_zmalloc("rcu", rte_rcu_qsbr_get_memsize(1),
				 RTE_CACHE_LINE_SIZE);
	assert_non_null(config.rcu);
	assert_int_equal(rte_rcu_qsbr_init(config.rcu, 1), 0);
	assert_int_equal(fdb_new(&config, &fdb), 0);
	memset(where, 0xff, sizeof(where));
}

static void set_station(unsigned address, uint16_t port)
{
	uint8_t mac[6];

	put_address(mac, address);
	assert_int_equal(fdb_set_static(fdb, fdb_key_of(mac, RED), port), 0);
	where[address][RED] = port;
}

static void make_ports(void)
{
	uint8_t mac[6];

	for (unsigned i = 0; i < PORTS; i++) {
		ports[i] = (struct forward_port){
			.number = i,
			.send = take_frames,
			.vlan = {.mode = VLAN_ACCESS, .native = RED},
		};
		table.ports[i] = &ports[i];
	}
	table.end = PORTS;
	ports[LEFT].group = ports[RIGHT].group = 1;
	ports[TRUNK].vlan = (struct vlan_port){.mode = VLAN_TRUNK};
	for (unsigned vlan = VLAN_MIN; vlan <= VLAN_MAX; vlan++)
		vlan_port_add(&ports[TRUNK].vlan, vlan);
	ports[IN_BLUE].vlan.native = BLUE;
	ports[NATIVE].vlan.mode = VLAN_TRUNK;
	vlan_port_add(&ports[NATIVE].vlan, BLUE);
	ports[LISTENER].listens = true;
	put_address(mac, GUARDED_STATION);
	guard.mac = fdb_key_of(mac, 0);
	ports[PLAIN].guard = &guard;
	ports[LOCKED].is_locked = true;
	set_station(GUARDED_STATION, PLAIN);
	set_station(LOCKED_STATION, LOCKED);
	set_station(LISTENING_STATION, LISTENER);
}

static void make_acls(void)
{
	const struct acl_rule rule = {.denies = true, .ethertype = DENIED_TYPE};

	assert_int_equal(acl_new(&rule, 1, &ports[LEFT].acl_in), 0);
	assert_int_equal(acl_new(&rule, 1, &ports[NATIVE].acl_out), 0);
}

static void make_mirrors(void)
{
	mirrors.count = 1;
	mirrors.to[0] = LISTENER;
	mirrors.in[RIGHT] = mirrors.out[IN_BLUE] = mirrors.out[TRUNK] =
		mirrors.vlans[GREEN] = 1;
	table.mirrors = &mirrors;
}

static void make_limits(void)
{
	limit_set(&ports[TRUNK].frames, 20000, 40);
	limit_set(&ports[RIGHT].bytes, 20000 * BYTES, 40 * BYTES);
	frames_left[TRUNK] = ports[TRUNK].frames;
	bytes_left[RIGHT] = ports[RIGHT].bytes;
	for (unsigned i = 0; i < FORWARD_STORMS; i++) {
		limit_set(&ports[NATIVE].storms[i], 2000 * (i + 1), 5);
		storms_left[NATIVE][i] = ports[NATIVE].storms[i];
	}
}

static void one_burst(uint64_t now_ns)
{
	in = below(PORTS);
	count = 1 + below(NET_BURST);
	table.ports[LOCKED] = in == LOCKED || below(2) ? &ports[LOCKED] : NULL;
	for (unsigned i = 0; i < count; i++)
		make_frame(i);
	want_all(now_ns);
	forward_burst(&forward, &ports[in], burst, count, now_ns, drops);
	for (unsigned i = 0; i < count; i++)
		assert_memory_equal(frames[i].got, frames[i].wanted,
				    sizeof(frames[i].got));
	assert_memory_equal(drops, wanted_drops, sizeof(drops));
}

static void bursts_go_as_their_frames_would_one_by_one(void **state)
{
	uint64_t now_ns = NS_PER_SECOND;

	for (unsigned i = 0; i < BURSTS; i++)
		one_burst(now_ns += 1000 * below(200));
	/* All of that came about, but for what others test. */
	for (unsigned i = FORWARD_TAGGED; i < FORWARD_DROPS; i++)
		if (i != FORWARD_OVERSIZE && i != FORWARD_ACL_HIDDEN &&
		    !(i > FORWARD_GUARD_MAC && i <= FORWARD_GUARD_TYPE))
			assert_true(drops[i] > 0);
}

static int set_up(void **state)
{
	test_eal_init();
	make_fdb();
	forward_init(&forward, fdb, &table);
	make_ports();
	make_acls();
	make_mirrors();
	make_limits();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bursts_go_as_their_frames_would_one_by_one),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
