/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon under test: a process with a folder of its own, a socket in it, and
 * a log of all that it prints. The program is named by an environment variable.
 *
 * Everything is checked with cmocka's asserts: a function that returns has
 * succeeded.
 */
#ifndef TESTS_PROCESS_H
#define TESTS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/cmocka.h"

enum {
	PROCESS_MAX_ARGS = 32,
	PROCESS_LINE_BYTES = 256,
};

struct process {
	const char *variable; /* "VHOST_BLK": what names the program */
	char folder[64];
	char socket[96];
	char log[96];
	pid_t pid; /* 0: none runs */
};

/* Ends the test program as skipped. */
_Noreturn void process_skip_all(const char *why);

/* Makes the folder. Skips all tests if @variable, borrowed, is not set. */
void process_init(struct process *p, const char *variable);

/*
 * Ends a daemon that runs and removes the folder, in which only socket and log
 * may be left. What the daemon died of, if it did, and the log then, or with
 * FIXTURE_SHOW_LOG in the environment, go to standard error: 1 if it did.
 */
int process_deinit(struct process *p);

/* Runs the program with @options, NULL-terminated or NULL; the process is the
 * caller's, who may make it p->pid. */
pid_t process_spawn(const struct process *p, const char *const *options);

/* The exit status, or 128 and the signal, of a process that ends within ten
 * seconds. */
int process_wait_exit(pid_t pid);

/* Ends the daemon with @signal and waits for it. */
void process_stop(struct process *p, int signal);

void process_assert_alive(const struct process *p);
/* Waits until the socket is there; fails if the daemon dies instead. */
void process_wait_socket(const struct process *p);
/* Waits until a connection at @path is taken, which the name alone does not say;
 * the same. */
void process_wait_listening(const struct process *p, const char *path);

void process_show_log(const struct process *p);
/* Waits until the log has a line with @words in it. */
void process_wait_log(const struct process *p, const char *words);
/* The number behind @words in the last line of the log that has them; 0: none
 * has. */
uint64_t process_log_number(const struct process *p, const char *words);

unsigned process_count_fds(const struct process *p);
/* The daemon comes to hold at most @limit descriptors: it sees a hang-up in its
 * own time. */
void process_assert_fds(const struct process *p, unsigned limit);

uint64_t process_cpu_ms(const struct process *p);

/* The hexadecimal number of the line @name ("Seccomp:") of its status. */
uint64_t process_status(const struct process *p, const char *name);
/* What comes in time: the socket is there before the last privilege is gone. */
void process_wait_status(const struct process *p, const char *name,
			 uint64_t wanted);

#endif
