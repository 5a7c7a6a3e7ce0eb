/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Level 0, once: what our monitor does before it enters an image, done by the
 * image itself when somebody else started it by the PVH entry. The loader hands
 * over a start_info (Xen's public/arch-x86/hvm/start_info.h) with the command
 * line and a map of the memory.
 */
#include "tests/kvm/guests/kernel.h"
#include "tests/kvm/guests/runtime.h"
#include "tests/kvm/tables.h"

enum {
	RAM_TYPE = 1,
	PIC_MASTER_DATA = 0x21,
	PIC_SLAVE_DATA = 0xa1,
	IOAPIC_PINS = 24,
	IOAPIC_WINDOW = 0x10,
	IOAPIC_REDIRECTION = 0x10,
};

#define IOAPIC_GPA	  UINT64_C(0xfec00000)
#define IOAPIC_SECOND_GPA UINT64_C(0xfec10000)
#define START_INFO_MAGIC  0x336ec578

struct start_info {
	uint32_t magic;
	uint32_t version; /* 1 and up: with a memory map */
	uint32_t flags;
	uint32_t module_count;
	uint64_t modules_gpa;
	uint64_t command_gpa;
	uint64_t rsdp_gpa;
	uint64_t map_gpa;
	uint32_t map_count;
	uint32_t reserved;
};

struct map_entry {
	uint64_t gpa;
	uint64_t bytes;
	uint32_t type;
	uint32_t reserved;
};

static void copy_map(const struct start_info *info)
{
	const struct map_entry *map = (const void *)info->map_gpa;

	if (info->version < 1)
		return;
	for (unsigned i = 0; i < info->map_count; i++)
		if (map[i].type == RAM_TYPE &&
		    guest_boot.ram_count < MACHINE_MAX_RAM)
			guest_boot.ram[guest_boot.ram_count++] =
				(struct machine_range){map[i].gpa,
						       map[i].bytes};
}

static void copy_command(const char *from)
{
	unsigned i = 0;

	if (from)
		for (; from[i] && i < MACHINE_COMMAND_BYTES - 1; i++)
			guest_boot.command[i] = from[i];
	guest_boot.command[i] = '\0';
}

/*
 * Pin n of the interrupt controller to vector 32 + n, edge-triggered, to the
 * first processor. The old controllers would bring the same once more.
 */
static void route(unsigned irq)
{
	uint64_t ioapic = irq < IOAPIC_PINS ? IOAPIC_GPA : IOAPIC_SECOND_GPA;
	unsigned entry = IOAPIC_REDIRECTION + irq % IOAPIC_PINS * 2;

	mmio_write32(ioapic, entry + 1);
	mmio_write32(ioapic + IOAPIC_WINDOW, 0);
	mmio_write32(ioapic, entry);
	mmio_write32(ioapic + IOAPIC_WINDOW, MACHINE_IRQ_VECTOR + irq);
}

void kernel_pvh(uint64_t start_info_gpa)
{
	const struct start_info *info = (const void *)start_info_gpa;

	if (info->magic != START_INFO_MAGIC)
		guest_exit(MACHINE_FAILED);
	guest_boot.magic = MACHINE_BOOT_MAGIC;
	guest_boot.starter = MACHINE_BY_PVH;
	copy_map(info);
	copy_command((const char *)info->command_gpa);
	tables_build(&guest_note, (uint8_t *)guest_note.tables);
}

void kernel_pvh_devices(void)
{
	struct guest_device device;

	port_write8(PIC_MASTER_DATA, 0xff);
	port_write8(PIC_SLAVE_DATA, 0xff);
	for (unsigned i = 0; guest_device(i, &device); i++)
		if (device.irq < MACHINE_IRQS)
			route(device.irq);
}
