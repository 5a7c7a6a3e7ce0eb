/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/frontend/profile.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

#define BIT(n)	     (UINT64_C(1) << (n))
#define PROTOCOL(n)  BIT(VHOST_USER_PROTOCOL_F_##n)
#define PROTOCOL_BIT BIT(VHOST_USER_F_PROTOCOL_FEATURES)

#define BLK_USUAL                                                    \
	(BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) |    \
	 BIT(VIRTIO_BLK_F_GEOMETRY) | BIT(VIRTIO_BLK_F_RO) |         \
	 BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) |      \
	 BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_CONFIG_WCE) | \
	 BIT(VIRTIO_BLK_F_MQ) | BIT(VIRTIO_BLK_F_DISCARD) |          \
	 BIT(VIRTIO_BLK_F_WRITE_ZEROES))

#define NET_USUAL                                                        \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |         \
	 BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |   \
	 BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_HOST_TSO4) |     \
	 BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) |      \
	 BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_MTU) |           \
	 BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) |              \
	 BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |         \
	 BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | \
	 BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | BIT(VIRTIO_NET_F_MQ))

#define RING_USUAL                                                    \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | \
	 BIT(VIRTIO_RING_F_EVENT_IDX))

#define STEPS(...)                    \
	(const uint8_t[])             \
	{                             \
		__VA_ARGS__, STEP_END \
	}

const struct frontend_profile profile_qemu = {
	.name = "qemu",
	.features = BLK_USUAL | RING_USUAL | PROTOCOL_BIT |
		    BIT(VIRTIO_F_RING_RESET),
	.net_features = NET_USUAL | RING_USUAL | PROTOCOL_BIT |
			BIT(VIRTIO_F_RING_RESET),
	.protocol_features = PROTOCOL(MQ) | PROTOCOL(LOG_SHMFD) |
			     PROTOCOL(RARP) | PROTOCOL(NET_MTU) |
			     PROTOCOL(REPLY_ACK) | PROTOCOL(BACKEND_REQ) |
			     PROTOCOL(CONFIG) | PROTOCOL(BACKEND_SEND_FD) |
			     PROTOCOL(INFLIGHT_SHMFD) | PROTOCOL(RESET_DEVICE) |
			     PROTOCOL(CONFIGURE_MEM_SLOTS),
	.max_queues = 64,
	.need_reply = true,
	.inflight_wire_bytes = sizeof(struct vhost_user_inflight),
	.negotiate_steps =
		STEPS(STEP_GET_FEATURES, STEP_PROTOCOL_FEATURES, STEP_QUEUE_NUM,
		      STEP_MAX_SLOTS, STEP_CHANNEL, STEP_OWNER,
		      STEP_GET_FEATURES, STEP_CALLS, STEP_ERRS, STEP_CONFIG),
	.start_steps = STEPS(STEP_INFLIGHT, STEP_SET_FEATURES, STEP_SLOTS,
			     STEP_RINGS, STEP_ENABLE),
	.ring_steps =
		STEPS(RING_NUM, RING_BASE, RING_ADDR, RING_KICK, RING_CALL),
};

const struct frontend_profile profile_cloud_hypervisor = {
	.name = "cloud-hypervisor",
	.features = BLK_USUAL | RING_USUAL | PROTOCOL_BIT,
	.net_features =
		NET_USUAL | RING_USUAL | PROTOCOL_BIT | BIT(VIRTIO_F_IN_ORDER),
	.protocol_features = PROTOCOL(CONFIG) | PROTOCOL(MQ) |
			     PROTOCOL(CONFIGURE_MEM_SLOTS) |
			     PROTOCOL(REPLY_ACK) | PROTOCOL(INFLIGHT_SHMFD) |
			     PROTOCOL(LOG_SHMFD) | PROTOCOL(BACKEND_REQ) |
			     PROTOCOL(DEVICE_STATE),
	.max_queues = 64,
	.need_reply = true,
	.inflight_wire_bytes = VHOST_USER_INFLIGHT_TEXT_BYTES,
	.negotiate_steps =
		STEPS(STEP_OWNER, STEP_GET_FEATURES, STEP_PROTOCOL_FEATURES,
		      STEP_QUEUE_NUM, STEP_CONFIG),
	.start_steps = STEPS(STEP_SET_FEATURES, STEP_MEMORY, STEP_INFLIGHT,
			     STEP_RINGS, STEP_ENABLE, STEP_CHANNEL),
	.ring_steps =
		STEPS(RING_NUM, RING_ADDR, RING_BASE, RING_CALL, RING_KICK),
};

const struct frontend_profile profile_crosvm = {
	.name = "crosvm",
	.features = BLK_USUAL | RING_USUAL | PROTOCOL_BIT,
	.net_features = NET_USUAL | RING_USUAL | PROTOCOL_BIT,
	.protocol_features =
		PROTOCOL(CONFIG) | PROTOCOL(MQ) | PROTOCOL(BACKEND_REQ),
	.max_queues = 16,
	.negotiate_steps =
		STEPS(STEP_OWNER, STEP_GET_FEATURES, STEP_PROTOCOL_FEATURES,
		      STEP_CHANNEL, STEP_QUEUE_NUM, STEP_CONFIG),
	.start_steps = STEPS(STEP_SET_FEATURES, STEP_MEMORY, STEP_RINGS),
	.ring_steps = STEPS(RING_NUM, RING_ADDR, RING_BASE, RING_CALL,
			    RING_KICK, RING_ENABLE),
};

const struct frontend_profile profile_firecracker = {
	.name = "firecracker",
	.features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |
		    BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_FLUSH) |
		    PROTOCOL_BIT,
	.net_features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MAC) |
			BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_NET_F_CSUM) |
			PROTOCOL_BIT,
	.protocol_features = PROTOCOL(CONFIG),
	.max_queues = 1,
	.negotiate_steps = STEPS(STEP_OWNER, STEP_GET_FEATURES,
				 STEP_PROTOCOL_FEATURES, STEP_CONFIG),
	.start_steps = STEPS(STEP_SET_FEATURES, STEP_MEMORY, STEP_RINGS),
	.ring_steps = STEPS(RING_NUM, RING_ADDR, RING_BASE, RING_CALL,
			    RING_KICK, RING_ENABLE),
};

const struct frontend_profile profile_virtio_user = {
	.name = "virtio-user",
	.features = BLK_USUAL | BIT(VIRTIO_F_VERSION_1) |
		    BIT(VIRTIO_RING_F_INDIRECT_DESC) |
		    BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER) |
		    PROTOCOL_BIT,
	.net_features = NET_USUAL | BIT(VIRTIO_F_VERSION_1) |
			BIT(VIRTIO_RING_F_INDIRECT_DESC) |
			BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER) |
			PROTOCOL_BIT,
	.protocol_features =
		PROTOCOL(MQ) | PROTOCOL(REPLY_ACK) | PROTOCOL(STATUS),
	.max_queues = 8,
	.need_reply = true,
	.negotiate_steps =
		STEPS(STEP_OWNER, STEP_GET_FEATURES, STEP_PROTOCOL_FEATURES,
		      STEP_QUEUE_NUM, STEP_STATUS_DRIVER),
	.start_steps = STEPS(STEP_CALLS, STEP_SET_FEATURES, STEP_MEMORY,
			     STEP_RINGS, STEP_ENABLE, STEP_STATUS_DRIVER_OK),
	.ring_steps =
		STEPS(RING_CALL, RING_NUM, RING_BASE, RING_ADDR, RING_KICK),
};

const struct frontend_profile profile_everything = {
	.name = "everything",
	.features = UINT64_MAX & ~BIT(VHOST_F_LOG_ALL),
	.net_features = UINT64_MAX & ~BIT(VHOST_F_LOG_ALL),
	.protocol_features =
		UINT64_MAX & ~(PROTOCOL(INBAND_NOTIFICATIONS) |
			       PROTOCOL(XEN_MMAP) | PROTOCOL(GPA_ADDRESSES)),
	.max_queues = 256,
	.need_reply = true,
	.inflight_wire_bytes = sizeof(struct vhost_user_inflight),
	.negotiate_steps = STEPS(STEP_GET_FEATURES, STEP_PROTOCOL_FEATURES,
				 STEP_QUEUE_NUM, STEP_MAX_SLOTS, STEP_CHANNEL,
				 STEP_OWNER, STEP_STATUS_DRIVER, STEP_CONFIG),
	.start_steps = STEPS(STEP_SET_FEATURES, STEP_MEMORY, STEP_INFLIGHT,
			     STEP_RINGS, STEP_ENABLE, STEP_STATUS_DRIVER_OK),
	.ring_steps = STEPS(RING_NUM, RING_BASE, RING_ADDR, RING_CALL, RING_ERR,
			    RING_KICK),
};

const struct frontend_profile *const frontend_profiles[] = {
	&profile_qemu,
	&profile_cloud_hypervisor,
	&profile_crosvm,
	&profile_firecracker,
	&profile_virtio_user,
	&profile_everything,
	NULL,
};

/* What the steps work on. */
struct start {
	struct frontend *fe;
	const struct frontend_profile *profile;
	struct ram *ram;
	struct driver_ring *const *rings;
	unsigned count;
};

static int set_protocol_features(struct start *s)
{
	struct frontend *fe = s->fe;
	int err;

	if (!frontend_has(fe, VHOST_USER_F_PROTOCOL_FEATURES))
		return 0;
	err = frontend_get_protocol_features(fe);
	if (err < 0)
		return err;
	return frontend_set_protocol_features(
		fe, fe->protocol_offered & s->profile->protocol_features &
			    fe->protocol_limit);
}

static int get_features(struct start *s)
{
	struct frontend *fe = s->fe;
	int err = frontend_get_features(fe);

	if (err == 0)
		fe->features =
			fe->offered & fe->features_limit &
			(fe->device == FRONTEND_NET ? s->profile->net_features
						    : s->profile->features);
	return err;
}

/* More than the back-end has is the user's error, as QEMU has it. */
static int queue_num(struct start *s)
{
	struct frontend *fe = s->fe;
	int err =
		frontend_get_u64(fe, VHOST_USER_GET_QUEUE_NUM, &fe->queue_num);

	if (err < 0)
		return err;
	return s->count > fe->queue_num * (fe->device == FRONTEND_NET ? 2 : 1)
		       ? -ERANGE
		       : 0;
}

static int get_config(struct frontend *fe)
{
	struct virtio_blk_config config;
	struct virtio_net_config net_config;

	if (fe->device == FRONTEND_NET)
		return frontend_get_config(fe, 0, &net_config,
					   sizeof(net_config));
	return frontend_get_config(
		fe, 0, &config,
		offsetof(struct virtio_blk_config, max_secure_erase_sectors));
}

static int tell_status(struct frontend *fe, uint8_t status)
{
	return frontend_set_u64(fe, VHOST_USER_SET_STATUS, status);
}

static int status_driver(struct frontend *fe)
{
	int err = tell_status(fe, 0);

	if (err == 0)
		err = tell_status(fe, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	if (err == 0)
		err = tell_status(fe, VIRTIO_CONFIG_S_ACKNOWLEDGE |
					      VIRTIO_CONFIG_S_DRIVER);
	return err;
}

/* Descriptors that nobody will ever listen to, as QEMU's masked notifiers. */
static int throw_away_fds(struct start *s, uint32_t request)
{
	autoclose int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int err = fd < 0 ? -errno : 0;

	for (unsigned i = 0; i < s->count && err == 0; i++)
		err = frontend_ring_fd(s->fe, request, i, fd);
	return err;
}

static int inflight(struct start *s)
{
	struct frontend *fe = s->fe;
	int err = 0;

	if (fe->inflight_fd < 0)
		err = frontend_get_inflight(fe, s->count,
					    s->rings[0]->config.size);
	return err == 0 ? frontend_set_inflight(fe) : err;
}

static int slots(struct start *s)
{
	int err = 0;

	if (!frontend_has_protocol(s->fe,
				   VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		return frontend_set_memory(s->fe, s->ram);
	for (unsigned i = 0; i < s->ram->count && err == 0; i++)
		err = frontend_add_region(s->fe, s->ram, i);
	return err;
}

static int ring_step(struct start *s, unsigned index, enum ring_step step)
{
	struct driver_ring *ring = s->rings[index];
	struct frontend *fe = s->fe;

	switch (step) {
	case RING_NUM:
		return frontend_ring_num(fe, index, ring->config.size);
	case RING_BASE:
		return frontend_ring_base(fe, index, driver_ring_base(ring));
	case RING_ADDR:
		return frontend_ring_addr(fe, index, ring, false);
	case RING_KICK:
		return frontend_ring_fd(fe, VHOST_USER_SET_VRING_KICK, index,
					ring->kick_fd);
	case RING_CALL:
		return frontend_ring_fd(fe, VHOST_USER_SET_VRING_CALL, index,
					ring->call_fd);
	case RING_ERR:
		return frontend_ring_fd(fe, VHOST_USER_SET_VRING_ERR, index,
					ring->err_fd);
	case RING_ENABLE:
		return frontend_ring_enable(fe, index, true);
	}
	return -EINVAL;
}

static int rings(struct start *s)
{
	int err = 0;

	for (unsigned i = 0; i < s->count; i++)
		for (const uint8_t *step = s->profile->ring_steps;
		     *step != STEP_END && err == 0; step++)
			err = ring_step(s, i, *step);
	return err;
}

static int enable(struct start *s)
{
	int err = 0;

	if (!frontend_has(s->fe, VHOST_USER_F_PROTOCOL_FEATURES))
		return 0;
	for (unsigned i = 0; i < s->count && err == 0; i++)
		err = frontend_ring_enable(s->fe, i, true);
	return err;
}

static bool has(const struct start *s, unsigned bit)
{
	return frontend_has_protocol(s->fe, bit);
}

static int negotiate_step(struct start *s, enum profile_step step)
{
	struct frontend *fe = s->fe;

	switch (step) {
	case STEP_OWNER:
		return frontend_tell(fe, VHOST_USER_SET_OWNER, NULL, 0, NULL,
				     0);
	case STEP_GET_FEATURES:
		return get_features(s);
	case STEP_PROTOCOL_FEATURES:
		return set_protocol_features(s);
	case STEP_QUEUE_NUM:
		return has(s, VHOST_USER_PROTOCOL_F_MQ) ? queue_num(s) : 0;
	case STEP_MAX_SLOTS:
		return has(s, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)
			       ? frontend_get_u64(fe,
						  VHOST_USER_GET_MAX_MEM_SLOTS,
						  &fe->max_slots)
			       : 0;
	case STEP_CONFIG:
		return has(s, VHOST_USER_PROTOCOL_F_CONFIG) ? get_config(fe)
							    : 0;
	case STEP_STATUS_DRIVER:
		return has(s, VHOST_USER_PROTOCOL_F_STATUS) ? status_driver(fe)
							    : 0;
	default:
		return -EINVAL;
	}
}

static int start_step(struct start *s, enum profile_step step)
{
	struct frontend *fe = s->fe;

	switch (step) {
	case STEP_CHANNEL:
		return has(s, VHOST_USER_PROTOCOL_F_BACKEND_REQ)
			       ? frontend_open_channel(fe)
			       : 0;
	case STEP_CALLS:
		return throw_away_fds(s, VHOST_USER_SET_VRING_CALL);
	case STEP_ERRS:
		return throw_away_fds(s, VHOST_USER_SET_VRING_ERR);
	case STEP_SET_FEATURES:
		return frontend_set_features(fe, fe->features);
	case STEP_INFLIGHT:
		return has(s, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD)
			       ? inflight(s)
			       : 0;
	case STEP_MEMORY:
		return frontend_set_memory(fe, s->ram);
	case STEP_SLOTS:
		return slots(s);
	case STEP_RINGS:
		return rings(s);
	case STEP_ENABLE:
		return enable(s);
	case STEP_STATUS_DRIVER_OK:
		return has(s, VHOST_USER_PROTOCOL_F_STATUS)
			       ? tell_status(
					 fe,
					 VIRTIO_CONFIG_S_ACKNOWLEDGE |
						 VIRTIO_CONFIG_S_DRIVER |
						 VIRTIO_CONFIG_S_FEATURES_OK |
						 VIRTIO_CONFIG_S_DRIVER_OK)
			       : 0;
	default:
		return negotiate_step(s, step);
	}
}

static int run_steps(struct start *s, const uint8_t *steps)
{
	int err = 0;

	for (; *steps != STEP_END && err == 0; steps++)
		err = start_step(s, *steps);
	return err;
}

int frontend_negotiate(struct frontend *fe,
		       const struct frontend_profile *profile, unsigned queues)
{
	struct start s = {.fe = fe, .profile = profile, .count = queues};

	fe->need_reply = profile->need_reply;
	if (profile->inflight_wire_bytes > 0)
		fe->inflight_wire_bytes = profile->inflight_wire_bytes;
	return run_steps(&s, profile->negotiate_steps);
}

int frontend_start(struct frontend *fe, const struct frontend_profile *profile,
		   struct ram *ram, struct driver_ring *const *rings_to_start,
		   unsigned count)
{
	struct start s = {
		.fe = fe,
		.profile = profile,
		.ram = ram,
		.rings = rings_to_start,
		.count = count,
	};

	return run_steps(&s, profile->start_steps);
}

struct driver_ring_config frontend_ring_config(const struct frontend *fe,
					       uint16_t size)
{
	return (struct driver_ring_config){
		.size = size,
		.packed = frontend_has(fe, VIRTIO_F_RING_PACKED),
		.event_idx = frontend_has(fe, VIRTIO_RING_F_EVENT_IDX),
		.in_order = frontend_has(fe, VIRTIO_F_IN_ORDER),
		.indirect = frontend_has(fe, VIRTIO_RING_F_INDIRECT_DESC),
	};
}
