/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest image and whoever starts it must agree on. An image can be
 * started in two ways, and everything below is the same after either:
 *
 *	our monitor	loads the image, finds its `struct guest_note`, makes the
 *			tables (tests/kvm/tables.h) and `struct guest_boot`, and
 *			enters at note.entry: 64-bit, privilege level 3
 *	PVH		QEMU and others load the image and enter in 32-bit mode
 *			without paging; the image's own level 0 code
 *			(guests/kernel-pvh.c) makes tables and boot structure
 *			with the same functions, and drops to level 3 at entry
 *
 * Included by the monitor and by freestanding guests alike.
 */
#ifndef TESTS_KVM_MACHINE_H
#define TESTS_KVM_MACHINE_H

#include <stdint.h>

/* --- guest physical addresses and ports --- */

/* The image lies in one page of 2 MiB, so one page table describes it. */
#define MACHINE_IMAGE_GPA   UINT64_C(0x200000)
#define MACHINE_IMAGE_BYTES UINT64_C(0x200000)
/* Identity-mapped: what tables_build makes reachable. */
#define MACHINE_MAPPED_BYTES (UINT64_C(5) << 30)
/* Devices from here to 4 GiB: mapped uncached. */
#define MACHINE_DEVICES_GPA UINT64_C(0xd0000000)
#define MACHINE_APIC_GPA    UINT64_C(0xfee00000)

enum {
	MACHINE_SERIAL_PORT = 0x3f8,
	/* isa-debug-exit of QEMU: ends the machine with what is written. */
	MACHINE_EXIT_PORT = 0xf4,
	/* Interrupt request n arrives as vector 32 + n. */
	MACHINE_IRQ_VECTOR = 32,
	MACHINE_IRQS = 32,
	MACHINE_VECTORS = MACHINE_IRQ_VECTOR + MACHINE_IRQS,
	MACHINE_MAX_RAM = 8,
	MACHINE_COMMAND_BYTES = 1024,
};

/*
 * Memory as our monitor lays it out: a range at 0, one beyond the devices, and
 * one that is plugged in while the guest runs. QEMU has its own layout, told by
 * struct guest_boot.
 */
#define MACHINE_LOW_BYTES     UINT64_C(0x1000000)
#define MACHINE_HIGH_GPA      UINT64_C(0x100000000)
#define MACHINE_HIGH_BYTES    UINT64_C(0x1000000)
#define MACHINE_PLUGGED_GPA   UINT64_C(0x104000000)
#define MACHINE_PLUGGED_BYTES UINT64_C(0x1000000)

/*
 * The monitor's own device, for guests that test it: a question is written to
 * one port, its argument before to another, the answer read from the third.
 * Also a register that the monitor must emulate, and a doorbell that is an
 * ioeventfd: writing to it is to cost no exit to user space.
 */
enum {
	MACHINE_ASK_PORT = 0x5e0,
	MACHINE_ARGUMENT_PORT = 0x5e4,
	MACHINE_ANSWER_PORT = 0x5e8,
	/* Not known to the processor or to KVM. */
	MACHINE_MSR = 0x52494e47,
	/* What it reads as, at first; and the register's value. */
	MACHINE_MSR_VALUE = 0x6d736720,
};
#define MACHINE_REGISTER_GPA UINT64_C(0xd0100000)
#define MACHINE_DOORBELL_GPA UINT64_C(0xd0101000)

enum machine_question {
	/* Exits to user space so far, of the kind in the argument. */
	MACHINE_ASK_EXITS = 1,
	/* How often the doorbell rang since the last time. */
	MACHINE_ASK_RINGS,
	/* Plugs memory in: 0, or an errno of the monitor's. */
	MACHINE_ASK_PLUG,
	/* Fetches KVM's dirty log anew: how many pages were written. */
	MACHINE_ASK_DIRTY_COUNT,
	/*
	 * The first page in what was fetched, from the one with this number
	 * (gpa / 4096) on; UINT32_MAX if there is none.
	 */
	MACHINE_ASK_DIRTY_NEXT,
	/* The first word of the page with this number, in the memory's file. */
	MACHINE_ASK_FILE_WORD,
};

enum machine_exit_kind {
	MACHINE_EXIT_PORTS,
	MACHINE_EXIT_MMIO,
	MACHINE_EXIT_MSR,
	MACHINE_EXIT_HYPERCALL,
	MACHINE_EXIT_OTHER,
	MACHINE_EXIT_KINDS,
};

/* What is written to the exit port. */
enum machine_verdict {
	MACHINE_OK = 0,
	MACHINE_FAILED = 1,
};

/* --- what a starter tells the guest --- */

#define MACHINE_BOOT_MAGIC UINT64_C(0x746f6f62676e6972)

enum machine_starter {
	MACHINE_BY_MONITOR = 1,
	MACHINE_BY_PVH = 2,
};

struct machine_range {
	uint64_t gpa;
	uint64_t bytes;
};

struct guest_boot {
	uint64_t magic;
	uint32_t starter;
	uint32_t ram_count;
	struct machine_range ram[MACHINE_MAX_RAM];
	/*
	 * Words for the guest; devices as Linux has them there:
	 * virtio_mmio.device=BYTES@ADDRESS:IRQ
	 */
	char command[MACHINE_COMMAND_BYTES];
};

/* --- what an image tells its starter: an ELF note of this name and type --- */

#define MACHINE_NOTE_NAME "Ringline"
enum {
	MACHINE_NOTE_TYPE = 1
};

/* Guest addresses, which are physical ones, too. */
struct guest_note {
	uint64_t entry;	       /* at level 3; takes the boot structure in rdi */
	uint64_t vectors;      /* MACHINE_VECTORS stubs of 16 bytes */
	uint64_t kernel_stack; /* the ends of the two stacks */
	uint64_t user_stack;
	uint64_t tables; /* TABLES_BYTES of room */
	uint64_t boot;	 /* room for struct guest_boot */
	/* Pages that level 3 cannot touch. */
	uint64_t kernel_begin;
	uint64_t kernel_end;
	/* Pages that cannot be written to, until the guest changes that. */
	uint64_t guarded_begin;
	uint64_t guarded_end;
};

#endif
