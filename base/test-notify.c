/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/notify.h"
#include "tests/cmocka.h"

/* A manager's socket in the abstract name space; sets NOTIFY_SOCKET. */
static int make_manager(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char name[64];
	int length;

	length = snprintf(name, sizeof(name), "@ringline-notify-%d", getpid());
	memcpy(address.sun_path + 1, name + 1, length - 1);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
			      offsetof(struct sockaddr_un, sun_path) + length),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void manager_is_told(void **state)
{
	int manager = make_manager();
	char text[32] = {0};

	notify_send("READY=1");
	assert_int_equal(recv(manager, text, sizeof(text), MSG_DONTWAIT), 7);
	assert_string_equal(text, "READY=1");
	close(manager);
	/* Gone: nobody to tell, and nothing happens. */
	notify_send("STOPPING=1");
	unsetenv("NOTIFY_SOCKET");
	notify_send("STOPPING=1");
}

static void socket_passed_to_another_process_is_not_ours(void **state)
{
	setenv("LISTEN_PID", "1", 1);
	setenv("LISTEN_FDS", "1", 1);
	assert_int_equal(notify_listen_fd(), -1);
	unsetenv("LISTEN_PID");
	assert_int_equal(notify_listen_fd(), -1);
}

static void one_socket_is_taken_and_two_are_refused(void **state)
{
	char pid[16];
	int flags;

	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "2", 1);
	assert_int_equal(notify_listen_fd(), -EINVAL);
	setenv("LISTEN_FDS", "1", 1);
	dup2(STDERR_FILENO, 3);
	assert_int_equal(notify_listen_fd(), 3);
	flags = fcntl(3, F_GETFD);
	assert_true(flags >= 0 && flags & FD_CLOEXEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(manager_is_told),
		cmocka_unit_test(socket_passed_to_another_process_is_not_ours),
		cmocka_unit_test(one_socket_is_taken_and_two_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
