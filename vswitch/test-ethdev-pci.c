/* SPDX-License-Identifier: Apache-2.0 */
/* Trees as the kernel has them of a NIC, one thing of each wrong. */
#include "vswitch/ethdev-pci.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/cmocka.h"

#define DEVICES "sys/bus/pci/devices"
#define DRIVERS "sys/bus/pci/drivers"
#define GROUP	"sys/kernel/iommu_groups/7"
#define NIC	"0000:01:00.0"
#define MATE	"0000:01:00.1"

struct tree {
	char root[64];
	struct ethdev_pci_view view;
};

/* --- trees ------------------------------------------------------------------- */

static int tear(const char *path, const struct stat *st, int type,
		struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct tree *t = *state;

	assert_int_equal(nftw(t->root, tear, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(t);
	return 0;
}

/* With the folders above it. */
static void make_folders(const struct tree *t, const char *folder)
{
	char path[PATH_MAX];
	char *end;

	snprintf(path, sizeof(path), "%s/%s/", t->root, folder);
	for (end = strchr(path + 1, '/'); end; end = strchr(end + 1, '/')) {
		*end = '\0';
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		*end = '/';
	}
}

static void make_file(const struct tree *t, const char *folder,
		      const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *file;

	make_folders(t, folder);
	snprintf(path, sizeof(path), "%s/%s/%s", t->root, folder, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void make_link(const struct tree *t, const char *folder,
		      const char *name, const char *to)
{
	char path[PATH_MAX], target[PATH_MAX];

	make_folders(t, folder);
	snprintf(path, sizeof(path), "%s/%s/%s", t->root, folder, name);
	snprintf(target, sizeof(target), "%s/%s", t->root, to);
	unlink(path);
	assert_int_equal(symlink(target, path), 0);
}

static void take_away(const struct tree *t, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", t->root, name);
	assert_int_equal(remove(path), 0);
}

/* In the group; @driver NULL: none. */
static void make_device(const struct tree *t, const char *address,
			const char *class, const char *driver)
{
	char folder[PATH_MAX], to[PATH_MAX];

	snprintf(folder, sizeof(folder), DEVICES "/%s", address);
	make_file(t, folder, "class", class);
	make_link(t, folder, "iommu_group", GROUP);
	make_link(t, GROUP "/devices", address, folder);
	snprintf(to, sizeof(to), DRIVERS "/%s", driver ? driver : "");
	if (driver)
		make_link(t, folder, "driver", to);
}

/* Of a NIC with which nothing is wrong, and EAL has all. */
static int setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	strcpy(t->root, "/tmp/ringline-pci-XXXXXX");
	assert_non_null(mkdtemp(t->root));
	t->view = (struct ethdev_pci_view){
		.root = t->root,
		.has_bus = true,
		.has_hugepages = true,
	};
	make_device(t, NIC, "0x020000\n", "vfio-pci");
	make_file(t, "dev/vfio", "7", "");
	*state = t;
	return 0;
}

static void assert_reason(const struct tree *t, const char *words)
{
	char reason[ETHDEV_PCI_REASON_BYTES] = "";

	ethdev_pci_judge(&t->view, NIC, reason);
	assert_non_null(strstr(reason, words));
}

#define NOTHING "no driver that is here can open it"

/* --- the device -------------------------------------------------------------- */

static void of_a_nic_that_is_right_the_driver_is_named_last(void **state)
{
	assert_reason(*state, NOTHING);
}

static void device_that_is_not_there_is_said(void **state)
{
	struct tree *t = *state;

	take_away(t, DEVICES "/" NIC "/class");
	assert_reason(t, "there is no such device");
}

/* In the sandbox nobody can look: here, a link to itself. */
static void what_cannot_be_looked_at_is_for_the_start(void **state)
{
	struct tree *t = *state;

	make_link(t, DEVICES "/" NIC, "class", DEVICES "/" NIC "/class");
	assert_reason(t, "a NIC is opened at the start");
}

static void device_that_is_no_nic_is_said(void **state)
{
	struct tree *t = *state;

	make_device(t, NIC, "0x010802\n", "vfio-pci");
	assert_reason(t, "it is no network device");
}

static void bus_that_eal_lacks_is_said(void **state)
{
	struct tree *t = *state;

	t->view.has_bus = false;
	assert_reason(t, "has no PCI bus");
}

static void driver_that_is_not_vfio_is_named(void **state)
{
	struct tree *t = *state;

	make_device(t, NIC, "0x020000\n", "e1000e");
	assert_reason(t, "its driver is e1000e: bind it to vfio-pci");
	take_away(t, DEVICES "/" NIC "/driver");
	assert_reason(t, "no driver has it: bind it to vfio-pci");
}

/* --- its group --------------------------------------------------------------- */

/* Before it is bound, which it cannot be; but if VFIO is told to do without. */
static void without_a_group_the_iommu_is_off(void **state)
{
	static const char mode[] = "sys/module/vfio/parameters";
	struct tree *t = *state;

	take_away(t, DEVICES "/" NIC "/iommu_group");
	assert_reason(t, "it has no IOMMU group: turn the IOMMU on");
	take_away(t, DEVICES "/" NIC "/driver");
	assert_reason(t, "it has no IOMMU group: turn the IOMMU on");
	make_file(t, mode, "enable_unsafe_noiommu_mode", "N\n");
	assert_reason(t, "it has no IOMMU group: turn the IOMMU on");
	make_file(t, mode, "enable_unsafe_noiommu_mode", "Y\n");
	assert_reason(t, "no driver has it: bind it to vfio-pci");
}

static void group_that_is_none_wants_hugepages(void **state)
{
	struct tree *t = *state;

	take_away(t, "dev/vfio/7");
	make_file(t, "dev/vfio", "noiommu-7", "");
	assert_reason(t, NOTHING);
	t->view.has_hugepages = false;
	assert_reason(t, "without an IOMMU it works with hugepages alone");
}

static void mate_with_another_driver_is_named(void **state)
{
	static const char *const harmless[] = {
		NULL, "vfio-pci", "mlx5-vfio-pci", "pci-stub", "pcieport"};
	struct tree *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
		make_device(t, MATE, "0x0c0330\n", harmless[i]);
		assert_reason(t, NOTHING);
	}
	make_device(t, MATE, "0x0c0330\n", "xhci_hcd");
	assert_reason(t, MATE ", which is in its IOMMU group, has the driver "
			      "xhci_hcd: bind it to vfio-pci, too");
}

static void group_that_does_not_open_says_why(void **state)
{
	struct tree *t = *state;

	take_away(t, "dev/vfio/7");
	assert_reason(t, "/dev/vfio/7: No such file or directory");
	make_folders(t, "dev/vfio/7");
	assert_reason(t, "/dev/vfio/7: Is a directory");
}

#define PCI_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PCI_TEST(of_a_nic_that_is_right_the_driver_is_named_last),
		PCI_TEST(device_that_is_not_there_is_said),
		PCI_TEST(what_cannot_be_looked_at_is_for_the_start),
		PCI_TEST(device_that_is_no_nic_is_said),
		PCI_TEST(bus_that_eal_lacks_is_said),
		PCI_TEST(driver_that_is_not_vfio_is_named),
		PCI_TEST(without_a_group_the_iommu_is_off),
		PCI_TEST(group_that_is_none_wants_hugepages),
		PCI_TEST(mate_with_another_driver_is_named),
		PCI_TEST(group_that_does_not_open_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
