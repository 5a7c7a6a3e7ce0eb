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

/*
 * From now on all reads are answered from the first @window_bytes, which the
 * processor's own cache can hold: what its users do is measured, and not how
 * fast memory is. For reads of data whose content nobody looks at; the metadata
 * that is wanted has to be in caches before. 0: as it was.
 */
void flat_store_fold(struct store *store, uint64_t window_bytes);

#endif
