/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sandbox.h"

/* Later than the oldest headers that we build with; linux/landlock.h. */
enum {
	ACCESS_REFER = 13,     /* version 2 */
	ACCESS_TRUNCATE = 14,  /* version 3 */
	ACCESS_IOCTL_DEV = 15, /* version 5 */
};

#define BIT(n) (UINT64_C(1) << (n))

/* All rights on files that version @abi knows. */
static uint64_t known_rights(int abi)
{
	uint64_t rights = BIT(ACCESS_REFER) - 1;

	if (abi >= 2)
		rights |= BIT(ACCESS_REFER);
	if (abi >= 3)
		rights |= BIT(ACCESS_TRUNCATE);
	if (abi >= 5)
		rights |= BIT(ACCESS_IOCTL_DEV);
	return rights;
}

static int allow_below(int ruleset, const char *folder_name, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights};
	autoclose int folder =
		open(folder_name, O_PATH | O_DIRECTORY | O_CLOEXEC);

	/* Whoever needs what is in it will find out, and say it better. */
	if (folder < 0)
		return 0;
	rule.parent_fd = folder;
	if (syscall(__NR_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH,
		    &rule, 0) < 0)
		return -errno;
	return 0;
}

static int allow_all(int ruleset, const char *const *folders, uint64_t rights)
{
	int err = 0;

	for (; folders && *folders && err == 0; folders++)
		err = allow_below(ruleset, *folders, rights);
	return err;
}

int sandbox_paths(const char *const *sockets_folders,
		  const char *const *read_folders)
{
	struct landlock_ruleset_attr attr = {0};
	autoclose int ruleset = -1;
	int err;
	int abi = syscall(__NR_landlock_create_ruleset, NULL, 0,
			  LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 0)
		return SANDBOX_E_ABSENT;
	attr.handled_access_fs = known_rights(abi);
	ruleset = syscall(__NR_landlock_create_ruleset, &attr,
			  sizeof(attr.handled_access_fs), 0);
	if (ruleset < 0)
		return -errno;
	err = allow_all(ruleset, sockets_folders,
			LANDLOCK_ACCESS_FS_MAKE_SOCK |
				LANDLOCK_ACCESS_FS_REMOVE_FILE);
	if (err == 0)
		err = allow_all(ruleset, read_folders,
				LANDLOCK_ACCESS_FS_READ_FILE);
	if (err < 0)
		return err;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(__NR_landlock_restrict_self, ruleset, 0) < 0)
		return -errno;
	return 0;
}
