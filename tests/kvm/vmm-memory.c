/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory: what the guest calls physical is a set of slots, each a range of
 * guest addresses over a range of our own. Slots lie on memfds, so a back-end
 * can map the same memory, at addresses of its own (tests/frontend/ram.h).
 *
 * All regions exist from the start; the guest has those that are plugged.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "tests/kvm/vmm.h"

enum {
	PAGE_BYTES = 4096,
	WORD_BITS = 64,
};

/*
 * The same file, but what is written goes to pages of our own: a machine that
 * shares nothing, and can have no back-end.
 */
static int make_private(struct ram *ram)
{
	for (unsigned i = 0; i < ram->count; i++) {
		const struct ram_region *r = &ram->regions[i];

		if (mmap(ram->base + r->gpa, r->size_bytes,
			 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, r->fd,
			 r->mmap_offset) == MAP_FAILED)
			return -errno;
	}
	return 0;
}

/* Offsets into the files differ, so that none can be forgotten unnoticed. */
int vmm_memory_new(const struct vmm_options *options, struct ram **ret_ram)
{
	const struct ram_region layout[VMM_RAM_REGIONS] = {
		{.gpa = 0, .size_bytes = MACHINE_LOW_BYTES},
		{
			.gpa = MACHINE_HIGH_GPA,
			.size_bytes = MACHINE_HIGH_BYTES,
			.mmap_offset = 5 * PAGE_BYTES,
		},
		{
			.gpa = MACHINE_PLUGGED_GPA,
			.size_bytes = MACHINE_PLUGGED_BYTES +
				      (options->extra_mib << 20),
			.mmap_offset = 2 * PAGE_BYTES,
		},
	};
	struct ram *ram;
	int err = ram_new(layout, ARRAY_SIZE(layout), &ram);

	if (err < 0)
		return err;
	if (options->private_memory)
		err = make_private(ram);
	if (err < 0) {
		ram_free(ram);
		return err;
	}
	*ret_ram = ram;
	return 0;
}

struct kvm_userspace_memory_region vmm_memory_slot(const struct ram *ram,
						   unsigned index)
{
	const struct ram_region *r = &ram->regions[index];

	return (struct kvm_userspace_memory_region){
		.slot = index,
		.flags = KVM_MEM_LOG_DIRTY_PAGES,
		.guest_phys_addr = r->gpa,
		.memory_size = r->size_bytes,
		.userspace_addr = (uint64_t)(uintptr_t)ram_at(ram, r->gpa),
	};
}

static uint64_t bitmap_bytes(const struct ram_region *region)
{
	return div_round_up(region->size_bytes / PAGE_BYTES, WORD_BITS) *
	       (WORD_BITS / 8);
}

int vmm_memory_plug(struct vmm *vmm)
{
	struct kvm_userspace_memory_region slot;
	unsigned index = vmm->plugged;
	int err = 0;

	if (index == vmm->ram->count)
		return -ENOSPC;
	slot = vmm_memory_slot(vmm->ram, index);
	vmm->probe.dirty[index] =
		calloc(1, bitmap_bytes(&vmm->ram->regions[index]));
	if (!vmm->probe.dirty[index])
		return -ENOMEM;
	if (ioctl(vmm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0) {
		free(vmm->probe.dirty[index]);
		vmm->probe.dirty[index] = NULL;
		return -errno;
	}
	vmm->plugged++;
	for (unsigned i = 0; i < vmm->device_count && err == 0; i++)
		err = vmm_vhost_plug(vmm->devices[i]);
	return err;
}

void *vmm_memory_at(const struct vmm *vmm, uint64_t gpa, uint64_t bytes)
{
	for (unsigned i = 0; i < vmm->plugged; i++) {
		const struct ram_region *r = &vmm->ram->regions[i];

		if (gpa >= r->gpa &&
		    range_fits(gpa - r->gpa, bytes, r->size_bytes))
			return ram_at(vmm->ram, gpa);
	}
	return NULL;
}

static int count_bits(const uint8_t *bytes, uint64_t count)
{
	int bits = 0;

	for (uint64_t i = 0; i < count; i++)
		bits += __builtin_popcount(bytes[i]);
	return bits;
}

/* Reading the log clears KVM's, so the next one begins here. */
int vmm_memory_fetch_dirty(struct vmm *vmm)
{
	int pages = 0;

	for (unsigned i = 0; i < vmm->plugged; i++) {
		uint8_t *bits = vmm->probe.dirty[i];
		uint64_t bytes = bitmap_bytes(&vmm->ram->regions[i]);
		struct kvm_dirty_log log = {.slot = i, .dirty_bitmap = bits};

		memset(bits, 0, bytes);
		if (ioctl(vmm->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0)
			return -errno;
		pages += count_bits(bits, bytes);
	}
	return pages;
}
