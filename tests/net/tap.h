/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TAPs that a test opens itself, in its own network namespace.
 *
 * Everything is checked with cmocka's asserts: a function that returns has
 * succeeded.
 */
#ifndef TESTS_NET_TAP_H
#define TESTS_NET_TAP_H

#include "tests/net/fixture.h"

/* A queue of the TAP @name, which is made if there is none, with @flags beside
 * those of every TAP: its descriptor, close-on-exec and the caller's. Waits for one
 * that a killed daemon has, which lasts for a moment. */
int tap_open_queue(const char *name, short flags);
/* The same of a TAP that is new. */
int tap_new(const char *name, short flags);

void tap_bring_up(const char *name);

/* A guest of the daemon sends a frame, which comes out of the fixture's TAP. */
void tap_reaches_the_wire(struct fixture *f);

#endif
