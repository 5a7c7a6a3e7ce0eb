/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ethdev.h"

#include <errno.h>
#include <rte_alarm.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ring.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vhost-net/net-frame.h"
#include "vswitch/ethdev-pci.h"

enum {
	/* Of a ring, if the device can; of many rings together, more of them. */
	DESCRIPTORS = 512,
	ALL_DESCRIPTORS = 2048,
	LEAST_DESCRIPTORS = 64,
	/* A usual frame, and of a larger one a part. */
	DATA_BYTES = 2048,
	/* For one that takes frames of 64 KiB: some cut none of more than 24
	 * buffers (vmxnet3). */
	LARGE_DATA_BYTES = 4096,
	/* As DPDK counts: what a frame has beside what the MTU is of. */
	LINK_BYTES = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN,
	/* Of a net_ring. */
	MAX_RINGS = 16,
	/* Pools that still have mbufs out when their device goes. */
	MAX_ORPHANS = 64,
};

#define HASHED (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP)

/* --- buffers ----------------------------------------------------------------- */

static struct rte_mempool *orphans[MAX_ORPHANS];
static unsigned orphan_count;

/* What a ring took along that another device holds comes back when that goes. */
static void free_orphans(void)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < orphan_count; i++) {
		if (rte_mempool_full(orphans[i]))
			rte_mempool_free(orphans[i]);
		else
			orphans[kept++] = orphans[i];
	}
	orphan_count = kept;
}

static void free_pool(struct rte_mempool *pool)
{
	if (!pool)
		return;
	if (rte_mempool_full(pool))
		rte_mempool_free(pool);
	/* With no place left for it the memory stays, and is not misused. */
	else if (orphan_count < MAX_ORPHANS)
		orphans[orphan_count++] = pool;
}

/* The driver of vmxnet3 does not tell the device of how many pieces a frame may
 * be, which QEMU takes for one: the rest would not come. */
static bool chains_frames(const struct ethdev *dev,
			  const struct rte_eth_dev_info *info)
{
	return dev->offloads.tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS &&
	       dev->offloads.rx & RTE_ETH_RX_OFFLOAD_SCATTER &&
	       strcmp(info->driver_name, "net_vmxnet3") != 0;
}

/* A device that cannot chain buffers, or so many, has frames whole in one. */
static uint32_t data_bytes(const struct ethdev *dev,
			   const struct rte_eth_dev_info *info)
{
	const uint32_t usual = dev->offloads.tx & RTE_ETH_TX_OFFLOAD_TCP_TSO
				       ? LARGE_DATA_BYTES
				       : DATA_BYTES;
	const uint32_t whole = MAX(usual, dev->max_frame_bytes);
	const uint16_t most = dev->offloads.most_packet_buffers;
	const bool chains = chains_frames(dev, info) &&
			    (most == 0 || div_round_up(whole, usual) <= most);

	return RTE_PKTMBUF_HEADROOM +
	       MAX(chains ? usual : whole, info->min_rx_bufsize);
}

/* Those of both rings, and of both sides' bursts; of frames of 64 KiB that are
 * all that a ring has, while the ring gets others. */
static unsigned buffers_of_queue(const struct ethdev *dev, unsigned in,
				 unsigned out)
{
	const bool takes_large = dev->offloads.rx & RTE_ETH_RX_OFFLOAD_TCP_LRO;

	return in + out + 2 * ETHDEV_BURST + (takes_large ? in : 0);
}

static int make_pool(struct ethdev *dev, const struct rte_eth_dev_info *info,
		     unsigned buffers)
{
	static unsigned number;
	char name[RTE_MEMPOOL_NAMESIZE];
	const uint32_t bytes = data_bytes(dev, info);

	if (bytes > UINT16_MAX)
		return -EMSGSIZE;
	free_orphans();
	snprintf(name, sizeof(name), "ethdev%u", number++);
	dev->pool = rte_pktmbuf_pool_create(name, buffers, 0, 0, bytes,
					    SOCKET_ID_ANY);
	return dev->pool ? 0 : rte_errno ? -rte_errno : -ENOMEM;
}

/* --- opening ----------------------------------------------------------------- */

static int fail(char *ret_error, int err, const char *name, const char *what)
{
	snprintf(ret_error, ETHDEV_ERROR_BYTES, "devargs: %s: %s (%s)", name,
		 what, strerror(-err));
	return err;
}

static int fail_to_probe(const struct ethdev_config *config, int err,
			 const char *name, char *ret_error)
{
	char reason[ETHDEV_PCI_REASON_BYTES] =
		"there is no such device, or it does not open; what takes "
		"rights or files is opened at the start, or with --sandbox=off";

	if (ethdev_is_pci(name))
		ethdev_pci_reason(name, reason);
	return fail(ret_error, err, name, reason);
}

static int find(const struct ethdev_config *config, const char *name,
		struct ethdev *dev, char *ret_error)
{
	struct rte_eth_dev_info info;
	int err;

	if (rte_eth_dev_get_port_by_name(name, &dev->id) == 0)
		return fail(ret_error, -EBUSY, name, "the device is in use");
	err = rte_dev_probe(config->devargs);
	if (err < 0)
		return fail_to_probe(config, err, name, ret_error);
	err = rte_eth_dev_get_port_by_name(name, &dev->id);
	if (err == 0)
		err = rte_eth_dev_info_get(dev->id, &info);
	if (err < 0)
		return fail(ret_error, err, name, "no network device");
	dev->device = info.device;
	dev->is_found = true;
	return 0;
}

static int check(const struct ethdev_config *config,
		 const struct rte_eth_dev_info *info, char *ret_error)
{
	const unsigned most = MIN(info->max_rx_queues, info->max_tx_queues);
	/* A socket that nobody reads from keeps its share of frames. */
	const unsigned least =
		strcmp(info->driver_name, "net_af_packet") == 0 ? most : 1;
	const uint32_t most_mtu =
		MIN((uint32_t)info->max_mtu, info->max_rx_pktlen - LINK_BYTES);

	if (config->queues > most || config->queues < least) {
		snprintf(ret_error, ETHDEV_ERROR_BYTES,
			 "queues: %u: the device takes %u to %u of them",
			 config->queues, least, most);
		return -EINVAL;
	}
	if (config->mtu &&
	    (config->mtu < info->min_mtu || config->mtu > most_mtu)) {
		snprintf(ret_error, ETHDEV_ERROR_BYTES,
			 "mtu: %u: the device takes %u to %u", config->mtu,
			 info->min_mtu, most_mtu);
		return -EINVAL;
	}
	return 0;
}

static int configure(const struct ethdev_config *config, struct ethdev *dev,
		     const struct rte_eth_dev_info *info)
{
	struct rte_eth_conf conf = {
		.intr_conf.rxq = dev->has_interrupts,
		.rxmode.mtu = config->mtu,
		.rxmode.offloads = dev->offloads.rx,
		.txmode.offloads = dev->offloads.tx,
		.rx_adv_conf.rss_conf.rss_hf =
			info->flow_type_rss_offloads & HASHED,
	};
	uint16_t mtu;
	int err;

	if (config->queues > 1 && conf.rx_adv_conf.rss_conf.rss_hf)
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	err = rte_eth_dev_configure(dev->id, config->queues, config->queues,
				    &conf);
	if (err == 0 && config->mtu)
		err = rte_eth_dev_set_mtu(dev->id, config->mtu);
	/* It has no notion of one: our own limit counts. */
	if (err == -ENOTSUP)
		err = 0;
	if (err == 0)
		err = rte_eth_dev_get_mtu(dev->id, &mtu);
	if (err == 0)
		dev->max_frame_bytes = mtu + NET_LINK_BYTES;
	return err;
}

static int set_queues(const struct ethdev_config *config, struct ethdev *dev,
		      const struct rte_eth_dev_info *info)
{
	uint16_t in = MAX(MIN(ALL_DESCRIPTORS / config->queues, DESCRIPTORS),
			  LEAST_DESCRIPTORS);
	uint16_t out = in;
	int err = rte_eth_dev_adjust_nb_rx_tx_desc(dev->id, &in, &out);

	if (err == 0)
		err = make_pool(dev, info,
				config->queues *
					buffers_of_queue(dev, in, out));
	for (unsigned i = 0; i < config->queues && err == 0; i++)
		err = rte_eth_rx_queue_setup(dev->id, i, in, SOCKET_ID_ANY,
					     NULL, dev->pool);
	for (unsigned i = 0; i < config->queues && err == 0; i++)
		err = rte_eth_tx_queue_setup(dev->id, i, out, SOCKET_ID_ANY,
					     NULL);
	return err;
}

/* A switch takes what is for anybody. */
static int start(struct ethdev *dev)
{
	int err = rte_eth_dev_start(dev->id);

	if (err < 0)
		return err;
	dev->is_started = true;
	err = rte_eth_promiscuous_enable(dev->id);
	return err == -ENOTSUP ? 0 : err;
}

/* > 0: perhaps it would without interrupts. */
static int prepare(const struct ethdev_config *config, const char *name,
		   struct ethdev *dev, char *ret_error)
{
	struct rte_eth_dev_info info;
	int err = rte_eth_dev_info_get(dev->id, &info);

	if (err == 0 && check(config, &info, ret_error) < 0)
		return -EINVAL;
	if (dev->traits.spoils_chains)
		info.tx_offload_capa &= ~RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	dev->offloads = ethdev_offloads_of(&info, config->offloads);
	/* Those of that driver come 17 ms apart: who looks is sooner. */
	if (err == 0 && strcmp(info.driver_name, "net_e1000_em") == 0)
		dev->has_interrupts = false;
	if (err == 0)
		err = configure(config, dev, &info);
	if (err == 0)
		err = set_queues(config, dev, &info);
	if (err == 0)
		err = start(dev);
	if (err < 0 && dev->has_interrupts)
		return 1;
	return err < 0 ? fail(ret_error, err, name, "it does not start") : 0;
}

static int open_with(const struct ethdev_config *config, bool interrupts,
		     struct ethdev *ret_dev, char *ret_error)
{
	struct ethdev dev = {
		.traits = ethdev_traits(config->devargs),
		.has_interrupts = interrupts,
	};
	char name[ETHDEV_NAME_BYTES];
	int err;

	ethdev_name(config->devargs, name);
	err = find(config, name, &dev, ret_error);
	if (err == 0)
		err = prepare(config, name, &dev, ret_error);
	if (err != 0)
		ethdev_close(&dev);
	else
		*ret_dev = dev;
	return err;
}

/* A driver that failed may have lost its queues on the way: from the beginning. */
int ethdev_open(const struct ethdev_config *config, struct ethdev *ret_dev,
		char ret_error[static ETHDEV_ERROR_BYTES])
{
	int err = open_with(config, true, ret_dev, ret_error);

	return err > 0 ? open_with(config, false, ret_dev, ret_error) : err;
}

/* --- closing ----------------------------------------------------------------- */

/* A ring keeps what was sent into it, and forgets it. Of a device that has
 * always one more no more is taken than the pool has. */
static void drain(struct ethdev *dev)
{
	struct rte_eth_dev_info info;
	struct rte_mbuf *mbufs[ETHDEV_BURST];
	uint32_t left = dev->pool->size;

	if (rte_eth_dev_info_get(dev->id, &info) < 0)
		return;
	for (unsigned i = 0; i < info.nb_rx_queues; i++) {
		unsigned count = 1;

		while (count > 0 && left >= ETHDEV_BURST) {
			count = rte_eth_rx_burst(dev->id, i, mbufs,
						 ETHDEV_BURST);
			rte_pktmbuf_free_bulk(mbufs, count);
			left -= count;
		}
	}
}

/* A net_ring makes as many rings as it could have queues, and frees those that
 * it had; the next one of the name finds the others, and would free none. */
static void free_rings(const char *name)
{
	char ring[RTE_RING_NAMESIZE];

	for (unsigned i = 0; i < MAX_RINGS; i++) {
		snprintf(ring, sizeof(ring), "ETH_RXTX%u_%s", i, name);
		rte_ring_free(rte_ring_lookup(ring));
	}
}

/* Some drivers release a queue only when they are told to have fewer. None of
 * both directions is not to be had. */
static void release_queues(uint16_t id)
{
	const struct rte_eth_conf none = {0};

	rte_eth_dev_configure(id, 0, 1, &none);
	rte_eth_dev_configure(id, 1, 0, &none);
}

static void pass_fence(void *arg)
{
	sem_post(arg);
}

/*
 * What a device's driver has left for EAL's own thread to do is done before the
 * device goes: net_virtio_user does so when its back-end hangs up.
 */
static void wait_for_alarms(void)
{
	sem_t fence;

	sem_init(&fence, 0, 0);
	if (rte_eal_alarm_set(1, pass_fence, &fence) == 0)
		while (sem_wait(&fence) < 0 && errno == EINTR)
			;
	sem_destroy(&fence);
}

static void remove_device(struct ethdev *dev)
{
	char name[RTE_ETH_NAME_MAX_LEN] = "";

	if (dev->traits.keeps_queues)
		release_queues(dev->id);
	rte_eth_dev_get_name_by_port(dev->id, name);
	rte_eth_dev_close(dev->id);
	rte_dev_remove(dev->device);
	if (dev->traits.keeps_rings)
		free_rings(name);
}

void ethdev_close(struct ethdev *dev)
{
	if (dev->is_started) {
		drain(dev);
		rte_eth_dev_stop(dev->id);
		wait_for_alarms();
	}
	if (dev->is_found)
		remove_device(dev);
	free_pool(dev->pool);
	*dev = (struct ethdev){0};
}
