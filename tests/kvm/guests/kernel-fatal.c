/* SPDX-License-Identifier: Apache-2.0 */
/* For guests that have no kernel of their own: every exception is their end. */
#include "tests/kvm/guests/kernel.h"

bool kernel_exception(struct kernel_frame *frame)
{
	return false;
}

void kernel_own_service(struct kernel_frame *frame)
{
	frame->rax = UINT64_MAX;
}
