/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an x86 processor needs in memory before 64-bit code can run at level 3
 * and be interrupted: descriptors of segments (GDT), a task state with the
 * stack of level 0 (TSS), gates to the handlers (IDT), and page tables.
 *
 * One set serves all guests: memory is mapped as it is, up to
 * MACHINE_MAPPED_BYTES, in pages of 2 MiB; the image in pages of 4 KiB, so that
 * its kernel part can be kept from level 3. tables_build is pure: it writes
 * to the block that it is given, and the same code runs in the monitor and, for
 * PVH, in the guest. (Intel SDM volume 3, chapters 3, 4, 6 and 8.)
 */
#ifndef TESTS_KVM_TABLES_H
#define TESTS_KVM_TABLES_H

#include <stdint.h>

#include "tests/kvm/machine.h"

/* Segment selectors; the two lowest bits are the privilege level asked for. */
enum {
	TABLES_KERNEL_CODE = 2 << 3,
	TABLES_KERNEL_DATA = 3 << 3,
	TABLES_USER_DATA = 5 << 3 | 3,
	TABLES_USER_CODE = 6 << 3 | 3,
	TABLES_TASK = 8 << 3, /* takes two entries */
	TABLES_GDT_ENTRIES = 10,
};

/* Offsets in the block. */
enum {
	TABLES_GDT = 0,
	TABLES_TSS = 0x100,
	TABLES_TSS_BYTES = 104,
	TABLES_IDT = 0x400,
	TABLES_PML4 = 0x1000,
	TABLES_PDPT = 0x2000,
	TABLES_PD = 0x3000, /* one for each GiB */
	TABLES_PT = 0x8000, /* of the image */
	TABLES_BYTES = 0x9000,
};

/* Bits of page table entries. */
enum {
	TABLES_PRESENT = 1 << 0,
	TABLES_WRITE = 1 << 1,
	TABLES_USER = 1 << 2,
	TABLES_UNCACHED = 1 << 3 | 1 << 4,
	TABLES_LARGE = 1 << 7,
};

/* Control registers that go with the tables. */
#define TABLES_CR0  UINT64_C(0x80010033) /* PG WP NE ET MP PE */
#define TABLES_CR4  UINT64_C(0x20)	 /* PAE */
#define TABLES_EFER UINT64_C(0xd01)	 /* NXE LMA LME SCE */
/* Level 3 may use ports (IOPL 3); interrupts are off. */
#define TABLES_RFLAGS UINT64_C(0x3002)

/*
 * Fills @block, TABLES_BYTES that the guest has at note->tables. What the note
 * says must lie within the image, kernel and guarded ranges at page borders.
 */
void tables_build(const struct guest_note *note, uint8_t *block);

/* The byte offset in the block of the entry for an address in the image. */
uint64_t tables_page_entry(uint64_t gpa);

#endif
