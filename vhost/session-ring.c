/* SPDX-License-Identifier: Apache-2.0 */
/* When a ring runs, and how it is started and stopped. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "vhost/doorbell.h"
#include "vhost/session-state.h"

#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif

/* Bytes of the three parts of a ring; virtio 1.2, 2.7 and 2.8.10. */
struct ring_layout {
	uint64_t desc_bytes;
	uint64_t avail_bytes;
	uint64_t used_bytes;
};

static struct ring_layout ring_layout(const struct virtq_config *config)
{
	uint64_t size = config->size;
	/* used_event and avail_event follow the rings. */
	uint64_t event = config->event_idx ? sizeof(uint16_t) : 0;

	if (config->packed)
		return (struct ring_layout){
			size * sizeof(struct vring_packed_desc),
			sizeof(struct vring_packed_desc_event),
			sizeof(struct vring_packed_desc_event)};
	return (struct ring_layout){
		size * sizeof(struct vring_desc),
		sizeof(struct vring_avail) + size * sizeof(uint16_t) + event,
		sizeof(struct vring_used) +
			size * sizeof(struct vring_used_elem) + event};
}

static bool memory_holds(const struct guest_memory *memory,
			 const struct virtq_config *config)
{
	struct ring_layout layout = ring_layout(config);

	return guest_memory_uva(memory, config->desc_uva, layout.desc_bytes) &&
	       guest_memory_uva(memory, config->avail_uva,
				layout.avail_bytes) &&
	       guest_memory_uva(memory, config->used_uva, layout.used_bytes);
}

__attribute__((format(printf, 4, 5))) static int
ring_fails(struct session *session, unsigned index, int err, const char *format,
	   ...)
{
	char why[MESSAGE_ERROR_BYTES - 32];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	snprintf(session->error, sizeof(session->error), "queue %u: %s", index,
		 why);
	log_debug("%s: %s", session->device->name, session->error);
	return err;
}

/* The front-end is told, unless virtq has done so. */
static void signal_error(const struct session_ring *ring)
{
	struct doorbell bell;

	doorbell_init(&bell, ring->config.err_fd);
	doorbell_ring(&bell);
}

static int ring_breaks(struct session *session, unsigned index, int err,
		       const char *why)
{
	session->rings[index].broken = true;
	signal_error(&session->rings[index]);
	return ring_fails(session, index, err, "%s", why);
}

static bool has_feature(const struct session *session, unsigned bit)
{
	return session->features & VHOST_USER_BIT(bit);
}

static struct virtq_config ring_config(const struct session *session,
				       const struct session_ring *ring)
{
	struct virtq_config config = ring->config;

	config.packed = has_feature(session, VIRTIO_F_RING_PACKED);
	config.event_idx = has_feature(session, VIRTIO_RING_F_EVENT_IDX);
	config.indirect = has_feature(session, VIRTIO_RING_F_INDIRECT_DESC);
	config.in_order = has_feature(session, VIRTIO_F_IN_ORDER);
	return config;
}

static struct dirty_log *active_log(const struct session *session)
{
	return has_feature(session, VHOST_F_LOG_ALL) ? session->log : NULL;
}

/* What virtq_start cannot know: the sentence that says what is wrong. */
static const char *check_start(const struct session *session,
			       const struct virtq_config *config,
			       const struct inflight_queue *inflight)
{
	const struct dirty_log *log = active_log(session);

	if (!config->packed && config->base > UINT16_MAX)
		return "a split ring's base has more than 16 bits";
	if (inflight->base && inflight->packed != config->packed)
		return "the in-flight region is for the other kind of ring";
	if (inflight->base && inflight->size < config->size)
		return "the in-flight region is too small for the ring";
	if (config->log_used && log &&
	    !range_fits(config->log_gpa, ring_layout(config).used_bytes,
			dirty_log_end(log)))
		return "the used ring's log address lies outside the log";
	return NULL;
}

static int start_virtq(struct session *session, unsigned index,
		       const struct virtq_config *config)
{
	struct session_ring *ring = &session->rings[index];
	struct inflight_queue inflight = {0};
	const char *why;
	int err;

	if (session->inflight)
		inflight = inflight_queue(session->inflight, index);
	why = check_start(session, config, &inflight);
	if (why)
		return ring_breaks(session, index, -EINVAL, why);
	err = virtq_start(ring->vq, config, session->memory,
			  active_log(session), inflight);
	if (err < 0)
		return ring_breaks(session, index, err, "cannot be started");
	if (err == 0)
		return 0;
	ring->broken = true;
	return ring_fails(session, index, -EINVAL, "%s", virtq_error(ring->vq));
}

static bool is_to_run(const struct session *session,
		      const struct session_ring *ring)
{
	return !ring->running && !ring->broken && ring->kicked &&
	       ring->has_size && ring->has_addresses && session->memory;
}

int session_start_ring(struct session *session, unsigned index)
{
	struct session_ring *ring = &session->rings[index];
	struct virtq_config config;
	int err;

	if (!is_to_run(session, ring))
		return 0;
	config = ring_config(session, ring);
	if (!memory_holds(session->memory, &config)) {
		signal_error(ring);
		return ring_fails(session, index, -EFAULT,
				  "descriptors 0x%llx, avail 0x%llx or used "
				  "0x%llx of %u entries not in guest memory",
				  (unsigned long long)config.desc_uva,
				  (unsigned long long)config.avail_uva,
				  (unsigned long long)config.used_uva,
				  config.size);
	}
	err = start_virtq(session, index, &config);
	if (err < 0)
		return err;
	err = session->device->ops->queue_start(
		session->device, index, ring->vq, ring->kick_fd, ring->enabled);
	if (err < 0) {
		ring->config.base = virtq_stop(ring->vq);
		return ring_breaks(session, index, err,
				   "the device cannot serve it");
	}
	ring->running = true;
	ring->settled = false;
	session_tell_config_change(session);
	return 0;
}

void session_stop_ring(struct session *session, unsigned index)
{
	struct session_ring *ring = &session->rings[index];

	if (!ring->running)
		return;
	session->device->ops->queue_stop(session->device, index);
	/* Its report may still be on the way: do not start it again. */
	if (virtq_error(ring->vq))
		ring->broken = true;
	ring->settled = virtq_is_settled(ring->vq);
	ring->config.base = virtq_stop(ring->vq);
	ring->running = false;
}

void session_start_rings(struct session *session)
{
	for (unsigned i = 0; i < session->device->num_queues; i++)
		session_start_ring(session, i);
}

void session_stop_rings(struct session *session)
{
	for (unsigned i = 0; i < session->device->num_queues; i++)
		session_stop_ring(session, i);
}

bool session_is_running(const struct session *session)
{
	for (unsigned i = 0; i < session->device->num_queues; i++)
		if (session->rings[i].running)
			return true;
	return false;
}

void session_disarm_ring(struct session *session, unsigned index)
{
	struct session_ring *ring = &session->rings[index];

	session_stop_ring(session, index);
	fd_close(&ring->kick_fd);
	ring->kicked = false;
}

void session_enable_ring(struct session *session, unsigned index, bool enabled)
{
	struct session_ring *ring = &session->rings[index];

	if (ring->enabled == enabled)
		return;
	ring->enabled = enabled;
	if (ring->running)
		session->device->ops->queue_enable(session->device, index,
						   enabled);
}

/* Without bit 30 there is no SET_VRING_ENABLE, and rings are always enabled. */
static bool enabled_at_first(const struct session *session)
{
	return session->has_features &&
	       !has_feature(session, VHOST_USER_F_PROTOCOL_FEATURES);
}

void session_reset_rings(struct session *session)
{
	for (unsigned i = 0; i < session->device->num_queues; i++) {
		struct session_ring *ring = &session->rings[i];

		session_disarm_ring(session, i);
		ring->config = (struct virtq_config){
			.call_fd = ring->config.call_fd,
			.err_fd = ring->config.err_fd,
		};
		ring->has_size = false;
		ring->has_addresses = false;
		ring->broken = false;
		ring->enabled = enabled_at_first(session);
	}
}

int session_init_rings(struct session *session)
{
	for (unsigned i = 0; i < session->device->num_queues; i++) {
		struct session_ring *ring = &session->rings[i];
		int err = virtq_new(&ring->vq);

		ring->kick_fd = -1;
		ring->config.call_fd = -1;
		ring->config.err_fd = -1;
		if (err < 0)
			return err;
	}
	return 0;
}

void session_deinit_rings(struct session *session)
{
	for (unsigned i = 0; i < session->device->num_queues; i++) {
		struct session_ring *ring = &session->rings[i];

		if (!ring->vq)
			break; /* session_init_rings came so far */
		session_disarm_ring(session, i);
		virtq_free(ring->vq);
		fd_close(&ring->config.call_fd);
		fd_close(&ring->config.err_fd);
	}
}

static bool memory_is_lost(const struct session *session)
{
	return guest_memory_is_broken(session->memory) ||
	       (session->inflight && inflight_is_broken(session->inflight)) ||
	       (session->log && dirty_log_is_broken(session->log));
}

void session_queue_broken(struct session *session, unsigned index)
{
	struct session_ring *ring;

	if (index >= session->device->num_queues)
		return;
	ring = &session->rings[index];
	if (!ring->running)
		return;
	/* A report of before the ring was last started says nothing now. */
	if (!virtq_error(ring->vq) && !memory_is_lost(session))
		return;
	session->device->ops->queue_stop(session->device, index);
	/* Rings the err fd if the ring has not done so before. */
	virtq_break(ring->vq, "shared memory was truncated");
	ring_fails(session, index, -EIO, "%s", virtq_error(ring->vq));
	ring->config.base = virtq_stop(ring->vq);
	ring->running = false;
	ring->broken = true;
}
