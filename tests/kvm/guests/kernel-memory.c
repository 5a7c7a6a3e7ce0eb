/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 0 of the `memory` guest: repairs a write to the page that may not be
 * written to, as a kernel does that copies a page when it is first changed.
 */
#include "tests/kvm/guests/memory.h"
#include "tests/kvm/tables.h"

/* Bits of a page fault's error code: present, a write, from level 3. */
enum {
	WRITE_PROTECTED = 0x7
};

static uint64_t faults;
static uint64_t last_address;

static uint64_t fault_address(void)
{
	uint64_t address;

	__asm__ volatile("mov %%cr2, %0" : "=r"(address));
	return address;
}

/* The processor may remember the old entry: it has to be told. */
static void allow_writes(uint64_t address)
{
	uint64_t *entry =
		(uint64_t *)(guest_note.tables + tables_page_entry(address));

	*entry |= TABLES_WRITE;
	__asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

bool kernel_exception(struct kernel_frame *frame)
{
	uint64_t address = fault_address();

	if (frame->vector != KERNEL_PAGE_FAULT ||
	    frame->error != WRITE_PROTECTED ||
	    address < guest_note.guarded_begin ||
	    address >= guest_note.guarded_end)
		return false;
	faults++;
	last_address = address;
	allow_writes(address);
	/* Back to the instruction that failed, which is tried again. */
	return true;
}

void kernel_own_service(struct kernel_frame *frame)
{
	switch (frame->rax) {
	case MEMORY_FAULTS:
		frame->rax = faults;
		break;
	case MEMORY_FAULT_ADDRESS:
		frame->rax = last_address;
		break;
	default:
		frame->rax = UINT64_MAX;
	}
}
