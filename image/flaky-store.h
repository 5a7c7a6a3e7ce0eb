/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store for tests, on top of another one, whose calls fail now and then while
 * *@on is true. It has no descriptor. Takes @under.
 */
#ifndef IMAGE_FLAKY_STORE_H
#define IMAGE_FLAKY_STORE_H

#include "image/store.h"

struct store *flaky_new(struct store *under, const bool *on);

#endif
