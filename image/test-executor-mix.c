/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random requests on the fake format against a model in memory, on one thread
 * and on two. Requests under way never share a byte, so that what each must
 * read is known; they do share clusters.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/async-store.h"
#include "image/cipher.h"
#include "image/executor.h"
#include "image/fake-format.h"
#include "image/flaky-store.h"
#include "image/open.h"
#include "tests/cmocka.h"
#include "tests/random.h"

enum {
	SIZE = 60 * FAKE_CLUSTER_BYTES + 1000, /* ends within a cluster */
	BACKING_SIZE = 40 * FAKE_CLUSTER_BYTES + 300,
	MAX_BYTES = 3 * FAKE_CLUSTER_BYTES,
	SLOTS = 12, /* each thread's */
	MAX_THREADS = 2,
	IOVS = 40,
};

struct slot {
	struct executor_request request;
	struct worker *worker;
	struct iovec iov[IOVS];
	bool used;
	char data[MAX_BYTES];
};

struct worker {
	struct loop *loop;
	struct executor *executor;
	struct slot slots[SLOTS];
	uint64_t random;
	unsigned to_submit, failed, depth;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char model[SIZE]; /* under the lock, as are the slots' ranges */
static struct worker workers[MAX_THREADS];
static bool unknown[SIZE]; /* bytes that a failed request may have changed */
static bool faults;
static struct image *image;

static uint64_t next_random(struct worker *worker)
{
	return random_next(&worker->random) >> 11;
}

static bool is_taken(uint64_t offset, uint64_t length)
{
	for (unsigned w = 0; w < MAX_THREADS; w++)
		for (unsigned s = 0; s < SLOTS; s++) {
			const struct slot *slot = &workers[w].slots[s];

			if (slot->used &&
			    ranges_overlap(offset, length, slot->request.offset,
					   slot->request.length))
				return true;
		}
	return false;
}

/*
 * What the whole clusters of a discard become; the rest stays. An encrypted
 * image may keep what lies there.
 */
static void discard_model(uint64_t offset, uint64_t length)
{
	uint64_t start = align_up(offset, FAKE_CLUSTER_BYTES);
	uint64_t end = align_down(offset + length, FAKE_CLUSTER_BYTES);

	if (start >= end)
		return;
	memset(model + start, 0, end - start);
	if (image->cipher)
		memset(unknown + start, true, end - start);
}

static bool agrees(const char *got, uint64_t offset, uint64_t length)
{
	for (uint64_t i = 0; i < length; i++)
		if (got[i] != model[offset + i] && !unknown[offset + i])
			return false;
	return true;
}

static void check_or_apply(struct slot *slot)
{
	const struct executor_request *request = &slot->request;
	char *at = model + request->offset;

	switch (request->op) {
	case EXECUTOR_READ:
		if (!agrees(slot->data, request->offset, request->length))
			slot->worker->failed++;
		break;
	case EXECUTOR_WRITE:
	case EXECUTOR_WRITE_COMPRESSED:
		memcpy(at, slot->data, request->length);
		memset(unknown + request->offset, false, request->length);
		break;
	case EXECUTOR_ZERO:
		memset(at, 0, request->length);
		memset(unknown + request->offset, false, request->length);
		break;
	case EXECUTOR_DISCARD:
		discard_model(request->offset, request->length);
		break;
	case EXECUTOR_FLUSH:
		break;
	}
}

static void slot_done(struct executor_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, request);

	pthread_mutex_lock(&lock);
	if (result == 0)
		check_or_apply(slot);
	else if (!faults)
		slot->worker->failed++;
	else if (request->op != EXECUTOR_READ)
		memset(unknown + request->offset, true, request->length);
	slot->used = false;
	pthread_mutex_unlock(&lock);
}

/* Cuts the slot's data into pieces of all sizes, some empty. */
static unsigned cut(struct slot *slot, uint64_t length)
{
	uint64_t at = 0;
	unsigned count = 0;

	while (at < length) {
		uint64_t piece = next_random(slot->worker) % 600;

		piece = count == IOVS - 1 ? length - at
					  : MIN(piece, length - at);
		slot->iov[count++] = (struct iovec){slot->data + at, piece};
		at += piece;
	}
	return count;
}

static enum executor_op pick_op(struct worker *worker)
{
	static const enum executor_op ops[] = {
		EXECUTOR_READ,	EXECUTOR_READ,	  EXECUTOR_READ,
		EXECUTOR_WRITE, EXECUTOR_WRITE,	  EXECUTOR_WRITE,
		EXECUTOR_ZERO,	EXECUTOR_DISCARD, EXECUTOR_FLUSH};

	return ops[next_random(worker) % ARRAY_SIZE(ops)];
}

static void prepare(struct worker *worker, struct slot *slot, uint64_t offset,
		    uint64_t length)
{
	enum executor_op op = pick_op(worker);
	bool data = op == EXECUTOR_READ || op == EXECUTOR_WRITE;

	slot->request = (struct executor_request){
		.op = op,
		.offset = op == EXECUTOR_FLUSH ? 0 : offset,
		.length = op == EXECUTOR_FLUSH ? 0 : length,
		.iov = slot->iov,
		.iov_count = data ? cut(slot, length) : 0,
		.done = slot_done,
	};
	memset(slot->data, next_random(worker) % 8 ? next_random(worker) : 0,
	       length);
}

static void submit_slot(struct worker *worker, struct slot *slot)
{
	uint64_t offset = next_random(worker) % SIZE;
	uint64_t length =
		1 + next_random(worker) % MIN(0ul + MAX_BYTES, SIZE - offset);

	if (next_random(worker) % 3 == 0) {
		offset = align_down(offset, FAKE_CLUSTER_BYTES);
		length = MIN(0ul + FAKE_CLUSTER_BYTES, SIZE - offset);
	}
	pthread_mutex_lock(&lock);
	if (!is_taken(offset, length)) {
		slot->used = true;
		slot->worker = worker;
		prepare(worker, slot, offset, length);
	}
	pthread_mutex_unlock(&lock);
	if (!slot->used)
		return;
	worker->to_submit--;
	executor_submit(worker->executor, &slot->request);
}

static bool in_line; /* what all executors are made as */

static void *work(void *arg)
{
	struct worker *worker = arg;
	const struct executor_config config = {.depth = worker->depth,
					       .in_line = in_line};

	if (loop_new(64, &worker->loop) < 0 ||
	    executor_new(worker->loop, image, &config, &worker->executor) < 0) {
		worker->failed++;
		return NULL;
	}
	while (worker->to_submit > 0 ||
	       executor_in_flight(worker->executor) > 0) {
		for (unsigned i = 0; i < SLOTS && worker->to_submit > 0; i++)
			if (!worker->slots[i].used)
				submit_slot(worker, &worker->slots[i]);
		executor_set_writethrough(worker->executor,
					  next_random(worker) % 16 == 0);
		/* Nobody may wait this long for anything. */
		if (executor_in_flight(worker->executor) > 0 &&
		    loop_wait(worker->loop, 10 * NS_PER_SECOND) == 0) {
			worker->failed++;
			return NULL;
		}
	}
	executor_free(worker->executor);
	loop_free(worker->loop);
	return NULL;
}

static void make_model(void)
{
	for (size_t at = 0; at < SIZE; at++) {
		size_t cluster = at / FAKE_CLUSTER_BYTES;

		model[at] = cluster % 7 == 1 ? 0 : (at / 5) * 31 + cluster;
	}
}

/* Where the top image leaves it to the backing one: its content, or zeroes. */
static void adopt_backing(const char *backing)
{
	for (size_t at = 0; at < SIZE; at++)
		if (at / FAKE_CLUSTER_BYTES % 3 == 0)
			model[at] = at < BACKING_SIZE ? backing[at] : 0;
}

static void make_image(struct store *store, struct store *backing_store,
		       uint64_t seed)
{
	static char content[BACKING_SIZE];
	struct image *backing = NULL;

	memset(unknown, false, sizeof(unknown));
	make_model();
	if (backing_store) {
		memset(content, 'b', sizeof(content));
		memset(content + 9000, 0, 9000);
		backing = fake_new(backing_store, content, BACKING_SIZE, true,
				   NULL, seed + 1);
		adopt_backing(content);
	}
	image = fake_new(store, model, SIZE, false, backing, seed);
}

static void run_workers(unsigned count, unsigned requests, unsigned depth)
{
	pthread_t threads[MAX_THREADS];

	memset(workers, 0, sizeof(workers));
	for (unsigned i = 0; i < count; i++) {
		workers[i].random = 88172645463325252 + i;
		workers[i].to_submit = requests;
		workers[i].depth = depth;
	}
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, work, &workers[i]),
			0);
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(workers[i].failed, 0);
}

/* Each kind of answer was met; what was freed came back and was used again. */
static void check_counts(bool is_file)
{
	struct fake_counts counts = fake_counts(image);

	assert_true(counts.needs > 0);
	/* One thread on memory never has two requests under way. */
	if (is_file)
		assert_true(counts.busy > 0);
	assert_true(counts.must_flushes > 0 && counts.allocations > 0);
	assert_true(counts.flushes > 0 && counts.reclaimed > 0);
}

static struct store *memory(void)
{
	struct store *store = NULL;

	assert_int_equal(store_new_memory(0, &store), 0);
	return store;
}

static struct store *file(const char *folder, bool direct)
{
	const struct store_file_options options = {.direct = direct};
	struct store *store = NULL;
	char path[80];

	snprintf(path, sizeof(path), "%s/ringline-mix-XXXXXX", folder);
	close(mkstemp(path));
	assert_int_equal(store_open_file(path, &options, &store, NULL), 0);
	unlink(path);
	return store;
}

static void check_mix(struct store *store, struct store *backing,
		      unsigned threads, unsigned requests)
{
	make_image(store, backing, 4711);
	run_workers(threads, requests, 8);
	check_counts(store->fd >= 0);
	assert_int_equal(image_close(image), 0);
}

static void a_mix_on_memory_agrees_with_the_model(void **state)
{
	check_mix(memory(), NULL, 1, 6000);
	check_mix(memory(), memory(), 1, 6000);
}

static void a_mix_on_tmpfs_agrees_with_the_model(void **state)
{
	check_mix(file("/dev/shm", false), file("/dev/shm", false), 1, 6000);
}

static void a_mix_on_disk_agrees_with_the_model(void **state)
{
	check_mix(file("/var/tmp", false), file("/var/tmp", false), 1, 600);
}

static void a_mix_in_line_agrees_with_the_model(void **state)
{
	in_line = true;
	check_mix(file("/var/tmp", false), file("/var/tmp", false), 1, 600);
	check_mix(file("/var/tmp", false), file("/var/tmp", false), 2, 300);
	/* Where it cannot be, it is not. */
	check_mix(file("/dev/shm", true), memory(), 1, 600);
	in_line = false;
}

static void a_mix_with_o_direct_agrees_with_the_model(void **state)
{
	check_mix(file("/dev/shm", true), file("/dev/shm", true), 1, 2000);
}

static void two_threads_on_memory_agree_with_the_model(void **state)
{
	check_mix(memory(), memory(), 2, 3000);
}

static void two_threads_on_tmpfs_agree_with_the_model(void **state)
{
	check_mix(file("/dev/shm", false), file("/dev/shm", false), 2, 3000);
}

static int done_result;

static void count_done(struct executor_request *request, int result)
{
	done_result = result;
}

static struct image_cipher *key(unsigned number, bool by_host)
{
	const struct cipher_spec spec = {
		.algorithm = number % 2 ? CIPHER_AES_128 : CIPHER_AES_256,
		.mode = number % 2 ? CIPHER_CBC : CIPHER_XTS,
		.iv = CIPHER_PLAIN64,
	};
	uint8_t bytes[CIPHER_MAX_KEY_BYTES];
	struct image_cipher *cipher = NULL;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = number + i;
	assert_int_equal(image_cipher_new(&spec, bytes, by_host, &cipher, NULL),
			 0);
	return cipher;
}

/* Image and backing image with a key each, counted in different ways. */
static void check_encrypted_mix(struct store *store, struct store *backing,
				unsigned threads, unsigned requests)
{
	make_image(store, backing, 4711);
	fake_encrypt(image, key(1, true));
	if (backing)
		fake_encrypt(image->backing, key(2, false));
	run_workers(threads, requests, 8);
	check_counts(store->fd >= 0);
	assert_int_equal(image_close(image), 0);
}

static void encrypted_mixes_agree_with_the_model(void **state)
{
	check_encrypted_mix(memory(), memory(), 1, 4000);
	check_encrypted_mix(file("/dev/shm", false), file("/dev/shm", false), 1,
			    4000);
	check_encrypted_mix(file("/var/tmp", false), file("/var/tmp", false), 1,
			    400);
	check_encrypted_mix(file("/dev/shm", true), file("/dev/shm", true), 1,
			    1500);
	check_encrypted_mix(file("/dev/shm", false), NULL, 2, 3000);
}

/* Positions that follow the guest, at the top of the chain. */
static void
an_encrypted_mix_by_guest_position_agrees_with_the_model(void **state)
{
	make_image(file("/dev/shm", false), NULL, 99);
	fake_encrypt(image, key(4, false));
	run_workers(1, 4000, 8);
	check_counts(true);
	assert_int_equal(image_close(image), 0);
}

static void nothing_of_an_encrypted_image_lies_plain_in_its_store(void **state)
{
	static char marker[64] = "a line that nobody else may read in the file";
	struct store *store = memory();
	struct iovec iov = {marker, sizeof(marker)};
	struct executor_request request = {
		.op = EXECUTOR_WRITE,
		.offset = FAKE_CLUSTER_BYTES + 100,
		.length = sizeof(marker),
		.iov = &iov,
		.iov_count = 1,
		.done = count_done,
	};
	const struct executor_config config = {.depth = 4};
	struct executor *executor;
	struct loop *loop;

	make_image(store, NULL, 4711);
	fake_encrypt(image, key(1, true));
	assert_int_equal(loop_new(64, &loop), 0);
	assert_int_equal(executor_new(loop, image, &config, &executor), 0);
	done_result = 1;
	executor_submit(executor, &request);
	while (executor_in_flight(executor) > 0)
		assert_true(loop_wait(loop, 2 * NS_PER_SECOND) > 0);
	assert_int_equal(done_result, 0);
	executor_free(executor);
	assert_null(memmem(store_memory_data(store), store->size_bytes, marker,
			   20));
	loop_free(loop);
	assert_int_equal(image_close(image), 0);
}

/* Without the key: an error, and the store as it was. */
static void a_locked_image_is_neither_read_nor_written(void **state)
{
	struct store *store = memory();
	char data[FAKE_CLUSTER_BYTES] = "untouched";
	struct iovec iov = {data, sizeof(data)};
	const struct executor_config config = {.depth = 4};
	struct image_cipher *cipher = NULL;
	struct executor *executor;
	struct loop *loop;
	unsigned refused = 0;

	make_image(store, NULL, 4711);
	assert_int_equal(image_cipher_new_locked(&cipher), 0);
	image->cipher = cipher;
	assert_int_equal(loop_new(64, &loop), 0);
	assert_int_equal(executor_new(loop, image, &config, &executor), 0);
	for (unsigned i = 0; i < 120; i++) {
		struct executor_request request = {
			.op = i % 2 ? EXECUTOR_READ : EXECUTOR_WRITE,
			.offset = i / 2 * FAKE_CLUSTER_BYTES,
			.length = sizeof(data),
			.iov = &iov,
			.iov_count = 1,
			.done = count_done,
		};

		done_result = 1;
		executor_submit(executor, &request);
		while (executor_in_flight(executor) > 0)
			assert_true(loop_wait(loop, 2 * NS_PER_SECOND) > 0);
		if (!(i % 2))
			assert_int_equal(done_result, -EACCES);
		refused += done_result == -EACCES;
	}
	assert_true(refused > 60);
	executor_free(executor);
	assert_null(memmem(store_memory_data(store), store->size_bytes,
			   "untouched", 9));
	loop_free(loop);
	assert_int_equal(image_close(image), 0);
}

static void check_async_mix(struct store *store, struct store *backing,
			    unsigned threads, bool encrypted)
{
	make_image(store, backing, 4711);
	if (encrypted)
		fake_encrypt(image, key(1, true));
	run_workers(threads, 3000, 8);
	check_counts(false);
	/* What is encrypted goes by way of the synchronous calls. */
	assert_true(encrypted || async_carried_out(store) > 1000);
	assert_int_equal(image_close(image), 0);
}

static void stores_that_work_by_themselves_agree_with_the_model(void **state)
{
	check_async_mix(async_new(memory()), NULL, 1, false);
	check_async_mix(async_new(memory()), async_new(memory()), 1, false);
	check_async_mix(async_new(memory()), async_new(memory()), 2, false);
	check_async_mix(async_new(memory()), file("/dev/shm", false), 2, false);
	check_async_mix(async_new(memory()), async_new(memory()), 1, true);
}

/*
 * Four fills, all there are, whose reads of the backing image all have to wait
 * for its metadata: they must not then wait for a fill.
 */
static void reads_of_fills_need_no_fill(void **state)
{
	static struct worker *worker = &workers[0];
	const struct executor_config config = {.depth = 4};

	memset(workers, 0, sizeof(workers));
	make_image(file("/dev/shm", false), file("/dev/shm", false), 4711);
	assert_int_equal(loop_new(64, &worker->loop), 0);
	assert_int_equal(
		executor_new(worker->loop, image, &config, &worker->executor),
		0);
	for (unsigned i = 0; i < 4; i++) {
		struct slot *slot = &worker->slots[i];

		slot->worker = worker;
		slot->iov[0] = (struct iovec){slot->data, 1};
		slot->request = (struct executor_request){
			.op = EXECUTOR_WRITE,
			.offset = 3 * i * FAKE_CLUSTER_BYTES + 100,
			.length = 1,
			.iov = slot->iov,
			.iov_count = 1,
			.done = slot_done,
		};
		executor_submit(worker->executor, &slot->request);
	}
	while (executor_in_flight(worker->executor) > 0)
		assert_true(loop_wait(worker->loop, 2 * NS_PER_SECOND) > 0);
	assert_int_equal(worker->failed, 0);
	executor_free(worker->executor);
	loop_free(worker->loop);
	assert_int_equal(image_close(image), 0);
}

/* Requests of several clusters each want more fills than there are. */
static void empty_pools_are_waited_for(void **state)
{
	make_image(file("/dev/shm", false), file("/dev/shm", false), 4711);
	run_workers(1, 2000, 3);
	assert_int_equal(image_close(image), 0);
}

/*
 * Each request ends, with an error or not, and what did not fail is right; when
 * the fault is gone, so are the errors.
 */
static void failing_stores_fail_requests_and_nothing_else(void **state)
{
	memset(unknown, false, sizeof(unknown));
	make_image(flaky_new(memory(), &faults), flaky_new(memory(), &faults),
		   4711);
	faults = true;
	run_workers(1, 4000, 8);
	faults = false;
	run_workers(1, 4000, 8);
	check_counts(false);
	assert_int_equal(image_close(image), 0);
	memset(unknown, false, sizeof(unknown));
}

static void what_fails_later_fails_requests_and_nothing_else(void **state)
{
	memset(unknown, false, sizeof(unknown));
	make_image(async_new(flaky_new(memory(), &faults)),
		   async_new(flaky_new(memory(), &faults)), 4711);
	faults = true;
	run_workers(1, 4000, 8);
	faults = false;
	run_workers(1, 4000, 8);
	check_counts(false);
	assert_int_equal(image_close(image), 0);
	memset(unknown, false, sizeof(unknown));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mix_on_memory_agrees_with_the_model),
		cmocka_unit_test(a_mix_on_tmpfs_agrees_with_the_model),
		cmocka_unit_test(a_mix_on_disk_agrees_with_the_model),
		cmocka_unit_test(a_mix_in_line_agrees_with_the_model),
		cmocka_unit_test(a_mix_with_o_direct_agrees_with_the_model),
		cmocka_unit_test(two_threads_on_memory_agree_with_the_model),
		cmocka_unit_test(two_threads_on_tmpfs_agree_with_the_model),
		cmocka_unit_test(encrypted_mixes_agree_with_the_model),
		cmocka_unit_test(
			an_encrypted_mix_by_guest_position_agrees_with_the_model),
		cmocka_unit_test(
			nothing_of_an_encrypted_image_lies_plain_in_its_store),
		cmocka_unit_test(a_locked_image_is_neither_read_nor_written),
		cmocka_unit_test(
			stores_that_work_by_themselves_agree_with_the_model),
		cmocka_unit_test(reads_of_fills_need_no_fill),
		cmocka_unit_test(empty_pools_are_waited_for),
		cmocka_unit_test(failing_stores_fail_requests_and_nothing_else),
		cmocka_unit_test(
			what_fails_later_fails_requests_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
