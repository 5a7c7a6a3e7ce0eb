/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/shaper.h"

#include <errno.h>
#include <rte_spinlock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

enum {
	ENTRY_ALIGN = 16,
	/* Of a timer: it would never fire with 0. */
	LEAST_WAIT_NS = 1000,
};

/* A frame in the queue: what is behind its head follows it. */
struct entry {
	size_t bytes; /* with that, and with a gap at the end of the ring */
	bool is_gap;  /* up to the ring's end there is no frame */
	struct net_rx_frame frame;
	struct iovec rest;
	uint8_t data[];
};

/* Entries one behind the other, none of them around the end. */
struct ring {
	uint8_t *memory; /* NULL: no room */
	size_t room;
	size_t head, used; /* where the first begins, and bytes of all */
};

struct shaper {
	struct source source; /* first */
	struct forward_port *port;
	struct limit limit;
	int timer_fd;
	rte_spinlock_t lock; /* of what follows */
	struct ring ring;
	unsigned queued;
	struct shaper_counters counters;
};

/* --- the ring ---------------------------------------------------------------- */

static int make_ring(struct ring *ring, size_t room)
{
	*ring = (struct ring){.room = align_up(room, ENTRY_ALIGN)};
	if (room == 0)
		return 0;
	/* What is never written to is not there. */
	ring->memory = mmap(NULL, ring->room, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ring->memory != MAP_FAILED)
		return 0;
	ring->memory = NULL;
	return -ENOMEM;
}

static void free_ring(struct ring *ring)
{
	if (ring->memory)
		munmap(ring->memory, ring->room);
	ring->memory = NULL;
}

static struct entry *entry_at(const struct ring *ring, size_t at)
{
	return (struct entry *)(ring->memory + at);
}

/* A place for @bytes in one piece; NULL: there is none. */
static struct entry *add_entry(struct ring *ring, size_t bytes)
{
	size_t tail, behind;
	struct entry *entry;

	bytes = align_up(bytes, ENTRY_ALIGN);
	if (bytes > ring->room - ring->used)
		return NULL;
	if (ring->used == 0)
		ring->head = 0;
	tail = (ring->head + ring->used) % ring->room;
	behind = ring->room - tail;
	if (tail >= ring->head && behind < bytes) {
		/* It begins anew: what is left here is a gap. */
		if (bytes > ring->room - ring->used - behind)
			return NULL;
		entry = entry_at(ring, tail);
		entry->bytes = behind;
		entry->is_gap = true;
		ring->used += behind;
		tail = 0;
	}
	entry = entry_at(ring, tail);
	entry->bytes = bytes;
	entry->is_gap = false;
	ring->used += bytes;
	return entry;
}

static void drop_first(struct ring *ring)
{
	const size_t bytes = entry_at(ring, ring->head)->bytes;

	ring->head = (ring->head + bytes) % ring->room;
	ring->used -= bytes;
}

/* The first frame; NULL: there is none. */
static struct entry *first_entry(struct ring *ring)
{
	while (ring->used > 0 && entry_at(ring, ring->head)->is_gap)
		drop_first(ring);
	return ring->used > 0 ? entry_at(ring, ring->head) : NULL;
}

/* All of it, out of memory that is a guest's. */
static bool copy_frame(struct ring *ring, const struct net_rx_frame *frame)
{
	const size_t rest_bytes = frame->bytes - frame->head_bytes;
	struct entry *entry = add_entry(ring, sizeof(*entry) + rest_bytes);
	struct iov_cursor rest = frame->rest;

	if (!entry)
		return false;
	entry->frame = *frame;
	if (rest_bytes > 0)
		iov_read(&rest, entry->data, rest_bytes);
	entry->rest = (struct iovec){entry->data, rest_bytes};
	entry->frame.rest = iov_cursor(&entry->rest, rest_bytes > 0);
	return true;
}

/* --- the timer --------------------------------------------------------------- */

/* The draining thread may sleep. With the lock. */
static void wake_after(struct shaper *shaper, uint64_t wait_ns)
{
	const uint64_t ns = MAX(wait_ns, (uint64_t)LEAST_WAIT_NS);
	const struct itimerspec once = {
		.it_value.tv_sec = ns / NS_PER_SECOND,
		.it_value.tv_nsec = ns % NS_PER_SECOND,
	};

	timerfd_settime(shaper->timer_fd, 0, &once, NULL);
}

/* --- in and out -------------------------------------------------------------- */

/* How many of the frames may go now; they are paid for. */
static unsigned take(struct shaper *shaper,
		     const struct net_rx_frame *const *frames, unsigned count,
		     uint64_t now_ns)
{
	unsigned n = 0;

	while (n < count && limit_wait_ns(&shaper->limit, now_ns) == 0)
		limit_owe(&shaper->limit, frames[n++]->bytes, now_ns);
	return n;
}

static void queue_frames(struct shaper *shaper,
			 const struct net_rx_frame *const *frames,
			 unsigned count, uint64_t now_ns)
{
	const bool was_empty = shaper->queued == 0;

	for (unsigned i = 0; i < count; i++) {
		const bool has_room = copy_frame(&shaper->ring, frames[i]);

		shaper->queued += has_room;
		shaper->counters.delayed += has_room;
		shaper->counters.dropped += !has_room;
	}
	if (was_empty && shaper->queued > 0)
		wake_after(shaper, limit_wait_ns(&shaper->limit, now_ns));
}

void shaper_send(struct shaper *shaper,
		 const struct net_rx_frame *const *frames, unsigned count,
		 uint64_t now_ns)
{
	unsigned n = 0;

	rte_spinlock_lock(&shaper->lock);
	if (shaper->queued == 0)
		n = take(shaper, frames, count, now_ns);
	if (n > 0)
		shaper->port->send(shaper->port, frames, n);
	if (n < count)
		queue_frames(shaper, frames + n, count - n, now_ns);
	rte_spinlock_unlock(&shaper->lock);
}

/* One by one: where the next is, an entry's end tells. */
static bool send_first(struct shaper *shaper, uint64_t now_ns)
{
	struct entry *entry = first_entry(&shaper->ring);
	const struct net_rx_frame *frame;

	if (!entry)
		return false;
	frame = &entry->frame;
	if (take(shaper, &frame, 1, now_ns) == 0)
		return false;
	shaper->port->send(shaper->port, &frame, 1);
	drop_first(&shaper->ring);
	shaper->queued--;
	return true;
}

uint64_t shaper_drain(struct shaper *shaper, uint64_t now_ns)
{
	uint64_t wait = 0;

	rte_spinlock_lock(&shaper->lock);
	for (unsigned i = 0; i < NET_BURST; i++)
		if (!send_first(shaper, now_ns))
			break;
	if (shaper->queued > 0)
		wait = MAX(limit_wait_ns(&shaper->limit, now_ns), UINT64_C(1));
	rte_spinlock_unlock(&shaper->lock);
	return wait;
}

/* --- the source -------------------------------------------------------------- */

static struct shaper *from_source(struct source *source)
{
	return (struct shaper *)source;
}

/* Nothing that comes into the switch. */
static unsigned receive(struct source *source, struct net_rx_frame **ret_frames)
{
	struct shaper *shaper = from_source(source);

	if (load_once(&shaper->queued) > 0)
		shaper_drain(shaper, clock_ns());
	return 0;
}

static void done(struct source *source)
{
}

static void ready(struct source *source)
{
	uint64_t times;

	while (read(source->fd, &times, sizeof(times)) > 0)
		;
}

static bool sleep_until_due(struct source *source)
{
	struct shaper *shaper = from_source(source);

	rte_spinlock_lock(&shaper->lock);
	if (shaper->queued > 0)
		wake_after(shaper, limit_wait_ns(&shaper->limit, clock_ns()));
	rte_spinlock_unlock(&shaper->lock);
	return false;
}

static const struct source_ops ops = {
	.receive = receive,
	.done = done,
	.ready = ready,
	.sleep = sleep_until_due,
};

/* --- the control thread ------------------------------------------------------ */

int shaper_new(struct forward_port *port, struct shaper **ret_shaper)
{
	struct shaper *shaper = calloc(1, sizeof(*shaper));

	if (!shaper)
		return -ENOMEM;
	shaper->timer_fd =
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (shaper->timer_fd < 0) {
		int err = -errno;

		free(shaper);
		return err;
	}
	shaper->port = port;
	rte_spinlock_init(&shaper->lock);
	shaper->source.ops = &ops;
	shaper->source.port = port;
	shaper->source.fd = shaper->timer_fd;
	*ret_shaper = shaper;
	return 0;
}

void shaper_free(struct shaper *shaper)
{
	if (!shaper)
		return;
	fd_close(&shaper->timer_fd);
	free_ring(&shaper->ring);
	free(shaper);
}

/* As much of what waits as finds place. */
static void move_frames(struct shaper *shaper, struct ring *to)
{
	struct entry *entry;

	while ((entry = first_entry(&shaper->ring))) {
		if (!copy_frame(to, &entry->frame)) {
			shaper->queued--;
			shaper->counters.dropped++;
		}
		drop_first(&shaper->ring);
	}
}

int shaper_set(struct shaper *shaper, uint64_t rate, uint64_t burst,
	       uint64_t queue_bytes)
{
	const size_t room = align_up(queue_bytes, ENTRY_ALIGN);
	struct ring ring, old;
	int err = limit_set(&shaper->limit, rate, burst);

	if (err < 0 || room == shaper->ring.room)
		return err;
	err = make_ring(&ring, room);
	if (err < 0)
		return err;
	rte_spinlock_lock(&shaper->lock);
	move_frames(shaper, &ring);
	old = shaper->ring;
	shaper->ring = ring;
	rte_spinlock_unlock(&shaper->lock);
	free_ring(&old);
	return 0;
}

struct source *shaper_source(struct shaper *shaper)
{
	return &shaper->source;
}

void shaper_count(struct shaper *shaper, struct shaper_counters *ret_counters)
{
	rte_spinlock_lock(&shaper->lock);
	*ret_counters = shaper->counters;
	rte_spinlock_unlock(&shaper->lock);
}
