/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon gives up once everything that it serves is open, so that a
 * guest who took it over would find little to use.
 *
 * Two steps, since the kernel applies them differently. File names go first,
 * before the I/O threads are made, which inherit it (Landlock): no path can be
 * opened any more, and only sockets be made and removed, in one folder. System
 * calls go last, for all threads at once (seccomp): those in a declared list
 * stay, calls that no honest part of us makes kill the process, and all others
 * fail with EPERM. A daemon should rather fail a request than end because a
 * library found a new way to do an old thing.
 *
 * Both need no privilege and set no_new_privs. A kernel without either is no
 * error: what could not be done is logged. A build lacks the second without
 * libseccomp, and both with the address sanitizer; meson.build says why.
 */
#ifndef VHOST_BLK_SANDBOX_H
#define VHOST_BLK_SANDBOX_H

/*
 * @socket_path: the socket that is yet to be made and later removed; or NULL.
 * A negative errno if the kernel has Landlock and refused.
 */
int sandbox_paths(const char *socket_path);

/* A negative errno if the kernel has seccomp and refused. */
int sandbox_system_calls(void);

#endif
