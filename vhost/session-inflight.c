/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages about the in-flight region. GET makes one and gives it away;
 * only SET makes rings use one. What the sizes were at GET, or at the first
 * SET while rings run, they remain: a region that changes its size under a
 * ring is how CVE-2026-86565 and its like came about.
 */
#include <errno.h>
#include <linux/virtio_config.h>

#include "vhost/session-handlers.h"
#include "vhost/session-state.h"

static bool is_packed(const struct session *session)
{
	return session->features & VHOST_USER_BIT(VIRTIO_F_RING_PACKED);
}

static int check_sizes(struct session *session,
		       const struct vhost_user_inflight *asked)
{
	if (asked->num_queues == 0 ||
	    asked->num_queues > session->device->num_queues)
		return session_refuse(
			session, "num queues %u is not within 1 to %u",
			asked->num_queues, session->device->num_queues);
	if (asked->queue_size == 0 || asked->queue_size > VIRTQ_MAX_SIZE)
		return session_refuse(session,
				      "queue size %u is not within 1 to %u",
				      asked->queue_size, VIRTQ_MAX_SIZE);
	return 0;
}

int session_get_inflight_fd(struct session *session,
			    struct vhost_message *request,
			    struct vhost_message *ret_reply)
{
	const struct vhost_user_inflight *asked = &request->payload.inflight;
	struct vhost_user_inflight *given = &ret_reply->payload.inflight;
	struct inflight *inflight;
	int fd;
	int err = check_sizes(session, asked);

	if (err != 0)
		return err;
	/* 20 bytes or 24: the front-end expects what it sent. */
	message_begin_reply(ret_reply, request->header.request,
			    request->header.size);
	given->num_queues = asked->num_queues;
	given->queue_size = asked->queue_size;
	err = inflight_new(asked->num_queues, asked->queue_size,
			   is_packed(session),
			   session->device->inflight_area_bytes, &inflight, &fd,
			   &given->mmap_size, &given->mmap_offset);
	if (err < 0)
		return err; /* size 0 and no descriptor say so */
	inflight_free(inflight);
	ret_reply->fds[0] = fd;
	ret_reply->fd_count = 1;
	session->inflight_given = *given;
	return 0;
}

static bool same_sizes(const struct vhost_user_inflight *a,
		       const struct vhost_user_inflight *b)
{
	return a->num_queues == b->num_queues && a->queue_size == b->queue_size;
}

/* Sizes that may not change any more; NULL while they may. */
static const struct vhost_user_inflight *
settled_sizes(const struct session *session)
{
	if (session->inflight_given.num_queues)
		return &session->inflight_given;
	if (session->inflight && session_is_running(session))
		return &session->inflight_taken;
	return NULL;
}

static int check_unchanged(struct session *session,
			   const struct vhost_user_inflight *asked)
{
	const struct vhost_user_inflight *settled = settled_sizes(session);

	if (!settled || same_sizes(settled, asked))
		return 0;
	return session_refuse(session,
			      "%u queues of size %u, but %u of size %u were "
			      "settled",
			      asked->num_queues, asked->queue_size,
			      settled->num_queues, settled->queue_size);
}

/* A region that another back-end made may have none. */
static int give_area(struct session *session, struct inflight *inflight)
{
	struct vhost_device *device = session->device;
	size_t bytes;
	void *area = inflight_area(inflight, &bytes);
	int err;

	if (!area || device->inflight_area_bytes == 0)
		return 0;
	err = device->ops->inflight_area(device, area, bytes);
	session->has_area = err == 0;
	return err;
}

int session_set_inflight_fd(struct session *session,
			    struct vhost_message *request,
			    struct vhost_message *ret_reply)
{
	const struct vhost_user_inflight *asked = &request->payload.inflight;
	struct inflight *inflight;
	int err = check_sizes(session, asked);

	if (err == 0)
		err = check_unchanged(session, asked);
	if (err != 0)
		return err;
	err = inflight_map(request->fds[0], asked->mmap_size,
			   asked->mmap_offset, asked->num_queues,
			   asked->queue_size, is_packed(session), &inflight);
	if (err == -EINVAL)
		return session_refuse(
			session,
			"mmap size 0x%llx, offset 0x%llx do not fit the file "
			"or %u queues of size %u",
			(unsigned long long)asked->mmap_size,
			(unsigned long long)asked->mmap_offset,
			asked->num_queues, asked->queue_size);
	if (err < 0)
		return err;
	session_stop_rings(session);
	session_drop_inflight(session);
	if (give_area(session, inflight) != 0) {
		inflight_free(inflight);
		return session_refuse(session,
				      "the device cannot go on from what an "
				      "earlier one left in the region");
	}
	session->inflight = inflight;
	session->inflight_taken = *asked;
	session_start_rings(session);
	return 0;
}

void session_drop_inflight(struct session *session)
{
	/* Another region tells of other times. */
	for (unsigned i = 0; i < session->device->num_queues; i++)
		session->rings[i].settled = false;
	if (!session->inflight)
		return;
	if (session->has_area)
		session->device->ops->inflight_area(session->device, NULL, 0);
	session->has_area = false;
	inflight_free(session->inflight);
	session->inflight = NULL;
}

void session_forget_inflight(struct session *session)
{
	session_drop_inflight(session);
	session->inflight_given = (struct vhost_user_inflight){0};
	session->inflight_taken = (struct vhost_user_inflight){0};
}
