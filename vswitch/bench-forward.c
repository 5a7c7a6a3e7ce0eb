/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What forwarding itself costs: bursts of 64-byte frames, made in memory, from
 * one port of the switch to others that only count them. What it costs to take
 * a frame out of a guest's ring and to put it into another is in
 * tests/bench/net-device.c.
 *
 * Then what a port's rules and guard cost, for UDP that none of them stops.
 *
 * Printed is the median burst in nanoseconds a frame: bursts that were
 * interrupted do not count.
 */
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "vswitch/eal.h"
#include "vswitch/forward.h"
#include "vswitch/guard.h"

enum {
	FRAME_BYTES = 64,
	BURSTS = 50000,
	MAX_PORTS = 64,
	MAX_STATIONS = 10000,
	UNKNOWN = 0xff, /* as a station's first byte: nobody's */
	AT_IP = 14,
	AT_UDP = AT_IP + 20,
};

static struct forward forward;
static struct forward_table table;
static struct forward_port ports[MAX_PORTS];
static struct net_rx_frame frames[NET_BURST];
static struct rte_rcu_qsbr *rcu;
static struct fdb *fdb;
static unsigned counted;

static void require(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static void count_frames(struct forward_port *port,
			 const struct net_rx_frame *const *sent, unsigned count)
{
	counted += count;
}

static void make_ports(unsigned count)
{
	for (unsigned i = 0; i < MAX_PORTS; i++) {
		ports[i] = (struct forward_port){
			.number = i,
			.vlan.mode = VLAN_ACCESS,
			.vlan.native = VLAN_MIN,
			.send = count_frames,
		};
		table.ports[i] = i < count ? &ports[i] : NULL;
	}
	table.end = count;
}

static void make_mac(uint8_t *mac, uint8_t first, uint32_t station)
{
	mac[0] = first;
	mac[1] = 0;
	put_be32(mac + 2, station);
}

/* Stations from 1 on, spread over all ports but the first, which has 0. */
static void make_stations(unsigned count)
{
	uint8_t mac[6];

	fdb_flush(fdb, FDB_NO_PORT, 0, true);
	for (uint32_t i = 0; i <= count; i++) {
		make_mac(mac, 2, i);
		fdb_learn(fdb, fdb_key_of(mac, VLAN_MIN),
			  i ? 1 + i % (table.end - 1) : 0, 1);
	}
}

static void make_burst(unsigned stations)
{
	for (unsigned i = 0; i < NET_BURST; i++) {
		struct net_rx_frame *frame = &frames[i];

		frame->bytes = frame->head_bytes = FRAME_BYTES;
		make_mac(frame->head, stations ? 2 : UNKNOWN,
			 1 + rand() % MAX(stations, 1u));
		make_mac(frame->head + 6, 2, 0);
		put_be16(frame->head + 12, 0x88b5);
		net_frame_parse(frame->head, FRAME_BYTES, &frame->layout);
	}
}

/* Of UDP over IPv4, from 192.0.2.1 to …2. */
static void make_udp(uint8_t *frame)
{
	static const uint8_t addresses[] = {192, 0, 2, 1, 192, 0, 2, 2};
	uint8_t *ip = frame + AT_IP;

	put_be16(frame + AT_IP - 2, 0x0800);
	memset(ip, 0, FRAME_BYTES - AT_IP);
	ip[0] = 0x45;
	put_be16(ip + 2, FRAME_BYTES - AT_IP);
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, addresses, sizeof(addresses));
	put_be16(frame + AT_UDP, 40000);
	put_be16(frame + AT_UDP + 2, 53);
	put_be16(frame + AT_UDP + 4, FRAME_BYTES - AT_UDP);
}

static void make_udp_burst(unsigned stations)
{
	make_burst(stations);
	for (unsigned i = 0; i < NET_BURST; i++) {
		make_udp(frames[i].head);
		net_frame_parse(frames[i].head, FRAME_BYTES, &frames[i].layout);
	}
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void run(const char *name, void (*make)(unsigned stations),
		unsigned stations, unsigned copies)
{
	static double bursts[BURSTS];
	uint64_t drops[FORWARD_DROPS] = {0};

	counted = 0;
	for (unsigned n = 0; n < BURSTS; n++) {
		uint64_t began;

		make(stations);
		began = clock_ns();
		forward_burst(&forward, &ports[0], frames, NET_BURST, began,
			      drops);
		bursts[n] = (double)(clock_ns() - began) / NET_BURST;
	}
	require(counted == BURSTS * NET_BURST * copies, "frames were lost");
	qsort(bursts, BURSTS, sizeof(bursts[0]), by_size);
	printf("%-40s %6.1f ns a frame\n", name, bursts[BURSTS / 2]);
}

/* Of frames from the first port to @stations (0: to all) on @count ports. */
static void measure(const char *name, unsigned count, unsigned stations)
{
	make_ports(count);
	make_stations(stations);
	run(name, make_burst, stations, stations ? 1 : count - 1);
}

/* Rules that deny other networks and ports, each another. */
static struct acl *make_acl(unsigned count)
{
	static struct acl_rule rules[ACL_MAX_RULES];
	struct acl *acl;

	if (count == 0)
		return NULL;
	for (unsigned i = 0; i < count; i++)
		rules[i] = (struct acl_rule){
			.denies = true,
			.family = 4,
			.from = {.bits = 24, .bytes = {10, i >> 8, i}},
			.has_protocol = true,
			.protocol = i % 2 ? 6 : 17,
			.has_ports = true,
			.from_ports = {0, UINT16_MAX},
			.to_ports = {i, i + 100},
		};
	require(acl_new(rules, count, &acl) == 0, "the rules do not compile");
	return acl;
}

static void measure_policy(const char *name, unsigned rules, bool is_guarded)
{
	struct guard guard = {
		.count = 1,
		.addresses[0] = {.bits = 32, .bytes = {192, 0, 2, 1}},
	};
	struct acl *acl = make_acl(rules);

	make_ports(2);
	make_stations(1);
	ports[0].acl_in = acl;
	ports[0].guard = is_guarded ? &guard : NULL;
	run(name, make_udp_burst, 1, 1);
	acl_free(acl);
}

int main(void)
{
	struct fdb_config config = {.name = "stations",
				    .capacity = 2 * MAX_STATIONS};

	require(eal_start(config.capacity, false, false) == 0,
		"EAL does not start");
	rcu = rte_zmalloc("rcu", rte_rcu_qsbr_get_memsize(1),
			  RTE_CACHE_LINE_SIZE);
	require(rcu && rte_rcu_qsbr_init(rcu, 1) == 0, "no memory");
	config.rcu = rcu;
	require(fdb_new(&config, &fdb) == 0, "no memory");
	forward_init(&forward, fdb, &table);
	measure("one flow, 2 ports", 2, 1);
	measure("one flow, 64 ports", 64, 1);
	measure("8 stations at random, 2 ports", 2, 8);
	measure("10,000 stations at random, 2 ports", 2, 10000);
	measure("10,000 stations at random, 64 ports", 64, 10000);
	measure("to all of 8 ports", 8, 0);
	measure_policy("UDP", 0, false);
	measure_policy("UDP, 10 rules", 10, false);
	measure_policy("UDP, 1000 rules", 1000, false);
	measure_policy("UDP, a guard", 0, true);
	measure_policy("UDP, 1000 rules and a guard", 1000, true);
	return 0;
}
