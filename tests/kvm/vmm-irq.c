/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kvm/vmm-irq.h"

#include <string.h>

void vmm_irq_routes(union vmm_irq_routes *ret_routes)
{
	memset(ret_routes, 0, sizeof(*ret_routes));
	ret_routes->routing.nr = MACHINE_IRQS;
	for (unsigned i = 0; i < MACHINE_IRQS; i++) {
		struct kvm_irq_routing_entry *entry =
			&ret_routes->routing.entries[i];

		entry->gsi = i;
		entry->type = KVM_IRQ_ROUTING_MSI;
		/* Bits 12 to 19 of the address would name another processor. */
		entry->u.msi.address_lo = (uint32_t)MACHINE_APIC_GPA;
		/* Delivered as it is, once for each message (edge). */
		entry->u.msi.data = MACHINE_IRQ_VECTOR + i;
	}
}
