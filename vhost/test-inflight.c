/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back-end that dies, at any instruction.
 *
 * A child runs the device's side of a ring under ptrace(2), one instruction at
 * a time. Whenever memory that it shares with the driver or the front-end has
 * changed, the parent keeps a copy. Each copy is what a crash at that moment
 * would have left behind: the parent puts it back, looks at the ring as the
 * driver would, starts a new device on it, and wants each chain that was not
 * seen used exactly once more, in the old order, and none besides.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vhost/inflight-layout.h"
#include "vhost/test-driver.h"

enum {
	SIZE = 8,
	CHAINS = 5,
	WINDOWS = 4,
	WINDOW_BYTES = 512,
	MAX_MOMENTS = 400,
};

/* What was in the shared memory at one moment. */
struct moment {
	uint8_t bytes[WINDOWS][WINDOW_BYTES];
};

struct crash_test {
	struct ring_test ring;
	struct inflight *inflight;
	uint8_t *region; /* as the front-end maps it */
	void *windows[WINDOWS];
	size_t window_bytes[WINDOWS];
	bool in_order;
	int tags[VIRTQ_MAX_SIZE]; /* by id: the order of driver_add */
	int ids[CHAINS];	  /* by tag */
	struct moment moments[MAX_MOMENTS];
	unsigned moment_count;
};

static void crash_init(struct crash_test *t, bool packed)
{
	struct ring_test *f = &t->ring;
	uint64_t size, offset;
	int fd;

	f->packed = packed;
	guest_init(&f->guest);
	assert_int_equal(virtq_new(&f->vq), 0);
	driver_init(&f->driver, &f->guest, packed, SIZE);
	assert_int_equal(inflight_new(1, SIZE, packed, 0, &t->inflight, &fd,
				      &size, &offset),
			 0);
	t->region = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(t->region, MAP_FAILED);
	close(fd);
	t->windows[0] = guest_at(&f->guest, GUEST_DESC_GPA);
	t->window_bytes[0] = SIZE * 16;
	t->windows[1] = guest_at(&f->guest, GUEST_AVAIL_GPA);
	t->window_bytes[1] = 64;
	t->windows[2] = guest_at(&f->guest, GUEST_USED_GPA);
	t->window_bytes[2] = 128;
	t->windows[3] = t->region;
	t->window_bytes[3] = size;
	assert_true(size <= WINDOW_BYTES);
}

static void crash_deinit(struct crash_test *t)
{
	virtq_free(t->ring.vq);
	munmap(t->region, t->window_bytes[3]);
	inflight_free(t->inflight);
	guest_deinit(&t->ring.guest);
	free(t);
}

static void moment_keep(const struct crash_test *t, struct moment *moment)
{
	for (unsigned i = 0; i < WINDOWS; i++)
		memcpy(moment->bytes[i], t->windows[i], t->window_bytes[i]);
}

static void moment_restore(struct crash_test *t, const struct moment *moment)
{
	for (unsigned i = 0; i < WINDOWS; i++)
		memcpy(t->windows[i], moment->bytes[i], t->window_bytes[i]);
}

static bool moment_is_now(const struct crash_test *t,
			  const struct moment *moment)
{
	for (unsigned i = 0; i < WINDOWS; i++)
		if (memcmp(moment->bytes[i], t->windows[i],
			   t->window_bytes[i]) != 0)
			return false;
	return true;
}

static int device_start(struct crash_test *t, struct virtq *vq)
{
	struct virtq_config config = driver_config(&t->ring.driver);

	config.in_order = t->in_order;
	return virtq_start(vq, &config, t->ring.guest.memory, NULL,
			   inflight_queue(t->inflight, 0));
}

/* Runs @scenario in a child, and keeps every moment of it. */
static void crash_trace(struct crash_test *t,
			void (*scenario)(struct crash_test *t))
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		scenario(t);
		_exit(0);
	}
	t->moment_count = 0;
	moment_keep(t, &t->moments[t->moment_count++]);
	assert_int_equal(waitpid(child, &status, 0), child);
	while (WIFSTOPPED(status)) {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL),
				 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		if (moment_is_now(t, &t->moments[t->moment_count - 1]))
			continue;
		assert_true(t->moment_count < MAX_MOMENTS);
		moment_keep(t, &t->moments[t->moment_count++]);
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int add_tagged(struct crash_test *t, int tag)
{
	/* Of one to three descriptors, some of them indirect. */
	int id = tag % 4 == 3
			 ? driver_add_indirect(&t->ring.driver, blk_request, 3,
					       GUEST_DATA_GPA + 0x8000 +
						       (unsigned)tag * 64)
			 : driver_add(&t->ring.driver,
				      &blk_request[tag % 2 ? 0 : 2 - tag % 4],
				      tag % 2 ? 2 : 1);

	assert_true(id >= 0);
	t->tags[id] = tag;
	return id;
}

/* Of one or two descriptors, none of which can be written. */
static void add_readable(struct crash_test *t, int tag)
{
	t->ids[tag] = driver_add(&t->ring.driver, blk_request, 1 + tag % 2);
	assert_true(t->ids[tag] >= 0);
}

/*
 * A few chains through the ring first, so that what follows crosses its end,
 * in the lap before or after, by @laps. Then CHAINS chains made available.
 */
static void crash_prepare(struct crash_test *t, unsigned laps)
{
	struct ring_test *f = &t->ring;
	struct virtq_chain chain;
	uint32_t len;

	assert_int_equal(device_start(t, f->vq), 0);
	for (unsigned i = 0; i < laps; i++) {
		driver_add(&f->driver, blk_request, 1);
		assert_int_equal(ring_get(f, &chain), 0);
		virtq_put(f->vq, &chain, 1);
		virtq_flush(f->vq);
		assert_true(driver_used(&f->driver, &len) >= 0);
	}
	for (int tag = 0; tag < CHAINS; tag++) {
		if (t->in_order)
			add_readable(t, tag);
		else
			add_tagged(t, tag);
	}
}

/* Takes, gives back out of order, in batches of one and more. */
static void device_works(struct crash_test *t)
{
	struct ring_test *f = &t->ring;
	struct virtq_chain held[CHAINS];

	for (unsigned i = 0; i < 3; i++)
		if (ring_get(f, &held[i]) != 0)
			_exit(1);
	virtq_put(f->vq, &held[1], 11);
	virtq_flush(f->vq);
	if (ring_get(f, &held[3]) != 0)
		_exit(1);
	virtq_unget(f->vq, &held[3], 1);
	for (unsigned i = 3; i < CHAINS; i++)
		if (ring_get(f, &held[i]) != 0)
			_exit(1);
	virtq_put(f->vq, &held[3], 13);
	virtq_put(f->vq, &held[0], 10);
	virtq_flush(f->vq);
	virtq_put(f->vq, &held[4], 14);
	virtq_put(f->vq, &held[2], 12);
	virtq_flush(f->vq);
}

/* What the driver sees used; marks it in @seen. */
static void driver_collect(struct crash_test *t, struct driver *driver,
			   bool *seen)
{
	uint32_t len;
	int id;

	while ((id = driver_used(driver, &len)) >= 0) {
		int tag = t->tags[id];

		assert_false(seen[tag]);
		assert_int_equal(len, 10 + tag);
		seen[tag] = true;
	}
}

/*
 * As if all had stopped at @moment: what is left comes in order and once, and
 * shows up when it is put back, one by one.
 */
static void check_moment(struct crash_test *t, const struct moment *moment)
{
	struct ring_test *f = &t->ring;
	struct driver *driver = malloc(sizeof(*driver));
	struct virtq_chain held[CHAINS];
	struct virtq_chain none;
	bool seen[CHAINS] = {false};
	int tags[CHAINS];
	unsigned count = 0;

	*driver = f->driver;
	moment_restore(t, moment);
	driver_collect(t, driver, seen);
	assert_int_equal(device_start(t, f->vq), 0);
	for (int tag = 0; tag < CHAINS; tag++) {
		if (seen[tag])
			continue;
		assert_int_equal(ring_get(f, &held[count]), 0);
		assert_int_equal(t->tags[held[count].id], tag);
		tags[count++] = tag;
	}
	assert_int_equal(ring_get(f, &none), VIRTQ_E_EMPTY);
	/* Nothing shows before it is put, nor anything else with it. */
	for (unsigned i = count; i-- > 0;) {
		virtq_put(f->vq, &held[i], 10 + (unsigned)tags[i]);
		virtq_flush(f->vq);
		driver_collect(t, driver, seen);
		for (unsigned j = 0; j < count; j++)
			assert_int_equal(seen[tags[j]], j >= i);
	}
	virtq_stop(f->vq);
	free(driver);
}

/* The restart itself, and a chain taken. */
static void device_restarts(struct crash_test *t)
{
	struct virtq_chain chain;

	if (device_start(t, t->ring.vq) != 0)
		_exit(1);
	if (ring_get(&t->ring, &chain) == VIRTQ_E_BROKEN)
		_exit(1);
}

/* A moment in the middle again, with a second crash in the recovery. */
static void check_second_crash(struct crash_test *t)
{
	struct moment first = t->moments[t->moment_count / 2];

	moment_restore(t, &first);
	crash_trace(t, device_restarts);
	for (unsigned i = 0; i < t->moment_count; i++)
		check_moment(t, &t->moments[i]);
}

/* Not where the kernel or a sandbox does not allow it. */
static bool ptrace_works(void)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0);
	return child > 0 && waitpid(child, &status, 0) == child &&
	       WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* In order: batches for which one element stands, and chains that wait. */
static void device_works_in_order(struct crash_test *t)
{
	struct ring_test *f = &t->ring;
	struct virtq_chain held[CHAINS];

	for (unsigned i = 0; i < CHAINS; i++)
		if (ring_get(f, &held[i]) != 0)
			_exit(1);
	virtq_put(f->vq, &held[2], 0);
	virtq_put(f->vq, &held[0], 0);
	virtq_put(f->vq, &held[1], 0);
	virtq_flush(f->vq);
	virtq_put(f->vq, &held[4], 0);
	virtq_flush(f->vq);
	virtq_put(f->vq, &held[3], 0);
	virtq_flush(f->vq);
}

/* How many chains the driver has seen used, when it was @seen of them before. */
static unsigned collect_in_order(const struct crash_test *t,
				 struct driver *driver, unsigned seen)
{
	uint32_t len;
	unsigned n;

	do {
		n = driver_used_in_order(driver, t->ids + seen, CHAINS - seen,
					 &len);
		seen += n;
	} while (n > 0);
	return seen;
}

static void check_moment_in_order(struct crash_test *t,
				  const struct moment *moment)
{
	struct ring_test *f = &t->ring;
	struct driver *driver = malloc(sizeof(*driver));
	struct virtq_chain held[CHAINS];
	struct virtq_chain none;
	unsigned seen;

	*driver = f->driver;
	moment_restore(t, moment);
	seen = collect_in_order(t, driver, 0);
	assert_int_equal(device_start(t, f->vq), 0);
	for (unsigned i = seen; i < CHAINS; i++) {
		assert_int_equal(ring_get(f, &held[i]), 0);
		assert_int_equal(held[i].id, t->ids[i]);
	}
	assert_int_equal(ring_get(f, &none), VIRTQ_E_EMPTY);
	/* Nothing shows before the oldest is put, and all with it. */
	for (unsigned i = CHAINS; i-- > seen;) {
		assert_int_equal(collect_in_order(t, driver, seen), seen);
		virtq_put(f->vq, &held[i], 0);
		virtq_flush(f->vq);
	}
	assert_int_equal(collect_in_order(t, driver, seen), CHAINS);
	virtq_stop(f->vq);
	free(driver);
}

static void crash_at_any_instruction_in_order(bool packed)
{
	/* So that the ring's end is met at different steps. */
	static const unsigned laps[] = {3, 13};

	if (!ptrace_works())
		skip();
	for (unsigned i = 0; i < ARRAY_SIZE(laps); i++) {
		struct crash_test *t = calloc(1, sizeof(*t));

		t->in_order = true;
		crash_init(t, packed);
		crash_prepare(t, laps[i]);
		crash_trace(t, device_works_in_order);
		assert_true(t->moment_count > 2 * CHAINS);
		virtq_stop(t->ring.vq);
		for (unsigned j = 0; j < t->moment_count; j++)
			check_moment_in_order(t, &t->moments[j]);
		crash_deinit(t);
	}
}

static void
split_ring_in_order_survives_a_crash_at_any_instruction(void **state)
{
	crash_at_any_instruction_in_order(false);
}

static void
packed_ring_in_order_survives_a_crash_at_any_instruction(void **state)
{
	crash_at_any_instruction_in_order(true);
}

static void crash_at_any_instruction(bool packed)
{
	/* So that the ring's end is met at different steps. */
	static const unsigned laps[] = {3, 13};

	if (!ptrace_works())
		skip();

	for (unsigned i = 0; i < ARRAY_SIZE(laps); i++) {
		struct crash_test *t = calloc(1, sizeof(*t));

		crash_init(t, packed);
		crash_prepare(t, laps[i]);
		crash_trace(t, device_works);
		/* Each chain is at least marked, published and unmarked. */
		assert_true(t->moment_count > 3 * CHAINS);
		virtq_stop(t->ring.vq);
		for (unsigned j = 0; j < t->moment_count; j++)
			check_moment(t, &t->moments[j]);
		check_second_crash(t);
		crash_deinit(t);
	}
}

static void split_ring_survives_a_crash_at_any_instruction(void **state)
{
	crash_at_any_instruction(false);
}

static void packed_ring_survives_a_crash_at_any_instruction(void **state)
{
	crash_at_any_instruction(true);
}

/* A region with two chains in flight, 1 and 2 of three, and one given back. */
static struct crash_test *region_in_use(bool packed)
{
	struct crash_test *t = calloc(1, sizeof(*t));
	struct virtq_chain held[3];
	struct ring_test *f = &t->ring;

	crash_init(t, packed);
	crash_prepare(t, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(ring_get(f, &held[i]), 0);
	virtq_put(f->vq, &held[0], 10);
	virtq_flush(f->vq);
	virtq_stop(f->vq);
	return t;
}

static void expect_start_refused(struct crash_test *t, const char *word)
{
	assert_int_equal(device_start(t, t->ring.vq), VIRTQ_E_BROKEN);
	if (!strstr(virtq_error(t->ring.vq), word))
		fail_msg("'%s' says nothing of '%s'", virtq_error(t->ring.vq),
			 word);
}

/* Starts on the region after each lie, told by @lie, until it has no more. */
static void expect_lies_refused(bool packed,
				const char *(*lie)(void *region, unsigned i))
{
	struct crash_test *t = region_in_use(packed);
	struct moment truth;
	const char *word;

	moment_keep(t, &truth);
	assert_int_equal(device_start(t, t->ring.vq), 0);
	virtq_stop(t->ring.vq);
	for (unsigned i = 0; (word = lie(t->region, i)); i++) {
		expect_start_refused(t, word);
		moment_restore(t, &truth);
	}
	assert_int_equal(device_start(t, t->ring.vq), 0);
	virtq_stop(t->ring.vq);
	crash_deinit(t);
}

static const char *split_lie(void *at, unsigned i)
{
	struct inflight_split *region = at;
	unsigned marked = region->desc[0].inflight ? 0 : 1;

	while (!region->desc[marked].inflight)
		marked++;
	switch (i) {
	case 0:
		region->version = 2;
		return "version 2";
	case 1:
		region->features = 1;
		return "features 0x1";
	case 2:
		region->desc_num = SIZE + 1;
		return "entries";
	case 3:
		region->desc_num = 0;
		return "entries";
	case 4:
		region->desc[SIZE - 1].inflight = 2;
		return "marks";
	case 5: /* a batch of two, of which the second is nowhere */
		region->used_idx -= 2;
		region->desc[region->last_batch_head].next = SIZE;
		return "no list";
	case 6: /* a loop */
		region->used_idx -= 2;
		region->desc[region->last_batch_head].next =
			region->last_batch_head;
		return "no list";
	case 7:
		region->used_idx -= 1;
		region->last_batch_head = 0xffff;
		return "no list";
	case 8:
		region->used_idx -= SIZE + 1;
		return "used index";
	case 9:
		region->used_idx += 1;
		return "used index";
	case 10:
		region->desc[marked].counter = UINT64_MAX;
		return "counter";
	default:
		return NULL;
	}
}

static void split_region_that_lies_is_refused(void **state)
{
	expect_lies_refused(false, split_lie);
}

static const char *packed_lie(void *at, unsigned i)
{
	struct inflight_packed *region = at;
	unsigned first = 0;

	while (!region->desc[first].inflight)
		first++;
	switch (i) {
	case 0:
		region->version = 2;
		return "version 2";
	case 1:
		region->features = 1;
		return "features 0x1";
	case 2:
		region->desc_num = SIZE - 1;
		return "entries";
	case 3:
		region->used_idx = SIZE;
		return "used index";
	case 4:
		region->old_used_idx = 0xffff;
		return "used index";
	case 5:
		region->used_wrap_counter = 2;
		return "used index";
	case 6:
		region->old_used_wrap_counter = 255;
		return "used index";
	case 7:
		region->old_free_head = SIZE + 1;
		return "free list";
	case 8: /* a loop */
		region->desc[region->old_free_head].next =
			region->old_free_head;
		return "free list";
	case 9: /* chains that are also free */
		region->old_free_head = (uint16_t)first;
		return "n";
	case 10: /* all others belong to nobody */
		region->old_free_head = SIZE;
		return "neither";
	case 11:
		region->desc[first].num = 0;
		return "chain of 0";
	case 12:
		region->desc[first].num = SIZE + 1;
		return "chain of 9";
	case 13:
		region->desc[first].num = 0xffff;
		return "chain of";
	case 14: /* on into the free ones */
		region->desc[first].num = 5;
		return "n";
	case 15:
		region->desc[first].num = 2;
		region->desc[first].next = 0xffff;
		return "no list";
	case 16:
		region->desc[first].num = 2;
		region->desc[first].next = (uint16_t)first;
		return "no list";
	case 17:
		region->desc[first].counter = UINT64_MAX;
		return "counter";
	case 18: /* not in flight, not free */
		region->desc[first].inflight = 0;
		return "neither";
	default:
		return NULL;
	}
}

static void packed_region_that_lies_is_refused(void **state)
{
	expect_lies_refused(true, packed_lie);
}

static void region_of_another_shape_is_refused(void **state)
{
	struct crash_test *t = calloc(1, sizeof(*t));
	struct virtq_config config;
	struct inflight_queue queue;

	crash_init(t, false);
	config = driver_config(&t->ring.driver);
	queue = inflight_queue(t->inflight, 0);
	queue.packed = true;
	assert_int_equal(virtq_start(t->ring.vq, &config, t->ring.guest.memory,
				     NULL, queue),
			 VIRTQ_E_BROKEN);
	queue.packed = false;
	queue.size = SIZE / 2;
	assert_int_equal(virtq_start(t->ring.vq, &config, t->ring.guest.memory,
				     NULL, queue),
			 VIRTQ_E_BROKEN);
	crash_deinit(t);
}

static void head_that_is_in_flight_is_not_taken_again(void **state)
{
	struct crash_test *t = calloc(1, sizeof(*t));
	struct ring_test *f = &t->ring;
	struct virtq_chain chain;

	crash_init(t, false);
	assert_int_equal(device_start(t, f->vq), 0);
	driver_add(&f->driver, blk_request, 1);
	assert_int_equal(ring_get(f, &chain), 0);
	f->driver.avail->ring[1] = f->driver.avail->ring[0];
	f->driver.avail->idx = 2;
	expect_broken(f, "in flight already");
	crash_deinit(t);
}

/* A driver that was reset, with the region of before. */
static void settled_ring_begins_where_it_is_told(bool packed)
{
	struct crash_test *t = region_in_use(packed);
	struct ring_test *f = &t->ring;
	struct virtq_chain chain;

	assert_int_equal(device_start(t, f->vq), 0);
	while (ring_get(f, &chain) == 0) {
		assert_false(virtq_is_settled(f->vq));
		virtq_put(f->vq, &chain, 0);
		assert_false(virtq_is_settled(f->vq));
		virtq_flush(f->vq);
	}
	assert_true(virtq_is_settled(f->vq));
	virtq_stop(f->vq);
	inflight_forget(t->inflight, 0);
	driver_init(&f->driver, &f->guest, packed, SIZE);
	assert_int_equal(device_start(t, f->vq), 0);
	assert_int_equal(ring_get(f, &chain), VIRTQ_E_EMPTY);
	add_tagged(t, 0);
	assert_int_equal(ring_get(f, &chain), 0);
	/* What is in flight now is remembered. */
	virtq_stop(f->vq);
	assert_int_equal(device_start(t, f->vq), 0);
	assert_false(virtq_is_settled(f->vq));
	assert_int_equal(ring_get(f, &chain), 0);
	assert_true(chain.recovered);
	crash_deinit(t);
}

static void settled_rings_begin_where_they_are_told(void **state)
{
	settled_ring_begins_where_it_is_told(false);
	settled_ring_begins_where_it_is_told(true);
}

static void recovered_chain_that_is_ungot_comes_again(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct crash_test *t = region_in_use(packed);
		struct ring_test *f = &t->ring;
		struct virtq_chain held[4];

		assert_int_equal(device_start(t, f->vq), 0);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(ring_get(f, &held[i]), 0);
		virtq_unget(f->vq, held, 3);
		for (int tag = 1; tag < CHAINS; tag++) {
			assert_int_equal(ring_get(f, &held[0]), 0);
			assert_int_equal(t->tags[held[0].id], tag);
		}
		assert_int_equal(ring_get(f, &held[0]), VIRTQ_E_EMPTY);
		virtq_stop(f->vq);
		crash_deinit(t);
	}
}

static void region_is_checked_against_its_file(void **state)
{
	struct inflight *inflight;
	uint64_t size, offset;
	int fd;

	assert_int_equal(inflight_queue_bytes(SIZE, false), 192);
	assert_int_equal(inflight_queue_bytes(SIZE, true), 320);
	assert_int_equal(
		inflight_new(0, SIZE, false, 0, &inflight, &fd, &size, &offset),
		-EINVAL);
	assert_int_equal(
		inflight_new(1, 0, false, 0, &inflight, &fd, &size, &offset),
		-EINVAL);
	assert_int_equal(inflight_new(1, VIRTQ_MAX_SIZE + 1, false, 0,
				      &inflight, &fd, &size, &offset),
			 -EINVAL);
	assert_int_equal(
		inflight_new(2, SIZE, false, 0, &inflight, &fd, &size, &offset),
		0);
	assert_int_equal(size, 384);
	assert_non_null(inflight_queue(inflight, 1).base);
	assert_null(inflight_queue(inflight, 2).base);
	inflight_free(inflight);
	assert_int_equal(
		inflight_map(fd, size - 1, 0, 2, SIZE, false, &inflight),
		-EINVAL);
	assert_int_equal(inflight_map(fd, size, 8, 2, SIZE, false, &inflight),
			 -EINVAL);
	assert_int_equal(inflight_map(fd, size, 4, 1, SIZE, false, &inflight),
			 -EINVAL);
	assert_int_equal(
		inflight_map(fd, UINT64_MAX, 0, 2, SIZE, false, &inflight),
		-EINVAL);
	assert_int_equal(inflight_map(fd, size, 0, 2, SIZE, true, &inflight),
			 -EINVAL);
	assert_int_equal(inflight_map(fd, 192, 192, 1, SIZE, false, &inflight),
			 0);
	inflight_free(inflight);
	close(fd);
}

static void device_gets_the_pages_behind_the_queues(void **state)
{
	struct inflight *inflight;
	uint64_t size, offset;
	size_t bytes;
	uint8_t *area;
	int fd;

	assert_int_equal(inflight_new(2, SIZE, false, 8192, &inflight, &fd,
				      &size, &offset),
			 0);
	assert_int_equal(size, 4096 + 8192);
	area = inflight_area(inflight, &bytes);
	assert_int_equal(bytes, 8192);
	assert_ptr_equal(area,
			 (uint8_t *)inflight_queue(inflight, 0).base + 4096);
	memset(area, 0x5a, bytes);
	inflight_free(inflight);
	/* It is what it was, and as long as the front-end says. */
	assert_int_equal(
		inflight_map(fd, size - 1, 0, 2, SIZE, false, &inflight), 0);
	area = inflight_area(inflight, &bytes);
	assert_int_equal(bytes, 8191);
	assert_int_equal(area[0], 0x5a);
	assert_int_equal(area[bytes - 1], 0x5a);
	inflight_free(inflight);
	assert_int_equal(inflight_map(fd, 4096, 0, 2, SIZE, false, &inflight),
			 0);
	assert_null(inflight_area(inflight, &bytes));
	inflight_free(inflight);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			split_ring_survives_a_crash_at_any_instruction),
		cmocka_unit_test(
			packed_ring_survives_a_crash_at_any_instruction),
		cmocka_unit_test(
			split_ring_in_order_survives_a_crash_at_any_instruction),
		cmocka_unit_test(
			packed_ring_in_order_survives_a_crash_at_any_instruction),
		cmocka_unit_test(split_region_that_lies_is_refused),
		cmocka_unit_test(packed_region_that_lies_is_refused),
		cmocka_unit_test(region_of_another_shape_is_refused),
		cmocka_unit_test(head_that_is_in_flight_is_not_taken_again),
		cmocka_unit_test(settled_rings_begin_where_they_are_told),
		cmocka_unit_test(recovered_chain_that_is_ungot_comes_again),
		cmocka_unit_test(region_is_checked_against_its_file),
		cmocka_unit_test(device_gets_the_pages_behind_the_queues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
