/* SPDX-License-Identifier: Apache-2.0 */
/* Devargs: which devices are taken, and what is peculiar to a driver. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vswitch/ethdev.h"

enum {
	/* Of net_af_packet: a frame's place in the kernel's ring, and what else
	 * is there; packet_mmap, TPACKET_V2. */
	PLACE_BYTES = 2048,
	PLACE_HEAD_BYTES = 66,
};

static uint32_t af_packet_cut(const char *devargs)
{
	const char *key = strstr(devargs, ",framesz=");
	unsigned long bytes = key ? strtoul(key + strlen(",framesz="), NULL, 10)
				  : PLACE_BYTES;

	bytes = MIN(bytes, (unsigned long)UINT16_MAX);
	return bytes > PLACE_HEAD_BYTES ? bytes - PLACE_HEAD_BYTES : 1;
}

/* A key, as in ",server=", whose number is not 0. */
static bool is_set(const char *devargs, const char *key)
{
	const char *at = strstr(devargs, key);

	return at && strtoul(at + strlen(key), NULL, 0) != 0;
}

/* Who listens would be waited for at the start, and whoever comes later have
 * the rings made anew under the threads that use them. */
static const char *virtio_user_check(const char *devargs)
{
	if (is_set(devargs, ",server="))
		return "net_virtio_user connects, and does not listen: leave "
		       "out server=1, and have the other side listen";
	return NULL;
}

/* Its end needs what the sandbox kills for, and rights that are gone by then. */
static const char *af_xdp_check(const char *devargs)
{
	return "net_af_xdp cannot be closed in the sandbox, and lost frames "
	       "when it was tried: take a port of kind xdp";
}

/* Those that were tried. A TAP of DPDK's would be one more way round. */
static const struct {
	const char *name;
	const char *(*check)(const char *devargs); /* may be NULL */
	uint32_t (*cut)(const char *devargs);
	bool keeps_queues, keeps_rings;
} drivers[] = {
	{.name = "net_af_packet", .cut = af_packet_cut},
	{.name = "net_af_xdp", .check = af_xdp_check},
	{.name = "net_null", .keeps_queues = true},
	{.name = "net_pcap"},
	{.name = "net_ring", .keeps_rings = true},
	{.name = "net_virtio_user", .check = virtio_user_check},
};

void ethdev_name(const char *devargs, char ret_name[static ETHDEV_NAME_BYTES])
{
	snprintf(ret_name, ETHDEV_NAME_BYTES, "%.*s",
		 (int)strcspn(devargs, ","), devargs);
}

bool ethdev_is_pci(const char *devargs)
{
	unsigned domain, bus, device, function;
	char name[ETHDEV_NAME_BYTES];
	char end;

	ethdev_name(devargs, name);
	return strlen(name) == strlen("0000:00:00.0") &&
	       sscanf(name, "%4x:%2x:%2x.%1x%c", &domain, &bus, &device,
		      &function, &end) == 4;
}

/* "net_null7": a driver's, and a number. */
static bool is_of(const char *name, const char *driver)
{
	const size_t length = strlen(driver);

	return strncmp(name, driver, length) == 0 && name[length] != '\0' &&
	       strspn(name + length, "0123456789") == strlen(name + length);
}

/* Its place among the drivers, or their number. */
static unsigned find_driver(const char *devargs)
{
	char name[ETHDEV_NAME_BYTES];
	unsigned i = 0;

	ethdev_name(devargs, name);
	while (i < ARRAY_SIZE(drivers) && !is_of(name, drivers[i].name))
		i++;
	return i;
}

const char *ethdev_check(const char *devargs)
{
	const unsigned i = find_driver(devargs);

	if (strcspn(devargs, ",") >= ETHDEV_NAME_BYTES)
		return "the name of the device is too long";
	if (i < ARRAY_SIZE(drivers))
		return drivers[i].check ? drivers[i].check(devargs) : NULL;
	if (ethdev_is_pci(devargs))
		return NULL;
	return "give a PCI address, as in 0000:01:00.0, or net_af_packet, "
	       "net_null, net_pcap, net_ring or net_virtio_user with a number, "
	       "as in net_af_packet0,iface=eth1";
}

/* Of virtio, by PCI or not. DPDK 22.11 leaves the flags of a descriptor in a table
 * as they were, and the table's number in the ring, too. */
static bool has_packed_rings(const char *devargs)
{
	return is_set(devargs, ",packed_vq=");
}

struct ethdev_traits ethdev_traits(const char *devargs)
{
	struct ethdev_traits traits = {
		.cut_bytes = UINT32_MAX,
		.spoils_chains = has_packed_rings(devargs),
	};
	unsigned i = find_driver(devargs);

	if (i == ARRAY_SIZE(drivers))
		return traits;
	if (drivers[i].cut)
		traits.cut_bytes = drivers[i].cut(devargs);
	traits.keeps_queues = drivers[i].keeps_queues;
	traits.keeps_rings = drivers[i].keeps_rings;
	return traits;
}
