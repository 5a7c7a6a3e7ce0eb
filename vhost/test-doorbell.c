/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that a front-end has prepared to hold up whoever rings. */
#include "vhost/doorbell.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tests/cmocka.h"

enum {
	RINGERS = 4,
	RINGS = 5000,
	/* A ring that waits is ended by SIGALRM, and the test fails. */
	PATIENCE_SECONDS = 30,
};

static int be_impatient(void **state)
{
	alarm(PATIENCE_SECONDS);
	return 0;
}

static int be_patient(void **state)
{
	alarm(0);
	return 0;
}

static void make_blocking(int fd)
{
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK),
			 0);
}

static uint64_t count_of(int fd)
{
	uint64_t count = 0;

	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	return count;
}

static void each_ring_is_counted(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	struct doorbell bell;

	doorbell_init(&bell, fd);
	for (unsigned i = 0; i < RINGS; i++)
		doorbell_ring(&bell);
	assert_int_equal(count_of(fd), RINGS);
	close(fd);
}

static void full_eventfd_that_blocks_holds_up_nobody(void **state)
{
	const uint64_t full = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC);
	struct doorbell bell;

	doorbell_init(&bell, fd);
	make_blocking(fd);
	assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
	for (unsigned i = 0; i < 3; i++)
		doorbell_ring(&bell);
	assert_true(count_of(fd) >= full);
	/* It rings as before. */
	doorbell_ring(&bell);
	assert_int_equal(count_of(fd), 1);
	close(fd);
}

static void full_pipe_that_blocks_holds_up_nobody(void **state)
{
	uint64_t rung;
	int fds[2];
	struct doorbell bell;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	doorbell_init(&bell, fds[1]);
	make_blocking(fds[1]);
	for (unsigned i = 0; i < RINGS; i++)
		doorbell_ring(&bell);
	assert_int_equal(read(fds[0], &rung, sizeof(rung)), sizeof(rung));
	assert_int_equal(rung, 1);
	close(fds[0]);
	doorbell_ring(&bell); /* and no SIGPIPE */
	close(fds[1]);
}

static void full_socket_that_blocks_holds_up_nobody(void **state)
{
	int fds[2];
	struct doorbell bell;

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	doorbell_init(&bell, fds[1]);
	make_blocking(fds[1]);
	for (unsigned i = 0; i < RINGS; i++)
		doorbell_ring(&bell);
	close(fds[0]);
	doorbell_ring(&bell);
	close(fds[1]);
}

static void what_is_no_doorbell_is_not_rung(void **state)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct doorbell bell;

	doorbell_init(&bell, -1);
	doorbell_ring(&bell);
	doorbell_init(&bell, fd);
	doorbell_ring(&bell);
	close(fd);
	doorbell_ring(&bell);
}

static void *ring_often(void *arg)
{
	for (unsigned i = 0; i < RINGS; i++)
		doorbell_ring(arg);
	return NULL;
}

static void many_threads_ring_and_none_is_lost(void **state)
{
	struct doorbell bells[RINGERS];
	pthread_t threads[RINGERS];
	int fds[RINGERS];

	for (unsigned i = 0; i < RINGERS; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		doorbell_init(&bells[i], fds[i]);
		assert_int_equal(pthread_create(&threads[i], NULL, ring_often,
						&bells[i]),
				 0);
	}
	for (unsigned i = 0; i < RINGERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(count_of(fds[i]), RINGS);
		close(fds[i]);
	}
}

#define bell_test(name) \
	cmocka_unit_test_setup_teardown(name, be_impatient, be_patient)

int main(void)
{
	const struct CMUnitTest tests[] = {
		bell_test(each_ring_is_counted),
		bell_test(full_eventfd_that_blocks_holds_up_nobody),
		bell_test(full_pipe_that_blocks_holds_up_nobody),
		bell_test(full_socket_that_blocks_holds_up_nobody),
		bell_test(what_is_no_doorbell_is_not_rung),
		bell_test(many_threads_ring_and_none_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
