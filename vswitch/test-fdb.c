/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarding database: what is learned, moved, aged, limited and kept; and
 * that readers never see one station's port for another's while both come and
 * go.
 */
#include "vswitch/fdb.h"

#include <errno.h>
#include <pthread.h>
#include <rte_rcu_qsbr.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vswitch/test-eal.h"

enum {
	CAPACITY = 1000,
	AGE = 300,
	READERS = 2,
	ROUNDS = 200000,
	STATIONS = 64, /* that come and go */
};

struct setup {
	struct rte_rcu_qsbr *rcu;
	struct fdb *fdb;
};

static struct rte_rcu_qsbr *rcu_new(void)
{
	size_t bytes = rte_rcu_qsbr_get_memsize(READERS);
	struct rte_rcu_qsbr *rcu = aligned_alloc(64, align_up(bytes, 64));

	assert_non_null(rcu);
	assert_int_equal(rte_rcu_qsbr_init(rcu, READERS), 0);
	return rcu;
}

static int set_up(void **state)
{
	struct setup *s = calloc(1, sizeof(*s));
	struct fdb_config config = {
		.name = "test",
		.capacity = CAPACITY,
		.age_seconds = AGE,
	};

	s->rcu = config.rcu = rcu_new();
	assert_int_equal(fdb_new(&config, &s->fdb), 0);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct setup *s = *state;

	fdb_free(s->fdb);
	free(s->rcu);
	free(s);
	return 0;
}

static fdb_key station(unsigned number, uint16_t vlan)
{
	const uint8_t mac[6] = {0x02,	      0x00,	   number >> 24,
				number >> 16, number >> 8, number};

	return fdb_key_of(mac, vlan);
}

static uint16_t port_of(struct fdb *fdb, fdb_key key)
{
	int32_t place;

	fdb_look_up(fdb, &key, 1, &place);
	return fdb_port(fdb, place);
}

static void a_station_is_found_where_it_was_heard(void **state)
{
	struct fdb *fdb = ((struct setup *)*state)->fdb;
	fdb_key keys[FDB_BURST];
	int32_t places[FDB_BURST];

	for (unsigned i = 0; i < FDB_BURST; i++)
		keys[i] = station(i, 0);
	for (unsigned i = 0; i < FDB_BURST; i += 2)
		assert_int_equal(fdb_learn(fdb, keys[i], i, 1), FDB_NEW);
	fdb_look_up(fdb, keys, FDB_BURST, places);
	for (unsigned i = 0; i < FDB_BURST; i++)
		assert_int_equal(fdb_port(fdb, places[i]),
				 i % 2 ? FDB_NO_PORT : i);
	assert_int_equal(fdb_learn(fdb, keys[0], 0, 2), FDB_KNOWN);
	assert_int_equal(fdb_count(fdb, 0), 1);
}

static void vlans_are_apart(void **state)
{
	struct fdb *fdb = ((struct setup *)*state)->fdb;

	assert_int_equal(fdb_learn(fdb, station(1, 10), 1, 1), FDB_NEW);
	assert_int_equal(fdb_learn(fdb, station(1, 20), 2, 1), FDB_NEW);
	assert_int_equal(port_of(fdb, station(1, 10)), 1);
	assert_int_equal(port_of(fdb, station(1, 20)), 2);
	assert_int_equal(port_of(fdb, station(1, 30)), FDB_NO_PORT);
	assert_int_equal(fdb_flush(fdb, FDB_NO_PORT, 10, false), 1);
	assert_int_equal(port_of(fdb, station(1, 10)), FDB_NO_PORT);
	assert_int_equal(port_of(fdb, station(1, 20)), 2);
}

static void a_station_moves(void **state)
{
	struct fdb *fdb = ((struct setup *)*state)->fdb;
	fdb_key key = station(5, 0);
	int32_t place;

	assert_int_equal(fdb_learn(fdb, key, 1, 1), FDB_NEW);
	fdb_look_up(fdb, &key, 1, &place);
	assert_true(fdb_refresh(fdb, place, 1, 2));
	assert_false(fdb_refresh(fdb, place, 2, 2));
	assert_int_equal(port_of(fdb, key), 1);
	assert_int_equal(fdb_learn(fdb, key, 2, 2), FDB_MOVED);
	assert_int_equal(port_of(fdb, key), 2);
	assert_int_equal(fdb_count(fdb, 1), 0);
	assert_int_equal(fdb_count(fdb, 2), 1);
}

static void who_is_not_heard_is_forgotten(void **state)
{
	struct fdb *fdb = ((struct setup *)*state)->fdb;
	fdb_key kept = station(2, 0);
	int32_t place;

	fdb_learn(fdb, station(1, 0), 1, 100);
	fdb_learn(fdb, kept, 1, 100);
	assert_int_equal(fdb_set_static(fdb, station(3, 0), 1), 0);
	fdb_look_up(fdb, &kept, 1, &place);
	assert_true(fdb_refresh(fdb, place, 1, 101));
	assert_int_equal(fdb_age(fdb, 100 + AGE), 0);
	assert_int_equal(fdb_age(fdb, 101 + AGE), 1);
	assert_int_equal(port_of(fdb, station(1, 0)), FDB_NO_PORT);
	assert_int_equal(port_of(fdb, kept), 1);
	assert_int_equal(port_of(fdb, station(3, 0)), 1);
	assert_int_equal(fdb_count(fdb, 1), 1);
	/* One that was heard by who is ahead of us. */
	fdb_learn(fdb, station(4, 0), 1, 1000);
	assert_int_equal(fdb_age(fdb, 999), 1);
	assert_int_equal(port_of(fdb, station(4, 0)), 1);
}

static void a_static_one_stays(void **state)
{
	struct fdb *fdb = ((struct setup *)*state)->fdb;
	const uint8_t group[6] = {0x01, 0x00, 0x5e, 0, 0, 1};

	assert_int_equal(fdb_learn(fdb, station(1, 0), 2, 1), FDB_NEW);
	assert_int_equal(fdb_set_static(fdb, station(1, 0), 7), 0);
	assert_int_equal(fdb_count(fdb, 2), 0);
	assert_int_equal(fdb_learn(fdb, station(1, 0), 2, 1), FDB_STATIC);
	assert_int_equal(fdb_learn(fdb, station(1, 0), 7, 1), FDB_KNOWN);
	assert_int_equal(port_of(fdb, station(1, 0)), 7);
	assert_int_equal(fdb_flush(fdb, 7, 0, false), 0);
	assert_int_equal(fdb_flush(fdb, 7, 0, true), 1);
	assert_int_equal(fdb_remove(fdb, station(1, 0)), -ENOENT);
	assert_int_equal(fdb_set_static(fdb, fdb_key_of(group, 0), 1), -EINVAL);
}

static void a_port_learns_no_more_than_it_may(void **state)
{
	struct fdb *fdb = ((struct setup *)*state)->fdb;

	fdb_set_limit(fdb, 1, 10);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(fdb_learn(fdb, station(i, 0), 1, 1), FDB_NEW);
	assert_int_equal(fdb_learn(fdb, station(10, 0), 1, 1), FDB_LIMIT);
	assert_int_equal(fdb_learn(fdb, station(10, 0), 2, 1), FDB_NEW);
	assert_int_equal(fdb_learn(fdb, station(10, 0), 1, 1), FDB_LIMIT);
	assert_int_equal(port_of(fdb, station(10, 0)), 2);
	assert_int_equal(fdb_remove(fdb, station(0, 0)), 0);
	assert_int_equal(fdb_learn(fdb, station(10, 0), 1, 1), FDB_MOVED);
	assert_int_equal(fdb_count(fdb, 1), 10);
}

/* All of the capacity can be had, again and again. */
static void a_full_table_forgets_nobody(void **state)
{
	struct fdb *fdb = ((struct setup *)*state)->fdb;

	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < CAPACITY; i++)
			assert_int_equal(fdb_learn(fdb,
						   station(i + round * 777, 0),
						   1, round),
					 FDB_NEW);
		assert_int_equal(fdb_learn(fdb, station(99999999, 0), 2, 1),
				 FDB_FULL);
		assert_int_equal(fdb_set_static(fdb, station(99999999, 0), 2),
				 -ENOSPC);
		for (unsigned i = 0; i < CAPACITY; i++)
			assert_int_equal(
				port_of(fdb, station(i + round * 777, 0)), 1);
		assert_int_equal(fdb_flush(fdb, 1, 0, false), CAPACITY);
	}
}

static void count_station(void *arg, const struct fdb_station *s)
{
	unsigned *found = arg;

	assert_in_range(s->port, 1, 3);
	assert_int_equal(s->is_static, s->port == 3);
	assert_int_equal(s->key, station(s->port, 4));
	found[s->port]++;
}

static void each_station_is_told_once(void **state)
{
	struct fdb *fdb = ((struct setup *)*state)->fdb;
	unsigned found[4] = {0};

	fdb_learn(fdb, station(1, 4), 1, 1);
	fdb_learn(fdb, station(2, 4), 2, 1);
	fdb_set_static(fdb, station(3, 4), 3);
	fdb_for_each(fdb, count_station, found);
	for (unsigned i = 1; i < ARRAY_SIZE(found); i++)
		assert_int_equal(found[i], 1);
}

/* --- Several threads ------------------------------------------------------ */

struct reader {
	pthread_t thread;
	struct setup *setup;
	unsigned number;
	bool wrong;
	uint32_t found;
};

static uint32_t stop_reading;

static uint32_t get(const uint32_t *field)
{
	return __atomic_load_n(field, __ATOMIC_RELAXED);
}

static void set(uint32_t *field, uint32_t value)
{
	__atomic_store_n(field, value, __ATOMIC_RELAXED);
}

/* A station is only ever on its own port, or the next one. */
static bool is_right(unsigned number, uint16_t port)
{
	return port == FDB_NO_PORT || port == number || port == number + 1;
}

static void *keep_reading(void *arg)
{
	struct reader *reader = arg;
	struct fdb *fdb = reader->setup->fdb;
	struct rte_rcu_qsbr *rcu = reader->setup->rcu;
	fdb_key keys[STATIONS];
	int32_t places[STATIONS];

	for (unsigned i = 0; i < STATIONS; i++)
		keys[i] = station(i, 0);
	rte_rcu_qsbr_thread_register(rcu, reader->number);
	rte_rcu_qsbr_thread_online(rcu, reader->number);
	while (!get(&stop_reading)) {
		fdb_look_up(fdb, keys, STATIONS, places);
		for (unsigned i = 0; i < STATIONS; i++) {
			uint16_t port = fdb_port(fdb, places[i]);

			reader->wrong |= !is_right(i, port);
			if (port != FDB_NO_PORT)
				set(&reader->found, reader->found + 1);
			fdb_refresh(fdb, places[i], i, 1);
		}
		rte_rcu_qsbr_quiescent(rcu, reader->number);
	}
	rte_rcu_qsbr_thread_offline(rcu, reader->number);
	rte_rcu_qsbr_thread_unregister(rcu, reader->number);
	return NULL;
}

static bool all_have_found(const struct reader *readers)
{
	for (unsigned i = 0; i < READERS; i++)
		if (get(&readers[i].found) < ROUNDS)
			return false;
	return true;
}

static void readers_never_mistake_a_station(void **state)
{
	struct setup *s = *state;
	struct reader readers[READERS];
	unsigned random = 1;

	set(&stop_reading, 0);
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){.setup = s, .number = i};
		assert_int_equal(pthread_create(&readers[i].thread, NULL,
						keep_reading, &readers[i]),
				 0);
	}
	for (unsigned i = 0; i < ROUNDS || !all_have_found(readers); i++) {
		random = random * 1103515245 + 12345;
		unsigned number = random >> 16 & (STATIONS - 1);
		fdb_key key = station(number, 0);

		if (random >> 30)
			fdb_learn(s->fdb, key, number + (random >> 8 & 1), 1);
		else
			fdb_remove(s->fdb, key);
	}
	set(&stop_reading, 1);
	for (unsigned i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_false(readers[i].wrong);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_station_is_found_where_it_was_heard),
		TEST(vlans_are_apart),
		TEST(a_station_moves),
		TEST(who_is_not_heard_is_forgotten),
		TEST(a_static_one_stays),
		TEST(a_port_learns_no_more_than_it_may),
		TEST(a_full_table_forgets_nobody),
		TEST(each_station_is_told_once),
		TEST(readers_never_mistake_a_station),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
