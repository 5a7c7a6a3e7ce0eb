/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trap: what makes a processor leave its guest, and what does not.
 *
 * A virtual machine runs on the processor itself until it does something that
 * cannot be left to it: it touches a device. Then the processor leaves the
 * guest (an exit), KVM looks, and if it cannot settle the matter KVM_RUN
 * returns to the monitor, which plays the device and enters the guest again.
 * Each such journey takes thousands of cycles. This guest makes them, one kind
 * after the other, and asks the monitor how many it has counted:
 *
 *	ports		in and out: one exit each
 *	registers	of a device in memory (MMIO): one exit each
 *	MSRs		model-specific registers that the processor has not:
 *			one each, if KVM can pass them on
 *	a hypercall	the guest asks the monitor by an instruction made for
 *			that (vmcall, vmmcall): one exit, no device to pretend.
 *			Where there is none, by a port
 *	a doorbell	an address of which KVM knows that a write means no more
 *			than "wake somebody" (ioeventfd): no exit to the monitor
 *	computing	none
 *
 * In QEMU nobody counts for us: the same accesses are made and only their
 * values are checked.
 */
#include "tests/kvm/guests/kernel.h"
#include "tests/kvm/guests/runtime.h"

enum {
	ROUNDS = 100,
	/* Debug aid of PCs that takes writes and keeps nothing. */
	IDLE_PORT = 0x80,
	APIC_BASE_MSR = 0x1b,
	PASSED_HYPERCALL = 12, /* the one that KVM can pass on */
};

static bool monitored;

static uint32_t ask(enum machine_question question, uint32_t argument)
{
	port_write32(MACHINE_ARGUMENT_PORT, argument);
	port_write32(MACHINE_ASK_PORT, question);
	return port_read32(MACHINE_ANSWER_PORT);
}

static uint64_t exits(enum machine_exit_kind kind)
{
	return monitored ? ask(MACHINE_ASK_EXITS, kind) : 0;
}

/* Asking takes ports itself: the first answer's, and two of the next question. */
static void ports(void)
{
	enum {
		BETWEEN = 3
	};
	uint64_t before = exits(MACHINE_EXIT_PORTS), after;

	for (unsigned i = 0; i < ROUNDS; i++) {
		port_write8(IDLE_PORT, i);
		port_read8(IDLE_PORT);
	}
	after = exits(MACHINE_EXIT_PORTS);
	if (monitored)
		expect(after - before == 2 * ROUNDS + BETWEEN,
		       "each port access is one exit");
	if (monitored)
		print("ports: %u accesses, %u exits\n", (uint64_t)2 * ROUNDS,
		      after - before - BETWEEN);
	else
		print("ports: %u accesses, not counted here\n",
		      (uint64_t)2 * ROUNDS);
}

static void registers(void)
{
	uint64_t before = exits(MACHINE_EXIT_MMIO), after;

	if (!monitored) {
		print("registers: no device of ours here\n");
		return;
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		mmio_write32(MACHINE_REGISTER_GPA, i * 3);
		expect(mmio_read32(MACHINE_REGISTER_GPA) == i * 3,
		       "a device's register keeps what was written");
	}
	after = exits(MACHINE_EXIT_MMIO);
	expect(after - before == 2 * ROUNDS,
	       "each register access is one exit");
	print("registers: %u accesses, %u exits\n", (uint64_t)2 * ROUNDS,
	      after - before);
}

/* Reading one is for level 0 only, so the kernel part does. */
static void msrs(const struct guest_boot *boot)
{
	uint64_t before = exits(MACHINE_EXIT_MSR), after;

	expect(kernel_call(KERNEL_READ_MSR, APIC_BASE_MSR, 0, 0) >> 12 ==
		       MACHINE_APIC_GPA >> 12,
	       "the processor tells where its interrupt controller is");
	expect(exits(MACHINE_EXIT_MSR) == before,
	       "a register that the processor has is no exit to the monitor");
	if (!option_given(boot, "msr-exits")) {
		print("msrs: not passed on here\n");
		return;
	}
	expect(kernel_call(KERNEL_READ_MSR, MACHINE_MSR, 0, 0) ==
		       MACHINE_MSR_VALUE,
	       "the monitor's register reads as it is");
	kernel_call(KERNEL_WRITE_MSR, MACHINE_MSR, 77, 0);
	expect(kernel_call(KERNEL_READ_MSR, MACHINE_MSR, 0, 0) == 77,
	       "the monitor's register keeps what was written");
	after = exits(MACHINE_EXIT_MSR);
	expect(after - before == 3, "each is one exit");
	print("msrs: 3 accesses, %u exits\n", after - before);
}

static void hypercall(const struct guest_boot *boot)
{
	const uint64_t page = 0x5000, pages = 7;
	uint64_t before = exits(MACHINE_EXIT_HYPERCALL), after;

	if (option_given(boot, "hypercalls")) {
		expect(kernel_call(KERNEL_HYPERCALL, PASSED_HYPERCALL, page,
				   pages) == page + pages,
		       "the monitor answers a hypercall");
		after = exits(MACHINE_EXIT_HYPERCALL);
		expect(after - before == 1, "a hypercall is one exit");
		print("hypercall: by instruction, %u exit\n", after - before);
	} else if (monitored) {
		expect(ask(MACHINE_ASK_EXITS, MACHINE_EXIT_OTHER) == 0,
		       "the monitor answers by a port");
		print("hypercall: by a port\n");
	} else {
		print("hypercall: nobody to call here\n");
	}
}

static void doorbell(void)
{
	uint64_t mmio = exits(MACHINE_EXIT_MMIO);
	uint64_t other = exits(MACHINE_EXIT_OTHER);

	if (!monitored) {
		print("doorbell: none here\n");
		return;
	}
	ask(MACHINE_ASK_RINGS, 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		mmio_write32(MACHINE_DOORBELL_GPA, i);
	expect(exits(MACHINE_EXIT_MMIO) == mmio &&
		       exits(MACHINE_EXIT_OTHER) == other,
	       "ringing the doorbell is no exit to the monitor");
	expect(ask(MACHINE_ASK_RINGS, 0) == ROUNDS,
	       "the doorbell was heard each time");
	print("doorbell: rung %u times, 0 exits\n", (uint64_t)ROUNDS);
}

static void computing(void)
{
	volatile uint64_t sum = 0;
	uint64_t before[MACHINE_EXIT_KINDS];

	for (unsigned kind = 0; kind < MACHINE_EXIT_KINDS; kind++)
		before[kind] = exits(kind);
	for (uint64_t i = 0; i < 1000000; i++)
		sum += i;
	expect(sum == 499999500000, "a sum is right");
	/* But for the ports that asking needs, see above. */
	for (unsigned kind = MACHINE_EXIT_MMIO; kind < MACHINE_EXIT_KINDS;
	     kind++)
		expect(exits(kind) == before[kind], "computing is no exit");
	print("computing: 1000000 rounds, %s\n",
	      monitored ? "0 exits" : "not counted here");
}

int guest_main(const struct guest_boot *boot)
{
	monitored = boot->starter == MACHINE_BY_MONITOR;
	ports();
	registers();
	msrs(boot);
	hypercall(boot);
	doorbell();
	computing();
	if (option_given(boot, "crash"))
		kernel_call(KERNEL_CRASH, 0, 0, 0);
	if (option_given(boot, "hang"))
		for (;;)
			;
	if (option_given(boot, "fail"))
		return MACHINE_FAILED;
	return MACHINE_OK;
}
