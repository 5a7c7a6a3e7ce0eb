/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port on a TAP: a network of the host behind a bridge, or the host itself.
 *
 * A frame that goes out is written from where it lies, in guest memory mostly.
 * One that comes in is read before anybody can know where it goes: into buffers
 * of ours, one for each frame of a burst, of which the kernel backs with memory
 * what was ever written to.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/barrier.h"
#include "base/bytes.h"
#include "vhost-net/net-tap.h"
#include "vswitch/port.h"

enum {
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	/* Those of a call that are ours: header and head. */
	OUR_SEGMENTS = 2,
	BURST = 32,
	BUFFER_BYTES = (NET_MAX_FRAME_BYTES + 4095) & ~4095,
};

/* The kernel does what a guest left to be done, and leaves to us what a guest
 * may have to have done. */
static const uint64_t all_offloads =
	NET_FEATURE(GUEST_CSUM) | NET_FEATURE(GUEST_TSO4) |
	NET_FEATURE(GUEST_TSO6) | NET_FEATURE(GUEST_ECN) |
	NET_FEATURE(GUEST_USO4) | NET_FEATURE(GUEST_USO6);

struct queue {
	struct source source;
	struct tap_port *port;
	bool readable; /* as far as we know */
	uint8_t *buffers;
	struct iovec rest[BURST];
	struct net_rx_frame frames[BURST];
	/* As a guest's: tx is what came into the switch. */
	struct netdev_counters counters;
};

struct tap_port {
	struct port port;
	struct net_tap tap;
	uint64_t features; /* what can be left to the kernel */
	struct queue *queues;
	unsigned queue_count;
	unsigned attached;
	/* What went out, by any thread. */
	uint64_t sent_frames, sent_bytes;
	uint64_t refused; /* by the kernel */
	bool is_gone;	  /* the device was deleted */
	struct loop_message gone;
	bool gone_posted;
};

static struct tap_port *from_port(struct port *port)
{
	return container_of(port, struct tap_port, port);
}

static void run_gone(struct loop_message *message)
{
	struct tap_port *p = container_of(message, struct tap_port, gone);

	port_complain(&p->port, "the TAP was deleted: remove the port, and add "
				"it again");
}

/* Serving thread: of a TAP that is deleted nothing comes back. */
static void note(struct tap_port *p, int err)
{
	if (err != -EBADFD || exchange_acq_rel(&p->gone_posted, true))
		return;
	store_release(&p->is_gone, true);
	loop_post(p->port.owner->control, &p->gone);
}

/* --- in --------------------------------------------------------------------- */

static struct queue *from_source(struct source *source)
{
	return container_of(source, struct queue, source);
}

/* Bytes of a frame with its header; 0: there is none. */
static size_t read_frame(struct queue *queue, unsigned i)
{
	const struct iovec iov[] = {
		{&queue->frames[i].header, HEADER_BYTES},
		{queue->buffers + (size_t)i * BUFFER_BYTES,
		 NET_MAX_FRAME_BYTES},
	};
	ssize_t got = readv(queue->source.fd, iov, ARRAY_SIZE(iov));

	if (got > 0)
		return got;
	if (got < 0 && errno == EINTR)
		return 0;
	queue->readable = false;
	if (got < 0)
		note(queue->port, -errno);
	return 0;
}

/* The kernel's headers are judged, too: software offloads rely on it. */
static enum net_fault describe(struct queue *queue, unsigned i, size_t got)
{
	struct net_rx_frame *frame = &queue->frames[i];
	uint8_t *bytes = queue->buffers + (size_t)i * BUFFER_BYTES;

	if (got < HEADER_BYTES + NET_ETHERNET_BYTES)
		return NET_FAULT_RUNT;
	frame->bytes = got - HEADER_BYTES;
	frame->head_bytes = MIN(frame->bytes, (uint32_t)NET_COPY_BYTES);
	memcpy(frame->head, bytes, frame->head_bytes);
	queue->rest[i] = (struct iovec){bytes + frame->head_bytes,
					frame->bytes - frame->head_bytes};
	frame->rest = iov_cursor(&queue->rest[i], 1);
	net_frame_parse(frame->head, frame->head_bytes, &frame->layout);
	return net_header_judge(&frame->header, &frame->layout, frame->bytes,
				UINT64_MAX);
}

static unsigned receive(struct source *source, struct net_rx_frame **ret_frames)
{
	struct queue *queue = from_source(source);
	struct netdev_counters *counters = &queue->counters;
	unsigned count = 0;

	for (unsigned i = 0; i < BURST && queue->readable; i++) {
		size_t got = read_frame(queue, count);
		enum net_fault fault;

		if (got == 0)
			continue;
		fault = describe(queue, count, got);
		counters->tx_faults[fault] += fault != NET_FAULT_NONE;
		if (fault)
			continue;
		counters->tx_frames++;
		counters->tx_bytes += queue->frames[count].bytes;
		count++;
	}
	*ret_frames = queue->frames;
	return count;
}

static void done(struct source *source)
{
}

static void ready(struct source *source)
{
	from_source(source)->readable = true;
}

static const struct source_ops source_ops = {
	.receive = receive,
	.done = done,
	.ready = ready,
};

/* --- out -------------------------------------------------------------------- */

/* A frame in more pieces than the kernel takes at once. */
static ssize_t write_bounced(int fd, const struct net_rx_frame *frame)
{
	uint8_t bytes[NET_MAX_FRAME_BYTES];
	struct iov_cursor rest = frame->rest;
	const struct iovec iov[] = {
		{(void *)&frame->header, HEADER_BYTES},
		{bytes, frame->bytes},
	};

	memcpy(bytes, frame->head, frame->head_bytes);
	iov_read(&rest, bytes + frame->head_bytes,
		 frame->bytes - frame->head_bytes);
	return writev(fd, iov, ARRAY_SIZE(iov));
}

static ssize_t write_frame(int fd, const struct net_rx_frame *frame)
{
	const size_t rest_bytes = frame->bytes - frame->head_bytes;
	struct iovec iov[IOV_MAX];
	struct iov_cursor rest = frame->rest;
	size_t bytes;
	unsigned count = OUR_SEGMENTS;

	iov[0] = (struct iovec){(void *)&frame->header, HEADER_BYTES};
	iov[1] = (struct iovec){(void *)frame->head, frame->head_bytes};
	count += iov_slice(&rest, rest_bytes, iov + count, IOV_MAX - count,
			   &bytes);
	if (bytes < rest_bytes)
		return write_bounced(fd, frame);
	return writev(fd, iov, count);
}

/* Of a kernel that knows no segments of UDP. */
static bool is_taken(const struct tap_port *p, const struct net_rx_frame *frame)
{
	return net_header_work(&frame->header, &frame->layout, p->features) ==
	       NET_WORK_NONE;
}

static void send_frames(struct forward_port *forward,
			const struct net_rx_frame *const *frames,
			unsigned count)
{
	struct tap_port *p = from_port(port_of(forward));
	unsigned sent = 0;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < count; i++) {
		if (!is_taken(p, frames[i]))
			continue;
		if (write_frame(p->tap.fds[0], frames[i]) < 0) {
			note(p, -errno);
			continue;
		}
		sent++;
		bytes += frames[i]->bytes;
	}
	fetch_add_relaxed(&p->sent_frames, sent);
	fetch_add_relaxed(&p->sent_bytes, bytes);
	if (sent < count)
		fetch_add_relaxed(&p->refused, count - sent);
}

/* --- the port --------------------------------------------------------------- */

static int open_tap(struct port *port, char *ret_error)
{
	struct tap_port *p = from_port(port);
	const struct net_tap_config config = {
		.name = port->config->tap ? port->config->tap
					  : port->config->name,
		.count = port->config->queues,
		.mtu = port->config->mtu,
		.bridge = port->config->bridge,
	};
	char error[NET_TAP_ERROR_BYTES];
	int err = net_tap_open(&config, &p->tap, error);

	if (err < 0) {
		snprintf(ret_error, PORT_ERROR_BYTES, "%s", error);
		return err;
	}
	p->features = all_offloads;
	if (!p->tap.has_uso)
		p->features &=
			~(NET_FEATURE(GUEST_USO4) | NET_FEATURE(GUEST_USO6));
	err = net_tap_offload(&p->tap, p->features);
	for (unsigned i = 1; i < p->tap.count && err == 0; i++)
		err = net_tap_attach(&p->tap, i, true);
	if (err < 0)
		snprintf(ret_error, PORT_ERROR_BYTES,
			 "%s: it does not take offloads or queues: %s",
			 p->tap.name, strerror(-err));
	return err;
}

static int make_queue(struct tap_port *p, unsigned i)
{
	struct queue *queue = &p->queues[i];

	queue->buffers =
		mmap(NULL, (size_t)BURST * BUFFER_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (queue->buffers == MAP_FAILED) {
		queue->buffers = NULL;
		return -errno;
	}
	queue->source.ops = &source_ops;
	queue->source.port = &p->port.forward;
	queue->source.fd = p->tap.fds[i];
	queue->port = p;
	queue->readable = true;
	return lcore_attach(port_home(&p->port, &queue->source, i),
			    &queue->source);
}

static int start(struct port *port, char *ret_error)
{
	struct tap_port *p = from_port(port);
	int err = 0;

	p->gone.run = run_gone;
	p->queue_count = p->tap.count;
	p->queues = calloc(p->queue_count, sizeof(*p->queues));
	if (!p->queues)
		err = -ENOMEM;
	while (err == 0 && p->attached < p->queue_count) {
		err = make_queue(p, p->attached);
		p->attached += err == 0;
	}
	if (err < 0)
		snprintf(ret_error, PORT_ERROR_BYTES, "%s: %s", p->tap.name,
			 strerror(-err));
	return err;
}

static void stop(struct port *port)
{
	struct tap_port *p = from_port(port);

	for (; p->attached > 0; p->attached--) {
		struct source *source = &p->queues[p->attached - 1].source;

		lcore_detach(source->home, source);
	}
}

static void free_port(struct port *port)
{
	struct tap_port *p = from_port(port);

	for (unsigned i = 0; p->queues && i < p->queue_count; i++)
		if (p->queues[i].buffers)
			munmap(p->queues[i].buffers,
			       (size_t)BURST * BUFFER_BYTES);
	net_tap_close(&p->tap);
	free(p->queues);
	free(p);
}

struct count {
	struct queue *queue;
	struct port_counters *counters;
};

/* The thread that reads from the queue. */
static void run_count(void *arg)
{
	struct count *count = arg;
	struct netdev_counters *to = &count->counters->net;
	const struct netdev_counters *from = &count->queue->counters;

	to->tx_frames += from->tx_frames;
	to->tx_bytes += from->tx_bytes;
	for (unsigned i = 0; i < NET_FAULTS; i++)
		to->tx_faults[i] += from->tx_faults[i];
	for (unsigned i = 0; i < FORWARD_DROPS; i++)
		count->counters->drops[i] += count->queue->source.drops[i];
}

static void count_pair(struct port *port, unsigned pair,
		       struct port_counters *counters)
{
	struct tap_port *p = from_port(port);
	struct count count = {.counters = counters};

	if (pair >= p->queue_count)
		return;
	count.queue = &p->queues[pair];
	lcore_run(port_home(port, &count.queue->source, pair), run_count,
		  &count);
}

/* All threads write to one queue of the kernel's. */
static void count_rest(struct port *port, struct port_counters *counters)
{
	struct tap_port *p = from_port(port);

	counters->net.rx_frames += load_once(&p->sent_frames);
	counters->net.rx_bytes += load_once(&p->sent_bytes);
	counters->unreachable += load_once(&p->refused);
}

static bool is_up(const struct port *port)
{
	const struct tap_port *p = container_of(port, struct tap_port, port);

	return !load_acquire(&p->is_gone);
}

static struct source *source_of(struct port *port, unsigned pair)
{
	struct tap_port *p = from_port(port);

	return pair < p->attached ? &p->queues[pair].source : NULL;
}

static const struct port_ops ops = {
	.open = open_tap,
	.start = start,
	.stop = stop,
	.free = free_port,
	.count_pair = count_pair,
	.count_rest = count_rest,
	.is_up = is_up,
	.source = source_of,
};

int tap_port_new(struct port **ret_port)
{
	struct tap_port *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->port.ops = &ops;
	p->port.forward.send = send_frames;
	*ret_port = &p->port;
	return 0;
}
