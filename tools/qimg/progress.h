/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far the sub-command is: with -p a bar on a terminal and qemu-img's line
 * elsewhere, on standard output; with --progress=json one object a line, on
 * standard error, so that it mixes with nothing; and when SIGUSR1 asks (SIGINFO
 * too, where there is one), once, without -p on standard error.
 *
 * There is one of it, as there is one sub-command; one thread.
 */
#ifndef QIMG_PROGRESS_H
#define QIMG_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/qimg/spec.h"

#define QIMG_OPTION_PROGRESS                                       \
	{'p', NULL, CLI_FLAG, NULL, "show how far it is"},         \
	{                                                          \
		QIMG_PROGRESS, "progress", CLI_PROGRESS, "KIND",   \
			"json: the progress as lines for programs" \
	}

/*
 * Takes -p, -q and --progress of @cli in, and the signals over. False, with a
 * message. Called before the images are opened: a signal would end us.
 */
bool progress_init(const struct cli *cli);

/* Percent between qemu-img's lines; 1 if nothing is said. */
void progress_set_step(unsigned percent);

/* A total that nobody knows. */
#define PROGRESS_UNKNOWN UINT64_MAX

/* It begins, with @total bytes to be done; or once again. */
void progress_begin(uint64_t total);
void progress_add(uint64_t bytes);

/* The same as a callback: begins by itself. */
void progress_update(void *opaque, uint64_t done, uint64_t total);

/* Ends a bar's line before other output; the end is to come. */
void progress_line(bool success);

/* All is done (@success), or will not be. Nothing if it never began. */
void progress_end(bool success);

#endif
