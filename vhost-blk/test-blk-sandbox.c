/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cmocka.h"
#include "vhost-blk/blk-sandbox.h"
#include "vhost/sandbox.h"

enum {
	BYTES = 4096,
	FAILED = 1,
	NO_SECCOMP = 77,
};

/* What waitpid says of a process that does @attempt in the sandbox. */
static int status_of(int (*attempt)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (vhost_sandbox_system_calls(blk_sandbox_names,
					       blk_sandbox_ioctls,
					       blk_sandbox_ioctl_count) < 0)
			_exit(FAILED);
		if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0)
			_exit(NO_SECCOMP);
		_exit(attempt());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SECCOMP)
		skip();
	return status;
}

static int map_and_make_executable(void)
{
	void *data = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (data == MAP_FAILED || mprotect(data, BYTES, PROT_READ) < 0)
		return FAILED;
	if (mprotect(data, BYTES, PROT_READ | PROT_EXEC) == 0 || errno != EPERM)
		return FAILED;
	data = mmap(NULL, BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return data == MAP_FAILED && errno == EPERM ? 0 : FAILED;
}

static void memory_comes_and_goes_but_is_never_executable(void **state)
{
	assert_int_equal(status_of(map_and_make_executable), 0);
}

static int reach_the_network(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM &&
			       socket(AF_UNIX, SOCK_STREAM, 0) >= 0
		       ? 0
		       : FAILED;
}

static void only_unix_sockets_can_be_made(void **state)
{
	assert_int_equal(status_of(reach_the_network), 0);
}

static int make_a_ring(void)
{
	syscall(__NR_io_uring_setup, 1, NULL);
	return 0;
}

static void making_another_ring_kills(void **state)
{
	assert_true(WIFSIGNALED(status_of(make_a_ring)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_comes_and_goes_but_is_never_executable),
		cmocka_unit_test(only_unix_sockets_can_be_made),
		cmocka_unit_test(making_another_ring_kills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
