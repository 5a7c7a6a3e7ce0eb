/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a machine in the first internal snapshot of a QCOW2 image, found
 * by the specification from the image's bytes: nothing is shared with the driver.
 */
#ifndef TESTS_IMAGES_STATE_WALK_H
#define TESTS_IMAGES_STATE_WALK_H

#include <stddef.h>
#include <stdint.h>

/* To be freed; fails the test if the image's tables lead anywhere else. */
uint8_t *state_walk(const uint8_t *image, size_t image_bytes,
		    uint64_t *ret_bytes);

#endif
