/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest has instead of a library: ports, memory-mapped registers, a
 * serial line to print to, and what it was told at its start.
 */
#ifndef TESTS_KVM_GUESTS_RUNTIME_H
#define TESTS_KVM_GUESTS_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/kvm/machine.h"

/*
 * A guest's work, at level 3. What it returns is the machine's end: MACHINE_OK
 * or MACHINE_FAILED.
 */
int guest_main(const struct guest_boot *boot);

/* --- the machine --- */

static inline void port_write8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t port_read8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void port_write32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint32_t port_read32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

/*
 * Plain moves, since a monitor has to read the instruction to know what was
 * asked for, and may know few of them.
 */
static inline void mmio_write32(uint64_t gpa, uint32_t value)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(gpa) : "memory");
}

static inline uint32_t mmio_read32(uint64_t gpa)
{
	uint32_t value;

	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(gpa) : "memory");
	return value;
}

static inline uint64_t time_stamp(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* A character that came in on the serial line, or -1. */
static inline int serial_poll(void)
{
	if (!(port_read8(MACHINE_SERIAL_PORT + 5) & 1))
		return -1;
	return port_read8(MACHINE_SERIAL_PORT);
}

/* Ends the machine. */
void guest_exit(enum machine_verdict verdict) __attribute__((noreturn));

/* How many interrupts have come; kernel_call(KERNEL_WAIT, …) waits for more. */
uint64_t interrupts_seen(void);

/* Lets the local interrupt controller pass interrupts on. */
void interrupts_enable(void);

/* --- words --- */

/* %u and %x of 64 bits, and %s. No width, no other conversion. */
void print(const char *format, ...);

/* Prints what was expected, and ends the machine, unless @is_so. */
void expect(bool is_so, const char *what);

/* A word of the command line: "name" or "name=value". */
bool option_given(const struct guest_boot *boot, const char *name);
uint64_t option_number(const struct guest_boot *boot, const char *name,
		       uint64_t otherwise);

struct guest_device {
	uint64_t gpa;
	uint64_t bytes;
	uint32_t irq;
};

/* The device with this number on the command line; false if there is none. */
bool guest_device(unsigned number, struct guest_device *ret_device);

/* --- bytes --- */

void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);

#endif
