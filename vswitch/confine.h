/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the switch gives up once its ports are open, if the sandbox is on:
 * base/sandbox.h says how, and in which order. 0 or a negative errno.
 */
#ifndef VSWITCH_CONFINE_H
#define VSWITCH_CONFINE_H

#include <stdbool.h>

#include "vhost/daemon.h"
#include "vswitch/switch-options.h"
#include "vswitch/vswitch.h"

/* File names, but for the folders of all sockets, where those of later ports have
 * to be, too; and that of the configuration, which may be read again, perhaps
 * another of the same name. */
int confine_paths(const struct daemon *daemon,
		  const struct switch_options *options,
		  const struct vswitch *vswitch);

/* System calls, but for those of the ports; @has_pci: a NIC may be one. */
int confine_system_calls(const struct daemon *daemon, bool has_pci);

#endif
