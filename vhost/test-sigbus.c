/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/sigbus.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/barrier.h"
#include "tests/cmocka.h"

enum {
	LENGTH = 4 * 4096
};

struct mapped {
	int fd;
	volatile uint8_t *bytes;
	bool broken;
	int guard;
};

static void mapped_init(struct mapped *m)
{
	/* cmocka has its own handler in each test. */
	assert_int_equal(sigbus_install(), 0);
	m->fd = memfd_create("sigbus", MFD_CLOEXEC);
	assert_true(m->fd >= 0);
	assert_int_equal(ftruncate(m->fd, LENGTH), 0);
	m->bytes = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd,
			0);
	assert_ptr_not_equal(m->bytes, MAP_FAILED);
	m->broken = false;
	m->guard = sigbus_guard((void *)m->bytes, LENGTH, &m->broken);
	assert_true(m->guard >= 0);
}

static void mapped_deinit(struct mapped *m)
{
	sigbus_unguard(m->guard);
	munmap((void *)m->bytes, LENGTH);
	close(m->fd);
}

static void truncated_file_breaks_its_own_mapping_only(void **state)
{
	struct mapped bad, good;
	unsigned before = sigbus_count();

	mapped_init(&bad);
	mapped_init(&good);
	bad.bytes[0] = 1;
	good.bytes[LENGTH - 1] = 2;
	assert_int_equal(ftruncate(bad.fd, 4096), 0);

	/* Reads zeroes, keeps what is written, goes on for the whole range. */
	assert_int_equal(bad.bytes[8192], 0);
	bad.bytes[LENGTH - 1] = 3;
	assert_int_equal(bad.bytes[LENGTH - 1], 3);
	assert_int_equal(bad.bytes[0], 0);
	assert_true(load_acquire(&bad.broken));
	assert_int_equal(sigbus_count(), before + 1);

	assert_false(load_acquire(&good.broken));
	assert_int_equal(good.bytes[LENGTH - 1], 2);
	mapped_deinit(&bad);
	mapped_deinit(&good);
}

/* Runs @fault in a child; the signal that ended it, or 0. */
static int child_signal(void (*fault)(struct mapped *m))
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		struct mapped m;

		mapped_init(&m);
		fault(&m);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void fault_unguarded(struct mapped *m)
{
	sigbus_unguard(m->guard);
	if (ftruncate(m->fd, 0) == 0)
		m->bytes[0] = 1;
}

static void fault_guarded(struct mapped *m)
{
	if (ftruncate(m->fd, 0) == 0)
		m->bytes[0] = 1;
}

static void fault_by_kill(struct mapped *m)
{
	raise(SIGBUS);
}

static void fault_in_no_guarded_range_ends_the_process(void **state)
{
	assert_int_equal(child_signal(fault_unguarded), SIGBUS);
	assert_int_equal(child_signal(fault_by_kill), SIGBUS);
	assert_int_equal(child_signal(fault_guarded), 0);
}

static void guards_run_out_with_a_named_error_and_come_back(void **state)
{
	static int handles[SIGBUS_MAX_RANGES];
	static uint8_t bytes[SIGBUS_MAX_RANGES];
	bool broken = false;

	for (int i = 0; i < SIGBUS_MAX_RANGES; i++) {
		handles[i] = sigbus_guard(&bytes[i], 1, &broken);
		assert_true(handles[i] >= 0);
	}
	assert_int_equal(sigbus_guard(bytes, 1, &broken), -ENOSPC);
	sigbus_unguard(handles[17]);
	assert_int_equal(sigbus_guard(bytes, 1, &broken), handles[17]);
	for (int i = 0; i < SIGBUS_MAX_RANGES; i++)
		sigbus_unguard(handles[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(truncated_file_breaks_its_own_mapping_only),
		cmocka_unit_test(fault_in_no_guarded_range_ends_the_process),
		cmocka_unit_test(
			guards_run_out_with_a_named_error_and_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
