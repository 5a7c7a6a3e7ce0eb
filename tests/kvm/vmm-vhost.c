/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that another process serves. The guest's driver talks to registers
 * (vmm-mmio.c); when it is ready, its queues are handed to the back-end over
 * vhost-user, with two descriptors each:
 *
 *	kick	bound to the doorbell register (KVM_IOEVENTFD): the guest's
 *		write is completed by KVM, and the back-end wakes
 *	call	bound to an interrupt (KVM_IRQFD): the back-end writes, and KVM
 *		makes an interrupt of it
 *
 * From then on the monitor is not in the way of any request.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "tests/frontend/frontend.h"
#include "tests/frontend/profile.h"
#include "tests/kvm/vmm.h"

enum {
	/* For one reply; a back-end that is gone ends the wait at once. */
	REPLY_TIMEOUT_MS = 60000,
};

#define PROTOCOL_BIT (UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES)

struct vmm_vhost {
	struct vmm *vmm;
	struct frontend *fe;
	unsigned irq;
	unsigned queues;
	unsigned told; /* regions of memory that the back-end has */
	uint64_t doorbell_gpa;
	int kick_fds[VMM_MAX_QUEUES];
	int call_fds[VMM_MAX_QUEUES];
	bool up[VMM_MAX_QUEUES];
	struct vmm_mmio_device device;
	struct vmm_mmio mmio;
};

/* --- the two short cuts --- */

static int bind_kick(struct vmm_vhost *disk, unsigned index, bool bind)
{
	const struct kvm_ioeventfd kick = {
		.addr = disk->doorbell_gpa,
		.len = sizeof(uint32_t),
		.fd = disk->kick_fds[index],
		/* All queues share the register; the value tells them apart. */
		.datamatch = index,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH |
			 (bind ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return ioctl(disk->vmm->vm_fd, KVM_IOEVENTFD, &kick) < 0 ? -errno : 0;
}

static int bind_call(struct vmm_vhost *disk, unsigned index, bool bind)
{
	const struct kvm_irqfd call = {
		.fd = disk->call_fds[index],
		.gsi = disk->irq,
		.flags = bind ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return ioctl(disk->vmm->vm_fd, KVM_IRQFD, &call) < 0 ? -errno : 0;
}

/* --- rings --- */

static int tell_memory(struct vmm_vhost *disk)
{
	int err = 0;

	while (disk->told < disk->vmm->plugged && err == 0) {
		err = frontend_add_region(disk->fe, disk->vmm->ram, disk->told);
		if (err == 0)
			disk->told++;
	}
	return err;
}

static bool lies_in_memory(const struct vmm *vmm,
			   const struct vmm_mmio_queue *queue)
{
	/* How long the parts are is for the back-end to check. */
	return vmm_memory_at(vmm, queue->desc_gpa, 1) &&
	       vmm_memory_at(vmm, queue->driver_gpa, 1) &&
	       vmm_memory_at(vmm, queue->device_gpa, 1);
}

static int start_queue(struct vmm_vhost *disk, unsigned index,
		       const struct vmm_mmio_queue *queue)
{
	struct frontend *fe = disk->fe;
	bool packed = frontend_has(fe, VIRTIO_F_RING_PACKED);
	/* As much of a ring as says where it is. */
	const struct driver_ring ring = {
		.config = {.size = queue->size, .packed = packed},
		.ram = disk->vmm->ram,
		.desc_gpa = queue->desc_gpa,
		.avail_gpa = queue->driver_gpa,
		.used_gpa = queue->device_gpa,
	};
	int err;

	if (!lies_in_memory(disk->vmm, queue))
		return -EFAULT;
	/* From here on there is something to stop, also after half of it. */
	disk->up[index] = true;
	err = frontend_ring_num(fe, index, queue->size);
	if (err == 0)
		err = frontend_ring_base(fe, index,
					 driver_ring_first_base(packed));
	if (err == 0)
		err = frontend_ring_addr(fe, index, &ring, false);
	if (err == 0)
		err = frontend_ring_fd(fe, VHOST_USER_SET_VRING_CALL, index,
				       disk->call_fds[index]);
	if (err == 0)
		err = frontend_ring_fd(fe, VHOST_USER_SET_VRING_KICK, index,
				       disk->kick_fds[index]);
	if (err == 0)
		err = frontend_ring_enable(fe, index, true);
	if (err == 0)
		err = bind_call(disk, index, true);
	if (err == 0)
		err = bind_kick(disk, index, true);
	return err;
}

static void stop(void *arg)
{
	struct vmm_vhost *disk = arg;

	for (unsigned i = 0; i < disk->queues; i++) {
		if (!disk->up[i])
			continue;
		bind_kick(disk, i, false);
		frontend_ring_stop(disk->fe, i, NULL);
		bind_call(disk, i, false);
		disk->up[i] = false;
	}
}

static int start(void *arg, uint64_t features,
		 const struct vmm_mmio_queue *queues)
{
	struct vmm_vhost *disk = arg;
	int err = frontend_set_features(disk->fe, features | PROTOCOL_BIT);

	if (err == 0)
		err = tell_memory(disk);
	for (unsigned i = 0; i < disk->queues && err == 0; i++)
		if (queues[i].ready)
			err = start_queue(disk, i, &queues[i]);
	if (err < 0)
		stop(disk);
	return err;
}

/* The doorbell is bound while a queue is up; but a guest may write anything. */
static void notify(void *arg, uint32_t queue)
{
	struct vmm_vhost *disk = arg;
	const uint64_t one = 1;

	if (queue < disk->queues &&
	    write(disk->kick_fds[queue], &one, sizeof(one)) < 0)
		return;
}

/* --- configuration --- */

static uint64_t config_read(void *arg, uint32_t offset, uint32_t bytes)
{
	struct vmm_vhost *disk = arg;
	uint64_t value = 0;

	if (frontend_get_config(disk->fe, offset, &value, bytes) < 0)
		return 0;
	return value;
}

static void config_write(void *arg, uint32_t offset, uint32_t bytes,
			 uint64_t value)
{
	struct vmm_vhost *disk = arg;

	/* A refusal shows in what is read next. */
	(void)frontend_set_config(disk->fe, offset, &value, bytes);
}

/* --- life --- */

static int make_fds(struct vmm_vhost *disk)
{
	for (unsigned i = 0; i < disk->queues; i++) {
		disk->kick_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		disk->call_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (disk->kick_fds[i] < 0 || disk->call_fds[i] < 0)
			return -errno;
	}
	return 0;
}

static int negotiate(struct vmm_vhost *disk)
{
	int err =
		frontend_negotiate(disk->fe, &profile_everything, disk->queues);

	if (err < 0)
		return err;
	if (!frontend_has_protocol(disk->fe, VHOST_USER_PROTOCOL_F_CONFIG) ||
	    !frontend_has_protocol(disk->fe,
				   VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return -EOPNOTSUPP;
	return 0;
}

static void describe(struct vmm_vhost *disk)
{
	disk->device = (struct vmm_mmio_device){
		.id = VIRTIO_ID_BLOCK,
		.features = disk->fe->features & ~PROTOCOL_BIT,
		.queues = disk->queues,
		.config_read = config_read,
		.config_write = config_write,
		.start = start,
		.stop = stop,
		.notify = notify,
		.arg = disk,
	};
	vmm_mmio_init(&disk->mmio, &disk->device);
}

int vmm_vhost_new(struct vmm *vmm, const char *socket, unsigned irq,
		  struct vmm_vhost **ret_disk)
{
	struct vmm_vhost *disk = calloc(1, sizeof(*disk));
	int err;

	if (!disk)
		return -ENOMEM;
	disk->vmm = vmm;
	disk->irq = irq;
	disk->queues = vmm->options->queues;
	disk->doorbell_gpa = MACHINE_DEVICES_GPA + irq * VMM_MMIO_STRIDE +
			     VIRTIO_MMIO_QUEUE_NOTIFY;
	for (unsigned i = 0; i < VMM_MAX_QUEUES; i++)
		disk->kick_fds[i] = disk->call_fds[i] = -1;
	err = make_fds(disk);
	if (err == 0)
		err = frontend_connect(socket, &disk->fe);
	if (err == 0) {
		disk->fe->timeout_ms = REPLY_TIMEOUT_MS;
		err = negotiate(disk);
	}
	if (err < 0) {
		vmm_vhost_free(disk);
		return err;
	}
	describe(disk);
	*ret_disk = disk;
	return 0;
}

void vmm_vhost_free(struct vmm_vhost *disk)
{
	if (!disk)
		return;
	stop(disk);
	frontend_free(disk->fe);
	for (unsigned i = 0; i < VMM_MAX_QUEUES; i++) {
		fd_close(&disk->kick_fds[i]);
		fd_close(&disk->call_fds[i]);
	}
	free(disk);
}

int vmm_vhost_fd(const struct vmm_vhost *disk)
{
	return disk->fe->fd;
}

struct vmm_mmio *vmm_vhost_mmio(struct vmm_vhost *disk)
{
	return &disk->mmio;
}

/* Before it is started it needs to know of nothing. */
int vmm_vhost_plug(struct vmm_vhost *disk)
{
	return disk->told > 0 ? tell_memory(disk) : 0;
}
