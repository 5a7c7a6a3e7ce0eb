/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that costs nothing but the copy: address space of a fixed capacity,
 * which becomes memory where it is written. No lock: what several threads do at
 * once must not overlap, and only one at a time may make it grow.
 */
#ifndef TESTS_BENCH_FLAT_STORE_H
#define TESTS_BENCH_FLAT_STORE_H

#include "image/store.h"

/* 0 or -ENOMEM. */
int flat_store_new(uint64_t capacity_bytes, struct store **ret_store);

#endif
