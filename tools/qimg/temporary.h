/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are not whole yet: a signal that ends the program (Ctrl-C, a
 * terminated session, a closed pipe) takes them away first, and then ends it,
 * so that the shell sees the signal. Signals that the caller of the program has
 * ignored (nohup) stay ignored.
 */
#ifndef QIMG_TEMPORARY_H
#define QIMG_TEMPORARY_H

#include <stdbool.h>

enum {
	TEMPORARY_MAX = 4200 /* a VMDK disk may have 4096 extents */
};

/*
 * Before the file at @path is made; borrows @path until temporary_forget, which
 * is called when it has got its name, or was removed. False: there are too many.
 */
bool temporary_add(const char *path);
void temporary_forget(const char *path); /* accepts NULL */

/*
 * Between these two, which do not nest, a signal waits: for several files that get
 * their names, so that not some of them are new and others old. On the main
 * thread; all others of the program take no signals.
 */
void temporary_hold(void);
void temporary_release(void);

#endif
