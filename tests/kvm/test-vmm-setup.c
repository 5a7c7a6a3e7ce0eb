/* SPDX-License-Identifier: Apache-2.0 */
/* What KVM is told of a machine, before there is one: needs no /dev/kvm. */
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "tests/kvm/tables.h"
#include "tests/kvm/vmm.h"

static const struct guest_note note = {
	.entry = MACHINE_IMAGE_GPA + 0x40123,
	.vectors = MACHINE_IMAGE_GPA + 0x12340,
	.kernel_stack = MACHINE_IMAGE_GPA + 0x30000,
	.user_stack = MACHINE_IMAGE_GPA + 0x60000,
	.tables = MACHINE_IMAGE_GPA + 0x2000,
	.boot = MACHINE_IMAGE_GPA + 0x50000,
	.kernel_begin = MACHINE_IMAGE_GPA + 0x1000,
	.kernel_end = MACHINE_IMAGE_GPA + 0x30000,
};

static struct ram *make_memory(bool private)
{
	const struct vmm_options options = {.private_memory = private};
	struct ram *ram;

	assert_int_equal(vmm_memory_new(&options, &ram), 0);
	return ram;
}

static void slots_lie_where_the_guest_is_told(void **state)
{
	static const struct machine_range told[VMM_RAM_REGIONS] = {
		{0, MACHINE_LOW_BYTES},
		{MACHINE_HIGH_GPA, MACHINE_HIGH_BYTES},
		{MACHINE_PLUGGED_GPA, MACHINE_PLUGGED_BYTES},
	};
	struct ram *ram = make_memory(false);

	for (unsigned i = 0; i < VMM_RAM_REGIONS; i++) {
		struct kvm_userspace_memory_region slot =
			vmm_memory_slot(ram, i);

		assert_int_equal(slot.slot, i);
		assert_int_equal(slot.guest_phys_addr, told[i].gpa);
		assert_int_equal(slot.memory_size, told[i].bytes);
		assert_true(slot.flags & KVM_MEM_LOG_DIRTY_PAGES);
		/* And over the bytes that the back-end will see. */
		*(uint32_t *)(uintptr_t)slot.userspace_addr = 0x1234 + i;
		assert_int_equal(*(uint32_t *)ram_at(ram, told[i].gpa),
				 0x1234 + i);
	}
	ram_free(ram);
}

static void only_shared_memory_reaches_its_file(void **state)
{
	for (unsigned private = 0; private < 2; private ++) {
		struct ram *ram = make_memory(private);
		const struct ram_region *r = &ram->regions[1];
		uint32_t word = 0x77;

		*(uint32_t *)ram_at(ram, r->gpa) = 0x1234;
		assert_int_equal(
			pread(r->fd, &word, sizeof(word), r->mmap_offset),
			sizeof(word));
		assert_int_equal(word, private ? 0 : 0x1234);
		ram_free(ram);
	}
}

static void an_address_counts_in_plugged_memory_only(void **state)
{
	struct vmm vmm = {.ram = make_memory(false), .plugged = 2};
	const uint64_t end = MACHINE_HIGH_GPA + MACHINE_HIGH_BYTES;

	assert_ptr_equal(vmm_memory_at(&vmm, MACHINE_HIGH_GPA + 5, 10),
			 ram_at(vmm.ram, MACHINE_HIGH_GPA + 5));
	assert_non_null(vmm_memory_at(&vmm, end - 8, 8));
	assert_null(vmm_memory_at(&vmm, end - 8, 9));
	assert_null(vmm_memory_at(&vmm, MACHINE_LOW_BYTES, 1));
	assert_null(vmm_memory_at(&vmm, MACHINE_DEVICES_GPA, 1));
	assert_null(vmm_memory_at(&vmm, UINT64_MAX, 1));
	assert_null(vmm_memory_at(&vmm, 0, UINT64_MAX));
	assert_null(vmm_memory_at(&vmm, MACHINE_PLUGGED_GPA, 1));
	vmm.plugged = 3;
	assert_non_null(vmm_memory_at(&vmm, MACHINE_PLUGGED_GPA, 1));
	ram_free(vmm.ram);
}

static void more_memory_than_there_is_is_refused(void **state)
{
	const struct vmm_options options = {.extra_mib = UINT64_C(1) << 40};
	struct ram *ram;

	assert_true(vmm_memory_new(&options, &ram) < 0);
}

static void each_request_has_its_vector(void **state)
{
	union vmm_irq_routes routes;

	vmm_irq_routes(&routes);
	assert_int_equal(routes.routing.nr, MACHINE_IRQS);
	for (unsigned i = 0; i < MACHINE_IRQS; i++) {
		const struct kvm_irq_routing_entry *e =
			&routes.routing.entries[i];

		assert_int_equal(e->gsi, i);
		assert_int_equal(e->type, KVM_IRQ_ROUTING_MSI);
		assert_int_equal(e->u.msi.address_lo, MACHINE_APIC_GPA);
		assert_int_equal(e->u.msi.address_hi, 0);
		/* A vector above the exceptions; fixed, edge-triggered. */
		assert_int_equal(e->u.msi.data, MACHINE_IRQ_VECTOR + i);
	}
}

static void the_processor_starts_at_level_3(void **state)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	memset(&sregs, 0, sizeof(sregs));
	sregs.apic_base = MACHINE_APIC_GPA | 0x900;
	vmm_vcpu_sregs(&note, &sregs);
	vmm_vcpu_regs(&note, &regs);
	assert_int_equal(sregs.cs.selector, TABLES_USER_CODE);
	assert_int_equal(sregs.cs.dpl, 3);
	assert_int_equal(sregs.cs.l, 1);
	assert_int_equal(sregs.cs.db, 0);
	assert_int_equal(sregs.ss.dpl, 3);
	assert_int_equal(sregs.tr.type, 11);
	assert_int_equal(sregs.tr.base, note.tables + TABLES_TSS);
	assert_int_equal(sregs.gdt.base, note.tables + TABLES_GDT);
	assert_int_equal(sregs.idt.base, note.tables + TABLES_IDT);
	assert_int_equal(sregs.idt.limit, MACHINE_VECTORS * 16 - 1);
	assert_int_equal(sregs.cr3, note.tables + TABLES_PML4);
	/* Paging, long mode enabled and active, PAE: all or none. */
	assert_true(sregs.cr0 >> 31 & 1);
	assert_int_equal(sregs.efer & 0x500, 0x500);
	assert_true(sregs.cr4 & 0x20);
	assert_int_equal(sregs.apic_base, MACHINE_APIC_GPA | 0x900);
	assert_int_equal(regs.rip, note.entry);
	assert_int_equal(regs.rsp, note.user_stack);
	assert_int_equal(regs.rdi, note.boot);
	assert_int_equal(regs.rflags >> 12 & 3, 3);
	assert_false(regs.rflags >> 9 & 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_lie_where_the_guest_is_told),
		cmocka_unit_test(only_shared_memory_reaches_its_file),
		cmocka_unit_test(an_address_counts_in_plugged_memory_only),
		cmocka_unit_test(more_memory_than_there_is_is_refused),
		cmocka_unit_test(each_request_has_its_vector),
		cmocka_unit_test(the_processor_starts_at_level_3),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
