/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest image: a 64-bit ELF file with a note that says where things are
 * (struct guest_note). Only what our own linker script makes is taken; all of
 * it must lie where machine.h says that images lie. Pure: works on bytes.
 */
#ifndef TESTS_KVM_VMM_IMAGE_H
#define TESTS_KVM_VMM_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "tests/kvm/machine.h"

/*
 * Reads @note out of the @bytes of @file, and writes what the image has in
 * memory to @memory, MACHINE_IMAGE_BYTES that the guest has at
 * MACHINE_IMAGE_GPA. Returns NULL, or what is wrong with the file.
 */
const char *vmm_image_load(const void *file, size_t bytes, uint8_t *memory,
			   struct guest_note *ret_note);

#endif
