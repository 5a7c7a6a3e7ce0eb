/* SPDX-License-Identifier: Apache-2.0 */
/*
 * divide: what happens when a program in a virtual machine divides by zero.
 *
 * This image is an operating system as small as it can be. Its kernel
 * (kernel-divide.c) knows two processes, which are the functions below. They
 * run at privilege level 3, each on a stack of its own, and can do nothing but
 * compute and ask the kernel.
 *
 * The first one divides by zero. The processor cannot finish the instruction:
 * it raises exception 0, switches to level 0 and to the kernel's stack, and
 * goes on at the address that the guest's own table (the IDT) has for it. All
 * that happens inside the virtual machine. Neither the monitor nor the host's
 * kernel is asked, as neither would be if a program on real hardware did the
 * same; hardware virtualisation lets the guest have its exceptions to itself.
 * The kernel finds that a division by zero is fatal to whoever did it, ends the
 * process, and returns to level 3 in the second one, which divides as well, by
 * something else.
 *
 * Each of these steps is checked by the one who sees it, and printed with its
 * number; the test outside (tests/kvm/run-guests) compares the lines and their
 * order, and looks at what the monitor counted: not one exit was due to an
 * exception.
 *
 * With the word "calm" the first process divides by something else until a
 * character comes in on the serial line. A machine that does so runs beside the
 * one that fails, and shows that nothing reached it.
 */
#include "tests/kvm/guests/divide.h"
#include "tests/kvm/guests/runtime.h"

uint8_t divide_stacks[DIVIDE_PROCESSES][DIVIDE_STACK_BYTES]
	__attribute__((aligned(16)));

static void say(const char *text, uint64_t number)
{
	kernel_call(DIVIDE_SAY, (uint64_t)text, number, 0);
}

/* In assembly, since to a C compiler a division by zero means nothing. */
static uint64_t divide(uint64_t number, uint64_t by)
{
	uint64_t rest = 0;

	__asm__ volatile("divq %2" : "+a"(number), "+d"(rest) : "r"(by));
	return number;
}

void divide_by_zero(void)
{
	say("process 1 runs, at level", kernel_level());
	__asm__ volatile(".globl divide_instruction\n"
			 "divide_instruction:\n"
			 "	divq %2"
			 :
			 : "a"((uint64_t)42), "d"((uint64_t)0),
			   "r"((uint64_t)0));
	say("process 1 goes on after dividing by zero, at level",
	    kernel_level());
	kernel_call(DIVIDE_END, MACHINE_FAILED, 0, 0);
}

void divide_calmly(void)
{
	bool right = true;

	say("process 1 divides calmly, at level", kernel_level());
	for (uint64_t i = 1; !kernel_call(DIVIDE_HEARD, 0, 0, 0); i++)
		for (uint64_t by = 1; by <= 1000; by++)
			right = right && divide(i * by, by) == i;
	kernel_call(DIVIDE_END, right ? MACHINE_OK : MACHINE_FAILED, 0, 0);
}

void divide_by_six(void)
{
	say("process 2 runs, at level", kernel_level());
	say("process 2: 42 / 6 =", divide(42, 6));
	kernel_call(DIVIDE_END, MACHINE_OK, 0, 0);
}

int guest_main(const struct guest_boot *boot)
{
	kernel_call(DIVIDE_START, option_given(boot, "calm"), 0, 0);
	return MACHINE_FAILED;
}
