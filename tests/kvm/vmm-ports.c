/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports, and the probe: a device that exists to be tested with. Output of the
 * serial line goes to standard output at once, input comes from standard input.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "tests/kvm/vmm.h"

enum {
	SERIAL_LINE_STATUS = MACHINE_SERIAL_PORT + 5,
	SERIAL_HAS_INPUT = 0x01,
	SERIAL_CAN_TAKE_MORE = 0x60,
	PAGE_BYTES = 4096,
};

int vmm_probe_open(struct vmm *vmm)
{
	struct kvm_ioeventfd doorbell = {
		.addr = MACHINE_DOORBELL_GPA,
		.len = sizeof(uint32_t),
	};

	vmm->probe.msr_value = MACHINE_MSR_VALUE;
	vmm->probe.doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vmm->probe.doorbell_fd < 0)
		return -errno;
	doorbell.fd = vmm->probe.doorbell_fd;
	if (ioctl(vmm->vm_fd, KVM_IOEVENTFD, &doorbell) < 0)
		return -errno;
	return 0;
}

void vmm_probe_close(struct vmm *vmm)
{
	for (unsigned i = 0; i < VMM_RAM_REGIONS; i++)
		free(vmm->probe.dirty[i]);
	fd_close(&vmm->probe.doorbell_fd);
}

static uint32_t doorbell_rings(const struct vmm *vmm)
{
	uint64_t rings = 0;

	if (read(vmm->probe.doorbell_fd, &rings, sizeof(rings)) < 0)
		return 0;
	return rings;
}

/* Regions ascend. What the guest passes is judged: it may ask for any page. */
static uint32_t next_dirty_page(const struct vmm *vmm, uint32_t page)
{
	for (unsigned i = 0; i < vmm->plugged; i++) {
		const struct ram_region *r = &vmm->ram->regions[i];
		uint64_t first = r->gpa / PAGE_BYTES;
		uint64_t end = first + r->size_bytes / PAGE_BYTES;

		for (uint64_t p = MAX(first, (uint64_t)page); p < end; p++) {
			uint64_t bit = p - first;

			if (vmm->probe.dirty[i][bit / 8] >> (bit % 8) & 1)
				return p;
		}
	}
	return UINT32_MAX;
}

static uint32_t file_word(const struct vmm *vmm, uint32_t page)
{
	uint64_t gpa = (uint64_t)page * PAGE_BYTES;
	const struct ram_region *r = ram_region_of(vmm->ram, gpa);
	uint32_t word;

	if (!r || pread(r->fd, &word, sizeof(word),
			r->mmap_offset + (gpa - r->gpa)) != sizeof(word))
		return UINT32_MAX;
	return word;
}

static uint32_t answer(struct vmm *vmm, uint32_t question)
{
	uint32_t argument = vmm->probe.argument;

	switch (question) {
	case MACHINE_ASK_EXITS:
		return argument < MACHINE_EXIT_KINDS ? vmm->exits[argument]
						     : UINT32_MAX;
	case MACHINE_ASK_RINGS:
		return doorbell_rings(vmm);
	case MACHINE_ASK_PLUG:
		return -vmm_memory_plug(vmm);
	case MACHINE_ASK_DIRTY_COUNT:
		return vmm_memory_fetch_dirty(vmm);
	case MACHINE_ASK_DIRTY_NEXT:
		return next_dirty_page(vmm, argument);
	case MACHINE_ASK_FILE_WORD:
		return file_word(vmm, argument);
	default:
		return UINT32_MAX;
	}
}

static enum vmm_status port_write(struct vmm *vmm, uint16_t port,
				  const void *data, uint32_t bytes)
{
	uint32_t value = 0;

	memcpy(&value, data, MIN(bytes, (uint32_t)sizeof(value)));
	switch (port) {
	case MACHINE_SERIAL_PORT:
		if (write(STDOUT_FILENO, data, 1) < 0)
			return VMM_HOST_FAILED;
		break;
	case MACHINE_EXIT_PORT:
		return value == MACHINE_OK ? VMM_OK : VMM_GUEST_FAILED;
	case MACHINE_ARGUMENT_PORT:
		vmm->probe.argument = value;
		break;
	case MACHINE_ASK_PORT:
		vmm->probe.answer = answer(vmm, value);
		break;
	}
	return VMM_RUNNING;
}

static bool has_input(void)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&input, 1, 0) > 0 && (input.revents & POLLIN);
}

static uint8_t serial_input(void)
{
	uint8_t byte = 0;

	if (!has_input() || read(STDIN_FILENO, &byte, 1) < 0)
		return 0;
	return byte;
}

static void port_read(struct vmm *vmm, uint16_t port, void *ret_data,
		      uint32_t bytes)
{
	uint32_t value = UINT32_MAX;

	if (port == MACHINE_SERIAL_PORT)
		value = serial_input();
	else if (port == SERIAL_LINE_STATUS)
		value = SERIAL_CAN_TAKE_MORE |
			(has_input() ? SERIAL_HAS_INPUT : 0);
	else if (port == MACHINE_ANSWER_PORT)
		value = vmm->probe.answer;
	memcpy(ret_data, &value, MIN(bytes, (uint32_t)sizeof(value)));
}

/* A string instruction makes one exit for many accesses. */
enum vmm_status vmm_port_access(struct vmm *vmm)
{
	uint8_t *data = (uint8_t *)vmm->run + vmm->run->io.data_offset;
	uint32_t bytes = vmm->run->io.size;
	enum vmm_status status = VMM_RUNNING;

	for (uint32_t i = 0; i < vmm->run->io.count && status == VMM_RUNNING;
	     i++, data += bytes) {
		if (vmm->run->io.direction == KVM_EXIT_IO_OUT)
			status =
				port_write(vmm, vmm->run->io.port, data, bytes);
		else
			port_read(vmm, vmm->run->io.port, data, bytes);
	}
	return status;
}

bool vmm_probe_mmio(struct vmm *vmm, uint64_t gpa, bool write, uint32_t *value)
{
	if (gpa != MACHINE_REGISTER_GPA)
		return false;
	if (write)
		vmm->probe.mmio_value = *value;
	else
		*value = vmm->probe.mmio_value;
	return true;
}

bool vmm_probe_msr(struct vmm *vmm, uint32_t index, bool write, uint64_t *value)
{
	if (index != MACHINE_MSR)
		return false;
	if (write)
		vmm->probe.msr_value = *value;
	else
		*value = vmm->probe.msr_value;
	return true;
}
