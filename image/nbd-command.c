/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of a link. A request is cut into as many as the server's limits
 * and the segments of its memory ask for, and has ended when all have; the first
 * error is its result, and what was not begun then is not.
 *
 * libnbd calls back from within its own calls, with its lock held: a command's
 * end is only noted there, and owners are told when libnbd has returned. Only
 * then is it known, too, whether an error was the server's answer or the
 * connection's end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/nbd-library.h"
#include "image/nbd-link-private.h"

enum {
	/* A server that writes zeroes one by one is to show some progress. */
	MAX_ZERO = 128 << 20,
};

/* --- Reasons ---------------------------------------------------------------- */

static void give_reason(struct nbd_link *link, char *reason, const char *what,
			const char *why)
{
	pthread_mutex_lock(&link->lock);
	if (!*reason)
		snprintf(reason, NBD_LINK_REASON_BYTES, "%s: %s: %s",
			 link->config.store->name, what, why);
	pthread_mutex_unlock(&link->lock);
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
void nbd_command_tell(struct nbd_link *link)
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

static void command_ended(struct nbd_command *command, int result)
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

void nbd_command_break_off(struct nbd_link *link, int err, const char *why)
{
	struct nbd_handle *handle = link->handle;

	give_reason(link, link->broke, "the connection broke", why);
	link->broken = err;
	link->handle = NULL;
	/* From here on nobody touches the buffers of what was under way. */
	libnbd.close(handle);
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

static struct nbd_command *free_command(struct nbd_link *link)
{
	struct nbd_command *command = link->commands;

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
		.user_data = container_of(io, struct nbd_question, io)->extents,
	};

	return libnbd.aio_block_status(link->handle, length, offset, extents,
				       done, 0);
}

static int64_t begin(struct nbd_link *link, struct nbd_command *command,
		     uint64_t offset, void *data, uint64_t length)
{
	const nbd_completion_callback done = {
		.callback = completed,
		.user_data = command,
	};
	struct nbd_handle *handle = link->handle;

	switch (command->io->kind) {
	case STORE_IO_READ:
		return libnbd.aio_pread(handle, data, length, offset, done, 0);
	case STORE_IO_WRITE:
		return libnbd.aio_pwrite(handle, data, length, offset, done,
					 write_flags(link));
	case STORE_IO_FLUSH:
		return libnbd.aio_flush(handle, done, 0);
	case STORE_IO_ZERO:
		return libnbd.aio_zero(handle, length, offset, done,
				       write_flags(link));
	case STORE_IO_PUNCH:
		return libnbd.aio_zero(handle, length, offset, done,
				       punch_flags(link));
	case STORE_IO_STATUS:
		return ask_status(link, command->io, offset, length, done);
	}
	return -1;
}

/* The next command of @io; when it was the last one, @io is under way. */
static void begin_next(struct nbd_link *link, struct store_io *io)
{
	struct nbd_command *command = free_command(link);
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

void nbd_command_begin_all(struct nbd_link *link)
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
