/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One io_uring, and the completions that it brings, for one thread.
 *
 * The owner asks for submission entries, submits them in batches and reaps the
 * completions, either without blocking (a polling thread) or waiting (an idle
 * one). The ring is made with SINGLE_ISSUER | DEFER_TASKRUN where the kernel
 * has them and plain where not, chosen when the loop is made.
 *
 * A loop belongs to the thread that called loop_new: every function here is
 * for that thread alone, except loop_post.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

/*
 * One operation in flight, embedded in what the operation belongs to. @done is
 * called from loop_reap or loop_wait with the result (a negative errno on
 * failure) and the completion's flags; the operation may be reused or freed
 * from there on, unless the flags hold IORING_CQE_F_MORE.
 */
struct loop_op {
	void (*done)(struct loop_op *op, int32_t result, uint32_t flags);
};

/* Work handed to a loop by another thread. Stays the poster's until run. */
struct loop_message {
	void (*run)(struct loop_message *message);
	struct loop_message *next;
};

/*
 * Makes a loop with room for @entries submissions (a power of two) before it
 * has to submit by itself. Returns a negative errno, -ENOSYS or -EPERM where
 * io_uring is absent or forbidden.
 */
int loop_new(unsigned entries, struct loop **ret_loop);

/* Frees the loop; operations still in flight are cancelled, not completed. */
void loop_free(struct loop *loop);

/*
 * A submission entry, cleared, for the caller to prepare; never NULL (a full
 * queue is submitted first). Call the io_uring_prep_* function, then loop_bind.
 */
struct io_uring_sqe *loop_sqe(struct loop *loop);

/* Ties the prepared entry to @op. After io_uring_prep_*, which resets it. */
static inline void loop_bind(struct io_uring_sqe *sqe, struct loop_op *op)
{
	io_uring_sqe_set_data(sqe, op);
}

/*
 * Lets operations that are carried out by other means than the ring share the
 * loop's rhythm: @run(arg) is called at each submit and says how many
 * completions it called, which loop_reap and loop_wait count as theirs. One
 * per loop; NULL takes it away.
 */
void loop_set_batch(struct loop *loop, unsigned (*run)(void *arg), void *arg);

/* The @arg that was set along with @run; NULL if it was not. */
void *loop_batch(const struct loop *loop, unsigned (*run)(void *arg));

/* Hands prepared entries to the kernel; a no-op when there are none. */
int loop_submit(struct loop *loop);

/* Runs every completion that is there; never blocks. Returns how many. */
unsigned loop_reap(struct loop *loop);

/*
 * Submits, waits for a completion or @timeout_ns (UINT64_MAX: for ever), and
 * reaps. Returns how many completions ran, or a negative errno.
 */
int loop_wait(struct loop *loop, uint64_t timeout_ns);

/*
 * Runs @message->run on the loop's thread, in the order posted, waking the
 * loop. Any thread.
 */
void loop_post(struct loop *loop, struct loop_message *message);

/*
 * Watches a descriptor for @events (POLLIN, …) until the watch is freed:
 * @ready(arg, revents) is called on each readiness, or with a negative errno
 * once if the watch failed. Readiness is reported at its edges: @ready reads
 * until the descriptor would block. The descriptor stays the caller's and may be
 * closed as soon as the watch is freed. After loop_watch_free returns @ready
 * is not called again, even from within @ready itself.
 */
struct loop_watch;
int loop_watch_new(struct loop *loop, int fd, unsigned events,
		   void (*ready)(void *arg, int revents), void *arg,
		   struct loop_watch **ret_watch);
void loop_watch_free(struct loop_watch *watch);

/*
 * The registered-files slot of @fd in this loop's ring, or -1 if the kernel
 * refused; then use the descriptor itself. One slot per descriptor. A slot
 * outlives close(2) and would answer for a new file of the same number: whoever
 * registered a descriptor unregisters it, as often, before it is closed.
 */
int loop_register_file(struct loop *loop, int fd);
void loop_unregister_file(struct loop *loop, int fd);

#endif
