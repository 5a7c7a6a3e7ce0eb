/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	POLLS = 1000,
	POLL_US = 10000,
};

static void skip_all(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	exit(77);
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 &&
		    write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* A user without rights has them in a user namespace of its own. */
static bool enter_namespace(void)
{
	char map[64];
	uid_t uid = getuid();

	if (unshare(CLONE_NEWNET) == 0)
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	snprintf(map, sizeof(map), "0 %u 1", uid);
	return write_text("/proc/self/uid_map", map);
}

void fixture_enter(void)
{
	if (!getenv("VHOST_NET"))
		skip_all("VHOST_NET is not set");
	if (!enter_namespace())
		skip_all("no network namespace can be made");
	if (access("/dev/net/tun", R_OK | W_OK) < 0)
		skip_all("there is no /dev/net/tun");
	/* Its neighbour discovery would come between our frames. */
	write_text("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	write_text("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
}

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->folder, "/tmp/ringline-net-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->socket, sizeof(f->socket), "%s/socket", f->folder);
	snprintf(f->log, sizeof(f->log), "%s/log", f->folder);
	f->wire_fd = -1;
	*state = f;
	return 0;
}

int fixture_setup_running(void **state)
{
	int err = fixture_setup(state);

	if (err == 0) {
		fixture_start(*state, NULL);
		fixture_plug(*state);
	}
	return err;
}

static void show_log(const struct fixture *f)
{
	char line[1024];
	FILE *log = fopen(f->log, "re");

	while (log && fgets(line, sizeof(line), log))
		fprintf(stderr, "# daemon: %s", line);
	if (log)
		fclose(log);
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	int status, died = 0;

	if (f->pid > 0) {
		died = waitpid(f->pid, &status, WNOHANG) != 0;
		if (died)
			fprintf(stderr, "# the daemon died: %s %d\n",
				WIFSIGNALED(status) ? "signal" : "status",
				WIFSIGNALED(status) ? WTERMSIG(status)
						    : WEXITSTATUS(status));
		else
			fixture_stop(f, SIGKILL);
		if (died || getenv("FIXTURE_SHOW_LOG"))
			show_log(f);
	}
	if (f->wire_fd >= 0)
		close(f->wire_fd);
	unlink(f->socket);
	unlink(f->log);
	rmdir(f->folder);
	free(f);
	return died;
}

static void redirect(const struct fixture *f)
{
	int log = open(f->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int null = open("/dev/null", O_RDWR);

	dup2(null, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
}

pid_t fixture_spawn(const struct fixture *f, const char *const *options)
{
	const char *args[FIXTURE_MAX_ARGS + 2] = {getenv("VHOST_NET")};
	unsigned count = 1;
	pid_t pid;

	for (; options && *options; options++) {
		assert_true(count <= FIXTURE_MAX_ARGS);
		args[count++] = *options;
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		redirect(f);
		execv(args[0], (char **)args);
		_exit(127);
	}
	return pid;
}

void fixture_start(struct fixture *f, const char *const *options)
{
	char socket[128];
	const char *args[FIXTURE_MAX_ARGS + 1] = {socket, "--tap=" FIXTURE_TAP};
	unsigned count = 2;

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->socket);
	for (; options && *options; options++)
		args[count++] = *options;
	f->pid = fixture_spawn(f, args);
	fixture_wait_socket(f);
}

void fixture_wait_socket(const struct fixture *f)
{
	for (unsigned i = 0; i < POLLS && access(f->socket, F_OK) < 0; i++) {
		fixture_assert_alive(f);
		usleep(POLL_US);
	}
	assert_int_equal(access(f->socket, F_OK), 0);
}

int fixture_wait_exit(pid_t pid)
{
	int status = 0;

	for (unsigned i = 0; i < POLLS; i++) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		assert_true(got >= 0);
		if (got == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status)
						 : 128 + WTERMSIG(status);
		usleep(POLL_US);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	fail_msg("the process did not end");
	return -1;
}

void fixture_stop(struct fixture *f, int signal)
{
	assert_int_equal(kill(f->pid, signal), 0);
	fixture_wait_exit(f->pid);
	f->pid = 0;
}

void fixture_assert_alive(const struct fixture *f)
{
	siginfo_t info = {0};

	/* WNOWAIT: the teardown is to see it, too. */
	assert_int_equal(
		waitid(P_PID, f->pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	if (info.si_pid != 0)
		fail_msg("the daemon is dead: %s %d",
			 info.si_code == CLD_EXITED ? "status" : "signal",
			 info.si_status);
}

struct net_driver *fixture_open(const struct fixture *f,
				const struct net_options *options)
{
	const struct net_options none = {0};
	struct net_driver *d;
	int err = net_driver_open(f->socket, options ? options : &none, &d);

	if (err < 0) {
		fixture_assert_alive(f);
		show_log(f);
		fail_msg("cannot start: %s", strerror(-err));
	}
	return d;
}

/* The last line with @words: what stands behind them; false if there is none.
 */
static bool find_in_log(const struct fixture *f, const char *words,
			char ret_behind[static FIXTURE_LINE_BYTES])
{
	char line[FIXTURE_LINE_BYTES];
	FILE *log = fopen(f->log, "re");
	bool found = false;

	while (log && fgets(line, sizeof(line), log)) {
		const char *at = strstr(line, words);

		if (!at)
			continue;
		found = true;
		strcpy(ret_behind, at + strlen(words));
	}
	if (log)
		fclose(log);
	return found;
}

void fixture_wait_log(const struct fixture *f, const char *words)
{
	char behind[FIXTURE_LINE_BYTES];

	for (unsigned i = 0; i < POLLS; i++) {
		if (find_in_log(f, words, behind))
			return;
		usleep(POLL_US);
	}
	show_log(f);
	fail_msg("the log has no \"%s\"", words);
}

uint64_t fixture_log_number(const struct fixture *f, const char *words)
{
	char behind[FIXTURE_LINE_BYTES];

	if (!find_in_log(f, words, behind))
		return 0;
	return strtoull(behind, NULL, 10);
}

/* The log begins anew with each count: the last line is the answer's last. */
void fixture_count(const struct fixture *f)
{
	assert_int_equal(truncate(f->log, 0), 0);
	assert_int_equal(kill(f->pid, SIGUSR1), 0);
	fixture_wait_log(f, "sent frames");
	/* Reasons follow in the same call; a second answer is behind them. */
	assert_int_equal(kill(f->pid, SIGUSR1), 0);
	for (unsigned i = 0, lines = 0; i < POLLS && lines < 2; i++) {
		char line[FIXTURE_LINE_BYTES];
		FILE *log = fopen(f->log, "re");

		for (lines = 0; fgets(line, sizeof(line), log);)
			lines += strstr(line, "sent frames") != NULL;
		fclose(log);
		if (lines < 2)
			usleep(POLL_US);
	}
}

uint64_t fixture_cpu_ms(const struct fixture *f)
{
	unsigned long user, system;
	char path[64], text[1024];
	FILE *file;
	char *after;

	snprintf(path, sizeof(path), "/proc/%d/stat", f->pid);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	after = strrchr(text, ')');
	assert_non_null(after);
	assert_int_equal(sscanf(after + 1,
				" %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u"
				" %lu %lu",
				&user, &system),
			 2);
	return (user + system) * 1000 / sysconf(_SC_CLK_TCK);
}
