/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processor. KVM_RUN enters the guest and comes back when it did something
 * that the hardware and KVM leave to us: a port, a register of a device, a
 * model-specific register, a hypercall. Exceptions, page faults and interrupts
 * of the guest are its own affair and never seen here.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/kvm/tables.h"
#include "tests/kvm/vmm.h"

enum {
	MAX_CPUID = 256,
	/* Access bytes of descriptors: type, S, and present. */
	TYPE_CODE = 0xb,
	TYPE_DATA = 0x3,
	TYPE_TASK_BUSY = 0xb,
};

static struct kvm_segment segment(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){
		.selector = selector,
		.limit = UINT32_MAX,
		.type = type,
		.present = 1,
		.dpl = selector & 3,
		.s = 1,
		.g = 1,
		/* 64-bit code, or 32-bit stack segments, which do not count. */
		.l = type == TYPE_CODE,
		.db = type == TYPE_DATA,
	};
}

void vmm_vcpu_sregs(const struct guest_note *note, struct kvm_sregs *sregs)
{
	sregs->cs = segment(TABLES_USER_CODE, TYPE_CODE);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss =
		segment(TABLES_USER_DATA, TYPE_DATA);
	sregs->tr = (struct kvm_segment){
		.selector = TABLES_TASK,
		.base = note->tables + TABLES_TSS,
		.limit = TABLES_TSS_BYTES - 1,
		.type = TYPE_TASK_BUSY,
		.present = 1,
	};
	sregs->ldt = (struct kvm_segment){.unusable = 1};
	sregs->gdt = (struct kvm_dtable){
		.base = note->tables + TABLES_GDT,
		.limit = TABLES_GDT_ENTRIES * 8 - 1,
	};
	sregs->idt = (struct kvm_dtable){
		.base = note->tables + TABLES_IDT,
		.limit = MACHINE_VECTORS * 16 - 1,
	};
	sregs->cr0 = TABLES_CR0;
	sregs->cr3 = note->tables + TABLES_PML4;
	sregs->cr4 = TABLES_CR4;
	sregs->efer = TABLES_EFER;
}

void vmm_vcpu_regs(const struct guest_note *note, struct kvm_regs *ret_regs)
{
	*ret_regs = (struct kvm_regs){
		.rip = note->entry,
		.rsp = note->user_stack,
		.rdi = note->boot,
		.rflags = TABLES_RFLAGS,
	};
}

/* The processor has what the host's has, as far as KVM can give it. */
static int set_cpuid(struct vmm *vmm)
{
	size_t bytes = sizeof(struct kvm_cpuid2) +
		       MAX_CPUID * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *cpuid = calloc(1, bytes);
	int err = 0;

	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = MAX_CPUID;
	if (ioctl(vmm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0 ||
	    ioctl(vmm->vcpu_fd, KVM_SET_CPUID2, cpuid) < 0)
		err = -errno;
	free(cpuid);
	return err;
}

static int map_run(struct vmm *vmm)
{
	int bytes = ioctl(vmm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	if (bytes < (int)sizeof(*vmm->run))
		return bytes < 0 ? -errno : -EPROTO;
	run = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		   vmm->vcpu_fd, 0);
	if (run == MAP_FAILED)
		return -errno;
	vmm->run = run;
	vmm->run_bytes = bytes;
	return 0;
}

int vmm_vcpu_new(struct vmm *vmm)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	int err;

	vmm->vcpu_fd = ioctl(vmm->vm_fd, KVM_CREATE_VCPU, 0);
	if (vmm->vcpu_fd < 0)
		return -errno;
	err = map_run(vmm);
	if (err == 0)
		err = set_cpuid(vmm);
	if (err < 0)
		return err;
	/* What is not ours to choose stays as a reset leaves it. */
	if (ioctl(vmm->vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	vmm_vcpu_sregs(&vmm->note, &sregs);
	vmm_vcpu_regs(&vmm->note, &regs);
	if (ioctl(vmm->vcpu_fd, KVM_SET_SREGS, &sregs) < 0 ||
	    ioctl(vmm->vcpu_fd, KVM_SET_REGS, &regs) < 0)
		return -errno;
	return 0;
}

/* --- exits --- */

static struct vmm_mmio *device_at(const struct vmm *vmm, uint64_t gpa,
				  uint32_t *ret_offset)
{
	uint64_t offset = gpa - MACHINE_DEVICES_GPA;
	uint64_t index = offset / VMM_MMIO_STRIDE;

	if (gpa < MACHINE_DEVICES_GPA || index >= vmm->device_count ||
	    offset % VMM_MMIO_STRIDE >= VMM_MMIO_BYTES)
		return NULL;
	*ret_offset = offset % VMM_MMIO_STRIDE;
	return vmm_vhost_mmio(vmm->devices[index]);
}

/* Where nothing is, reads give ones, as from a bus that nobody drives. */
static void mmio_access(struct vmm *vmm)
{
	uint64_t gpa = vmm->run->mmio.phys_addr;
	uint32_t bytes = MIN(vmm->run->mmio.len, 8U);
	bool write = vmm->run->mmio.is_write;
	uint64_t value = write ? 0 : UINT64_MAX;
	uint32_t offset, word;
	struct vmm_mmio *device = device_at(vmm, gpa, &offset);

	vmm->exits[MACHINE_EXIT_MMIO]++;
	if (write)
		memcpy(&value, vmm->run->mmio.data, bytes);
	word = value;
	if (device && write)
		vmm_mmio_write(device, offset, bytes, value);
	else if (device)
		value = vmm_mmio_read(device, offset, bytes);
	else if (vmm_probe_mmio(vmm, gpa, write, &word))
		value = word;
	if (!write)
		memcpy(vmm->run->mmio.data, &value, bytes);
}

static void msr_access(struct vmm *vmm, bool write)
{
	uint64_t value = vmm->run->msr.data;

	vmm->exits[MACHINE_EXIT_MSR]++;
	/* An error is a general protection fault in the guest. */
	vmm->run->msr.error =
		!vmm_probe_msr(vmm, vmm->run->msr.index, write, &value);
	vmm->run->msr.data = value;
}

/* The sum of what was passed: enough to see that all of it arrived. */
static void hypercall(struct vmm *vmm)
{
	const uint64_t *args = (const uint64_t *)vmm->run->hypercall.args;

	vmm->exits[MACHINE_EXIT_HYPERCALL]++;
	vmm->run->hypercall.ret = args[0] + args[1];
}

static enum vmm_status internal_error(const struct vmm *vmm)
{
	struct kvm_regs regs = {0};

	ioctl(vmm->vcpu_fd, KVM_GET_REGS, &regs);
	fprintf(stderr,
		"vmm: KVM cannot go on: exit %u, sub-error %u, at %#llx\n",
		vmm->run->exit_reason,
		vmm->run->exit_reason == KVM_EXIT_INTERNAL_ERROR
			? vmm->run->internal.suberror
			: 0,
		(unsigned long long)regs.rip);
	return VMM_HOST_FAILED;
}

static enum vmm_status handle_exit(struct vmm *vmm)
{
	switch (vmm->run->exit_reason) {
	case KVM_EXIT_IO:
		vmm->exits[MACHINE_EXIT_PORTS]++;
		return vmm_port_access(vmm);
	case KVM_EXIT_MMIO:
		mmio_access(vmm);
		return VMM_RUNNING;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		msr_access(vmm, vmm->run->exit_reason == KVM_EXIT_X86_WRMSR);
		return VMM_RUNNING;
	case KVM_EXIT_HYPERCALL:
		hypercall(vmm);
		return VMM_RUNNING;
	case KVM_EXIT_INTR:
		return VMM_RUNNING;
	case KVM_EXIT_IOAPIC_EOI:
		/* Of controllers that a split chip leaves to us; we have none. */
		return VMM_RUNNING;
	case KVM_EXIT_SHUTDOWN:
		fprintf(stderr, "vmm: the guest is lost: an exception while "
				"an exception was delivered (triple fault)\n");
		return VMM_GUEST_LOST;
	default:
		vmm->exits[MACHINE_EXIT_OTHER]++;
		return internal_error(vmm);
	}
}

enum vmm_status vmm_vcpu_run(struct vmm *vmm)
{
	enum vmm_status status = VMM_RUNNING;

	while (status == VMM_RUNNING) {
		int stop = atomic_load(&vmm->stop_status);

		if (stop != 0)
			return stop;
		if (ioctl(vmm->vcpu_fd, KVM_RUN, 0) == 0) {
			status = handle_exit(vmm);
		} else if (errno != EINTR && errno != EAGAIN) {
			fprintf(stderr, "vmm: KVM_RUN: %s\n", strerror(errno));
			status = VMM_HOST_FAILED;
		}
	}
	return status;
}
