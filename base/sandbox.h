/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process gives up once everything that it needs is open, so that
 * whoever takes it over by what it reads finds little to use.
 *
 * Two steps, since the kernel applies them differently. File names go first,
 * before threads are made, which inherit it (Landlock): no path can be opened
 * any more. System calls go last, for all threads at once (seccomp): those in
 * declared lists stay, calls that no honest part of us makes kill the process,
 * and all others fail with EPERM. A program should rather fail a request than
 * end because a library found a new way to do an old thing.
 *
 * Both need no privilege and set no_new_privs. A build lacks the second without
 * libseccomp, and both with the address sanitizer; meson.build says why.
 */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

enum sandbox_outcome {
	/* Nothing was given up: this kernel, or this build, has no way to. */
	SANDBOX_E_ABSENT = 1,
};

/*
 * No file can be opened by its name, nor made, linked or removed, but for
 * sockets made and removed in @sockets_folders, and files read below
 * @read_folders. Both end with NULL, and may be NULL.
 * 0, a negative errno if the kernel refused, or SANDBOX_E_ABSENT.
 */
int sandbox_paths(const char *const *sockets_folders,
		  const char *const *read_folders);

/*
 * Capabilities are given up but for CAP_DAC_OVERRIDE: root's folders are not
 * root's alone, and a socket is yet to be made in one. For this thread and
 * those that it makes. 0 or a negative errno; nothing happens without any.
 */
int sandbox_capabilities(void);

/* As a name: more threads of this process, and nothing else that clone makes. */
#define SANDBOX_THREADS "clone"

/* Beside what every program needs: memory, time, signals, what its threads do,
 * the end. */
struct sandbox_calls {
	const char *const *names;      /* end with NULL */
	const char *const *more_names; /* the same, or NULL */
	const unsigned long *ioctls;
	size_t ioctl_count;
	bool unix_sockets; /* socket(AF_UNIX) */
};

/* 0, a negative errno if the kernel refused, or SANDBOX_E_ABSENT. */
int sandbox_system_calls(const struct sandbox_calls *calls);

#endif
