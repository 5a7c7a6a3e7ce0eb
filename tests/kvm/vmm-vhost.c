/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that another process serves. The guest's driver talks to registers
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
	/* A network card's: one pair. */
	NET_QUEUES = 2,
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

static int bind_kick(struct vmm_vhost *vhost, unsigned index, bool bind)
{
	const struct kvm_ioeventfd kick = {
		.addr = vhost->doorbell_gpa,
		.len = sizeof(uint32_t),
		.fd = vhost->kick_fds[index],
		/* All queues share the register; the value tells them apart. */
		.datamatch = index,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH |
			 (bind ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return ioctl(vhost->vmm->vm_fd, KVM_IOEVENTFD, &kick) < 0 ? -errno : 0;
}

static int bind_call(struct vmm_vhost *vhost, unsigned index, bool bind)
{
	const struct kvm_irqfd call = {
		.fd = vhost->call_fds[index],
		.gsi = vhost->irq,
		.flags = bind ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return ioctl(vhost->vmm->vm_fd, KVM_IRQFD, &call) < 0 ? -errno : 0;
}

/* --- rings --- */

static int tell_memory(struct vmm_vhost *vhost)
{
	int err = 0;

	while (vhost->told < vhost->vmm->plugged && err == 0) {
		err = frontend_add_region(vhost->fe, vhost->vmm->ram,
					  vhost->told);
		if (err == 0)
			vhost->told++;
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

static int start_queue(struct vmm_vhost *vhost, unsigned index,
		       const struct vmm_mmio_queue *queue)
{
	struct frontend *fe = vhost->fe;
	bool packed = frontend_has(fe, VIRTIO_F_RING_PACKED);
	/* As much of a ring as says where it is. */
	const struct driver_ring ring = {
		.config = {.size = queue->size, .packed = packed},
		.ram = vhost->vmm->ram,
		.desc_gpa = queue->desc_gpa,
		.avail_gpa = queue->driver_gpa,
		.used_gpa = queue->device_gpa,
	};
	int err;

	if (!lies_in_memory(vhost->vmm, queue))
		return -EFAULT;
	/* From here on there is something to stop, also after half of it. */
	vhost->up[index] = true;
	err = frontend_ring_num(fe, index, queue->size);
	if (err == 0)
		err = frontend_ring_base(fe, index,
					 driver_ring_first_base(packed));
	if (err == 0)
		err = frontend_ring_addr(fe, index, &ring, false);
	if (err == 0)
		err = frontend_ring_fd(fe, VHOST_USER_SET_VRING_CALL, index,
				       vhost->call_fds[index]);
	if (err == 0)
		err = frontend_ring_fd(fe, VHOST_USER_SET_VRING_KICK, index,
				       vhost->kick_fds[index]);
	if (err == 0)
		err = frontend_ring_enable(fe, index, true);
	if (err == 0)
		err = bind_call(vhost, index, true);
	if (err == 0)
		err = bind_kick(vhost, index, true);
	return err;
}

static void stop(void *arg)
{
	struct vmm_vhost *vhost = arg;

	for (unsigned i = 0; i < vhost->queues; i++) {
		if (!vhost->up[i])
			continue;
		bind_kick(vhost, i, false);
		frontend_ring_stop(vhost->fe, i, NULL);
		bind_call(vhost, i, false);
		vhost->up[i] = false;
	}
}

static int start(void *arg, uint64_t features,
		 const struct vmm_mmio_queue *queues)
{
	struct vmm_vhost *vhost = arg;
	int err = frontend_set_features(vhost->fe, features | PROTOCOL_BIT);

	if (err == 0)
		err = tell_memory(vhost);
	for (unsigned i = 0; i < vhost->queues && err == 0; i++)
		if (queues[i].ready)
			err = start_queue(vhost, i, &queues[i]);
	if (err < 0)
		stop(vhost);
	return err;
}

/* The doorbell is bound while a queue is up; but a guest may write anything. */
static void notify(void *arg, uint32_t queue)
{
	struct vmm_vhost *vhost = arg;
	const uint64_t one = 1;

	if (queue < vhost->queues &&
	    write(vhost->kick_fds[queue], &one, sizeof(one)) < 0)
		return;
}

/* --- configuration --- */

static uint64_t config_read(void *arg, uint32_t offset, uint32_t bytes)
{
	struct vmm_vhost *vhost = arg;
	uint64_t value = 0;

	if (frontend_get_config(vhost->fe, offset, &value, bytes) < 0)
		return 0;
	return value;
}

static void config_write(void *arg, uint32_t offset, uint32_t bytes,
			 uint64_t value)
{
	struct vmm_vhost *vhost = arg;

	/* A refusal shows in what is read next. */
	(void)frontend_set_config(vhost->fe, offset, &value, bytes);
}

/* --- life --- */

static int make_fds(struct vmm_vhost *vhost)
{
	for (unsigned i = 0; i < vhost->queues; i++) {
		vhost->kick_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		vhost->call_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (vhost->kick_fds[i] < 0 || vhost->call_fds[i] < 0)
			return -errno;
	}
	return 0;
}

static int negotiate(struct vmm_vhost *vhost)
{
	int err = frontend_negotiate(vhost->fe, &profile_everything,
				     vhost->queues);

	if (err < 0)
		return err;
	if (!frontend_has_protocol(vhost->fe, VHOST_USER_PROTOCOL_F_CONFIG) ||
	    !frontend_has_protocol(vhost->fe,
				   VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return -EOPNOTSUPP;
	return 0;
}

static void describe(struct vmm_vhost *vhost)
{
	vhost->device = (struct vmm_mmio_device){
		.id = vhost->fe->device == FRONTEND_NET ? VIRTIO_ID_NET
							: VIRTIO_ID_BLOCK,
		.features = vhost->fe->features & ~PROTOCOL_BIT,
		.queues = vhost->queues,
		.config_read = config_read,
		.config_write = config_write,
		.start = start,
		.stop = stop,
		.notify = notify,
		.arg = vhost,
	};
	vmm_mmio_init(&vhost->mmio, &vhost->device);
}

int vmm_vhost_new(struct vmm *vmm, const struct vmm_backend *backend,
		  unsigned irq, struct vmm_vhost **ret_vhost)
{
	struct vmm_vhost *vhost = calloc(1, sizeof(*vhost));
	int err;

	if (!vhost)
		return -ENOMEM;
	vhost->vmm = vmm;
	vhost->irq = irq;
	vhost->queues = backend->kind == FRONTEND_NET ? NET_QUEUES
						      : vmm->options->queues;
	vhost->doorbell_gpa = MACHINE_DEVICES_GPA + irq * VMM_MMIO_STRIDE +
			      VIRTIO_MMIO_QUEUE_NOTIFY;
	for (unsigned i = 0; i < VMM_MAX_QUEUES; i++)
		vhost->kick_fds[i] = vhost->call_fds[i] = -1;
	err = make_fds(vhost);
	if (err == 0)
		err = frontend_connect(backend->socket, &vhost->fe);
	if (err == 0) {
		vhost->fe->device = backend->kind;
		vhost->fe->timeout_ms = REPLY_TIMEOUT_MS;
		err = negotiate(vhost);
	}
	if (err < 0) {
		vmm_vhost_free(vhost);
		return err;
	}
	describe(vhost);
	*ret_vhost = vhost;
	return 0;
}

void vmm_vhost_free(struct vmm_vhost *vhost)
{
	if (!vhost)
		return;
	stop(vhost);
	frontend_free(vhost->fe);
	for (unsigned i = 0; i < VMM_MAX_QUEUES; i++) {
		fd_close(&vhost->kick_fds[i]);
		fd_close(&vhost->call_fds[i]);
	}
	free(vhost);
}

int vmm_vhost_fd(const struct vmm_vhost *vhost)
{
	return vhost->fe->fd;
}

struct vmm_mmio *vmm_vhost_mmio(struct vmm_vhost *vhost)
{
	return &vhost->mmio;
}

/* Before it is started it needs to know of nothing. */
int vmm_vhost_plug(struct vmm_vhost *vhost)
{
	return vhost->told > 0 ? tell_memory(vhost) : 0;
}
