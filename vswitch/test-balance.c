/* SPDX-License-Identifier: Apache-2.0 */
/* Which queue is moved where, and that moving comes to an end. */
#include "vswitch/balance.h"

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "tests/random.h"

enum {
	ROUNDS = 2000,
	MAX_MOVES = 200,
};

static void queue_that_evens_out_is_moved(void **state)
{
	const struct balance_queue queues[] = {
		{.lcore = 0, .load = 500},
		{.lcore = 0, .load = 300},
		{.lcore = 0, .load = 100},
		{.lcore = 1, .load = 50},
	};
	unsigned to;

	/* 400 and 550; the second one would leave 600 and 350. */
	assert_int_equal(balance_choose(queues, ARRAY_SIZE(queues), 2, &to), 0);
	assert_int_equal(to, 1);
}

static void queue_that_is_alone_or_placed_stays(void **state)
{
	struct balance_queue queues[] = {
		{.lcore = 1, .load = 1000},
		{.lcore = 0, .load = 100},
		{.lcore = 1, .load = 400},
	};
	unsigned to;

	assert_int_equal(balance_choose(queues, 2, 2, &to), -1);
	assert_int_equal(balance_choose(queues, 2, 1, &to), -1);
	assert_int_equal(balance_choose(queues, 0, 4, &to), -1);
	assert_int_equal(balance_choose(queues, 3, 2, &to), 2);
	assert_int_equal(to, 0);
	queues[2].is_placed = true;
	assert_int_equal(balance_choose(queues, 3, 2, &to), 0);
	queues[0].is_placed = true;
	assert_int_equal(balance_choose(queues, 3, 2, &to), -1);
}

/* Which would have the same to do again on the other side. */
static void queue_stays_where_a_move_gains_little(void **state)
{
	const struct balance_queue queues[] = {
		{.lcore = 0, .load = 250},
		{.lcore = 0, .load = 10},
	};
	unsigned to;

	assert_int_equal(balance_choose(queues, 2, 2, &to), -1);
}

/* BALANCE_LEAST apart is enough, and to gain half of it is not. */
static void move_begins_where_it_is_worth_it(void **state)
{
	struct balance_queue queues[] = {
		{.lcore = 0, .load = BALANCE_LEAST / 2},
		{.lcore = 0, .load = BALANCE_LEAST / 2},
	};
	unsigned to;

	assert_int_equal(balance_choose(queues, 2, 2, &to), 0);
	assert_int_equal(to, 1);
	queues[0].load--;
	assert_int_equal(balance_choose(queues, 2, 2, &to), -1);
	queues[0].load = BALANCE_LEAST / 4;
	queues[1].load = BALANCE_FULL;
	assert_int_equal(balance_choose(queues, 2, 2, &to), -1);
	queues[0].load++;
	assert_int_equal(balance_choose(queues, 2, 2, &to), 0);
}

/* With loads that stay as they are; and the ends are nearer each time. */
static void moves_come_to_an_end(void **state)
{
	uint64_t random = 1;

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct balance_queue queues[24];
		const unsigned lcores = 2 + round % 7;
		unsigned moves = 0, to;
		int chosen;

		for (unsigned i = 0; i < ARRAY_SIZE(queues); i++)
			queues[i] = (struct balance_queue){
				.lcore = random_below(&random, lcores),
				.load = random_below(&random, 1000),
			};
		while ((chosen = balance_choose(queues, ARRAY_SIZE(queues),
						lcores, &to)) >= 0) {
			assert_int_not_equal(queues[chosen].lcore, to);
			assert_true(to < lcores);
			queues[chosen].lcore = to;
			assert_true(++moves < MAX_MOVES);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queue_that_evens_out_is_moved),
		cmocka_unit_test(queue_that_is_alone_or_placed_stays),
		cmocka_unit_test(queue_stays_where_a_move_gains_little),
		cmocka_unit_test(move_begins_where_it_is_worth_it),
		cmocka_unit_test(moves_come_to_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
