/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-xdp-program.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/fd.h"

/* linux/bpf.h: what a program is called with, and what calls leave alone. */
enum {
	R0_RESULT,
	R1_CONTEXT,
	R2,
	R3,
};

/*
 *	return bpf_redirect_map(&map, context->rx_queue_index, XDP_PASS);
 *
 * The last argument is the answer for a queue without a socket.
 */
static int load(int map_fd)
{
	const struct bpf_insn code[] = {
		{.code = BPF_LDX | BPF_MEM | BPF_W,
		 .dst_reg = R2,
		 .src_reg = R1_CONTEXT,
		 .off = offsetof(struct xdp_md, rx_queue_index)},
		{.code = BPF_LD | BPF_IMM | BPF_DW,
		 .dst_reg = R1_CONTEXT,
		 .src_reg = BPF_PSEUDO_MAP_FD,
		 .imm = map_fd},
		{0}, /* the upper half of that */
		{.code = BPF_ALU64 | BPF_MOV | BPF_K,
		 .dst_reg = R3,
		 .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_XDP, "vhost_net", "Apache-2.0", code,
			     ARRAY_SIZE(code), NULL);
}

int net_xdp_program_load(unsigned queues, struct net_xdp_program *ret_program)
{
	struct net_xdp_program program = NET_XDP_PROGRAM_NONE;

	program.map_fd = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "vhost_net",
					sizeof(int), sizeof(int), queues, NULL);
	if (program.map_fd < 0)
		return program.map_fd;
	program.fd = load(program.map_fd);
	if (program.fd < 0) {
		fd_close(&program.map_fd);
		return program.fd;
	}
	*ret_program = program;
	return 0;
}

int net_xdp_program_attach(struct net_xdp_program *program, int ifindex,
			   bool native)
{
	LIBBPF_OPTS(bpf_link_create_opts, options,
		    .flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	int fd = bpf_link_create(program->fd, ifindex, BPF_XDP, &options);

	/* The other mode's place is taken: the same to us. */
	if (fd == -EEXIST)
		return -EBUSY;
	if (fd < 0)
		return fd;
	program->link_fd = fd;
	return 0;
}

int net_xdp_program_direct(const struct net_xdp_program *program,
			   unsigned queue, int socket_fd)
{
	return bpf_map_update_elem(program->map_fd, &queue, &socket_fd,
				   BPF_ANY);
}

void net_xdp_program_close_loaded(struct net_xdp_program *program)
{
	fd_close(&program->map_fd);
	fd_close(&program->fd);
}

void net_xdp_program_close(struct net_xdp_program *program)
{
	net_xdp_program_close_loaded(program);
	fd_close(&program->link_fd);
}
