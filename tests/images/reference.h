/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images in the scratch folder that QEMU's tools and ours take turns at. What is
 * not as it has to be fails the test.
 */
#ifndef TESTS_IMAGES_REFERENCE_H
#define TESTS_IMAGES_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "image/image.h"

/* By ours; it may have all files of the folder opened. */
struct image *reference_open(const char *name, bool read_only);
/* As @snapshot, if that is not NULL. */
struct image *reference_open_as(const char *name, const char *snapshot,
				bool read_only);

/* qemu-img check finds nothing, leaks included. */
void reference_clean(const char *name);

/* qemu-img convert, with @options, reads the model. */
void reference_reads_as(const char *name, const char *options,
			const uint8_t *model, uint64_t size);

/*
 * Ours reads the same as theirs; then ours works on it, and theirs looks.
 * @snapshot, if not NULL, are the options that select what must not change.
 */
void reference_work_on(const char *name, const char *snapshot, uint64_t seed);

/* theirs.qcow2, made with @options, with writes of every kind. */
void reference_make(const char *options);

#endif
