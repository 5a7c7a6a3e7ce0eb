/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt routes. An irqfd is bound to a number, and the number to a message:
 * what a device of a real machine would write to the address of a processor's
 * interrupt controller (MSI). KVM keeps that controller in the kernel and needs
 * none of the older ones (a split interrupt chip), so a back-end's call reaches
 * the guest's handler without waking the monitor. Pure.
 */
#ifndef TESTS_KVM_VMM_IRQ_H
#define TESTS_KVM_VMM_IRQ_H

#include <linux/kvm.h>

#include "tests/kvm/machine.h"

union vmm_irq_routes {
	struct kvm_irq_routing routing;
	uint8_t room[sizeof(struct kvm_irq_routing) +
		     MACHINE_IRQS * sizeof(struct kvm_irq_routing_entry)];
};

/* Number n to vector MACHINE_IRQ_VECTOR + n of the first processor. */
void vmm_irq_routes(union vmm_irq_routes *ret_routes);

#endif
