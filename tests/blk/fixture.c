/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/blk/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	EXIT_POLLS = 500,
	POLL_US = 10000,
	START_TRIES = 50,
	FD_POLLS = 200,
};

uint8_t fixture_byte(uint64_t offset)
{
	return offset / BLK_SECTOR_BYTES * 7 + offset % 251;
}

void fixture_pattern(void *to, size_t bytes, uint64_t seed)
{
	uint8_t *at = to;

	for (size_t i = 0; i < bytes; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963;
		at[i] = seed >> 56;
	}
}

static void write_image(struct fixture *f)
{
	const size_t chunk = 1 << 20;
	uint8_t *data = malloc(chunk);

	assert_non_null(data);
	for (size_t at = 0; at < FIXTURE_IMAGE_BYTES; at += chunk) {
		for (size_t i = 0; i < chunk; i++)
			data[i] = fixture_byte(at + i);
		assert_int_equal(pwrite(f->image_fd, data, chunk, at), chunk);
	}
	free(data);
}

int fixture_setup(void **state)
{
	struct fixture *f;

	if (!getenv("VHOST_BLK")) {
		fprintf(stderr, "VHOST_BLK is not set\n");
		exit(77);
	}
	f = calloc(1, sizeof(*f));
	assert_non_null(f);
	strcpy(f->folder, "/tmp/ringline-blk-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->socket, sizeof(f->socket), "%s/socket", f->folder);
	snprintf(f->image, sizeof(f->image), "%s/image", f->folder);
	snprintf(f->log, sizeof(f->log), "%s/log", f->folder);
	f->image_fd = open(f->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(f->image_fd >= 0);
	write_image(f);
	*state = f;
	return 0;
}

int fixture_setup_running(void **state)
{
	int err = fixture_setup(state);

	if (err == 0)
		fixture_start(*state, NULL);
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
	close(f->image_fd);
	unlink(f->socket);
	unlink(f->image);
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

/*
 * The leak sanitizer stops and traces the process at its end, which the sandbox
 * forbids. Leaks are looked for where a test turns the sandbox off.
 */
static void allow_for_the_sandbox(char *const *argv)
{
	const char *given = getenv("ASAN_OPTIONS");
	char options[512];

	for (; *argv; argv++)
		if (strcmp(*argv, "--sandbox=off") == 0)
			return;
	snprintf(options, sizeof(options), "%s:detect_leaks=0",
		 given ? given : "");
	setenv("ASAN_OPTIONS", options, 1);
}

pid_t fixture_spawn(const struct fixture *f, const char *socket,
		    const char *const *options)
{
	char image_arg[128], socket_arg[128];
	char *argv[FIXTURE_MAX_ARGS + 4] = {getenv("VHOST_BLK"), image_arg};
	unsigned count = 2;
	pid_t pid;

	snprintf(image_arg, sizeof(image_arg), "--blk-file=%s", f->image);
	if (socket) {
		snprintf(socket_arg, sizeof(socket_arg), "--socket-path=%s",
			 socket);
		argv[count++] = socket_arg;
	}
	for (; options && *options; options++) {
		assert_true(count < FIXTURE_MAX_ARGS);
		argv[count++] = (char *)(uintptr_t)*options;
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* A test that fails leaves no daemon behind. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		redirect(f);
		allow_for_the_sandbox(argv);
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

/* A predecessor's socket may take connections, but it does not answer. */
static bool answers(const struct fixture *f)
{
	struct frontend *fe;
	int err = frontend_connect(f->socket, &fe);

	if (err < 0)
		return false;
	err = frontend_get_features(fe);
	frontend_free(fe);
	return err == 0;
}

void fixture_start(struct fixture *f, const char *const *options)
{
	f->pid = fixture_spawn(f, f->socket, options);
	for (unsigned tries = 0; tries < START_TRIES; tries++) {
		if (answers(f))
			return;
		usleep(POLL_US);
	}
	show_log(f);
	fail_msg("the daemon does not take connections");
}

int fixture_wait_exit(pid_t pid)
{
	int status;

	for (unsigned i = 0; i < EXIT_POLLS; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status)
						 : 128 + WTERMSIG(status);
		usleep(POLL_US);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	fail_msg("the daemon did not end");
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

struct blk_driver *fixture_open(const struct fixture *f,
				const struct blk_options *options)
{
	const struct blk_options none = {0};
	struct blk_driver *d;
	int err = blk_driver_open(f->socket, options ? options : &none, &d);

	if (err < 0) {
		fixture_assert_alive(f);
		show_log(f);
		fail_msg("cannot start: %s", strerror(-err));
	}
	return d;
}

void fixture_assert_serves(const struct fixture *f)
{
	struct blk_driver *d;
	uint8_t data[4096], back[4096];
	static uint64_t seed;

	fixture_assert_alive(f);
	d = fixture_open(f, NULL);
	fixture_pattern(data, sizeof(data), ++seed);
	assert_int_equal(blk_write(d, 0, 80, data, sizeof(data)), 0);
	assert_int_equal(blk_read(d, 0, 80, back, sizeof(back)), 0);
	assert_memory_equal(data, back, sizeof(data));
	blk_driver_free(d);
}

void fixture_read_image(const struct fixture *f, uint64_t offset, void *to,
			size_t bytes)
{
	assert_int_equal(pread(f->image_fd, to, bytes, offset), bytes);
}

unsigned fixture_count_fds(const struct fixture *f)
{
	struct dirent *entry;
	unsigned count = 0;
	char path[64];
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/fd", f->pid);
	folder = opendir(path);
	assert_non_null(folder);
	while ((entry = readdir(folder)))
		count += entry->d_name[0] != '.';
	closedir(folder);
	return count;
}

void fixture_assert_fds(const struct fixture *f, unsigned limit)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FD_POLLS; i++) {
		count = fixture_count_fds(f);
		if (count <= limit)
			return;
		usleep(POLL_US);
	}
	fail_msg("the daemon holds %u descriptors, not %u", count, limit);
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
