/* SPDX-License-Identifier: Apache-2.0 */
/* What the processes of the `divide` guest can ask of its kernel. */
#ifndef TESTS_KVM_GUESTS_DIVIDE_H
#define TESTS_KVM_GUESTS_DIVIDE_H

#include "tests/kvm/guests/kernel.h"

enum divide_service {
	DIVIDE_START = KERNEL_OWN, /* the first process; does not return */
	DIVIDE_SAY,		   /* a text and a number, printed as a line */
	DIVIDE_HEARD,		   /* has a character come in? */
	DIVIDE_END,		   /* the process that asks; does not return */
};

enum {
	DIVIDE_PROCESSES = 2,
	DIVIDE_STACK_BYTES = 4096,
};

/* In pages that level 3 can reach. */
extern uint8_t divide_stacks[DIVIDE_PROCESSES][DIVIDE_STACK_BYTES];

/* Where processes begin, at level 3. */
void divide_by_zero(void);
void divide_calmly(void);
void divide_by_six(void);

/* The address of the one instruction that is to fail. */
extern const char divide_instruction[];

#endif
