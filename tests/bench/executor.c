/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one request costs: 4 KiB random reads, depth 64, of a raw file on tmpfs
 * (or of the file named), once straight through the loop and once through the
 * executor. The difference is ours; the rest is the kernel's and the copy.
 *
 * Usage: bench-executor [FILE]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/executor.h"
#include "image/open.h"

enum {
	DEPTH = 64,
	BLOCK_BYTES = 4096,
	FILE_BYTES = 256 << 20,
	REQUESTS = 1 << 19,
	ROUNDS = 3,
};

struct slot {
	struct executor_request request;
	struct loop_op op;
	struct iovec iov;
};

static struct slot slots[DEPTH];
static _Alignas(4096) char buffers[DEPTH][BLOCK_BYTES];
static uint64_t state = 88172645463325252;
static uint64_t blocks;
static unsigned to_submit, to_finish;

static struct loop *loop;
static struct executor *executor;
static int fd, fd_slot;

static uint64_t random_offset(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % blocks * BLOCK_BYTES;
}

static void check(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

static void submit_plain(struct slot *slot)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	to_submit--;
	io_uring_prep_read(sqe, fd_slot >= 0 ? fd_slot : fd, slot->iov.iov_base,
			   BLOCK_BYTES, random_offset());
	sqe->flags = fd_slot >= 0 ? IOSQE_FIXED_FILE : 0;
	loop_bind(sqe, &slot->op);
}

static void plain_done(struct loop_op *op, int32_t result, uint32_t flags)
{
	check(result == BLOCK_BYTES ? 0 : -EIO, "plain read");
	to_finish--;
	if (to_submit > 0)
		submit_plain(container_of(op, struct slot, op));
}

static void submit_request(struct slot *slot)
{
	to_submit--;
	slot->request.offset = random_offset();
	executor_submit(executor, &slot->request);
}

static void request_done(struct executor_request *request, int result)
{
	check(result, "executor read");
	to_finish--;
	if (to_submit > 0)
		submit_request(container_of(request, struct slot, request));
}

struct cost {
	double wall_ns, cpu_ns; /* a request; CPU of all our threads */
};

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static struct cost measure(void (*submit)(struct slot *slot))
{
	uint64_t start = clock_ns();
	uint64_t cpu_start = cpu_ns();

	to_submit = REQUESTS;
	to_finish = REQUESTS;
	for (unsigned i = 0; i < DEPTH; i++)
		submit(&slots[i]);
	while (to_finish > 0)
		check(loop_wait(loop, UINT64_MAX), "loop");
	return (struct cost){
		.wall_ns = (double)(clock_ns() - start) / REQUESTS,
		.cpu_ns = (double)(cpu_ns() - cpu_start) / REQUESTS,
	};
}

static void set_up_slots(void)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		struct slot *slot = &slots[i];

		slot->iov = (struct iovec){buffers[i], BLOCK_BYTES};
		slot->op.done = plain_done;
		slot->request = (struct executor_request){
			.op = EXECUTOR_READ,
			.length = BLOCK_BYTES,
			.iov = &slot->iov,
			.iov_count = 1,
			.done = request_done,
		};
	}
}

static void make_file(const char *path)
{
	static char data[1 << 20];
	struct store *store = NULL;
	char *error = NULL;

	memset(data, 'x', sizeof(data));
	check(store_create_file(path, false, &store, &error),
	      error ? error : path);
	for (unsigned i = 0; i < FILE_BYTES / sizeof(data); i++)
		check(store_write(store, i * sizeof(data), data, sizeof(data)),
		      path);
	store_free(store);
}

static void run(const char *path)
{
	const struct image_open_request request = {.path = path,
						   .read_only = true};
	const struct executor_config config = {.depth = DEPTH};
	struct image *image;
	char *error = NULL;

	check(image_open(&request, &image, &error, NULL), error ? error : path);
	blocks = image->size_bytes / BLOCK_BYTES;
	check(blocks > 0 ? 0 : -EINVAL, path);
	check(loop_new(256, &loop), "io_uring");
	check(executor_new(loop, image, &config, &executor), "executor");
	fd = image->store->fd;
	fd_slot = loop_register_file(loop, fd);
	set_up_slots();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct cost plain = measure(submit_plain);
		struct cost ours = measure(submit_request);

		printf("ns a request (CPU): io_uring %.0f (%.0f), "
		       "executor %.0f (%.0f)\n",
		       plain.wall_ns, plain.cpu_ns, ours.wall_ns, ours.cpu_ns);
	}
	loop_unregister_file(loop, fd);
	executor_free(executor);
	image_close(image);
	loop_free(loop);
}

int main(int argc, char **argv)
{
	char path[] = "/dev/shm/ringline-bench-XXXXXX";

	if (argc > 1) {
		run(argv[1]);
		return 0;
	}
	close(mkstemp(path));
	unlink(path);
	make_file(path);
	run(path);
	unlink(path);
	return 0;
}
