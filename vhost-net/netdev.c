/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/netdev.h"

#include <errno.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vhost/protocol.h"

#define BIT(n) (UINT64_C(1) << (n))

/* virtio 1.2, 6: newer than the headers of some kernels. */
#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif
#ifndef VIRTIO_F_RING_RESET
#define VIRTIO_F_RING_RESET 40
#endif

/*
 * A ring that is reset alone is stopped and started by messages (GET_VRING_BASE
 * and SET_VRING_KICK), so that RING_RESET asks nothing of us.
 */
static const uint64_t ring_features =
	BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) |
	BIT(VIRTIO_F_IN_ORDER) | BIT(VIRTIO_F_RING_RESET) |
	BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |
	BIT(VHOST_F_LOG_ALL);

/*
 * CTRL_VQ and what goes over it is offered for front-ends that ask us before
 * they let the driver have it: they serve the queue themselves. With
 * GUEST_ANNOUNCE the front-end has the guest announce itself after it moved;
 * without, it asks us (send_rarp).
 */
static const uint64_t net_features =
	NET_FEATURE(CSUM) | NET_FEATURE(GUEST_CSUM) | NET_FEATURE(HOST_TSO4) |
	NET_FEATURE(HOST_TSO6) | NET_FEATURE(HOST_ECN) | NET_FEATURE(HOST_USO) |
	NET_FEATURE(GUEST_TSO4) | NET_FEATURE(GUEST_TSO6) |
	NET_FEATURE(GUEST_ECN) | NET_FEATURE(GUEST_USO4) |
	NET_FEATURE(GUEST_USO6) | NET_FEATURE(MRG_RXBUF) | NET_FEATURE(STATUS) |
	NET_FEATURE(CTRL_VQ) | NET_FEATURE(CTRL_RX) | NET_FEATURE(CTRL_VLAN) |
	NET_FEATURE(CTRL_MAC_ADDR) | NET_FEATURE(GUEST_ANNOUNCE) |
	NET_FEATURE(MQ);

/*
 * DEVICE_STATE: all that the device knows is in its rings and in the
 * configuration space.
 */
static const uint64_t protocol_features =
	BIT(VHOST_USER_PROTOCOL_F_MQ) | BIT(VHOST_USER_PROTOCOL_F_CONFIG) |
	BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) | BIT(VHOST_USER_PROTOCOL_F_RARP) |
	BIT(VHOST_USER_PROTOCOL_F_NET_MTU) |
	BIT(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
	BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
	BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |
	BIT(VHOST_USER_PROTOCOL_F_LOG_SHMFD) |
	BIT(VHOST_USER_PROTOCOL_F_STATUS) |
	BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |
	BIT(VHOST_USER_PROTOCOL_F_DEVICE_STATE);

struct netdev_queue {
	struct netdev *netdev;
	struct virtq *vq;  /* NULL: it does not run */
	struct net_rx *rx; /* of what the guest sends; kept, as it counts */
	struct net_tx *tx; /* of what it receives */
	uint16_t index;
	bool enabled;
};

struct netdev {
	struct vhost_device vhost;
	struct netdev_config config;
	struct virtio_net_config space; /* as on the wire */
	uint64_t features;
	struct netdev_queue queues[];
};

static struct netdev *from_vhost(struct vhost_device *vhost)
{
	return container_of(vhost, struct netdev, vhost);
}

static void set_features(struct vhost_device *vhost, uint64_t features)
{
	struct netdev *netdev = from_vhost(vhost);

	netdev->features = features;
	if (netdev->config.owner->features_set)
		netdev->config.owner->features_set(netdev->config.arg,
						   features);
}

/* What serves a queue is large, and most queues never run. */
static int make_ends(struct netdev_queue *queue)
{
	if (netdev_index_sends(queue->index) && !queue->rx)
		queue->rx = calloc(1, sizeof(*queue->rx));
	else if (!netdev_index_sends(queue->index) && !queue->tx)
		queue->tx = calloc(1, sizeof(*queue->tx));
	return queue->rx || queue->tx ? 0 : -ENOMEM;
}

static int queue_start(struct vhost_device *vhost, unsigned index,
		       struct virtq *vq, int kick_fd, bool enabled)
{
	struct netdev *netdev = from_vhost(vhost);
	struct netdev_queue *queue = &netdev->queues[index];
	uint16_t header_bytes = net_header_bytes(netdev->features);
	int err = make_ends(queue);

	if (err < 0)
		return err;
	if (queue->rx)
		net_rx_start(queue->rx, vq, netdev->features, header_bytes);
	else
		net_tx_start(queue->tx, vq, netdev->features, header_bytes);
	queue->vq = vq;
	store_release(&queue->enabled, enabled);
	err = netdev->config.owner->queue_start(netdev->config.arg, queue,
						kick_fd);
	if (err < 0)
		queue->vq = NULL;
	return err;
}

static void queue_stop(struct vhost_device *vhost, unsigned index)
{
	struct netdev *netdev = from_vhost(vhost);
	struct netdev_queue *queue = &netdev->queues[index];

	netdev->config.owner->queue_stop(netdev->config.arg, queue);
	queue->vq = NULL;
}

static void queue_enable(struct vhost_device *vhost, unsigned index,
			 bool enabled)
{
	struct netdev *netdev = from_vhost(vhost);
	struct netdev_queue *queue = &netdev->queues[index];

	store_release(&queue->enabled, enabled);
	if (netdev->config.owner->queue_enabled)
		netdev->config.owner->queue_enabled(netdev->config.arg, queue);
}

static int get_config(struct vhost_device *vhost, uint32_t offset,
		      void *ret_data, uint32_t size)
{
	struct netdev *netdev = from_vhost(vhost);

	if (!range_fits(offset, size, sizeof(netdev->space)))
		return -EINVAL;
	memcpy(ret_data, (const uint8_t *)&netdev->space + offset, size);
	return 0;
}

/*
 * No field can be written by a driver of VERSION_1; the address of an older
 * one goes over the control queue (5.1.4). What writes what is there already,
 * a migration perhaps, does no harm.
 */
static int set_config(struct vhost_device *vhost, uint32_t offset,
		      const void *data, uint32_t size, uint32_t flags)
{
	struct netdev *netdev = from_vhost(vhost);

	if (!range_fits(offset, size, sizeof(netdev->space)) ||
	    memcmp(data, (const uint8_t *)&netdev->space + offset, size) != 0)
		return -EINVAL;
	return 0;
}

static int set_mtu(struct vhost_device *vhost, uint64_t mtu)
{
	struct netdev *netdev = from_vhost(vhost);
	const struct netdev_config *config = &netdev->config;
	const uint64_t most = config->mtu ? config->mtu : NETDEV_MAX_MTU;
	int err = 0;

	if (mtu < NETDEV_MIN_MTU || mtu > most)
		return -EINVAL;
	if (config->owner->mtu_set)
		err = config->owner->mtu_set(config->arg, mtu);
	if (err == 0)
		netdev->space.mtu = htole16(mtu);
	return err;
}

static int send_rarp(struct vhost_device *vhost, const uint8_t mac[6])
{
	const struct netdev_config *config = &from_vhost(vhost)->config;

	if (!config->owner->announce)
		return 0;
	return config->owner->announce(config->arg, mac);
}

static void init_space(struct netdev *netdev)
{
	const struct netdev_config *config = &netdev->config;
	uint16_t status = netdev->space.status;

	netdev->space = (struct virtio_net_config){
		.status = status,
		.max_virtqueue_pairs = htole16(config->pairs),
		.mtu = htole16(config->mtu),
		.speed = htole32(UINT32_MAX), /* unknown, as the duplex is */
		.duplex = UINT8_MAX,
	};
	memcpy(netdev->space.mac, config->mac, NET_MAC_BYTES);
}

/* The link is the network's, and outlives a driver. */
static void reset(struct vhost_device *vhost)
{
	struct netdev *netdev = from_vhost(vhost);

	netdev->features = 0;
	init_space(netdev);
}

static const struct vhost_device_ops ops = {
	.set_features = set_features,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
	.queue_enable = queue_enable,
	.get_config = get_config,
	.set_config = set_config,
	.set_mtu = set_mtu,
	.send_rarp = send_rarp,
	.reset = reset,
};

static uint64_t features_to_offer(const struct netdev_config *config)
{
	uint64_t features = ring_features | net_features;

	if (config->has_mac)
		features |= NET_FEATURE(MAC);
	if (config->mtu)
		features |= NET_FEATURE(MTU);
	return features & ~config->without;
}

int netdev_new(const struct netdev_config *config, struct netdev **ret_netdev)
{
	const unsigned count = config->pairs * 2;
	struct netdev *netdev;

	if (config->pairs == 0 || config->pairs > NETDEV_MAX_PAIRS ||
	    (config->mtu && config->mtu < NETDEV_MIN_MTU))
		return -EINVAL;
	netdev = calloc(1, sizeof(*netdev) + count * sizeof(netdev->queues[0]));
	if (!netdev)
		return -ENOMEM;
	netdev->config = *config;
	netdev->space.status = htole16(VIRTIO_NET_S_LINK_UP);
	init_space(netdev);
	for (unsigned i = 0; i < count; i++) {
		netdev->queues[i].netdev = netdev;
		netdev->queues[i].index = i;
	}
	netdev->vhost = (struct vhost_device){
		.ops = &ops,
		.name = config->name,
		.features = features_to_offer(config),
		.protocol_features = protocol_features,
		.num_queues = count,
		.queues_per_unit = 2,
		.config_size = sizeof(netdev->space),
	};
	*ret_netdev = netdev;
	return 0;
}

void netdev_free(struct netdev *netdev)
{
	if (!netdev)
		return;
	for (unsigned i = 0; i < netdev->vhost.num_queues; i++) {
		free(netdev->queues[i].rx);
		free(netdev->queues[i].tx);
	}
	free(netdev);
}

struct vhost_device *netdev_vhost(struct netdev *netdev)
{
	return &netdev->vhost;
}

bool netdev_set_link(struct netdev *netdev, bool up)
{
	const uint16_t status = htole16(up ? VIRTIO_NET_S_LINK_UP : 0);
	bool changed = netdev->space.status != status;

	netdev->space.status = status;
	return changed;
}

uint64_t netdev_features(const struct netdev *netdev)
{
	return netdev->features;
}

unsigned netdev_rx_burst(struct netdev_queue *queue, unsigned max,
			 struct net_rx_frame **ret_frames)
{
	*ret_frames = queue->rx->frames;
	if (netdev_queue_is_enabled(queue))
		return net_rx_burst(queue->rx, MIN(max, (unsigned)NET_BURST));
	net_rx_discard(queue->rx, NET_BURST);
	virtq_notify(queue->vq);
	return 0;
}

void netdev_rx_done(struct netdev_queue *queue)
{
	net_rx_done(queue->rx);
	virtq_notify(queue->vq);
}

unsigned netdev_tx_burst(struct netdev_queue *queue,
			 const struct net_rx_frame *const *frames,
			 unsigned count)
{
	unsigned arrived;

	if (!netdev_queue_is_enabled(queue)) {
		queue->tx->faults[NET_FAULT_DISABLED] += count;
		return 0;
	}
	arrived = net_tx_put_burst(queue->tx, frames, count);
	net_tx_done(queue->tx);
	virtq_notify(queue->vq);
	return arrived;
}

unsigned netdev_queue_index(const struct netdev_queue *queue)
{
	return queue->index;
}

bool netdev_queue_is_enabled(const struct netdev_queue *queue)
{
	return load_acquire(&queue->enabled);
}

struct virtq *netdev_queue_virtq(const struct netdev_queue *queue)
{
	return queue->vq;
}

struct net_rx *netdev_queue_rx(const struct netdev_queue *queue)
{
	return queue->rx;
}

struct net_tx *netdev_queue_tx(const struct netdev_queue *queue)
{
	return queue->tx;
}

static void add_faults(uint64_t *to, const uint64_t *faults)
{
	for (unsigned i = 0; i < NET_FAULTS; i++)
		to[i] += faults[i];
}

void netdev_queue_count(const struct netdev_queue *queue,
			struct netdev_counters *counters)
{
	if (queue->rx) {
		counters->tx_frames += queue->rx->frames_total;
		counters->tx_bytes += queue->rx->bytes_total;
		add_faults(counters->tx_faults, queue->rx->faults);
	}
	if (queue->tx) {
		counters->rx_frames += queue->tx->frames_total;
		counters->rx_bytes += queue->tx->bytes_total;
		add_faults(counters->rx_faults, queue->tx->faults);
	}
}

struct netdev_queue *netdev_queue(struct netdev *netdev, unsigned index)
{
	struct netdev_queue *queue = &netdev->queues[index];

	return queue->rx || queue->tx ? queue : NULL;
}
