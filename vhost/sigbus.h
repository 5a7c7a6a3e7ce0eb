/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containment of SIGBUS to the mapping that raised it.
 *
 * A front-end can truncate a file that we have mapped; the next access then
 * raises SIGBUS. The handler looks the address up among the guarded ranges,
 * maps zeroed private memory over the whole range so that the access (and
 * every later one) succeeds, and raises the range's flag, which the device
 * looks at after each batch. An address in no guarded range is somebody's bug:
 * the default action follows.
 *
 * System calls on such memory return EFAULT instead of a signal; that needs
 * nothing from here.
 */
#ifndef VHOST_SIGBUS_H
#define VHOST_SIGBUS_H

#include <stdbool.h>
#include <stddef.h>

enum {
	SIGBUS_MAX_RANGES = 4096
};

/* Installs the handler; once per process, from main. */
int sigbus_install(void);

/*
 * Guards [base, base + length). @broken, which must outlive the guard, is set
 * (with a release store) when the range is replaced. Returns a handle >= 0 for
 * sigbus_unguard or -ENOSPC. Any thread but not from a signal handler.
 */
int sigbus_guard(void *base, size_t length, bool *broken);

/* Before munmap. */
void sigbus_unguard(int handle);

/*
 * How many ranges have been replaced in this process. One load: a data path
 * compares it with what it saw last and looks at its own flags only when it
 * has changed. Any thread.
 */
unsigned sigbus_count(void);

#endif
