/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/socket.h"

enum {
	POLLS = 1000,
	POLL_US = 10000,
};

void process_skip_all(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	exit(77);
}

void process_init(struct process *p, const char *variable)
{
	if (!getenv(variable))
		process_skip_all("the program is not named");
	*p = (struct process){.variable = variable};
	strcpy(p->folder, "/tmp/ringline-XXXXXX");
	assert_non_null(mkdtemp(p->folder));
	snprintf(p->socket, sizeof(p->socket), "%s/socket", p->folder);
	snprintf(p->log, sizeof(p->log), "%s/log", p->folder);
}

void process_show_log(const struct process *p)
{
	char line[1024];
	FILE *log = fopen(p->log, "re");

	while (log && fgets(line, sizeof(line), log))
		fprintf(stderr, "# daemon: %s", line);
	if (log)
		fclose(log);
}

int process_deinit(struct process *p)
{
	int status, died = 0;

	if (p->pid > 0) {
		died = waitpid(p->pid, &status, WNOHANG) != 0;
		if (died)
			fprintf(stderr, "# the daemon died: %s %d\n",
				WIFSIGNALED(status) ? "signal" : "status",
				WIFSIGNALED(status) ? WTERMSIG(status)
						    : WEXITSTATUS(status));
		else
			process_stop(p, SIGKILL);
		if (died || getenv("FIXTURE_SHOW_LOG"))
			process_show_log(p);
	}
	unlink(p->socket);
	unlink(p->log);
	rmdir(p->folder);
	return died;
}

static void redirect(const struct process *p)
{
	int log = open(p->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int null = open("/dev/null", O_RDWR);

	dup2(null, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
}

/*
 * The leak sanitizer stops and traces the process at its end, which the sandbox
 * forbids. Leaks are looked for where a test turns the sandbox off.
 */
static void allow_for_the_sandbox(const char *const *args)
{
	const char *given = getenv("ASAN_OPTIONS");
	char options[512];

	for (; *args; args++)
		if (strcmp(*args, "--sandbox=off") == 0)
			return;
	snprintf(options, sizeof(options), "%s:detect_leaks=0",
		 given ? given : "");
	setenv("ASAN_OPTIONS", options, 1);
}

pid_t process_spawn(const struct process *p, const char *const *options)
{
	const char *args[PROCESS_MAX_ARGS + 2] = {getenv(p->variable)};
	unsigned count = 1;
	pid_t pid;

	for (; options && *options; options++) {
		assert_true(count <= PROCESS_MAX_ARGS);
		args[count++] = *options;
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* A test that fails leaves no daemon behind. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		redirect(p);
		allow_for_the_sandbox(args);
		execv(args[0], (char **)args);
		_exit(127);
	}
	return pid;
}

int process_wait_exit(pid_t pid)
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

void process_stop(struct process *p, int signal)
{
	assert_int_equal(kill(p->pid, signal), 0);
	process_wait_exit(p->pid);
	p->pid = 0;
}

void process_assert_alive(const struct process *p)
{
	siginfo_t info = {0};

	/* WNOWAIT: the teardown is to see it, too. */
	assert_int_equal(
		waitid(P_PID, p->pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	if (info.si_pid != 0)
		fail_msg("the daemon is dead: %s %d",
			 info.si_code == CLD_EXITED ? "status" : "signal",
			 info.si_status);
}

static bool is_listening(const char *path)
{
	autoclose int fd = -1;

	return socket_connect(path, &fd) == 0;
}

void process_wait_listening(const struct process *p, const char *path)
{
	bool listens = is_listening(path);

	for (unsigned i = 0; i < POLLS && !listens; i++) {
		process_assert_alive(p);
		usleep(POLL_US);
		listens = is_listening(path);
	}
	assert_true(listens);
}

void process_wait_socket(const struct process *p)
{
	for (unsigned i = 0; i < POLLS && access(p->socket, F_OK) < 0; i++) {
		process_assert_alive(p);
		usleep(POLL_US);
	}
	assert_int_equal(access(p->socket, F_OK), 0);
}

/* The last line with @words: what stands behind them; false if there is none.
 */
static bool find_in_log(const struct process *p, const char *words,
			char ret_behind[static PROCESS_LINE_BYTES])
{
	char line[PROCESS_LINE_BYTES];
	FILE *log = fopen(p->log, "re");
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

void process_wait_log(const struct process *p, const char *words)
{
	char behind[PROCESS_LINE_BYTES];

	for (unsigned i = 0; i < POLLS; i++) {
		if (find_in_log(p, words, behind))
			return;
		usleep(POLL_US);
	}
	process_show_log(p);
	fail_msg("the log has no \"%s\"", words);
}

uint64_t process_log_number(const struct process *p, const char *words)
{
	char behind[PROCESS_LINE_BYTES];

	if (!find_in_log(p, words, behind))
		return 0;
	return strtoull(behind, NULL, 10);
}

unsigned process_count_fds(const struct process *p)
{
	struct dirent *entry;
	unsigned count = 0;
	char path[64];
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/fd", p->pid);
	folder = opendir(path);
	assert_non_null(folder);
	while ((entry = readdir(folder)))
		count += entry->d_name[0] != '.';
	closedir(folder);
	return count;
}

void process_assert_fds(const struct process *p, unsigned limit)
{
	unsigned count = 0;

	for (unsigned i = 0; i < POLLS; i++) {
		count = process_count_fds(p);
		if (count <= limit)
			return;
		usleep(POLL_US);
	}
	fail_msg("the daemon holds %u descriptors, not %u", count, limit);
}

uint64_t process_cpu_ms(const struct process *p)
{
	unsigned long user, system;
	char path[64], text[1024];
	FILE *file;
	char *after;

	snprintf(path, sizeof(path), "/proc/%d/stat", p->pid);
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

uint64_t process_status(const struct process *p, const char *name)
{
	char path[64], line[128];
	uint64_t value = UINT64_MAX;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", p->pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtoull(line + strlen(name), NULL, 16);
	fclose(file);
	return value;
}

void process_wait_status(const struct process *p, const char *name,
			 uint64_t wanted)
{
	for (unsigned i = 0; i < POLLS && process_status(p, name) != wanted;
	     i++)
		usleep(POLL_US);
	assert_int_equal(process_status(p, name), wanted);
}
