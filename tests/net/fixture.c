/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	POLLS = 1000,
	POLL_US = 10000,
};

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	process_init(&f->process, "VHOST_NET");
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

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	int died = process_deinit(&f->process);

	if (f->wire_fd >= 0)
		close(f->wire_fd);
	free(f);
	return died;
}

void fixture_start(struct fixture *f, const char *const *options)
{
	fixture_start_on(f, "--tap=" FIXTURE_TAP, options);
}

void fixture_start_on(struct fixture *f, const char *wire,
		      const char *const *options)
{
	char socket[128];
	const char *args[PROCESS_MAX_ARGS + 1] = {socket, wire};
	unsigned count = 2;

	snprintf(socket, sizeof(socket), "--socket-path=%s", f->process.socket);
	for (; options && *options; options++)
		args[count++] = *options;
	f->process.pid = process_spawn(&f->process, args);
	process_wait_socket(&f->process);
}

void fixture_refused(struct fixture *f, const char *const *options,
		     const char *words)
{
	pid_t pid = process_spawn(&f->process, options);

	assert_int_equal(process_wait_exit(pid), 1);
	process_wait_log(&f->process, words);
	assert_int_equal(truncate(f->process.log, 0), 0);
}

struct net_driver *fixture_open(const struct fixture *f,
				const struct net_options *options)
{
	const struct net_options none = {0};
	struct net_driver *d;
	int err = net_driver_open(f->process.socket, options ? options : &none,
				  &d);

	if (err < 0) {
		process_assert_alive(&f->process);
		process_show_log(&f->process);
		fail_msg("cannot start: %s", strerror(-err));
	}
	return d;
}

/* The log begins anew with each count: the last line is the answer's last. */
void fixture_count(const struct fixture *f)
{
	assert_int_equal(truncate(f->process.log, 0), 0);
	assert_int_equal(kill(f->process.pid, SIGUSR1), 0);
	process_wait_log(&f->process, "sent frames");
	/* Reasons follow in the same call; a second answer is behind them. */
	assert_int_equal(kill(f->process.pid, SIGUSR1), 0);
	for (unsigned i = 0, lines = 0; i < POLLS && lines < 2; i++) {
		char line[PROCESS_LINE_BYTES];
		FILE *log = fopen(f->process.log, "re");

		for (lines = 0; fgets(line, sizeof(line), log);)
			lines += strstr(line, "sent frames") != NULL;
		fclose(log);
		if (lines < 2)
			usleep(POLL_US);
	}
}
