/* SPDX-License-Identifier: Apache-2.0 */
/* Runs in the monitor and, freestanding, in guests: no library. */
#include "tests/kvm/tables.h"

enum {
	ENTRIES = 512, /* of a page table of any level */
	TASK_TYPE = 0x89,
	GATE_TYPE = 0x8e, /* an interrupt gate: interrupts off in the handler */
	STUB_BYTES = 16,
};

#define PAGE_BYTES  UINT64_C(0x1000)
#define LARGE_BYTES UINT64_C(0x200000)
#define GIB	    UINT64_C(0x40000000)

_Static_assert(TABLES_TSS >= TABLES_GDT_ENTRIES * 8, "the GDT fits");
_Static_assert(TABLES_IDT + MACHINE_VECTORS * 16 <= TABLES_PML4,
	       "the IDT fits");
_Static_assert((TABLES_PT - TABLES_PD) / 0x1000 == MACHINE_MAPPED_BYTES / GIB,
	       "a directory for each GiB");

/*
 * Segments in 64-bit mode have no base and no limit: what remains is code or
 * data, and the level. Bits 40 to 47 are type and level, 53 says 64-bit.
 */
static void build_gdt(uint64_t *gdt, uint64_t tss)
{
	gdt[TABLES_KERNEL_CODE >> 3] = UINT64_C(0x00af9b000000ffff);
	gdt[TABLES_KERNEL_DATA >> 3] = UINT64_C(0x00cf93000000ffff);
	gdt[TABLES_USER_DATA >> 3] = UINT64_C(0x00cff3000000ffff);
	gdt[TABLES_USER_CODE >> 3] = UINT64_C(0x00affb000000ffff);
	gdt[TABLES_TASK >> 3] =
		(TABLES_TSS_BYTES - 1) | (tss & 0xffffff) << 16 |
		(uint64_t)TASK_TYPE << 40 | (tss >> 24 & 0xff) << 56;
	gdt[(TABLES_TASK >> 3) + 1] = tss >> 32;
}

/* The only fields that 64-bit mode uses here: RSP0, and "no port bitmap". */
static void build_tss(uint8_t *tss, uint64_t kernel_stack)
{
	for (unsigned i = 0; i < 8; i++)
		tss[4 + i] = kernel_stack >> (8 * i);
	tss[102] = TABLES_TSS_BYTES;
}

static void build_idt(uint64_t *idt, uint64_t vectors)
{
	for (unsigned i = 0; i < MACHINE_VECTORS; i++) {
		uint64_t stub = vectors + i * STUB_BYTES;

		idt[2 * i] =
			(stub & 0xffff) | (uint64_t)TABLES_KERNEL_CODE << 16 |
			(uint64_t)GATE_TYPE << 40 | (stub >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = stub >> 32;
	}
}

static uint64_t image_page(const struct guest_note *note, uint64_t gpa)
{
	uint64_t entry = gpa | TABLES_PRESENT;

	if (gpa < note->guarded_begin || gpa >= note->guarded_end)
		entry |= TABLES_WRITE;
	if (gpa < note->kernel_begin || gpa >= note->kernel_end)
		entry |= TABLES_USER;
	return entry;
}

static uint64_t large_page(uint64_t gpa)
{
	uint64_t entry = gpa | TABLES_PRESENT | TABLES_WRITE | TABLES_USER |
			 TABLES_LARGE;

	if (gpa >= MACHINE_DEVICES_GPA && gpa < 4 * GIB)
		entry |= TABLES_UNCACHED;
	return entry;
}

/* Upper levels allow everything; the last one decides. */
static void build_pages(const struct guest_note *note, uint8_t *block)
{
	const uint64_t open = TABLES_PRESENT | TABLES_WRITE | TABLES_USER;
	uint64_t *pml4 = (uint64_t *)(block + TABLES_PML4);
	uint64_t *pdpt = (uint64_t *)(block + TABLES_PDPT);
	uint64_t *pd = (uint64_t *)(block + TABLES_PD);
	uint64_t *pt = (uint64_t *)(block + TABLES_PT);

	pml4[0] = (note->tables + TABLES_PDPT) | open;
	for (unsigned i = 0; i < MACHINE_MAPPED_BYTES / GIB; i++)
		pdpt[i] = (note->tables + TABLES_PD + i * PAGE_BYTES) | open;
	for (unsigned i = 0; i < MACHINE_MAPPED_BYTES / LARGE_BYTES; i++)
		pd[i] = large_page(i * LARGE_BYTES);
	pd[MACHINE_IMAGE_GPA / LARGE_BYTES] = (note->tables + TABLES_PT) | open;
	for (unsigned i = 0; i < ENTRIES; i++)
		pt[i] = image_page(note, MACHINE_IMAGE_GPA + i * PAGE_BYTES);
}

void tables_build(const struct guest_note *note, uint8_t *block)
{
	for (unsigned i = 0; i < TABLES_BYTES; i++)
		block[i] = 0;
	build_gdt((uint64_t *)(block + TABLES_GDT), note->tables + TABLES_TSS);
	build_tss(block + TABLES_TSS, note->kernel_stack);
	build_idt((uint64_t *)(block + TABLES_IDT), note->vectors);
	build_pages(note, block);
}

uint64_t tables_page_entry(uint64_t gpa)
{
	return TABLES_PT + (gpa - MACHINE_IMAGE_GPA) / PAGE_BYTES * 8;
}
