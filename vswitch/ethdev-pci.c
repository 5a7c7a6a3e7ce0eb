/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ethdev-pci.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/vfio.h>
#include <rte_eal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"

#define DEVICES	    "/sys/bus/pci/devices"
#define GROUPS	    "/dev/vfio"
#define UNSAFE_MODE "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"

enum {
	CLASS_NETWORK = 0x02, /* of 24 bits the first eight */
	NAME_BYTES = 64,
	PATH_BYTES = 128,
};

const unsigned long ethdev_pci_ioctls[] = {
	VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_RESET,	  VFIO_IOMMU_MAP_DMA,
	VFIO_IOMMU_UNMAP_DMA, VFIO_GROUP_UNSET_CONTAINER,
};
const size_t ethdev_pci_ioctl_count = ARRAY_SIZE(ethdev_pci_ioctls);

/* Of a reason: something is wrong. */
static bool __attribute__((format(printf, 2, 3)))
say(char *ret_reason, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(ret_reason, ETHDEV_PCI_REASON_BYTES, format, arguments);
	va_end(arguments);
	return true;
}

static int read_start(const char *path, char *ret_text, size_t bytes)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, ret_text, bytes - 1);

	if (length < 0)
		return -errno;
	ret_text[length] = '\0';
	return 0;
}

/* The first bytes of the device's file of that name, as a number. */
static int read_number(const struct ethdev_pci_view *view, const char *address,
		       const char *name, unsigned long *ret_number)
{
	char path[PATH_MAX], text[32];
	int err;

	snprintf(path, sizeof(path), "%s" DEVICES "/%s/%s", view->root, address,
		 name);
	err = read_start(path, text, sizeof(text));
	if (err == 0)
		*ret_number = strtoul(text, NULL, 16);
	return err;
}

/* The last name of where the device's link of that name points to. */
static bool read_link(const struct ethdev_pci_view *view, const char *address,
		      const char *name, char ret_name[static NAME_BYTES])
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t length;

	snprintf(path, sizeof(path), "%s" DEVICES "/%s/%s", view->root, address,
		 name);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = '\0';
	snprintf(ret_name, NAME_BYTES, "%s", basename(target));
	return true;
}

/* --- each answers whether it said what is wrong -------------------------------- */

static bool bus_is_wrong(const struct ethdev_pci_view *view,
			 const char *address, char *ret_reason)
{
	unsigned long class = 0;
	int err = read_number(view, address, "class", &class);

	if (err == -ENOENT)
		return say(ret_reason, "there is no such device");
	if (err < 0)
		return say(ret_reason, "a NIC is opened at the start, or with "
				       "--sandbox=off");
	if (class >> 16 != CLASS_NETWORK)
		return say(ret_reason, "it is no network device");
	if (!view->has_bus)
		return say(ret_reason, "a switch that is started without a NIC "
				       "in its configuration has no PCI bus");
	return false;
}

/* VFIO makes groups that are none. */
static bool has_unsafe_mode(const struct ethdev_pci_view *view)
{
	char path[PATH_MAX], text[2] = "";

	snprintf(path, sizeof(path), "%s" UNSAFE_MODE, view->root);
	return read_start(path, text, sizeof(text)) == 0 && text[0] == 'Y';
}

/* Such a device cannot be bound to vfio-pci, either. */
static bool iommu_is_off(const struct ethdev_pci_view *view,
			 const char *address, char *ret_reason)
{
	char group[NAME_BYTES];

	if (read_link(view, address, "iommu_group", group) ||
	    has_unsafe_mode(view))
		return false;
	return say(ret_reason,
		   "it has no IOMMU group: turn the IOMMU on, in the firmware "
		   "and, if it is Intel's, with the kernel's option "
		   "intel_iommu=on");
}

static bool driver_is_wrong(const struct ethdev_pci_view *view,
			    const char *address, char *ret_reason)
{
	char driver[NAME_BYTES];

	if (!read_link(view, address, "driver", driver))
		return say(ret_reason, "no driver has it: bind it to vfio-pci");
	if (strcmp(driver, "vfio-pci") != 0)
		return say(ret_reason, "its driver is %s: bind it to vfio-pci",
			   driver);
	return false;
}

/* VFIO's file of the group. Whether that is none, and has its name for such. */
static bool find_group(const struct ethdev_pci_view *view, const char *group,
		       char ret_path[static PATH_MAX])
{
	snprintf(ret_path, PATH_MAX, "%s" GROUPS "/noiommu-%s", view->root,
		 group);
	if (access(ret_path, F_OK) == 0)
		return true;
	snprintf(ret_path, PATH_MAX, "%s" GROUPS "/%s", view->root, group);
	return false;
}

static bool group_is_none(const struct ethdev_pci_view *view,
			  const char *address, char *ret_reason)
{
	char group[NAME_BYTES] = "", path[PATH_MAX];

	read_link(view, address, "iommu_group", group);
	if (find_group(view, group, path) && !view->has_hugepages)
		return say(ret_reason, "without an IOMMU it works with "
				       "hugepages alone");
	return false;
}

/* Devices without a driver do no DMA, nor do these have theirs do any. */
static bool is_harmless(const char *driver)
{
	return strstr(driver, "vfio") || strcmp(driver, "pci-stub") == 0 ||
	       strcmp(driver, "pcieport") == 0;
}

/* Of a group that is not viable: the kernel does not say because of whom. */
static bool mate_is_wrong(const struct ethdev_pci_view *view,
			  const char *address, char *ret_reason)
{
	char path[PATH_MAX], driver[NAME_BYTES];
	bool is_wrong = false;
	struct dirent *mate;
	DIR *mates;

	snprintf(path, sizeof(path), "%s" DEVICES "/%s/iommu_group/devices",
		 view->root, address);
	mates = opendir(path);
	while (mates && !is_wrong && (mate = readdir(mates)))
		if (read_link(view, mate->d_name, "driver", driver) &&
		    !is_harmless(driver))
			is_wrong =
				say(ret_reason,
				    "%.64s, which is in its IOMMU group, "
				    "has the driver %s: bind it to vfio-pci, "
				    "too",
				    mate->d_name, driver);
	if (mates)
		closedir(mates);
	return is_wrong;
}

static bool group_is_taken(const struct ethdev_pci_view *view,
			   const char *address, char *ret_reason)
{
	char group[NAME_BYTES] = "", path[PATH_MAX];
	autoclose int fd = -1;

	read_link(view, address, "iommu_group", group);
	find_group(view, group, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return false;
	if (errno == EBUSY)
		return say(ret_reason,
			   "another program has its IOMMU group, %s", group);
	return say(ret_reason, "%.128s: %s", path + strlen(view->root),
		   strerror(errno));
}

void ethdev_pci_judge(const struct ethdev_pci_view *view, const char *address,
		      char ret_reason[static ETHDEV_PCI_REASON_BYTES])
{
	static bool (*const are_wrong[])(const struct ethdev_pci_view *,
					 const char *, char *) = {
		bus_is_wrong,  iommu_is_off,  driver_is_wrong,
		group_is_none, mate_is_wrong, group_is_taken,
	};

	for (size_t i = 0; i < ARRAY_SIZE(are_wrong); i++)
		if (are_wrong[i](view, address, ret_reason))
			return;
	say(ret_reason, "no driver that is here can open it");
}

void ethdev_pci_reason(const char *address,
		       char ret_reason[static ETHDEV_PCI_REASON_BYTES])
{
	const struct ethdev_pci_view here = {
		.root = "",
		.has_bus = rte_eal_has_pci(),
		.has_hugepages = rte_eal_has_hugepages(),
	};

	ethdev_pci_judge(&here, address, ret_reason);
}
