/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rte_hash says at which position a key is; what we know of the key lies in an
 * array of our own at the same index. A position is given to another key only
 * after all readers were quiescent, so that what a reader finds there belongs
 * to the key it looked up, or to nobody any more.
 */
#include "vswitch/fdb.h"

#include <errno.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_malloc.h>
#include <rte_spinlock.h>
#include <stdlib.h>
#include <string.h>

enum {
	STATIC = 1 << 16,
	UNUSED = FDB_NO_PORT,
};

/* Each field is read and written as a whole, and by several threads. */
struct entry {
	uint32_t owner; /* the port, and STATIC */
	uint32_t heard;
};

struct fdb {
	struct rte_hash *hash;
	struct entry *entries;
	uint32_t capacity; /* of stations */
	uint32_t positions;
	uint32_t age;
	rte_spinlock_t lock; /* of all that changes who is there */
	uint32_t stations;
	uint32_t counts[FDB_PORTS]; /* learned ones */
	uint32_t limits[FDB_PORTS];
};

static uint32_t get(const uint32_t *field)
{
	return __atomic_load_n(field, __ATOMIC_RELAXED);
}

static void set(uint32_t *field, uint32_t value)
{
	__atomic_store_n(field, value, __ATOMIC_RELAXED);
}

static int make_hash(struct fdb *fdb, const struct fdb_config *config)
{
	const struct rte_hash_parameters parameters = {
		.name = config->name,
		/* Room for what is deleted, and not forgotten by readers. */
		.entries = fdb->capacity + fdb->capacity / 4 + FDB_BURST,
		.key_len = sizeof(fdb_key),
		.hash_func = rte_hash_crc,
		.socket_id = SOCKET_ID_ANY,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF |
			      RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};
	struct rte_hash_rcu_config rcu = {
		.v = config->rcu,
		.mode = RTE_HASH_QSBR_MODE_DQ,
	};

	fdb->hash = rte_hash_create(&parameters);
	if (!fdb->hash)
		return -rte_errno;
	if (rte_hash_rcu_qsbr_add(fdb->hash, &rcu))
		return -rte_errno;
	fdb->positions = rte_hash_max_key_id(fdb->hash) + 1;
	return 0;
}

int fdb_new(const struct fdb_config *config, struct fdb **ret_fdb)
{
	struct fdb *fdb;
	int err;

	if (config->capacity == 0 ||
	    config->capacity > RTE_HASH_ENTRIES_MAX / 2)
		return -EINVAL;
	fdb = calloc(1, sizeof(*fdb));
	if (!fdb)
		return -ENOMEM;
	fdb->capacity = config->capacity;
	fdb->age = config->age_seconds;
	rte_spinlock_init(&fdb->lock);
	err = make_hash(fdb, config);
	if (err == 0) {
		fdb->entries = malloc(fdb->positions * sizeof(*fdb->entries));
		err = fdb->entries ? 0 : -ENOMEM;
	}
	if (err < 0) {
		fdb_free(fdb);
		return err;
	}
	for (uint32_t i = 0; i < fdb->positions; i++)
		fdb->entries[i] = (struct entry){.owner = UNUSED};
	*ret_fdb = fdb;
	return 0;
}

void fdb_free(struct fdb *fdb)
{
	if (!fdb)
		return;
	rte_hash_free(fdb->hash);
	free(fdb->entries);
	free(fdb);
}

/* --- Readers ------------------------------------------------------------- */

void fdb_look_up(const struct fdb *fdb, const fdb_key *keys, unsigned count,
		 int32_t *ret_places)
{
	const void *pointers[FDB_BURST];

	for (unsigned i = 0; i < count; i++)
		pointers[i] = &keys[i];
	if (count > 1 &&
	    rte_hash_lookup_bulk(fdb->hash, pointers, count, ret_places) == 0)
		return;
	for (unsigned i = 0; i < count; i++)
		ret_places[i] = rte_hash_lookup(fdb->hash, &keys[i]);
}

uint16_t fdb_port(const struct fdb *fdb, int32_t place)
{
	if (place < 0)
		return FDB_NO_PORT;
	return get(&fdb->entries[place].owner) & UINT16_MAX;
}

bool fdb_refresh(struct fdb *fdb, int32_t place, uint16_t port, uint32_t now)
{
	struct entry *entry;

	if (place < 0)
		return false;
	entry = &fdb->entries[place];
	if ((get(&entry->owner) & UINT16_MAX) != port)
		return false;
	/* Most of the time nothing is written, and no cache line moves. */
	if (get(&entry->heard) != now)
		set(&entry->heard, now);
	return true;
}

/* --- Changes: with the lock ----------------------------------------------- */

static bool may_learn(const struct fdb *fdb, uint16_t port)
{
	return fdb->limits[port] == 0 || fdb->counts[port] < fdb->limits[port];
}

static void own(struct fdb *fdb, struct entry *entry, uint32_t owner)
{
	uint32_t before = get(&entry->owner);

	if (before != UNUSED && !(before & STATIC))
		set(&fdb->counts[before], fdb->counts[before] - 1);
	if (owner != UNUSED && !(owner & STATIC))
		set(&fdb->counts[owner], fdb->counts[owner] + 1);
	set(&entry->owner, owner);
}

/* The entry of a station that is not there; NULL: no room. */
static struct entry *add(struct fdb *fdb, fdb_key key, uint32_t owner,
			 uint32_t now)
{
	struct entry *entry;
	int32_t place;

	if (fdb->stations == fdb->capacity)
		return NULL;
	place = rte_hash_add_key(fdb->hash, &key);
	if (place < 0)
		return NULL;
	fdb->stations++;
	entry = &fdb->entries[place];
	set(&entry->heard, now);
	own(fdb, entry, owner);
	return entry;
}

static void drop(struct fdb *fdb, fdb_key key, int32_t place)
{
	own(fdb, &fdb->entries[place], UNUSED);
	if (rte_hash_del_key(fdb->hash, &key) >= 0)
		fdb->stations--;
}

static enum fdb_learned judge(const struct fdb *fdb, int32_t place,
			      uint16_t port)
{
	uint32_t owner;

	if (place < 0)
		return may_learn(fdb, port) ? FDB_NEW : FDB_LIMIT;
	owner = get(&fdb->entries[place].owner);
	if ((owner & UINT16_MAX) == port)
		return FDB_KNOWN;
	if (owner & STATIC)
		return FDB_STATIC;
	return may_learn(fdb, port) ? FDB_MOVED : FDB_LIMIT;
}

enum fdb_learned fdb_judge(const struct fdb *fdb, fdb_key key, uint16_t port)
{
	return judge(fdb, rte_hash_lookup(fdb->hash, &key), port);
}

static enum fdb_learned learn(struct fdb *fdb, fdb_key key, uint16_t port,
			      uint32_t now)
{
	int32_t place = rte_hash_lookup(fdb->hash, &key);
	enum fdb_learned learned = judge(fdb, place, port);

	if (learned == FDB_NEW)
		return add(fdb, key, port, now) ? FDB_NEW : FDB_FULL;
	if (learned == FDB_MOVED)
		own(fdb, &fdb->entries[place], port);
	if (learned == FDB_MOVED || learned == FDB_KNOWN)
		set(&fdb->entries[place].heard, now);
	return learned;
}

enum fdb_learned fdb_learn(struct fdb *fdb, fdb_key key, uint16_t port,
			   uint32_t now)
{
	enum fdb_learned learned;

	rte_spinlock_lock(&fdb->lock);
	learned = learn(fdb, key, port, now);
	rte_spinlock_unlock(&fdb->lock);
	return learned;
}

int fdb_set_static(struct fdb *fdb, fdb_key key, uint16_t port)
{
	const uint32_t owner = port | (uint32_t)STATIC;
	int32_t place;
	int err = 0;

	if (fdb_key_is_group(key))
		return -EINVAL;
	rte_spinlock_lock(&fdb->lock);
	place = rte_hash_lookup(fdb->hash, &key);
	if (place >= 0)
		own(fdb, &fdb->entries[place], owner);
	else if (!add(fdb, key, owner, 0))
		err = -ENOSPC;
	rte_spinlock_unlock(&fdb->lock);
	return err;
}

int fdb_remove(struct fdb *fdb, fdb_key key)
{
	int32_t place;

	rte_spinlock_lock(&fdb->lock);
	place = rte_hash_lookup(fdb->hash, &key);
	if (place >= 0)
		drop(fdb, key, place);
	rte_spinlock_unlock(&fdb->lock);
	return place < 0 ? -ENOENT : 0;
}

/* The next station from *@at on, or a negative errno after the last one. */
static int32_t next(const struct fdb *fdb, uint32_t *at, fdb_key *ret_key)
{
	const void *key;
	void *data;
	int32_t place = rte_hash_iterate(fdb->hash, &key, &data, at);

	if (place >= 0)
		memcpy(ret_key, key, sizeof(*ret_key));
	return place;
}

/* Whom to forget, and what is needed to tell. */
struct choice {
	uint16_t port, vlan;
	bool statics;
	bool aged; /* only who was not heard since */
	uint32_t now;
};

static bool is_chosen(const struct fdb *fdb, const struct choice *choice,
		      fdb_key key, const struct entry *entry)
{
	uint32_t owner = get(&entry->owner);

	if ((owner & STATIC) && !choice->statics)
		return false;
	if (choice->aged)
		/* Who refreshed it may be a second ahead of us. */
		return (int32_t)(choice->now - get(&entry->heard)) >
		       (int32_t)fdb->age;
	return (choice->port == FDB_NO_PORT ||
		choice->port == (owner & UINT16_MAX)) &&
	       (choice->vlan == 0 || choice->vlan == fdb_key_vlan(key));
}

/* Judged again with the lock: what was found without may be another by now. */
static bool forget_one(struct fdb *fdb, const struct choice *choice,
		       fdb_key key)
{
	bool chosen = false;
	int32_t place;

	rte_spinlock_lock(&fdb->lock);
	place = rte_hash_lookup(fdb->hash, &key);
	if (place >= 0)
		chosen = is_chosen(fdb, choice, key, &fdb->entries[place]);
	if (chosen)
		drop(fdb, key, place);
	rte_spinlock_unlock(&fdb->lock);
	return chosen;
}

/* Who learns meanwhile never waits for more than one station. */
static uint32_t forget(struct fdb *fdb, const struct choice *choice)
{
	uint32_t at = 0, count = 0;
	int32_t place;
	fdb_key key;

	while ((place = next(fdb, &at, &key)) >= 0)
		if (is_chosen(fdb, choice, key, &fdb->entries[place]))
			count += forget_one(fdb, choice, key);
	return count;
}

uint32_t fdb_flush(struct fdb *fdb, uint16_t port, uint16_t vlan, bool statics)
{
	const struct choice choice = {
		.port = port,
		.vlan = vlan,
		.statics = statics,
	};

	return forget(fdb, &choice);
}

uint32_t fdb_age(struct fdb *fdb, uint32_t now)
{
	const struct choice choice = {.aged = true, .now = now};

	return fdb->age ? forget(fdb, &choice) : 0;
}

void fdb_set_age(struct fdb *fdb, uint32_t age_seconds)
{
	fdb->age = age_seconds;
}

void fdb_set_limit(struct fdb *fdb, uint16_t port, uint32_t limit)
{
	rte_spinlock_lock(&fdb->lock);
	fdb->limits[port] = limit;
	rte_spinlock_unlock(&fdb->lock);
}

uint32_t fdb_count(const struct fdb *fdb, uint16_t port)
{
	return get(&fdb->counts[port]);
}

void fdb_for_each(struct fdb *fdb,
		  void (*each)(void *arg, const struct fdb_station *station),
		  void *arg)
{
	uint32_t at = 0;
	int32_t place;
	fdb_key key;

	while ((place = next(fdb, &at, &key)) >= 0) {
		uint32_t owner = get(&fdb->entries[place].owner);
		const struct fdb_station station = {
			.key = key,
			.port = owner & UINT16_MAX,
			.is_static = owner & STATIC,
			.heard = get(&fdb->entries[place].heard),
		};

		if (owner != UNUSED)
			each(arg, &station);
	}
}
