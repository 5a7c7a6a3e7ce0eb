/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the `memory` guest share. */
#ifndef TESTS_KVM_GUESTS_MEMORY_H
#define TESTS_KVM_GUESTS_MEMORY_H

#include "tests/kvm/guests/kernel.h"

enum memory_service {
	MEMORY_FAULTS = KERNEL_OWN, /* how many were repaired so far */
	MEMORY_FAULT_ADDRESS,	    /* of the last one */
};

#endif
