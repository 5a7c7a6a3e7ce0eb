/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds a device to its dirty log, as a migration does: what of guest memory has
 * changed between the start of the rings and their stop must be in the log, and
 * what may not have changed is not to be there.
 *
 *	dirty_watch_start	remembers memory, clears the log, starts the rings
 *	…			frames, requests
 *	dirty_watch_stop	stops them: from now on the log says all
 *	dirty_watch_allow	where the device was right to write
 *	dirty_watch_missing	a page that changed, and is not in the log
 *	dirty_watch_excess	a page that is in the log, and was not allowed
 *
 * The driver writes to its rings while they stand still only, or declares it:
 * dirty_watch_forget. Logging (VHOST_F_LOG_ALL) begins with dirty_watch_new and
 * lasts as long as the front-end. One thread.
 */
#ifndef TESTS_FRONTEND_DIRTY_WATCH_H
#define TESTS_FRONTEND_DIRTY_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/frontend/frontend.h"

struct dirty_watch;

/*
 * Stops the @count rings of @fe, which has started, and has its back-end log.
 * @log_rings: what it writes to them, too (VHOST_VRING_F_LOG). Borrows all.
 * 0 or a negative errno.
 */
int dirty_watch_new(struct frontend *fe, struct driver_ring *const *rings,
		    unsigned count, bool log_rings,
		    struct dirty_watch **ret_watch);

/* Accepts NULL. */
void dirty_watch_free(struct dirty_watch *watch);

/* 0 or a negative errno. */
int dirty_watch_start(struct dirty_watch *watch);
int dirty_watch_stop(struct dirty_watch *watch);

/* What changed there is not the device's doing, or nobody will read it: a buffer
 * that was not given back. Between dirty_watch_stop and dirty_watch_missing. */
void dirty_watch_forget(struct dirty_watch *watch, uint64_t gpa,
			uint64_t bytes);

/* Since dirty_watch_start the device wrote there, or may have. */
void dirty_watch_allow(struct dirty_watch *watch, uint64_t gpa, uint64_t bytes);

/* The gpa of a page, or RAM_NONE if there is none such. What the device writes to
 * rings is seen to. */
uint64_t dirty_watch_missing(struct dirty_watch *watch);
uint64_t dirty_watch_excess(const struct dirty_watch *watch);

#endif
