/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/state.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "vswitch/state-parts.h"

enum {
	SAVE_SECONDS = 30,
};

struct state {
	const char *path;
	int fd;
	uint64_t sequence; /* of the last that was begun, or is whole */
	struct vswitch *vswitch;
	struct loop *loop;
	int timer_fd;
	struct loop_watch *timer;
	/* Of the last save, or of one under way. */
	uint64_t generation;
	uint64_t saved_ns;
	uint8_t *bytes; /* NULL: none is under way */
	size_t length;
	struct loop_op write, sync;
	struct log_limit log_limit;
};

static void complain(struct state *state, const char *what)
{
	log_ratelimited(&state->log_limit, LOG_LEVEL_WARNING, "%s: %s",
			state->path, what);
}

int state_open(const char *path, struct state **ret_state)
{
	struct state *state = calloc(1, sizeof(*state));

	if (!state)
		return -ENOMEM;
	state->path = path;
	state->timer_fd = -1;
	state->fd = state_file_open(path);
	if (state->fd < 0) {
		int err = state->fd;

		state_close(state);
		return err;
	}
	*ret_state = state;
	return 0;
}

void state_restore(struct state *state, struct vswitch *vswitch)
{
	struct state_view view;
	uint8_t *bytes = state_file_read(state->fd, state->path, &view);

	if (!bytes)
		return;
	state->sequence = view.sequence;
	state_restore_view(state->path, vswitch, &view);
	free(bytes);
}

/* --- saving ------------------------------------------------------------------ */

/* After one that failed the next goes to the same place: the other may be the only
 * one that is whole. */
static void end_save(struct state *state, int err)
{
	if (err < 0) {
		complain(state, strerror(-err));
		state->sequence--;
	}
	free(state->bytes);
	state->bytes = NULL;
}

static void synced(struct loop_op *op, int32_t result, uint32_t flags)
{
	end_save(container_of(op, struct state, sync), result);
}

static void written(struct loop_op *op, int32_t result, uint32_t flags)
{
	struct state *state = container_of(op, struct state, write);
	struct io_uring_sqe *sqe;

	if (result < 0 || (size_t)result != state->length) {
		end_save(state, result < 0 ? result : -ENOSPC);
		return;
	}
	sqe = loop_sqe(state->loop);
	io_uring_prep_fsync(sqe, state->fd, 0);
	loop_bind(sqe, &state->sync);
	loop_submit(state->loop);
}

/* Over the older one of both: the later stays whole until this is. */
static void begin_save(struct state *state)
{
	struct io_uring_sqe *sqe;

	state->bytes = state_gather(state->vswitch, state->sequence + 1,
				    &state->length);
	state->generation = vswitch_generation(state->vswitch);
	state->saved_ns = clock_ns();
	if (!state->bytes) {
		complain(state, strerror(ENOMEM));
		return;
	}
	state->sequence++;
	sqe = loop_sqe(state->loop);
	io_uring_prep_write(sqe, state->fd, state->bytes, state->length,
			    state_file_place(state->sequence));
	loop_bind(sqe, &state->write);
	loop_submit(state->loop);
}

static void second_passed(void *arg, int revents)
{
	struct state *state = arg;
	uint64_t times;

	while (read(state->timer_fd, &times, sizeof(times)) > 0)
		;
	if (state->bytes)
		return;
	if (state->generation != vswitch_generation(state->vswitch) ||
	    clock_ns() - state->saved_ns >= SAVE_SECONDS * NS_PER_SECOND)
		begin_save(state);
}

int state_start(struct state *state, struct vswitch *vswitch, struct loop *loop)
{
	const struct itimerspec each_second = {
		.it_interval.tv_sec = 1,
		.it_value.tv_sec = 1,
	};

	state->vswitch = vswitch;
	state->loop = loop;
	state->write.done = written;
	state->sync.done = synced;
	state->saved_ns = clock_ns();
	state->generation = vswitch_generation(vswitch);
	state->timer_fd =
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (state->timer_fd < 0 ||
	    timerfd_settime(state->timer_fd, 0, &each_second, NULL) < 0)
		return -errno;
	return loop_watch_new(loop, state->timer_fd, POLLIN, second_passed,
			      state, &state->timer);
}

/* Until nothing is under way. */
static void await(struct state *state)
{
	while (state->bytes && loop_wait(state->loop, UINT64_MAX) >= 0)
		;
}

void state_close(struct state *state)
{
	if (!state)
		return;
	if (state->timer) {
		await(state);
		begin_save(state);
		await(state);
	}
	loop_watch_free(state->timer);
	fd_close(&state->timer_fd);
	fd_close(&state->fd);
	free(state);
}
