/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store for tests, on top of another one: what is submitted to it is carried
 * out by a thread of its own, in any order, and now and then it takes none. It
 * has no descriptor. Takes @under.
 */
#ifndef IMAGE_ASYNC_STORE_H
#define IMAGE_ASYNC_STORE_H

#include "image/store.h"

struct store *async_new(struct store *under);

/* How many requests its thread has carried out so far. */
unsigned async_carried_out(struct store *store);

#endif
