/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TAP's pump while its reads are under way. The TAP is a socket of datagrams,
 * and what the pump hands to the ring is changed on its way: reads that wait for a
 * frame, as those of a TAP do not, hold a batch open as long as a test wants; and
 * a file that cannot be asked not to wait is what an older kernel's TAP is.
 */
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/cmocka.h"
#include "vhost-net/net-pump-tap.h"
#include "vhost/device.h"
#include "vhost/test-driver.h"

enum {
	RING = 64,
	BUFFERS = 48,
	BUFFER_BYTES = 2048,
	MTU = 1500,
	HEADER_BYTES = sizeof(struct virtio_net_hdr_v1),
	FRAME_BYTES = 100,
	/* Found one by one, they have the next round read one more in a batch. */
	FIRST = 3,
	BATCH = FIRST + 1,
	MAX_ENTRIES = 64,
	PATIENCE_NS = 1000 * 1000,
	TRIES = 5000,
};

struct pump_test {
	struct ring_test *ring;
	struct netdev *netdev;
	struct vhost_device *device;
	struct loop *loop;
	struct net_limits limits;
	struct net_pump *pump;
	int wire; /* the other end is the pump's */
	int fd;
	uint64_t gpa_of_id[RING];
	uint32_t sent; /* frames; each has its number in it */
	unsigned taken;
};

/* Those that were asked for since a round began. */
static struct io_uring_sqe *entries[MAX_ENTRIES];
static unsigned entry_count;

struct io_uring_sqe *__real_loop_sqe(struct loop *loop);
struct io_uring_sqe *__wrap_loop_sqe(struct loop *loop);

struct io_uring_sqe *__wrap_loop_sqe(struct loop *loop)
{
	struct io_uring_sqe *sqe = __real_loop_sqe(loop);

	assert_true(entry_count < MAX_ENTRIES);
	entries[entry_count++] = sqe;
	return sqe;
}

static int queue_start(void *arg, struct netdev_queue *queue, int kick_fd)
{
	struct pump_test *t = arg;

	net_pump_set_receive(t->pump, queue, MTU);
	return 0;
}

static void queue_stop(void *arg, struct netdev_queue *queue)
{
	struct pump_test *t = arg;

	assert_true(net_pump_is_idle(t->pump, false));
	net_pump_set_receive(t->pump, NULL, 0);
}

static const struct netdev_owner owner = {
	.queue_start = queue_start,
	.queue_stop = queue_stop,
};

static void make_device(struct pump_test *t)
{
	const struct netdev_config config = {
		.name = "pump",
		.pairs = 1,
		.owner = &owner,
		.arg = t,
	};

	assert_int_equal(netdev_new(&config, &t->netdev), 0);
	t->device = netdev_vhost(t->netdev);
	t->device->ops->set_features(t->device,
				     UINT64_C(1) << VIRTIO_F_VERSION_1 |
					     NET_FEATURE(MRG_RXBUF));
}

static int set_up(void **state)
{
	struct pump_test *t = calloc(1, sizeof(*t));
	void *ring = *state;
	int ends[2];

	assert_non_null(t);
	ring_setup(&ring);
	t->ring = ring;
	ring_start(t->ring, RING);
	assert_int_equal(socketpair(AF_UNIX,
				    SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				    0, ends),
			 0);
	t->fd = ends[0];
	t->wire = ends[1];
	assert_int_equal(loop_new(64, &t->loop), 0);
	make_device(t);
	assert_int_equal(net_pump_tap_new(
				 &(struct net_pump_config){
					 .loop = t->loop,
					 .limits = &t->limits,
				 },
				 t->fd, &t->pump),
			 0);
	for (unsigned i = 0; i < BUFFERS; i++) {
		const struct buffer buffer = {GUEST_DATA_GPA + i * BUFFER_BYTES,
					      BUFFER_BYTES, true};
		int id = driver_add(&t->ring->driver, &buffer, 1);

		assert_in_range(id, 0, RING - 1);
		t->gpa_of_id[id] = buffer.gpa;
	}
	assert_int_equal(t->device->ops->queue_start(t->device, 0, t->ring->vq,
						     -1, true),
			 0);
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct pump_test *t = *state;
	void *ring = t->ring;

	t->device->ops->queue_stop(t->device, 0);
	net_pump_free(t->pump);
	netdev_free(t->netdev);
	loop_free(t->loop);
	close(t->fd);
	close(t->wire);
	free(t);
	return ring_teardown(&ring);
}

static void send_frames(struct pump_test *t, unsigned count)
{
	uint8_t frame[HEADER_BYTES + FRAME_BYTES] = {0};

	for (unsigned i = 0; i < count; i++) {
		put_be32(frame + HEADER_BYTES + 14, t->sent++);
		assert_int_equal(send(t->wire, frame, sizeof(frame), 0),
				 sizeof(frame));
	}
	net_pump_wake(t->pump);
}

/* What the pump wants of the ring is in entries until it is finished. */
static void begin_round(struct pump_test *t)
{
	entry_count = 0;
	net_pump_run(t->pump);
}

static void finish_round(struct pump_test *t)
{
	assert_true(loop_submit(t->loop) >= 0);
	loop_reap(t->loop);
	net_pump_finish(t->pump);
}

static void run_round(struct pump_test *t)
{
	begin_round(t);
	finish_round(t);
}

/* How many frames the guest has been given; @seen has each one's number. */
static unsigned take_frames(struct pump_test *t, uint64_t *seen)
{
	uint32_t bytes;
	int id;

	while ((id = driver_used(&t->ring->driver, &bytes)) >= 0) {
		const uint8_t *data =
			guest_at(&t->ring->guest, t->gpa_of_id[id]);
		uint32_t number = get_be32(data + HEADER_BYTES + 14);

		assert_int_equal(bytes, HEADER_BYTES + FRAME_BYTES);
		assert_true(number < t->sent);
		assert_int_equal(*seen >> number & 1, 0);
		*seen |= UINT64_C(1) << number;
		t->taken++;
	}
	return t->taken;
}

/* The next round reads a batch. */
static void warm_up(struct pump_test *t, uint64_t *seen)
{
	send_frames(t, FIRST);
	run_round(t);
	assert_int_equal(entry_count, 0);
	assert_int_equal(take_frames(t, seen), FIRST);
	net_pump_wake(t->pump);
}

/* A batch of which no read has ended. */
static void begin_waiting(struct pump_test *t)
{
	begin_round(t);
	assert_int_equal(entry_count, BATCH);
	for (unsigned i = 0; i < entry_count; i++) {
		assert_int_equal(entries[i]->rw_flags, RWF_NOWAIT);
		entries[i]->rw_flags = 0;
	}
	finish_round(t);
	assert_false(net_pump_is_idle(t->pump, false));
}

/* Those that the kernel has for the reads that wait. */
static void let_end(struct pump_test *t, unsigned count)
{
	unsigned ended = 0;

	send_frames(t, count);
	for (unsigned i = 0; i < TRIES && ended < count; i++) {
		int n = loop_wait(t->loop, PATIENCE_NS);

		ended += n > 0 ? n : 0;
	}
	assert_int_equal(ended, count);
	net_pump_finish(t->pump);
}

static void batch_is_given_to_the_guest_at_once(void **state)
{
	struct pump_test *t = *state;
	uint64_t seen = 0;

	warm_up(t, &seen);
	send_frames(t, BATCH);
	run_round(t);
	assert_int_equal(entry_count, BATCH);
	assert_true(net_pump_is_idle(t->pump, false));
	assert_int_equal(take_frames(t, &seen), FIRST + BATCH);
}

static void queue_is_not_let_go_while_reads_are_under_way(void **state)
{
	struct pump_test *t = *state;
	uint64_t seen = 0;

	warm_up(t, &seen);
	begin_waiting(t);
	let_end(t, BATCH / 2);
	/* They have written, the others may still. */
	assert_false(net_pump_is_idle(t->pump, false));
	assert_int_equal(take_frames(t, &seen), FIRST);
	/* No other batch is begun meanwhile. */
	run_round(t);
	assert_int_equal(entry_count, 0);
	let_end(t, BATCH - BATCH / 2);
	assert_true(net_pump_is_idle(t->pump, false));
	assert_int_equal(take_frames(t, &seen), FIRST + BATCH);
}

/* The guest has its buffers as they were: it hears of no frame, and the ring goes
 * on with the first of them. */
static void
what_is_read_for_a_queue_that_is_switched_off_is_dropped(void **state)
{
	struct pump_test *t = *state;
	struct virtq_config config = driver_config(&t->ring->driver);
	uint64_t seen = 0;

	warm_up(t, &seen);
	begin_waiting(t);
	t->device->ops->queue_enable(t->device, 0, false);
	let_end(t, BATCH);
	assert_true(net_pump_is_idle(t->pump, false));
	assert_int_equal(take_frames(t, &seen), FIRST);
	assert_int_equal(virtq_in_flight(t->ring->vq), 0);
	t->device->ops->queue_stop(t->device, 0);
	config.base = virtq_stop(t->ring->vq);
	assert_int_equal(config.base & 0x7fff, FIRST);
	ring_start_with(t->ring, &config);
	assert_int_equal(t->device->ops->queue_start(t->device, 0, t->ring->vq,
						     -1, true),
			 0);
	/* As many as there are buffers, each once. */
	send_frames(t, 8);
	for (unsigned i = 0; i < 4; i++)
		run_round(t);
	assert_int_equal(take_frames(t, &seen), FIRST + 8);
}

static void kernel_that_cannot_read_without_waiting_is_asked_once(void **state)
{
	struct pump_test *t = *state;
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	uint64_t seen = 0;

	assert_true(fd >= 0);
	warm_up(t, &seen);
	send_frames(t, BATCH);
	begin_round(t);
	assert_int_equal(entry_count, BATCH);
	for (unsigned i = 0; i < entry_count; i++) {
		entries[i]->fd = fd;
		entries[i]->flags &= ~IOSQE_FIXED_FILE;
	}
	finish_round(t);
	assert_true(net_pump_is_idle(t->pump, false));
	assert_int_equal(take_frames(t, &seen), FIRST);
	/* Nothing else wakes the pump for what is there: it knows. */
	run_round(t);
	assert_int_equal(entry_count, 0);
	assert_int_equal(take_frames(t, &seen), FIRST + BATCH);
	for (unsigned i = 0; i < 3; i++) {
		send_frames(t, 10);
		run_round(t);
		assert_int_equal(entry_count, 0);
		assert_int_equal(take_frames(t, &seen),
				 FIRST + BATCH + 10 * (i + 1));
	}
	assert_int_equal(net_pump_error(t->pump), 0);
	close(fd);
}

#define ON_BOTH_RINGS(test) ON_BOTH_WITH(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH_RINGS(batch_is_given_to_the_guest_at_once),
		ON_BOTH_RINGS(queue_is_not_let_go_while_reads_are_under_way),
		ON_BOTH_RINGS(
			what_is_read_for_a_queue_that_is_switched_off_is_dropped),
		ON_BOTH_RINGS(
			kernel_that_cannot_read_without_waiting_is_asked_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
