/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two sides of a guest. Its work is done at level 3, where ports and
 * devices can be reached directly (IOPL 3, and pages that allow it). Level 0 is
 * a few lines that only the processor can enter, by an exception or an
 * interrupt, and that do what level 3 cannot: wait for an interrupt, read a
 * model-specific register, call the hypervisor.
 *
 * To ask for that, level 3 executes an instruction that does not exist (ud2).
 * The processor raises exception 6, and the handler finds the number of the
 * service in rax. An `int` or `syscall` would do on hardware; but there are
 * hosts whose /dev/kvm emulates level 0 and knows neither of them.
 */
#ifndef TESTS_KVM_GUESTS_KERNEL_H
#define TESTS_KVM_GUESTS_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/kvm/machine.h"

enum kernel_exception {
	KERNEL_DIVIDE_ERROR = 0,
	KERNEL_INVALID_OPCODE = 6,
	KERNEL_GENERAL_PROTECTION = 13,
	KERNEL_PAGE_FAULT = 14,
};

enum kernel_service {
	KERNEL_WAIT = 1, /* until more interrupts than this have come */
	KERNEL_READ_MSR,
	KERNEL_WRITE_MSR,
	KERNEL_HYPERCALL,
	KERNEL_CRASH, /* loses the machine: for tests of the monitor */
	/* From here on the guest's own. */
	KERNEL_OWN = 0x100,
};

/* What the stubs of boot.S and the processor have pushed. */
struct kernel_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

/* --- level 0 --- */

extern const struct guest_note guest_note;
extern struct guest_boot guest_boot;

/* From the stubs. Changes to @frame are what is returned to. */
void kernel_trap(struct kernel_frame *frame);

/*
 * What is no service and no interrupt. True if the guest can go on with
 * @frame. Guests without a kernel of their own link kernel-fatal.c.
 */
bool kernel_exception(struct kernel_frame *frame);

/* Services from KERNEL_OWN on; the result is left in frame->rax. */
void kernel_own_service(struct kernel_frame *frame);

/* From the PVH entry, with the start_info that the loader made. */
void kernel_pvh(uint64_t start_info_gpa);
/* The same, once the tables are in use and devices can be reached. */
void kernel_pvh_devices(void);

static inline unsigned kernel_level(void)
{
	uint64_t cs;

	__asm__ volatile("mov %%cs, %0" : "=r"(cs));
	return cs & 3;
}

/* --- level 3 --- */

/* Up to three arguments; see kernel-trap.c for each service's. */
static inline uint64_t kernel_call(uint64_t service, uint64_t a, uint64_t b,
				   uint64_t c)
{
	uint64_t result = service;

	__asm__ volatile("ud2"
			 : "+a"(result)
			 : "D"(a), "S"(b), "d"(c)
			 : "memory");
	return result;
}

#endif
