/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/loop.h"
#include "tests/cmocka.h"

static const uint64_t second_ns = 1000000000;

struct counted_op {
	struct loop_op op;
	unsigned calls;
	int32_t result;
};

static void count_done(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct counted_op *counted = container_of(op, struct counted_op, op);

	counted->calls++;
	counted->result = result;
}

static struct loop *new_loop(void)
{
	struct loop *loop = NULL;

	assert_int_equal(loop_new(8, &loop), 0);
	return loop;
}

static void more_operations_than_entries_all_complete(void **state)
{
	struct loop *loop = new_loop();
	struct counted_op ops[100] = {0};
	unsigned done = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		struct io_uring_sqe *sqe = loop_sqe(loop);

		ops[i].op.done = count_done;
		io_uring_prep_nop(sqe);
		loop_bind(sqe, &ops[i].op);
	}
	while (done < ARRAY_SIZE(ops)) {
		int ran = loop_wait(loop, second_ns);

		assert_true(ran > 0);
		done += ran;
	}
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		assert_int_equal(ops[i].calls, 1);
	loop_free(loop);
}

static void waiting_ends_at_the_timeout(void **state)
{
	struct loop *loop = new_loop();

	assert_int_equal(loop_wait(loop, 1000000), 0);
	assert_int_equal(loop_reap(loop), 0);
	loop_free(loop);
}

struct watched {
	struct loop_watch *watch;
	int fd;
	unsigned calls;
	unsigned free_at;
};

static void on_ready(void *arg, int revents)
{
	struct watched *w = arg;
	eventfd_t count;

	assert_true(revents & POLLIN);
	eventfd_read(w->fd, &count);
	if (++w->calls == w->free_at)
		loop_watch_free(w->watch);
}

static void watch_fires_on_every_edge_until_it_is_freed(void **state)
{
	struct loop *loop = new_loop();
	struct watched w = {.fd = eventfd(0, EFD_NONBLOCK), .free_at = 3};

	assert_int_equal(
		loop_watch_new(loop, w.fd, POLLIN, on_ready, &w, &w.watch), 0);
	for (unsigned i = 1; i <= 3; i++) {
		eventfd_write(w.fd, 1);
		while (w.calls < i)
			assert_true(loop_wait(loop, second_ns) > 0);
	}
	eventfd_write(w.fd, 1);
	loop_wait(loop, 10000000);
	loop_wait(loop, 10000000);
	assert_int_equal(w.calls, 3);
	close(w.fd);
	loop_free(loop);
}

static void on_failure(void *arg, int revents)
{
	int *result = arg;

	*result = revents;
}

static void watch_of_a_bad_descriptor_reports_once_and_can_be_freed(void **s)
{
	struct loop *loop = new_loop();
	struct loop_watch *watch;
	int result = 0;

	assert_int_equal(
		loop_watch_new(loop, 9999, POLLIN, on_failure, &result, &watch),
		0);
	assert_true(loop_wait(loop, second_ns) > 0);
	assert_int_equal(result, -EBADF);
	loop_watch_free(watch);
	loop_free(loop);
}

struct posted {
	struct loop_message message;
	unsigned *order;
	unsigned *next;
	unsigned number;
};

static void on_message(struct loop_message *message)
{
	struct posted *p = container_of(message, struct posted, message);

	p->order[(*p->next)++] = p->number;
}

struct poster {
	struct loop *loop;
	struct posted *messages;
	unsigned count;
};

static void *post_all(void *arg)
{
	struct poster *poster = arg;

	for (unsigned i = 0; i < poster->count; i++)
		loop_post(poster->loop, &poster->messages[i].message);
	return NULL;
}

static void messages_of_another_thread_run_in_order(void **state)
{
	enum {
		COUNT = 500
	};
	static struct posted messages[COUNT];
	static unsigned order[COUNT];
	struct loop *loop = new_loop();
	struct poster poster = {loop, messages, COUNT};
	unsigned next = 0;
	pthread_t thread;

	for (unsigned i = 0; i < COUNT; i++)
		messages[i] =
			(struct posted){{on_message, NULL}, order, &next, i};
	pthread_create(&thread, NULL, post_all, &poster);
	while (next < COUNT)
		assert_true(loop_wait(loop, second_ns) > 0);
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(order[i], i);
	loop_free(loop);
}

static unsigned run_three(void *arg)
{
	unsigned *left = arg;
	unsigned ran = *left > 0 ? 3 : 0;

	*left -= *left > 0;
	return ran;
}

static void batch_completions_count_and_keep_the_loop_from_waiting(void **s)
{
	struct loop *loop = new_loop();
	unsigned left = 2;

	loop_set_batch(loop, run_three, &left);
	assert_int_equal(loop_submit(loop), 0);
	assert_int_equal(loop_reap(loop), 3);
	assert_int_equal(loop_wait(loop, UINT64_MAX), 3);
	assert_int_equal(loop_wait(loop, 1000000), 0);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_operations_than_entries_all_complete),
		cmocka_unit_test(waiting_ends_at_the_timeout),
		cmocka_unit_test(watch_fires_on_every_edge_until_it_is_freed),
		cmocka_unit_test(
			watch_of_a_bad_descriptor_reports_once_and_can_be_freed),
		cmocka_unit_test(
			batch_completions_count_and_keep_the_loop_from_waiting),
		cmocka_unit_test(messages_of_another_thread_run_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
