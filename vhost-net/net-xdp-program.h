/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that an interface runs on each frame that comes: one for a socket
 * goes there, all others go on to the host. It is put there by a link (bpf(2),
 * BPF_LINK_CREATE), which is a descriptor: when the process ends, however it
 * ends, the kernel takes the program away. Nothing is left to be found by a
 * successor, and no privilege is needed at the end.
 *
 * Control thread; needs CAP_BPF and CAP_NET_ADMIN.
 */
#ifndef VHOST_NET_NET_XDP_PROGRAM_H
#define VHOST_NET_NET_XDP_PROGRAM_H

#include <stdbool.h>

struct net_xdp_program {
	int map_fd, fd, link_fd; /* owned; -1: none */
};

#define NET_XDP_PROGRAM_NONE ((struct net_xdp_program){-1, -1, -1})

/* For sockets of queues 0 … @queues - 1. A negative errno. */
int net_xdp_program_load(unsigned queues, struct net_xdp_program *ret_program);

/* In the driver, or before the stack. -EBUSY if there is a program already,
 * -EOPNOTSUPP and others if the driver does not do that. */
int net_xdp_program_attach(struct net_xdp_program *program, int ifindex,
			   bool native);

/* Frames of @queue go to @socket_fd from now on. */
int net_xdp_program_direct(const struct net_xdp_program *program,
			   unsigned queue, int socket_fd);

/* What is attached stays so without these. */
void net_xdp_program_close_loaded(struct net_xdp_program *program);
void net_xdp_program_close(struct net_xdp_program *program);

#endif
