/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user protocol as it lies on the wire: request numbers, feature
 * bits, flags and structures of the vhost-user specification (QEMU,
 * docs/interop/vhost-user.rst, as of protocol feature 23). All numbers are in
 * the machine's own byte order. What the kernel's UAPI has (vring state, vring
 * address, IOTLB message) comes from there.
 *
 * Nothing here says what we support: that is vhost/message.c's table.
 */
#ifndef VHOST_PROTOCOL_H
#define VHOST_PROTOCOL_H

#include <assert.h>
#include <linux/vhost_types.h>
#include <stddef.h>
#include <stdint.h>

/* Requests by the front-end. */
enum vhost_user_request {
	VHOST_USER_NONE = 0,
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_LOG_BASE = 6,
	VHOST_USER_SET_LOG_FD = 7,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_SEND_RARP = 19,
	VHOST_USER_NET_SET_MTU = 20,
	VHOST_USER_SET_BACKEND_REQ_FD = 21,
	VHOST_USER_IOTLB_MSG = 22,
	VHOST_USER_SET_VRING_ENDIAN = 23,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_CREATE_CRYPTO_SESSION = 26,
	VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
	VHOST_USER_POSTCOPY_ADVISE = 28,
	VHOST_USER_POSTCOPY_LISTEN = 29,
	VHOST_USER_POSTCOPY_END = 30,
	VHOST_USER_GET_INFLIGHT_FD = 31,
	VHOST_USER_SET_INFLIGHT_FD = 32,
	VHOST_USER_GPU_SET_SOCKET = 33,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_VRING_KICK = 35,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_GET_SHARED_OBJECT = 41,
	VHOST_USER_SET_DEVICE_STATE_FD = 42,
	VHOST_USER_CHECK_DEVICE_STATE = 43,
	VHOST_USER_GET_SHMEM_CONFIG = 44,
	VHOST_USER_GET_VRING_BASE_SKIP_DRAIN = 45,
	VHOST_USER_REQUESTS, /* one past the last */
};

/* Requests by the back-end, on the channel of SET_BACKEND_REQ_FD. */
enum vhost_user_backend_request {
	VHOST_USER_BACKEND_IOTLB_MSG = 1,
	VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
	VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
	VHOST_USER_BACKEND_VRING_CALL = 4,
	VHOST_USER_BACKEND_VRING_ERR = 5,
	VHOST_USER_BACKEND_SHARED_OBJECT_ADD = 6,
	VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE = 7,
	VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP = 8,
	VHOST_USER_BACKEND_SHMEM_MAP = 9,
	VHOST_USER_BACKEND_SHMEM_UNMAP = 10,
};

/* The feature bit, among the virtio ones, that begins protocol features. */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

enum vhost_user_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_LOG_SHMFD = 1,
	VHOST_USER_PROTOCOL_F_RARP = 2,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_NET_MTU = 4,
	VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
	VHOST_USER_PROTOCOL_F_CROSS_ENDIAN = 6,
	VHOST_USER_PROTOCOL_F_CRYPTO_SESSION = 7,
	VHOST_USER_PROTOCOL_F_PAGEFAULT = 8,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
	VHOST_USER_PROTOCOL_F_BACKEND_SEND_FD = 10,
	VHOST_USER_PROTOCOL_F_HOST_NOTIFIER = 11,
	VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
	VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
	VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS = 14,
	VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS = 15,
	VHOST_USER_PROTOCOL_F_STATUS = 16,
	VHOST_USER_PROTOCOL_F_XEN_MMAP = 17,
	VHOST_USER_PROTOCOL_F_SHARED_OBJECT = 18,
	VHOST_USER_PROTOCOL_F_DEVICE_STATE = 19,
	VHOST_USER_PROTOCOL_F_GET_VRING_BASE_INFLIGHT = 20,
	VHOST_USER_PROTOCOL_F_GPA_ADDRESSES = 21,
	VHOST_USER_PROTOCOL_F_SHMEM = 22,
	VHOST_USER_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN = 23,
};

enum {
	/* Header flags. */
	VHOST_USER_VERSION = 1,
	VHOST_USER_VERSION_MASK = 0x3,
	VHOST_USER_REPLY = 1 << 2,
	VHOST_USER_NEED_REPLY = 1 << 3,

	/* The u64 of SET_VRING_KICK, _CALL and _ERR, and of
	 * SET_DEVICE_STATE_FD's reply. */
	VHOST_USER_VRING_INDEX_MASK = 0xff,
	VHOST_USER_NOFD = 1 << 8,

	/* struct vhost_user_config, flags. */
	VHOST_USER_CONFIG_WRITABLE = 0,
	VHOST_USER_CONFIG_MIGRATION = 1,

	/*
	 * Descriptors with one message. QEMU sends at most 8 (one for each
	 * region of SET_MEM_TABLE), rust-vmm's front-ends up to 32.
	 */
	VHOST_USER_MAX_FDS = 32,
	/* Regions in SET_MEM_TABLE, each with its descriptor. */
	VHOST_USER_MAX_TABLE_REGIONS = VHOST_USER_MAX_FDS,
	/* Bytes of configuration space in one message, as QEMU has it. */
	VHOST_USER_MAX_CONFIG_BYTES = 256,
	VHOST_USER_MAX_SHMEM_REGIONS = 256,
};

struct vhost_user_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size; /* of the payload */
};
static_assert(sizeof(struct vhost_user_header) == 12, "wire layout");

/* "Memory region description". */
struct vhost_user_region {
	uint64_t gpa;
	uint64_t size;
	uint64_t uva;
	uint64_t mmap_offset;
};
static_assert(sizeof(struct vhost_user_region) == 32, "wire layout");

/* "Multiple memory regions description". */
struct vhost_user_memory {
	uint32_t num_regions;
	uint32_t padding;
	struct vhost_user_region regions[VHOST_USER_MAX_TABLE_REGIONS];
};
static_assert(offsetof(struct vhost_user_memory, regions) == 8, "wire layout");

/* "Single memory region description". */
struct vhost_user_single_region {
	uint64_t padding;
	struct vhost_user_region region;
};
static_assert(sizeof(struct vhost_user_single_region) == 40, "wire layout");

/* "Log description". */
struct vhost_user_log {
	uint64_t mmap_size;
	uint64_t mmap_offset;
};
static_assert(sizeof(struct vhost_user_log) == 16, "wire layout");

/* "Virtio device config space"; as many bytes of data as size says. */
struct vhost_user_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t data[VHOST_USER_MAX_CONFIG_BYTES];
};
static_assert(offsetof(struct vhost_user_config, data) == 12, "wire layout");

/* "Vring area description". */
struct vhost_user_vring_area {
	uint64_t index_and_flags;
	uint64_t size;
	uint64_t offset;
};
static_assert(sizeof(struct vhost_user_vring_area) == 24, "wire layout");

/*
 * "Inflight description". 20 bytes by the text, 24 from those who send the
 * unpacked structure (QEMU, DPDK, libvhost-user): both are right.
 */
struct vhost_user_inflight {
	uint64_t mmap_size;
	uint64_t mmap_offset;
	uint16_t num_queues;
	uint16_t queue_size;
	uint32_t padding;
};
static_assert(offsetof(struct vhost_user_inflight, padding) == 20,
	      "wire layout");
static_assert(sizeof(struct vhost_user_inflight) == 24, "wire layout");

/* "VhostUserShared". */
struct vhost_user_shared_object {
	uint8_t uuid[16];
};
static_assert(sizeof(struct vhost_user_shared_object) == 16, "wire layout");

/* "Device state transfer parameters". */
struct vhost_user_device_state {
	uint32_t direction; /* 0: save, 1: load */
	uint32_t phase;	    /* 0: stopped */
};
static_assert(sizeof(struct vhost_user_device_state) == 8, "wire layout");

/* "MMAP request". */
struct vhost_user_mmap {
	uint8_t shmid;
	uint8_t padding[7];
	uint64_t fd_offset;
	uint64_t shm_offset;
	uint64_t length;
	uint64_t flags; /* bit 0: writable */
};
static_assert(offsetof(struct vhost_user_mmap, fd_offset) == 8, "wire layout");
static_assert(sizeof(struct vhost_user_mmap) == 40, "wire layout");

/* "VIRTIO Shared Memory Region configuration". */
struct vhost_user_shmem_config {
	uint32_t num_regions;
	uint32_t padding;
	uint64_t size_bytes[VHOST_USER_MAX_SHMEM_REGIONS];
};
static_assert(sizeof(struct vhost_user_shmem_config) == 2056, "wire layout");

static_assert(sizeof(struct vhost_vring_state) == 8, "wire layout");
static_assert(offsetof(struct vhost_vring_addr, desc_user_addr) == 8,
	      "wire layout");
static_assert(offsetof(struct vhost_vring_addr, used_user_addr) == 16,
	      "wire layout");
static_assert(offsetof(struct vhost_vring_addr, avail_user_addr) == 24,
	      "wire layout");
static_assert(offsetof(struct vhost_vring_addr, log_guest_addr) == 32,
	      "wire layout");
static_assert(sizeof(struct vhost_vring_addr) == 40, "wire layout");

union vhost_user_payload {
	uint64_t u64;
	struct vhost_vring_state state;
	struct vhost_vring_addr addr;
	struct vhost_user_memory memory;
	struct vhost_user_single_region single_region;
	struct vhost_user_log log;
	struct vhost_iotlb_msg iotlb;
	struct vhost_user_config config;
	struct vhost_user_vring_area area;
	struct vhost_user_inflight inflight;
	struct vhost_user_shared_object shared_object;
	struct vhost_user_device_state device_state;
	struct vhost_user_mmap mmap;
	struct vhost_user_shmem_config shmem_config;
};

/* The longest payload; a header that announces more is refused. */
#define VHOST_USER_MAX_PAYLOAD	       sizeof(union vhost_user_payload)
#define VHOST_USER_CONFIG_HEADER_BYTES offsetof(struct vhost_user_config, data)
#define VHOST_USER_INFLIGHT_TEXT_BYTES \
	offsetof(struct vhost_user_inflight, padding)

#define VHOST_USER_BIT(n) (UINT64_C(1) << (n))

#endif
