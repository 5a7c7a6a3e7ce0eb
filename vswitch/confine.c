/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/confine.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "base/sandbox.h"
#include "vhost-net/net-tap.h"
#include "vswitch/ethdev-pci.h"

enum {
	MAX_IOCTLS = 32,
};

/* Beside what serving a socket takes: sockets of ports that come later. */
static const char *const system_calls[] = {
	/* EAL's own thread, which ends the process where it may not; it waits
	 * anew whenever a device comes, goes or is hung up on. */
	"epoll_wait",
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	/* The configuration space of a NIC. */
	"pread64",
	"pwrite64",
	"bind",
	"listen",
	"lstat",
	"readlink", /* what kind a descriptor is of */
	"readlinkat",
	"timerfd_create",
	"timerfd_settime",
	"openat",	 /* the configuration, again */
	SANDBOX_THREADS, /* of captures, which write to a socket */
	NULL,
};

/* Of a path that may be NULL; -ENOMEM. */
static int add_folder(const char *path, char **copies, const char **folders,
		      unsigned *count)
{
	if (!path)
		return 0;
	copies[*count] = strdup(path);
	if (!copies[*count])
		return -ENOMEM;
	folders[*count] = dirname(copies[*count]);
	++*count;
	return 0;
}

int confine_paths(const struct daemon *daemon,
		  const struct switch_options *options,
		  const struct vswitch *vswitch)
{
	const char *folders[CONFIG_MAX_PORTS + 4] = {NULL};
	char *copies[CONFIG_MAX_PORTS + 3] = {NULL};
	const char *read[2] = {NULL};
	const char *metrics = options->metrics;
	unsigned count = 0;
	int err = add_folder(options->config, copies, read, &count);

	if (err == 0)
		err = add_folder(options->control, copies, folders, &count);
	if (err == 0 && metrics && strchr(metrics, '/'))
		err = add_folder(metrics, copies, folders, &count);
	for (unsigned i = 0; i < CONFIG_MAX_PORTS && err == 0; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port)
			err = add_folder(port->config->socket_path, copies,
					 folders, &count);
	}
	if (err == 0)
		err = daemon_give_up_paths_but(daemon, folders + 1, read);
	for (unsigned i = 0; i < count; i++)
		free(copies[i]);
	return err;
}

int confine_system_calls(const struct daemon *daemon, bool has_pci)
{
	unsigned long ioctls[MAX_IOCTLS];
	size_t count = 0;

	for (size_t i = 0; i < net_tap_ioctl_count; i++)
		ioctls[count++] = net_tap_ioctls[i];
	for (size_t i = 0; has_pci && i < ethdev_pci_ioctl_count; i++)
		ioctls[count++] = ethdev_pci_ioctls[i];
	assert(count <= MAX_IOCTLS);
	return daemon_give_up_system_calls(daemon, system_calls, ioctls, count);
}
