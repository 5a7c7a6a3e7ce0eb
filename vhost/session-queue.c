/* SPDX-License-Identifier: Apache-2.0 */
/* The messages that configure one ring. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "vhost/session-handlers.h"
#include "vhost/session-state.h"

struct session_ring *session_ring(struct session *session, uint64_t index)
{
	if (index < session->device->num_queues)
		return &session->rings[index];
	session_refuse(session, "queue index %llu, but there are %u queues",
		       (unsigned long long)index, session->device->num_queues);
	return NULL;
}

static unsigned ring_index(const struct session *session,
			   const struct session_ring *ring)
{
	return ring - session->rings;
}

/* The front-end configures the ring: whatever broke it before is over. */
static int restart(struct session *session, struct session_ring *ring)
{
	ring->broken = false;
	return session_start_ring(session, ring_index(session, ring));
}

int session_set_vring_num(struct session *session,
			  struct vhost_message *request,
			  struct vhost_message *ret_reply)
{
	const struct vhost_vring_state *state = &request->payload.state;
	struct session_ring *ring = session_ring(session, state->index);

	if (!ring)
		return SESSION_E_CLOSE;
	if (state->num == 0 || state->num > VIRTQ_MAX_SIZE)
		return session_refuse(session,
				      "queue %u: num %u is not within 1 to %u",
				      state->index, state->num, VIRTQ_MAX_SIZE);
	session_stop_ring(session, state->index);
	ring->config.size = state->num;
	ring->has_size = true;
	return restart(session, ring);
}

int session_set_vring_addr(struct session *session,
			   struct vhost_message *request,
			   struct vhost_message *ret_reply)
{
	const struct vhost_vring_addr *addr = &request->payload.addr;
	struct session_ring *ring = session_ring(session, addr->index);

	if (!ring)
		return SESSION_E_CLOSE;
	if (addr->flags & ~(1u << VHOST_VRING_F_LOG))
		return session_refuse(session, "queue %u: unknown flags 0x%x",
				      addr->index, addr->flags);
	/* They are translated when the ring starts: memory may come later. */
	session_stop_ring(session, addr->index);
	ring->config.desc_uva = addr->desc_user_addr;
	ring->config.avail_uva = addr->avail_user_addr;
	ring->config.used_uva = addr->used_user_addr;
	ring->config.log_used = addr->flags & 1u << VHOST_VRING_F_LOG;
	ring->config.log_gpa = addr->log_guest_addr;
	ring->has_addresses = true;
	return restart(session, ring);
}

int session_set_vring_base(struct session *session,
			   struct vhost_message *request,
			   struct vhost_message *ret_reply)
{
	const struct vhost_vring_state *state = &request->payload.state;
	struct session_ring *ring = session_ring(session, state->index);

	if (!ring)
		return SESSION_E_CLOSE;
	session_stop_ring(session, state->index);
	ring->config.base = state->num;
	return restart(session, ring);
}

int session_get_vring_base(struct session *session,
			   struct vhost_message *request,
			   struct vhost_message *ret_reply)
{
	uint32_t index = request->payload.state.index;
	struct session_ring *ring = session_ring(session, index);

	if (!ring)
		return SESSION_E_CLOSE;
	session_disarm_ring(session, index);
	if (ring->settled)
		inflight_forget(session->inflight, index);
	message_begin_reply(ret_reply, request->header.request,
			    sizeof(ret_reply->payload.state));
	ret_reply->payload.state.index = index;
	ret_reply->payload.state.num = ring->config.base;
	return 0;
}

/*
 * An eventfd, a pipe or a socket, made non-blocking: a front-end must not hold
 * us up by filling it. Files are refused, as they are ready at all times (and
 * might block all the same).
 */
static int prepare_event_fd(int fd)
{
	struct stat st;
	int flags;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_mode & S_IFMT) != 0 && !S_ISFIFO(st.st_mode) &&
	    !S_ISSOCK(st.st_mode))
		return -EBADF;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/*
 * The ring, and the descriptor to be taken (-1: NOFD), of a message whose
 * payload has a ring's index in bits 0 to 7 and NOFD in bit 8. message_check
 * saw that NOFD and descriptor exclude each other.
 */
static struct session_ring *event_message(struct session *session,
					  struct vhost_message *request,
					  int *ret_fd)
{
	uint64_t index = request->payload.u64 & ~(uint64_t)VHOST_USER_NOFD;
	struct session_ring *ring = session_ring(session, index);
	int fd = -1;

	if (!ring)
		return NULL;
	if (request->fd_count == 1) {
		if (prepare_event_fd(request->fds[0]) < 0) {
			session_refuse(session,
				       "queue %llu: the descriptor is no "
				       "eventfd, pipe or socket",
				       (unsigned long long)index);
			return NULL;
		}
		fd = request->fds[0];
		request->fd_count = 0;
	}
	*ret_fd = fd;
	return ring;
}

int session_set_vring_kick(struct session *session,
			   struct vhost_message *request,
			   struct vhost_message *ret_reply)
{
	int fd;
	struct session_ring *ring = event_message(session, request, &fd);

	if (!ring)
		return SESSION_E_CLOSE;
	session_disarm_ring(session, ring_index(session, ring));
	ring->kick_fd = fd;
	ring->kicked = true;
	return restart(session, ring);
}

static int replace_event_fd(struct session *session, struct session_ring *ring,
			    int *to, int fd)
{
	session_stop_ring(session, ring_index(session, ring));
	fd_close(to);
	*to = fd;
	return session_start_ring(session, ring_index(session, ring));
}

int session_set_vring_call(struct session *session,
			   struct vhost_message *request,
			   struct vhost_message *ret_reply)
{
	int fd;
	struct session_ring *ring = event_message(session, request, &fd);

	if (!ring)
		return SESSION_E_CLOSE;
	return replace_event_fd(session, ring, &ring->config.call_fd, fd);
}

int session_set_vring_err(struct session *session,
			  struct vhost_message *request,
			  struct vhost_message *ret_reply)
{
	int fd;
	struct session_ring *ring = event_message(session, request, &fd);

	if (!ring)
		return SESSION_E_CLOSE;
	return replace_event_fd(session, ring, &ring->config.err_fd, fd);
}

int session_set_vring_enable(struct session *session,
			     struct vhost_message *request,
			     struct vhost_message *ret_reply)
{
	const struct vhost_vring_state *state = &request->payload.state;
	struct session_ring *ring = session_ring(session, state->index);

	if (!ring)
		return SESSION_E_CLOSE;
	if (state->num > 1)
		return session_refuse(session, "queue %u: num %u is not 0 or 1",
				      state->index, state->num);
	session_enable_ring(session, state->index, state->num);
	return 0;
}
