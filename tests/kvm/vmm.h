/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A monitor, as small as one can be that puts a vhost-user back-end under a
 * real virtual machine. KVM gives a process three things, each a descriptor:
 * the facility (/dev/kvm), a machine (memory slots and an interrupt controller)
 * and a processor, which runs until something happens that only user space can
 * settle. All else is made here:
 *
 *	CPU	vmm-vcpu.c	registers at the start; the run loop, which
 *				hands exits to whom they belong
 *	memory	vmm-memory.c	slots over memfds that back-ends map as well
 *	I/O	vmm-ports.c	serial line, exit port, the device for tests
 *		vmm-mmio.c	a virtio device's registers: pure
 *		vmm-vhost.c	what is behind them: rings given to a back-end,
 *				kicks by ioeventfd, interrupts by irqfd
 *		vmm-irq.c	interrupt routes
 *	image	vmm-image.c	an ELF file, taken apart: pure
 *	time	vmm-watch.c	back-ends that die, guests that hang
 *
 * Functions return 0, a negative errno, or an enum vmm_status with the reason
 * already told on standard error. One thread runs the processor and all of
 * this but vmm-watch.c.
 */
#ifndef TESTS_KVM_VMM_H
#define TESTS_KVM_VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/frontend/frontend.h"
#include "tests/frontend/ram.h"
#include "tests/kvm/machine.h"
#include "tests/kvm/vmm-image.h"
#include "tests/kvm/vmm-irq.h"
#include "tests/kvm/vmm-mmio.h"

/* How the monitor ends. */
enum vmm_status {
	VMM_OK = 0,
	VMM_GUEST_FAILED = 1, /* it said so */
	VMM_USAGE = 2,	      /* options, or an image that is none */
	VMM_NO_KVM = 3,	      /* not there, no permission, too old */
	VMM_NO_MEMORY = 4,
	VMM_BACKEND_LOST = 5,
	VMM_GUEST_LOST = 6, /* triple fault */
	VMM_TIME_OUT = 7,
	VMM_HOST_FAILED = 8,
	VMM_RUNNING = 256, /* not an end */
};

enum {
	VMM_MAX_DEVICES = 4,
	VMM_MAX_QUEUES = 4,
	VMM_RAM_REGIONS = 3,
	VMM_MMIO_STRIDE = 0x1000,
	VMM_MMIO_BYTES = 0x200,
};

/* Who serves a device: a disk, or a network card. */
struct vmm_backend {
	enum frontend_device kind;
	const char *socket; /* vhost-user */
};

struct vmm_options {
	const char *kvm_path;
	const char *image;
	struct vmm_backend backends[VMM_MAX_DEVICES];
	unsigned backend_count;
	unsigned queues;     /* of each disk; a card has a pair */
	const char *command; /* for the guest */
	uint64_t extra_mib;  /* of memory, beyond MACHINE_HIGH_BYTES */
	bool private_memory;
	unsigned seconds; /* until the watchdog barks */
};

struct vmm_vhost;

/* The test device of vmm-ports.c. */
struct vmm_probe {
	int doorbell_fd;
	uint32_t argument;
	uint32_t answer;
	uint32_t mmio_value;
	uint64_t msr_value;
	uint8_t *dirty[VMM_RAM_REGIONS];
};

struct vmm {
	const struct vmm_options *options;
	int kvm_fd;
	int vm_fd;
	int vcpu_fd;
	struct kvm_run *run;
	size_t run_bytes;
	struct ram *ram;
	unsigned plugged; /* regions of ram that the guest has */
	struct guest_note note;
	struct vmm_vhost *devices[VMM_MAX_DEVICES];
	unsigned device_count;
	struct vmm_probe probe;
	uint64_t exits[MACHINE_EXIT_KINDS];
	pthread_t vcpu_thread;
	/* Set by vmm-watch.c, once: why the processor has to stop. */
	atomic_int stop_status;
	int watch_wake_fd;
	pthread_t watch_thread;
	bool watched;
};

/* --- vmm-machine.c --- */

/* Everything up to the first instruction. Closing is the caller's in any case. */
enum vmm_status vmm_open(struct vmm *vmm, const struct vmm_options *options);
enum vmm_status vmm_run(struct vmm *vmm);
void vmm_close(struct vmm *vmm);

/* --- vmm-memory.c --- */

/* Makes the memory: not yet the guest's. */
int vmm_memory_new(const struct vmm_options *options, struct ram **ret_ram);

/* The slot of one region as KVM is told of it; pure. */
struct kvm_userspace_memory_region vmm_memory_slot(const struct ram *ram,
						   unsigned index);

/* Gives the guest the next region, and tells the back-ends. */
int vmm_memory_plug(struct vmm *vmm);

/* The host address of a range that lies in one plugged region, or NULL. */
void *vmm_memory_at(const struct vmm *vmm, uint64_t gpa, uint64_t bytes);

/* Fetches the dirty log of all slots; how many pages are in it, or an errno. */
int vmm_memory_fetch_dirty(struct vmm *vmm);

/* --- vmm-vcpu.c --- */

/* Registers as an image is to be entered; pure. */
void vmm_vcpu_sregs(const struct guest_note *note, struct kvm_sregs *sregs);
void vmm_vcpu_regs(const struct guest_note *note, struct kvm_regs *ret_regs);

int vmm_vcpu_new(struct vmm *vmm);
/* Until the guest ends, or something else does. */
enum vmm_status vmm_vcpu_run(struct vmm *vmm);

/* --- vmm-ports.c --- */

int vmm_probe_open(struct vmm *vmm);
void vmm_probe_close(struct vmm *vmm);
/* An access of run->io: VMM_RUNNING, or the guest's end. */
enum vmm_status vmm_port_access(struct vmm *vmm);
/* False if nothing of the probe's is there. */
bool vmm_probe_mmio(struct vmm *vmm, uint64_t gpa, bool write, uint32_t *value);
bool vmm_probe_msr(struct vmm *vmm, uint32_t index, bool write,
		   uint64_t *value);

/* --- vmm-vhost.c --- */

/*
 * The device with interrupt @irq, at the place that goes with it, served by
 * @backend.
 * Negative errno.
 */
int vmm_vhost_new(struct vmm *vmm, const struct vmm_backend *backend,
		  unsigned irq, struct vmm_vhost **ret_vhost);
void vmm_vhost_free(struct vmm_vhost *vhost);
/* The back-end's socket: it hangs up when the back-end ends. */
int vmm_vhost_fd(const struct vmm_vhost *vhost);
struct vmm_mmio *vmm_vhost_mmio(struct vmm_vhost *vhost);
/* Tells the back-end of regions that the guest has got. */
int vmm_vhost_plug(struct vmm_vhost *vhost);

/* --- vmm-watch.c --- */

int vmm_watch_start(struct vmm *vmm);
/* Ends the watch; the devices may then be hung up. */
void vmm_watch_stop(struct vmm *vmm);

#endif
