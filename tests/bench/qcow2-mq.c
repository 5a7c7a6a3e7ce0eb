/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether two queues read one qcow2 image twice as fast as one: 4 KiB random
 * reads of a fully allocated image in 64 KiB clusters, by one thread and by
 * two, each with its own loop and executor, on its own processor. The store is
 * memory, so what is measured is our own work: requests, lookups, the copy.
 *
 * Asked for where the processor is the limit: the store answers all reads out of
 * a window that each processor's own cache holds. The whole of an image of 16
 * MiB, and of one of 1 GiB, is read as well, beside two threads that do nothing
 * but copy the same blocks: what memory and shared caches give a second thread
 * on this machine bounds what it can give ours.
 *
 * Prints each round, then the medians. Status 1 if two threads are not at least
 * WANTED times as fast as one in the first case. On an idle machine only.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/executor.h"
#include "image/open.h"
#include "tests/bench/filled-image.h"
#include "tests/bench/flat-store.h"

enum {
	THREADS = 2,
	DEPTH = 32,
	BLOCK_BYTES = 4096,
	REQUESTS = 1 << 20, /* of each thread in a round */
	ROUNDS = 9,
};

/* What one thread, and two, do in turn. */
static const struct measured {
	const char *name;
	uint64_t size_mib, window_bytes;
	bool only_copies;
	double wanted; /* 0: printed, and no more */
} measured[] = {
	{"1 GiB, data in cache", 1024, 64 << 10, false, 1.7},
	{"16 MiB", 16, 0, false, 0},
	{"16 MiB, the copy alone", 16, 0, true, 0},
	{"1 GiB", 1024, 0, false, 0},
	{"1 GiB, the copy alone", 1024, 0, true, 0},
};

struct slot {
	struct executor_request request;
	struct iovec iov;
	struct queue *queue;
	_Alignas(4096) char data[BLOCK_BYTES];
};

struct queue {
	struct slot slots[DEPTH];
	bool only_copies;
	struct image *image;
	struct executor *executor;
	pthread_barrier_t *start;
	uint64_t random;
	unsigned number;
	unsigned to_submit, to_finish;
	uint64_t begun, ended, cpu; /* ns */
};

static uint64_t random_offset(struct queue *queue)
{
	queue->random ^= queue->random << 13;
	queue->random ^= queue->random >> 7;
	queue->random ^= queue->random << 17;
	return queue->random % (queue->image->size_bytes / BLOCK_BYTES) *
	       BLOCK_BYTES;
}

static void submit(struct slot *slot)
{
	slot->queue->to_submit--;
	slot->request.offset = random_offset(slot->queue);
	executor_submit(slot->queue->executor, &slot->request);
}

static void read_done(struct executor_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, request);

	bench_check(result, "read");
	slot->queue->to_finish--;
	if (slot->queue->to_submit > 0)
		submit(slot);
}

/* The number-th processor that we may use. */
static void settle_on_processor(unsigned number)
{
	cpu_set_t allowed, one;

	CPU_ZERO(&one);
	bench_check(sched_getaffinity(0, sizeof(allowed), &allowed) ? -errno
								    : 0,
		    "affinity");
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || number-- > 0)
			continue;
		CPU_SET(cpu, &one);
		bench_check(-pthread_setaffinity_np(pthread_self(), sizeof(one),
						    &one),
			    "affinity");
		return;
	}
	bench_check(-ENODEV, "a processor for each thread");
}

/* What the requests come down to, without us. */
static void run_copies(struct queue *queue, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		bench_check(
			store_read(queue->image->store, random_offset(queue),
				   queue->slots[i % DEPTH].data, BLOCK_BYTES),
			"copy");
}

static void run_requests(struct queue *queue, unsigned count, struct loop *loop)
{
	if (queue->only_copies) {
		run_copies(queue, count);
		return;
	}
	queue->to_submit = queue->to_finish = count;
	for (unsigned i = 0; i < DEPTH && queue->to_submit > 0; i++)
		submit(&queue->slots[i]);
	while (queue->to_finish > 0)
		if (loop_wait(loop, NS_PER_SECOND) < 0)
			bench_check(-EIO, "loop");
}

static void *run_queue(void *opaque)
{
	const struct executor_config config = {.depth = DEPTH};
	struct queue *queue = opaque;
	struct loop *loop;

	settle_on_processor(queue->number);
	bench_check(loop_new(64, &loop), "io_uring");
	bench_check(executor_new(loop, queue->image, &config, &queue->executor),
		    "executor");
	for (unsigned i = 0; i < DEPTH; i++) {
		struct slot *slot = &queue->slots[i];

		slot->queue = queue;
		slot->iov = (struct iovec){slot->data, BLOCK_BYTES};
		slot->request = (struct executor_request){
			.op = EXECUTOR_READ,
			.length = BLOCK_BYTES,
			.iov = &slot->iov,
			.iov_count = 1,
			.done = read_done,
		};
	}
	run_requests(queue, REQUESTS / 8, loop);
	pthread_barrier_wait(queue->start);
	queue->begun = clock_ns();
	queue->cpu = bench_cpu_ns();
	run_requests(queue, REQUESTS, loop);
	queue->cpu = bench_cpu_ns() - queue->cpu;
	queue->ended = clock_ns();
	executor_free(queue->executor);
	loop_free(loop);
	return NULL;
}

/* Requests a second, of all @count threads together; the CPU's ns for each. */
static double run_queues(const struct measured *m, struct image *image,
			 struct queue *queues, unsigned count, double *ret_cpu)
{
	uint64_t begun = UINT64_MAX, ended = 0, cpu = 0;
	pthread_t threads[THREADS];
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, count);
	for (unsigned i = 0; i < count; i++) {
		queues[i].image = image;
		queues[i].only_copies = m->only_copies;
		queues[i].start = &start;
		queues[i].number = i;
		queues[i].random = 88172645463325252 + i;
		bench_check(-pthread_create(&threads[i], NULL, run_queue,
					    &queues[i]),
			    "thread");
	}
	for (unsigned i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
		begun = MIN(begun, queues[i].begun);
		ended = MAX(ended, queues[i].ended);
		cpu += queues[i].cpu;
	}
	pthread_barrier_destroy(&start);
	*ret_cpu = (double)cpu / count / REQUESTS;
	return (double)count * REQUESTS * 1e9 / (double)(ended - begun);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *numbers)
{
	qsort(numbers, ROUNDS, sizeof(*numbers), compare);
	return numbers[ROUNDS / 2];
}

/* There is something to copy everywhere. */
static void write_data(struct image *image)
{
	static char data[1 << 20];

	memset(data, 'x', sizeof(data));
	for (uint64_t at = 0; at < image->store->size_bytes;
	     at += sizeof(data)) {
		struct image_extent extent;
		uint64_t done = 0;

		while (at < image->size_bytes && done < sizeof(data)) {
			bench_check(image_map(image, IMAGE_WRITE, at + done,
					      sizeof(data) - done, &extent),
				    "map");
			bench_check(extent.kind == IMAGE_DATA
					    ? store_write(extent.store,
							  extent.host_offset,
							  data, extent.length)
					    : -EIO,
				    "write");
			done += extent.length;
		}
	}
}

/* Whether two threads are as many times as fast as is wanted. */
static bool measure(struct queue *queues, const struct measured *m)
{
	struct image *image = filled_image_new(m->size_mib << 20);
	double one[ROUNDS], two[ROUNDS], ratio;

	filled_image_fill(image);
	write_data(image);
	flat_store_fold(image->store, m->window_bytes);
	for (unsigned i = 0; i < ROUNDS; i++) {
		double cpu_one, cpu_two;

		one[i] = run_queues(m, image, queues, 1, &cpu_one);
		two[i] = run_queues(m, image, queues, THREADS, &cpu_two);
		printf("# %s: blocks a second (CPU ns for one): 1 thread %.0f "
		       "(%.0f), 2 threads %.0f (%.0f): %.2f times\n",
		       m->name, one[i], cpu_one, two[i], cpu_two,
		       two[i] / one[i]);
		fflush(stdout);
	}
	ratio = median(two) / median(one);
	printf("%s: medians: 1 thread %.0f, 2 threads %.0f: %.2f times",
	       m->name, median(one), median(two), ratio);
	if (m->wanted > 0)
		printf(" (wanted: %.2f)", m->wanted);
	printf("\n");
	image_close(image);
	return ratio >= m->wanted;
}

int main(void)
{
	struct queue *queues = calloc(THREADS, sizeof(*queues));
	bool enough = true;

	bench_check(queues ? 0 : -ENOMEM, "memory");
	for (size_t i = 0; i < ARRAY_SIZE(measured); i++)
		enough &= measure(queues, &measured[i]);
	free(queues);
	return !enough;
}
