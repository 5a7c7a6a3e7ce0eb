/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An AF_XDP socket on one queue of an interface, with memory of its own for the
 * frames (its UMEM) and the four rings that it shares with the kernel. Linux,
 * Documentation/networking/af_xdp.rst.
 *
 * Half of the memory is for what comes: it is with the kernel (the fill ring), in
 * the receive ring, or looked at here. The other half is for what goes: it is
 * free, or in the ring of what is sent, or with the kernel until that says so (the
 * completion ring). So no ring can ever be too full for what it is to hold.
 *
 * The kernel's numbers are taken as they are; what is in the frames is anybody's.
 *
 * Opening and closing: control thread, with CAP_NET_RAW. What comes: one thread at
 * a time; what goes: one thread at a time, which may be another.
 */
#ifndef VHOST_NET_NET_XDP_SOCKET_H
#define VHOST_NET_NET_XDP_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <xdp/xsk.h>

enum {
	NET_XDP_CHUNK_BYTES = 4096,
	/* XDP_PACKET_HEADROOM, which the kernel keeps in front of a frame. */
	NET_XDP_HEADROOM_BYTES = 256,
	NET_XDP_MAX_FRAME_BYTES = NET_XDP_CHUNK_BYTES - NET_XDP_HEADROOM_BYTES,
	/* Chunks each way, and entries of each ring. */
	NET_XDP_FRAMES = 2048,
	NET_XDP_MEMORY_BYTES = 2 * NET_XDP_FRAMES * NET_XDP_CHUNK_BYTES,
};

struct net_xdp_socket {
	int fd; /* readable when frames come; the socket's */
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	struct xsk_ring_prod fill, send;
	struct xsk_ring_cons receive, completed;
	uint8_t *memory;

	unsigned free_count;
	uint64_t free[NET_XDP_FRAMES]; /* places in memory */
	bool unsent;  /* the kernel may not have looked at all of send */
	bool is_down; /* the interface, when last pushed */
	uint64_t put_frames, put_bytes;
	uint64_t dropped; /* of what was put, by the kernel */
};

/* Where opening failed. */
enum net_xdp_step {
	NET_XDP_MEMORY,
	NET_XDP_UMEM,
	NET_XDP_BIND,
};

/*
 * @bind_flags: XDP_COPY or 0. A negative errno, of *@ret_step; -EBUSY of
 * NET_XDP_BIND: another socket has that queue. @ret_socket is one that
 * can be closed in any case.
 */
int net_xdp_socket_open(const char *interface, unsigned queue,
			unsigned bind_flags, struct net_xdp_socket *ret_socket,
			enum net_xdp_step *ret_step);
void net_xdp_socket_close(struct net_xdp_socket *socket);

bool net_xdp_socket_is_zero_copy(const struct net_xdp_socket *socket);

/* Frames that came, and that the kernel dropped for want of room. Any thread. */
uint64_t net_xdp_socket_missed(const struct net_xdp_socket *socket);

/* --- what comes --- */

/* Whether there are some. */
static inline bool net_xdp_socket_look(struct net_xdp_socket *socket)
{
	return xsk_cons_nb_avail(&socket->receive, 1) > 0;
}

/* Up to @max frames; those that are not released come again. */
unsigned net_xdp_socket_peek(struct net_xdp_socket *socket, unsigned max,
			     uint32_t *ret_first);
static inline struct iovec
net_xdp_socket_frame(const struct net_xdp_socket *socket, uint32_t index)
{
	const struct xdp_desc *desc =
		xsk_ring_cons__rx_desc(&socket->receive, index);

	return (struct iovec){socket->memory + desc->addr, desc->len};
}

/* Of @peeked frames from @first on the first @used are the kernel's again. */
void net_xdp_socket_release(struct net_xdp_socket *socket, uint32_t first,
			    unsigned used, unsigned peeked);

/* --- what goes --- */

/* Places for frames, after a look at what the kernel has done with. */
unsigned net_xdp_socket_room(struct net_xdp_socket *socket, unsigned wanted);

/* The next place, of NET_XDP_CHUNK_BYTES; there is one. */
static inline uint8_t *net_xdp_socket_place(const struct net_xdp_socket *socket)
{
	return socket->memory + socket->free[socket->free_count - 1];
}

/* A frame of @bytes is in the next place. */
void net_xdp_socket_put(struct net_xdp_socket *socket, uint32_t bytes);

/* Has the kernel look at what was put, if socket->unsent: what it will take
 * later stays so. While socket->is_down it takes nothing. */
void net_xdp_socket_push(struct net_xdp_socket *socket);

#endif
