/* SPDX-License-Identifier: Apache-2.0 */
/* Level 0: where exceptions and interrupts arrive, and the services. */
#include "tests/kvm/guests/kernel.h"
#include "tests/kvm/guests/runtime.h"

enum {
	UD2_BYTES = 2,
	UD2 = 0x0b0f,
	APIC_EOI = 0xb0,
	MMIO_INTERRUPT_STATUS = 0x60,
	MMIO_INTERRUPT_ACK = 0x64,
	CPUID_VENDOR_AMD = 0x68747541,	 /* "Auth" */
	CPUID_VENDOR_HYGON = 0x6f677948, /* "Hygo" */
};

/* Since the start. */
static volatile uint64_t interrupt_count;

/*
 * A device behind an interrupt line keeps it raised until it is told that it
 * was heard. Interrupts of our monitor are messages; nothing is raised, and
 * asking would cost an exit each.
 */
static void acknowledge_devices(unsigned irq)
{
	struct guest_device device;

	if (guest_boot.starter != MACHINE_BY_PVH)
		return;
	for (unsigned i = 0; guest_device(i, &device); i++)
		if (device.irq == irq)
			mmio_write32(device.gpa + MMIO_INTERRUPT_ACK,
				     mmio_read32(device.gpa +
						 MMIO_INTERRUPT_STATUS));
}

static void interrupt(unsigned irq)
{
	acknowledge_devices(irq);
	interrupt_count++;
	mmio_write32(MACHINE_APIC_GPA + APIC_EOI, 0);
}

/* The one instruction that sleeps. */
extern const char kernel_hlt[];

/*
 * `sti` takes effect one instruction late, so that an interrupt which is
 * pending comes when the processor sleeps already, and wakes it.
 */
static __attribute__((noinline)) uint64_t wait(uint64_t seen)
{
	while (interrupt_count == seen)
		__asm__ volatile("sti\n"
				 "kernel_hlt:\n"
				 "	hlt\n"
				 "	cli"
				 :
				 :
				 : "memory");
	return interrupt_count;
}

/*
 * Some emulated processors forget about the delay when a hypervisor gets in
 * between the two. The interrupt is then before the sleep, which would have no
 * end: go on behind it.
 */
static void leave_out_sleep(struct kernel_frame *frame)
{
	if (frame->rip == (uint64_t)kernel_hlt)
		frame->rip++;
}

static uint64_t read_msr(uint32_t index)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return (uint64_t)high << 32 | low;
}

static void write_msr(uint32_t index, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)),
			   "c"(index)
			 : "memory");
}

static bool is_amd(void)
{
	uint32_t a = 0, b, c, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	return b == CPUID_VENDOR_AMD || b == CPUID_VENDOR_HYGON;
}

/* The makers disagree on the instruction, and KVM takes either. */
static uint64_t hypercall(uint64_t number, uint64_t a, uint64_t b)
{
	uint64_t result = number;

	if (is_amd())
		__asm__ volatile("vmmcall"
				 : "+a"(result)
				 : "b"(a), "c"(b), "d"(0)
				 : "memory");
	else
		__asm__ volatile("vmcall"
				 : "+a"(result)
				 : "b"(a), "c"(b), "d"(0)
				 : "memory");
	return result;
}

/*
 * With no gate for any exception, the first one cannot be delivered, nor can
 * the double fault that follows, and the processor shuts down.
 */
static void crash(void)
{
	const struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} none = {0};

	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

static void service(struct kernel_frame *frame)
{
	switch (frame->rax) {
	case KERNEL_WAIT:
		frame->rax = wait(frame->rdi);
		break;
	case KERNEL_READ_MSR:
		frame->rax = read_msr(frame->rdi);
		break;
	case KERNEL_WRITE_MSR:
		write_msr(frame->rdi, frame->rsi);
		break;
	case KERNEL_HYPERCALL:
		frame->rax = hypercall(frame->rdi, frame->rsi, frame->rdx);
		break;
	case KERNEL_CRASH:
		crash();
		break;
	default:
		kernel_own_service(frame);
	}
}

static bool asks_for_service(const struct kernel_frame *frame)
{
	return frame->vector == KERNEL_INVALID_OPCODE && (frame->cs & 3) == 3 &&
	       *(const uint16_t *)frame->rip == UD2;
}

void kernel_trap(struct kernel_frame *frame)
{
	if (frame->vector >= MACHINE_IRQ_VECTOR) {
		interrupt(frame->vector - MACHINE_IRQ_VECTOR);
		leave_out_sleep(frame);
	} else if (asks_for_service(frame)) {
		frame->rip += UD2_BYTES;
		service(frame);
	} else if (!kernel_exception(frame)) {
		print("guest: exception %u, error code %x, at %x, level %u\n",
		      frame->vector, frame->error, frame->rip, frame->cs & 3);
		guest_exit(MACHINE_FAILED);
	}
}
