/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-xdp-socket.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
	/* Calls of one push: the kernel looks at 32 frames in each, or at one
	 * if it drops that. */
	MAX_PUSHES = NET_XDP_FRAMES / 32,
	/* What the kernel counts for all frames that are sent at once. */
	SEND_ROOM_BYTES = 4 * NET_XDP_MEMORY_BYTES,
};

static int make_umem(struct net_xdp_socket *socket)
{
	const struct xsk_umem_config config = {
		.fill_size = NET_XDP_FRAMES,
		.comp_size = NET_XDP_FRAMES,
		.frame_size = NET_XDP_CHUNK_BYTES,
	};
	uint32_t first = 0;
	int err = xsk_umem__create(&socket->umem, socket->memory,
				   NET_XDP_MEMORY_BYTES, &socket->fill,
				   &socket->completed, &config);

	if (err < 0)
		return err;
	xsk_ring_prod__reserve(&socket->fill, NET_XDP_FRAMES, &first);
	for (uint64_t i = 0; i < NET_XDP_FRAMES; i++) {
		*xsk_ring_prod__fill_addr(&socket->fill, first + i) =
			i * NET_XDP_CHUNK_BYTES;
		socket->free[i] = (NET_XDP_FRAMES + i) * NET_XDP_CHUNK_BYTES;
	}
	xsk_ring_prod__submit(&socket->fill, NET_XDP_FRAMES);
	socket->free_count = NET_XDP_FRAMES;
	return 0;
}

static int bind_socket(struct net_xdp_socket *socket, const char *interface,
		       unsigned queue, unsigned bind_flags)
{
	const struct xsk_socket_config config = {
		.rx_size = NET_XDP_FRAMES,
		.tx_size = NET_XDP_FRAMES,
		/* vhost-net/net-xdp-program.h is ours. */
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = bind_flags | XDP_USE_NEED_WAKEUP,
	};
	int room = SEND_ROOM_BYTES;
	int err = xsk_socket__create(&socket->socket, interface, queue,
				     socket->umem, &socket->receive,
				     &socket->send, &config);

	if (err < 0)
		return err;
	socket->fd = xsk_socket__fd(socket->socket);
	/* Without it fewer frames are under way at once. */
	setsockopt(socket->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	return 0;
}

int net_xdp_socket_open(const char *interface, unsigned queue,
			unsigned bind_flags, struct net_xdp_socket *ret_socket,
			enum net_xdp_step *ret_step)
{
	int err;

	*ret_socket = (struct net_xdp_socket){.fd = -1};
	*ret_step = NET_XDP_MEMORY;
	ret_socket->memory =
		mmap(NULL, NET_XDP_MEMORY_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ret_socket->memory == MAP_FAILED) {
		ret_socket->memory = NULL;
		return -errno;
	}
	*ret_step = NET_XDP_UMEM;
	err = make_umem(ret_socket);
	if (err < 0)
		return err;
	*ret_step = NET_XDP_BIND;
	return bind_socket(ret_socket, interface, queue, bind_flags);
}

void net_xdp_socket_close(struct net_xdp_socket *socket)
{
	xsk_socket__delete(socket->socket);
	if (socket->umem)
		xsk_umem__delete(socket->umem);
	if (socket->memory)
		munmap(socket->memory, NET_XDP_MEMORY_BYTES);
	*socket = (struct net_xdp_socket){.fd = -1};
}

bool net_xdp_socket_is_zero_copy(const struct net_xdp_socket *socket)
{
	struct xdp_options options = {0};
	socklen_t bytes = sizeof(options);

	return getsockopt(socket->fd, SOL_XDP, XDP_OPTIONS, &options, &bytes) ==
		       0 &&
	       (options.flags & XDP_OPTIONS_ZEROCOPY);
}

uint64_t net_xdp_socket_missed(const struct net_xdp_socket *socket)
{
	struct xdp_statistics counts = {0};
	socklen_t bytes = sizeof(counts);

	if (getsockopt(socket->fd, SOL_XDP, XDP_STATISTICS, &counts, &bytes) <
	    0)
		return 0;
	return counts.rx_dropped + counts.rx_ring_full;
}

unsigned net_xdp_socket_peek(struct net_xdp_socket *socket, unsigned max,
			     uint32_t *ret_first)
{
	return xsk_ring_cons__peek(&socket->receive, max, ret_first);
}

/* The kernel may have put a frame behind its headroom: the place is the chunk's. */
static uint64_t chunk_of(uint64_t addr)
{
	return addr & ~(uint64_t)(NET_XDP_CHUNK_BYTES - 1);
}

void net_xdp_socket_release(struct net_xdp_socket *socket, uint32_t first,
			    unsigned used, unsigned peeked)
{
	uint32_t at = 0;

	xsk_ring_cons__cancel(&socket->receive, peeked - used);
	if (used == 0)
		return;
	xsk_ring_prod__reserve(&socket->fill, used, &at);
	for (unsigned i = 0; i < used; i++)
		*xsk_ring_prod__fill_addr(&socket->fill, at + i) = chunk_of(
			xsk_ring_cons__rx_desc(&socket->receive, first + i)
				->addr);
	xsk_ring_cons__release(&socket->receive, used);
	xsk_ring_prod__submit(&socket->fill, used);
	/* A driver that found none waits to be told. */
	if (xsk_ring_prod__needs_wakeup(&socket->fill))
		recvfrom(socket->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

static void take_completed(struct net_xdp_socket *socket)
{
	uint32_t at = 0;
	unsigned count =
		xsk_ring_cons__peek(&socket->completed, NET_XDP_FRAMES, &at);

	for (unsigned i = 0; i < count; i++)
		socket->free[socket->free_count++] = chunk_of(
			*xsk_ring_cons__comp_addr(&socket->completed, at + i));
	xsk_ring_cons__release(&socket->completed, count);
}

unsigned net_xdp_socket_room(struct net_xdp_socket *socket, unsigned wanted)
{
	if (socket->free_count < wanted)
		take_completed(socket);
	return socket->free_count;
}

void net_xdp_socket_put(struct net_xdp_socket *socket, uint32_t bytes)
{
	uint32_t at = 0;

	xsk_ring_prod__reserve(&socket->send, 1, &at);
	*xsk_ring_prod__tx_desc(&socket->send, at) = (struct xdp_desc){
		.addr = socket->free[--socket->free_count],
		.len = bytes,
	};
	xsk_ring_prod__submit(&socket->send, 1);
	socket->unsent = true;
	socket->put_frames++;
	socket->put_bytes += bytes;
}

/* Whether to call again. */
static bool judge_push(struct net_xdp_socket *socket, int err)
{
	switch (err) {
	case EBUSY: /* it dropped one, and there may be more */
		socket->dropped++;
		return true;
	case EAGAIN: /* it took what it takes in one call, or has no room */
	case EINTR:
		return true;
	case ENETDOWN:
	case ENXIO: /* it is being taken away, or set up anew */
	case ENODEV:
		/* They go with what comes when it is up again. */
		socket->unsent = false;
		socket->is_down = true;
		return false;
	default:
		return false;
	}
}

void net_xdp_socket_push(struct net_xdp_socket *socket)
{
	bool again = true;

	/* A driver that looks by itself. */
	if (!xsk_ring_prod__needs_wakeup(&socket->send))
		socket->unsent = false;
	for (unsigned i = 0; i < MAX_PUSHES && again && socket->unsent; i++) {
		if (sendto(socket->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0)
			again = judge_push(socket, errno);
		else
			socket->unsent = socket->is_down = false;
	}
}
