/* SPDX-License-Identifier: Apache-2.0 */
#include "image/nbd-link.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

enum {
	/* A server that writes zeroes one by one is to show some progress. */
	MAX_ZERO = 128 << 20,
	LEAVE_NS = NS_PER_SECOND,
	REASON_BYTES = 512,
};

struct command {
	struct nbd_link *link;
	struct store_io *io; /* NULL: free */
};

struct nbd_link {
	struct nbd_link_config config;
	pthread_t thread;
	int wake_fd;

	pthread_mutex_t lock; /* of these: */
	struct store_io *first, *last;
	bool ending;
	/* Each is written once. */
	char answered[REASON_BYTES]; /* the first error of a request */
	char broke[REASON_BYTES];    /* why there is no connection any more */

	/* The thread's. */
	struct nbd_handle *handle; /* NULL: broken */
	int broken;		   /* what everything fails with then */
	struct store_io *cutting;  /* of which not all is under way */
	struct store_io *ended;	   /* to be told */
	struct command commands[NBD_LINK_COMMANDS];
	unsigned busy;
	uint64_t heard_ns; /* a command ended, or the first one began */
};

/* A request whose owner waits for its end. */
struct waiting {
	struct store_io io;
	struct nbd_extents *extents; /* STATUS */
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool is_over;
	int result;
};

/* --- Reasons ---------------------------------------------------------------- */

static void give_reason(struct nbd_link *link, char *reason, const char *what,
			const char *why)
{
	pthread_mutex_lock(&link->lock);
	if (!*reason)
		snprintf(reason, REASON_BYTES, "%s: %s: %s",
			 link->config.store->name, what, why);
	pthread_mutex_unlock(&link->lock);
}

const char *nbd_link_reason(struct nbd_link *link)
{
	const char *reason = NULL;

	pthread_mutex_lock(&link->lock);
	if (link->broke[0])
		reason = link->broke;
	else if (link->answered[0])
		reason = link->answered;
	pthread_mutex_unlock(&link->lock);
	return reason;
}

/* --- Ends ------------------------------------------------------------------- */

static void end_io(struct nbd_link *link, struct store_io *io)
{
	io->next = link->ended;
	link->ended = io;
}

/* Whoever is told that there is no quick way to zeroes writes them. */
static bool is_worth_a_word(const struct store_io *io)
{
	bool allocates =
		io->kind == STORE_IO_ZERO || io->kind == STORE_IO_PUNCH;

	return io->result < 0 && !(allocates && (io->result == -EOPNOTSUPP ||
						 io->result == -EINVAL));
}

/* Outside of libnbd, when it is known whether there still is a connection. */
static void tell(struct nbd_link *link)
{
	while (link->ended) {
		struct store_io *io = link->ended;

		link->ended = io->next;
		if (link->handle && is_worth_a_word(io))
			give_reason(link, link->answered, "the server answered",
				    strerror(-io->result));
		io->done(io,
			 io->kind == STORE_IO_FLUSH
				 ? store_flushed(link->config.store, io->result)
				 : io->result);
	}
}

static void command_ended(struct command *command, int result)
{
	struct nbd_link *link = command->link;
	struct store_io *io = command->io;

	command->io = NULL;
	link->busy--;
	link->heard_ns = clock_ns();
	if (result < 0 && io->result == 0)
		io->result = result;
	if (--io->pending == 0 && io != link->cutting)
		end_io(link, io);
}

/* From within libnbd, which must not be called here. */
static int completed(void *user_data, int *error)
{
	command_ended(user_data, *error ? nbd_peer_errno(*error) : 0);
	return 1;
}

static void break_off(struct nbd_link *link, int err, const char *why)
{
	struct nbd_handle *handle = link->handle;

	give_reason(link, link->broke, "the connection broke", why);
	link->broken = err;
	link->handle = NULL;
	/* From here on nobody touches the buffers of what was under way. */
	nbd_close(handle);
	for (unsigned i = 0; i < NBD_LINK_COMMANDS; i++)
		if (link->commands[i].io)
			command_ended(&link->commands[i], err);
}

/* --- Begins ----------------------------------------------------------------- */

static struct store_io *take(struct nbd_link *link)
{
	struct store_io *io;

	pthread_mutex_lock(&link->lock);
	io = link->first;
	if (io)
		link->first = io->next;
	pthread_mutex_unlock(&link->lock);
	return io;
}

static struct command *free_command(struct nbd_link *link)
{
	struct command *command = link->commands;

	while (command->io)
		command++;
	return command;
}

static bool moves_data(const struct store_io *io)
{
	return io->kind == STORE_IO_READ || io->kind == STORE_IO_WRITE;
}

/* What the next command of @io is about; *@ret_data: in memory. */
static uint64_t next_part(const struct nbd_link *link, struct store_io *io,
			  void **ret_data)
{
	const struct nbd_export *limits = &link->config.limits;
	uint64_t left = io->length - io->at;
	struct iovec iov = {NULL, 0};
	size_t bytes = 0;

	if (!moves_data(io))
		return io->kind == STORE_IO_STATUS
			       ? left
			       : MIN(left, (uint64_t)MAX_ZERO);
	iov_slice(&io->iov, MIN(left, (uint64_t)limits->max_bytes), &iov, 1,
		  &bytes);
	*ret_data = iov.iov_base;
	return bytes;
}

/* A server that cannot flush may still be told that each write is to last. */
static uint32_t write_flags(const struct nbd_link *link)
{
	const struct nbd_export *limits = &link->config.limits;

	return !limits->can_flush && limits->can_fua ? LIBNBD_CMD_FLAG_FUA : 0;
}

/* A discard is advice: no zeroes are written for it where that can be said. */
static uint32_t punch_flags(const struct nbd_link *link)
{
	return write_flags(link) |
	       (link->config.limits.can_fast_zero ? LIBNBD_CMD_FLAG_FAST_ZERO
						  : 0);
}

static int took_extents(void *user_data, const char *context, uint64_t offset,
			uint32_t *entries, size_t count, int *error)
{
	struct nbd_extents *extents = user_data;

	extents->begin = offset;
	extents->count = 0;
	for (size_t i = 0; i + 1 < count && extents->count < NBD_LINK_EXTENTS;
	     i += 2) {
		offset += entries[i];
		extents->all[extents->count++] =
			(struct nbd_extent){offset, entries[i + 1]};
	}
	return 0;
}

static int64_t ask_status(struct nbd_link *link, struct store_io *io,
			  uint64_t offset, uint64_t length,
			  nbd_completion_callback done)
{
	const nbd_extent_callback extents = {
		.callback = took_extents,
		.user_data = container_of(io, struct waiting, io)->extents,
	};

	return nbd_aio_block_status(link->handle, length, offset, extents, done,
				    0);
}

static int64_t begin(struct nbd_link *link, struct command *command,
		     uint64_t offset, void *data, uint64_t length)
{
	const nbd_completion_callback done = {
		.callback = completed,
		.user_data = command,
	};
	struct nbd_handle *handle = link->handle;

	switch (command->io->kind) {
	case STORE_IO_READ:
		return nbd_aio_pread(handle, data, length, offset, done, 0);
	case STORE_IO_WRITE:
		return nbd_aio_pwrite(handle, data, length, offset, done,
				      write_flags(link));
	case STORE_IO_FLUSH:
		return nbd_aio_flush(handle, done, 0);
	case STORE_IO_ZERO:
		return nbd_aio_zero(handle, length, offset, done,
				    write_flags(link));
	case STORE_IO_PUNCH:
		return nbd_aio_zero(handle, length, offset, done,
				    punch_flags(link));
	case STORE_IO_STATUS:
		return ask_status(link, command->io, offset, length, done);
	}
	return -1;
}

/* The next command of @io; when it was the last one, @io is under way. */
static void begin_next(struct nbd_link *link, struct store_io *io)
{
	struct command *command = free_command(link);
	uint64_t offset = io->offset + io->at;
	void *data = NULL;
	uint64_t length = next_part(link, io, &data);

	io->at += length;
	io->pending++;
	if (io->at == io->length)
		link->cutting = NULL;
	command->io = io;
	if (link->busy++ == 0)
		link->heard_ns = clock_ns();
	/* An error here means that libnbd did not take it. */
	if (begin(link, command, offset, data, length) < 0)
		command_ended(command, nbd_peer_last_errno(-EIO));
}

/* True if nothing of it, or nothing more, is to be sent. */
static bool is_settled(const struct nbd_link *link, struct store_io *io)
{
	if (!link->handle && io->result == 0)
		io->result = link->broken;
	if (io->result < 0)
		return true;
	if (io->kind == STORE_IO_FLUSH)
		return !link->config.limits.can_flush;
	return io->length == 0;
}

static void begin_all(struct nbd_link *link)
{
	while (link->busy < NBD_LINK_COMMANDS) {
		struct store_io *io = link->cutting;

		if (!io)
			io = link->cutting = take(link);
		if (!io)
			return;
		if (!is_settled(link, io)) {
			begin_next(link, io);
			continue;
		}
		link->cutting = NULL;
		if (io->pending == 0)
			end_io(link, io);
	}
}

/* --- The thread -------------------------------------------------------------- */

static bool is_alive(const struct nbd_link *link)
{
	return nbd_aio_is_dead(link->handle) == 0 &&
	       nbd_aio_is_closed(link->handle) == 0;
}

static void wait_for_word(struct nbd_link *link)
{
	uint64_t deadline = UINT64_MAX;
	char why[REASON_BYTES / 2];
	int err;

	if (link->busy > 0)
		deadline = link->heard_ns + link->config.reply_timeout_ns;
	err = nbd_peer_wait(link->handle, link->wake_fd, deadline);
	if (err == -ETIMEDOUT && clock_ns() >= deadline) {
		break_off(link, err, "the server did not answer in time");
	} else if (err < 0) {
		nbd_peer_error(why, sizeof(why));
		break_off(link, err, why);
	}
}

/* Without a connection there is nobody else to listen to. */
static void wait_for_owner(const struct nbd_link *link)
{
	struct pollfd fd = {.fd = link->wake_fd, .events = POLLIN};

	(void)poll(&fd, 1, -1);
}

static bool is_over(struct nbd_link *link)
{
	bool over;

	pthread_mutex_lock(&link->lock);
	over = link->ending;
	pthread_mutex_unlock(&link->lock);
	return over;
}

static void take_leave(struct nbd_link *link)
{
	uint64_t deadline = clock_ns() + LEAVE_NS;

	if (!link->handle)
		return;
	if (nbd_aio_disconnect(link->handle, 0) == 0)
		while (is_alive(link) &&
		       nbd_peer_wait(link->handle, -1, deadline) == 0)
			;
	nbd_close(link->handle);
	link->handle = NULL;
}

static void *work(void *arg)
{
	struct nbd_link *link = arg;
	eventfd_t count;

	while (!is_over(link)) {
		(void)eventfd_read(link->wake_fd, &count);
		begin_all(link);
		if (link->handle && !is_alive(link)) {
			break_off(link, -ENOTCONN, "the server has gone");
			begin_all(link);
		}
		tell(link);
		if (link->handle)
			wait_for_word(link);
		else
			wait_for_owner(link);
		tell(link);
	}
	take_leave(link);
	return NULL;
}

/* --- Owners ------------------------------------------------------------------ */

static void wake(const struct nbd_link *link)
{
	/* Fails only when the counter is full, when a wake-up is due anyway. */
	(void)eventfd_write(link->wake_fd, 1);
}

void nbd_link_submit(struct nbd_link *link, struct store_io *io)
{
	io->next = NULL;
	io->at = 0;
	io->pending = 0;
	io->result = 0;
	pthread_mutex_lock(&link->lock);
	if (link->first)
		link->last->next = io;
	else
		link->first = io;
	link->last = io;
	pthread_mutex_unlock(&link->lock);
	wake(link);
}

static void waiting_ended(struct store_io *io, int result)
{
	struct waiting *waiting = container_of(io, struct waiting, io);

	pthread_mutex_lock(&waiting->lock);
	waiting->is_over = true;
	waiting->result = result;
	pthread_cond_signal(&waiting->over);
	pthread_mutex_unlock(&waiting->lock);
}

static int run(struct nbd_link *link, struct waiting *waiting)
{
	waiting->io.done = waiting_ended;
	pthread_mutex_init(&waiting->lock, NULL);
	pthread_cond_init(&waiting->over, NULL);
	nbd_link_submit(link, &waiting->io);
	pthread_mutex_lock(&waiting->lock);
	while (!waiting->is_over)
		pthread_cond_wait(&waiting->over, &waiting->lock);
	pthread_mutex_unlock(&waiting->lock);
	pthread_cond_destroy(&waiting->over);
	pthread_mutex_destroy(&waiting->lock);
	return waiting->result;
}

int nbd_link_run(struct nbd_link *link, enum store_io_kind kind,
		 uint64_t offset, void *data, uint64_t length)
{
	const struct iovec iov = {data, length};
	struct waiting waiting = {
		.io = {.kind = kind,
		       .offset = offset,
		       .length = length,
		       .iov = iov_cursor(&iov, 1)},
	};

	return run(link, &waiting);
}

int nbd_link_status(struct nbd_link *link, uint64_t offset, uint64_t length,
		    struct nbd_extents *ret)
{
	struct waiting waiting = {
		.io = {.kind = STORE_IO_STATUS,
		       .offset = offset,
		       .length = length},
		.extents = ret,
	};

	ret->count = 0;
	return run(link, &waiting);
}

/* Signals are for the threads that know of them. */
static int start(struct nbd_link *link)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&link->thread, NULL, work, link);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

static void destroy(struct nbd_link *link)
{
	fd_close(&link->wake_fd);
	pthread_mutex_destroy(&link->lock);
	free(link);
}

int nbd_link_new(struct nbd_handle *handle,
		 const struct nbd_link_config *config,
		 struct nbd_link **ret_link)
{
	struct nbd_link *link = calloc(1, sizeof(*link));
	int err;

	if (!link)
		return -ENOMEM;
	link->config = *config;
	link->handle = handle;
	pthread_mutex_init(&link->lock, NULL);
	for (unsigned i = 0; i < NBD_LINK_COMMANDS; i++)
		link->commands[i].link = link;
	link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = link->wake_fd < 0 ? -errno : start(link);
	if (err < 0) {
		destroy(link);
		return err;
	}
	*ret_link = link;
	return 0;
}

void nbd_link_free(struct nbd_link *link)
{
	if (!link)
		return;
	pthread_mutex_lock(&link->lock);
	link->ending = true;
	pthread_mutex_unlock(&link->lock);
	wake(link);
	pthread_join(link->thread, NULL);
	destroy(link);
}
