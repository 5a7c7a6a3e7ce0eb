/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarding database: which port a station was last heard on. A station
 * is a MAC address in a VLAN (IEEE 802.1Q, 8.8 "The Filtering Database" with
 * independent learning).
 *
 * Looking up and refreshing take no lock and may be done by any number of
 * threads; what changes the set of stations takes the database's own lock. A
 * thread that looks up is a reader of the switch's RCU variable, and what it
 * found (a place) holds until its next quiescent state.
 *
 * Learned stations age, move when they are heard elsewhere, and are bounded by
 * port, so that one guest cannot take all the room. Static ones do neither.
 *
 * Built on rte_hash: EAL has to be initialised. Times are seconds of any clock
 * that does not go back.
 */
#ifndef VSWITCH_FDB_H
#define VSWITCH_FDB_H

#include <stdbool.h>
#include <stdint.h>

enum {
	FDB_PORTS = 512,
	FDB_NO_PORT = UINT16_MAX,
	FDB_BURST = 64, /* most keys in one call */
	FDB_NO_PLACE = -1,
};

struct fdb;
struct rte_rcu_qsbr;

/* A station: the address in the upper 48 bits, the VLAN in the lowest 12. */
typedef uint64_t fdb_key;

static inline fdb_key fdb_key_of(const uint8_t mac[6], uint16_t vlan)
{
	return (uint64_t)mac[0] << 56 | (uint64_t)mac[1] << 48 |
	       (uint64_t)mac[2] << 40 | (uint64_t)mac[3] << 32 |
	       (uint64_t)mac[4] << 24 | (uint64_t)mac[5] << 16 | vlan;
}

static inline uint16_t fdb_key_vlan(fdb_key key)
{
	return key & 0xfff;
}

/* Multicast, broadcast included: no station sends from such an address. */
static inline bool fdb_key_is_group(fdb_key key)
{
	return key >> 56 & 1;
}

struct fdb_config {
	const char *name; /* of the hash, unique in the process */
	uint32_t capacity;
	uint32_t age_seconds;	  /* 0: stations do not age */
	struct rte_rcu_qsbr *rcu; /* borrowed; its readers look up */
};

/* -EINVAL, -ENOMEM or -EEXIST (the name). */
int fdb_new(const struct fdb_config *config, struct fdb **ret_fdb);
void fdb_free(struct fdb *fdb); /* accepts NULL; nobody looks up any more */

/* --- Readers ------------------------------------------------------------- */

/* The places of @count stations, at most FDB_BURST; FDB_NO_PLACE: unknown. */
void fdb_look_up(const struct fdb *fdb, const fdb_key *keys, unsigned count,
		 int32_t *ret_places);

/* The port of a place that was just found, or FDB_NO_PORT. */
uint16_t fdb_port(const struct fdb *fdb, int32_t place);

/*
 * A station was heard on @port: false if it is not known there, and
 * fdb_learn has to say what that means.
 */
bool fdb_refresh(struct fdb *fdb, int32_t place, uint16_t port, uint32_t now);

/* --- Changes ------------------------------------------------------------- */

enum fdb_learned {
	FDB_KNOWN,
	FDB_NEW,
	FDB_MOVED,
	FDB_STATIC, /* it is a static one of another port, and stays there */
	FDB_LIMIT,  /* not learned: the port has as many as it may */
	FDB_FULL,   /* not learned: there is no room */
};

/* A station that is no group address was heard on @port. */
enum fdb_learned fdb_learn(struct fdb *fdb, fdb_key key, uint16_t port,
			   uint32_t now);

/* What fdb_learn would say, and nothing is changed. Control thread, or any reader;
 * FDB_NEW where there may be no room. */
enum fdb_learned fdb_judge(const struct fdb *fdb, fdb_key key, uint16_t port);

/* On @port for good, wherever it was. -ENOSPC, or -EINVAL for a group. */
int fdb_set_static(struct fdb *fdb, fdb_key key, uint16_t port);

/* -ENOENT. */
int fdb_remove(struct fdb *fdb, fdb_key key);

/*
 * Forgets the learned stations of @port (FDB_NO_PORT: of all) in @vlan (0: in
 * all); with @statics the others, too. How many.
 */
uint32_t fdb_flush(struct fdb *fdb, uint16_t port, uint16_t vlan, bool statics);

/* Forgets who was not heard for the age. How many; to be called each second. */
uint32_t fdb_age(struct fdb *fdb, uint32_t now);

/* From the next fdb_age on. */
void fdb_set_age(struct fdb *fdb, uint32_t age_seconds);

/* How many stations @port may have learned at once; 0: any number. What is
 * there already stays. */
void fdb_set_limit(struct fdb *fdb, uint16_t port, uint32_t limit);
uint32_t fdb_count(const struct fdb *fdb, uint16_t port);

/* --- Looking at it -------------------------------------------------------- */

struct fdb_station {
	fdb_key key;
	uint16_t port;
	bool is_static;
	uint32_t heard; /* when; meaningless for a static one */
};

/* Each one once, in no order, those that come and go meanwhile perhaps. The
 * lock is not held: @each may call anything here. */
void fdb_for_each(struct fdb *fdb,
		  void (*each)(void *arg, const struct fdb_station *station),
		  void *arg);

#endif
