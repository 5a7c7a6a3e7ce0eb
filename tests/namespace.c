/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/namespace.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/process.h"

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 &&
		    write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* A user without rights has them in a user namespace of its own. */
static bool enter_namespace(void)
{
	char map[64];
	uid_t uid = getuid();

	if (unshare(CLONE_NEWNET) == 0)
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	snprintf(map, sizeof(map), "0 %u 1", uid);
	return write_text("/proc/self/uid_map", map);
}

void namespace_enter(void)
{
	if (!enter_namespace())
		process_skip_all("no network namespace can be made");
	if (access("/dev/net/tun", R_OK | W_OK) < 0)
		process_skip_all("there is no /dev/net/tun");
	/* Its neighbour discovery would come between our frames. */
	write_text("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	write_text("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
}

/* Root of a user namespace has no programs. */
static bool has_sockets_map(void)
{
	union bpf_attr map = {
		.map_type = BPF_MAP_TYPE_XSKMAP,
		.key_size = sizeof(int),
		.value_size = sizeof(int),
		.max_entries = 1,
	};
	int fd = syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map));

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

void namespace_enter_xdp(void)
{
	namespace_enter();
	if (!has_sockets_map())
		process_skip_all("no AF_XDP, or no right to it");
}
