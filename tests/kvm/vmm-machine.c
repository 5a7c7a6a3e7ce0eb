/* SPDX-License-Identifier: Apache-2.0 */
/* A machine from its parts, in the order in which they need each other. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "tests/kvm/tables.h"
#include "tests/kvm/vmm.h"

enum {
	IMAGE_MAX_BYTES = 16 << 20,
	/* Intel's processors want three pages that no guest uses. */
	TSS_GPA = 0xfffbd000,
	/* The hypercall that KVM can pass on (KVM_HC_MAP_GPA_RANGE). */
	PASSED_HYPERCALL = 12,
};

static enum vmm_status failed(enum vmm_status status, const char *what, int err)
{
	fprintf(stderr, "vmm: %s: %s\n", what, strerror(-err));
	return status;
}

static int vm_ioctl(const struct vmm *vmm, unsigned long request,
		    unsigned long argument)
{
	return ioctl(vmm->vm_fd, request, argument) < 0 ? -errno : 0;
}

/* --- memory and image --- */

static enum vmm_status make_memory(struct vmm *vmm)
{
	int err = vmm_memory_new(vmm->options, &vmm->ram);

	return err < 0 ? failed(VMM_NO_MEMORY, "no memory for the guest", err)
		       : VMM_OK;
}

static enum vmm_status load_image(struct vmm *vmm)
{
	const char *path = vmm->options->image;
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *wrong;
	struct stat st;
	void *file;

	if (fd < 0 || fstat(fd, &st) < 0)
		return failed(VMM_USAGE, path, -errno);
	if (st.st_size == 0 || st.st_size > IMAGE_MAX_BYTES) {
		fprintf(stderr, "vmm: %s: no guest image has that size\n",
			path);
		return VMM_USAGE;
	}
	file = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file == MAP_FAILED)
		return failed(VMM_USAGE, path, -errno);
	wrong = vmm_image_load(file, st.st_size,
			       ram_at(vmm->ram, MACHINE_IMAGE_GPA), &vmm->note);
	munmap(file, st.st_size);
	if (wrong)
		fprintf(stderr, "vmm: %s is no guest image: %s\n", path, wrong);
	return wrong ? VMM_USAGE : VMM_OK;
}

/* --- KVM --- */

static enum vmm_status open_kvm(struct vmm *vmm)
{
	const char *path = vmm->options->kvm_path;
	int version;

	vmm->kvm_fd = open(path, O_RDWR | O_CLOEXEC);
	if (vmm->kvm_fd < 0 && (errno == EACCES || errno == EPERM)) {
		fprintf(stderr,
			"vmm: no permission to use %s: be in its group, "
			"often kvm\n",
			path);
		return VMM_NO_KVM;
	}
	if (vmm->kvm_fd < 0)
		return failed(VMM_NO_KVM, path, -errno);
	version = ioctl(vmm->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		fprintf(stderr, "vmm: %s is not KVM as we know it (%d)\n", path,
			version);
		return VMM_NO_KVM;
	}
	return VMM_OK;
}

static enum vmm_status check_capabilities(struct vmm *vmm)
{
	static const struct {
		int number;
		const char *name;
	} needed[] = {
		{KVM_CAP_USER_MEMORY, "memory slots"},
		{KVM_CAP_SPLIT_IRQCHIP, "a split interrupt chip"},
		{KVM_CAP_IOEVENTFD, "ioeventfd"},
		{KVM_CAP_IRQFD, "irqfd"},
		{KVM_CAP_EXT_CPUID, "CPUID"},
		{KVM_CAP_IMMEDIATE_EXIT, "immediate exits"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (ioctl(vmm->kvm_fd, KVM_CHECK_EXTENSION, needed[i].number) <=
		    0) {
			fprintf(stderr, "vmm: this KVM does not have %s\n",
				needed[i].name);
			return VMM_NO_KVM;
		}
	return VMM_OK;
}

static int enable(const struct vmm *vmm, uint32_t capability, uint64_t value)
{
	const struct kvm_enable_cap cap = {.cap = capability, .args = {value}};

	return vm_ioctl(vmm, KVM_ENABLE_CAP, (unsigned long)&cap);
}

static int make_irqchip(struct vmm *vmm)
{
	union vmm_irq_routes routes;
	int err = enable(vmm, KVM_CAP_SPLIT_IRQCHIP, MACHINE_IRQS);

	if (err < 0)
		return err;
	vmm_irq_routes(&routes);
	return vm_ioctl(vmm, KVM_SET_GSI_ROUTING, (unsigned long)&routes);
}

static enum vmm_status make_vm(struct vmm *vmm)
{
	int err = 0;

	vmm->vm_fd = ioctl(vmm->kvm_fd, KVM_CREATE_VM, 0);
	if (vmm->vm_fd < 0)
		return failed(errno == ENOMEM ? VMM_NO_MEMORY : VMM_HOST_FAILED,
			      "KVM_CREATE_VM", -errno);
	if (ioctl(vmm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0)
		err = vm_ioctl(vmm, KVM_SET_TSS_ADDR, TSS_GPA);
	if (err == 0)
		err = make_irqchip(vmm);
	if (err < 0)
		return failed(VMM_HOST_FAILED, "the interrupt chip", err);
	/* The hot-plugged region stays for the guest to ask for. */
	while (vmm->plugged < VMM_RAM_REGIONS - 1 && err == 0)
		err = vmm_memory_plug(vmm);
	if (err < 0)
		return failed(err == -ENOMEM ? VMM_NO_MEMORY : VMM_HOST_FAILED,
			      "a memory slot", err);
	return VMM_OK;
}

/* --- devices --- */

static enum vmm_status make_probe(struct vmm *vmm)
{
	int err = vmm_probe_open(vmm);

	return err < 0 ? failed(VMM_HOST_FAILED, "the doorbell", err) : VMM_OK;
}

static enum vmm_status connect_devices(struct vmm *vmm)
{
	const struct vmm_options *options = vmm->options;

	for (unsigned i = 0; i < options->backend_count; i++) {
		int err = vmm_vhost_new(vmm, &options->backends[i], i,
					&vmm->devices[i]);

		if (err < 0)
			return failed(VMM_BACKEND_LOST,
				      options->backends[i].socket, err);
		vmm->device_count++;
	}
	return VMM_OK;
}

/* --- what the guest is told --- */

/* Words for KVM's optional ways, and how fast the guest's clock counts. */
static void optional_words(const struct vmm *vmm, char *to, size_t bytes)
{
	bool msrs = enable(vmm, KVM_CAP_X86_USER_SPACE_MSR,
			   KVM_MSR_EXIT_REASON_UNKNOWN) == 0;
	bool calls =
		enable(vmm, KVM_CAP_EXIT_HYPERCALL, 1 << PASSED_HYPERCALL) == 0;

	int khz = ioctl(vmm->vcpu_fd, KVM_GET_TSC_KHZ, 0);

	snprintf(to, bytes, " tsc_khz=%d%s%s", khz > 0 ? khz : 0,
		 msrs ? " msr-exits" : "", calls ? " hypercalls" : "");
}

static enum vmm_status write_command(const struct vmm *vmm,
				     struct guest_boot *boot)
{
	size_t room = sizeof(boot->command);
	char words[64];
	int used;

	optional_words(vmm, words, sizeof(words));
	used = snprintf(boot->command, room, "%s%s", vmm->options->command,
			words);
	for (unsigned i = 0;
	     i < vmm->device_count && used >= 0 && (size_t)used < room; i++)
		used += snprintf(boot->command + used, room - used,
				 " virtio_mmio.device=%u@0x%llx:%u",
				 VMM_MMIO_BYTES,
				 (unsigned long long)(MACHINE_DEVICES_GPA +
						      i * VMM_MMIO_STRIDE),
				 i);
	if (used >= 0 && (size_t)used < room)
		return VMM_OK;
	fprintf(stderr, "vmm: the guest's command line is too long\n");
	return VMM_USAGE;
}

static enum vmm_status write_boot(struct vmm *vmm)
{
	struct guest_boot *boot = ram_at(vmm->ram, vmm->note.boot);

	memset(boot, 0, sizeof(*boot));
	boot->magic = MACHINE_BOOT_MAGIC;
	boot->starter = MACHINE_BY_MONITOR;
	boot->ram_count = vmm->plugged;
	for (unsigned i = 0; i < vmm->plugged; i++)
		boot->ram[i] =
			(struct machine_range){vmm->ram->regions[i].gpa,
					       vmm->ram->regions[i].size_bytes};
	tables_build(&vmm->note, ram_at(vmm->ram, vmm->note.tables));
	return write_command(vmm, boot);
}

static enum vmm_status make_vcpu(struct vmm *vmm)
{
	int err = vmm_vcpu_new(vmm);

	return err < 0 ? failed(VMM_HOST_FAILED, "the processor", err) : VMM_OK;
}

enum vmm_status vmm_open(struct vmm *vmm, const struct vmm_options *options)
{
	static enum vmm_status (*const steps[])(struct vmm *) = {
		make_memory,	    load_image, open_kvm,
		check_capabilities, make_vm,	make_probe,
		connect_devices,    write_boot, make_vcpu,
	};
	enum vmm_status status = VMM_OK;

	*vmm = (struct vmm){
		.options = options,
		.kvm_fd = -1,
		.vm_fd = -1,
		.vcpu_fd = -1,
		.watch_wake_fd = -1,
		.probe.doorbell_fd = -1,
	};
	for (size_t i = 0; i < ARRAY_SIZE(steps) && status == VMM_OK; i++)
		status = steps[i](vmm);
	return status;
}

enum vmm_status vmm_run(struct vmm *vmm)
{
	enum vmm_status status;
	int err = vmm_watch_start(vmm);

	if (err < 0)
		return failed(VMM_HOST_FAILED, "the watchdog", err);
	status = vmm_vcpu_run(vmm);
	vmm_watch_stop(vmm);
	return status;
}

void vmm_close(struct vmm *vmm)
{
	for (unsigned i = 0; i < VMM_MAX_DEVICES; i++)
		vmm_vhost_free(vmm->devices[i]);
	vmm_probe_close(vmm);
	if (vmm->run)
		munmap(vmm->run, vmm->run_bytes);
	fd_close(&vmm->vcpu_fd);
	fd_close(&vmm->vm_fd);
	fd_close(&vmm->kvm_fd);
	ram_free(vmm->ram);
}
