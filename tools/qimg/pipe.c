/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/pipe.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

enum {
	CHUNK_BYTES = 65536,
	MIN_RUNS = 64,
};

struct pipe {
	struct store store;
	int fd;
	uint64_t at; /* bytes read or sent */
	/* The reader's. */
	void (*ended)(void *opaque, uint64_t bytes);
	void *opaque;
	bool at_end;
	/* The others'. */
	struct pipe_runs *noted;
	const struct pipe_runs *runs;
	size_t run; /* that the last write was in */
	struct store *between;
	char chunk[CHUNK_BYTES];
};

static struct pipe *to_pipe(struct store *store)
{
	return container_of(store, struct pipe, store);
}

int pipe_runs_add(struct pipe_runs *runs, uint64_t offset, uint64_t length,
		  uint64_t host_offset)
{
	struct pipe_run *last =
		runs->count ? &runs->all[runs->count - 1] : NULL;

	if (last && last->offset + last->length == offset &&
	    last->host_offset + last->length == host_offset) {
		last->length += length;
		return 0;
	}
	if (runs->count == runs->room) {
		size_t room = MAX(2 * runs->room, (size_t)MIN_RUNS);
		void *all = realloc(runs->all, room * sizeof(*runs->all));

		if (!all)
			return -ENOMEM;
		runs->all = all;
		runs->room = room;
	}
	runs->all[runs->count++] =
		(struct pipe_run){offset, length, host_offset};
	return 0;
}

void pipe_runs_deinit(struct pipe_runs *runs)
{
	free(runs->all);
	*runs = (struct pipe_runs){0};
}

/* --- What all have in common --- */

/* True if the call that failed is to be made again. */
static bool again(int fd, short events)
{
	struct pollfd wait = {.fd = fd, .events = events};

	if (errno == EAGAIN)
		(void)poll(&wait, 1, -1);
	return errno == EINTR || errno == EAGAIN;
}

static int no_read(struct store *store, uint64_t offset, void *ret_data,
		   size_t length)
{
	return -EBADF;
}

static int no_write(struct store *store, uint64_t offset, const void *data,
		    size_t length)
{
	return -EBADF;
}

static int no_flush(struct store *store)
{
	return 0;
}

static int no_resize(struct store *store, uint64_t size_bytes)
{
	return -ENOTSUP;
}

static int no_range(struct store *store, uint64_t offset, uint64_t length)
{
	return -ENOTSUP;
}

static void pipe_free(struct store *store)
{
	free(to_pipe(store));
}

static struct pipe *new_pipe(const struct store_ops *ops, const char *name,
			     int fd, uint64_t size_bytes)
{
	struct pipe *pipe = calloc(1, sizeof(*pipe));

	if (!pipe)
		return NULL;
	pipe->fd = fd;
	pipe->store = (struct store){
		.ops = ops,
		.name = name,
		.fd = -1,
		.size_bytes = size_bytes,
		.alignment = 1,
	};
	return pipe;
}

/* --- Reading --- */

static void reach_end(struct pipe *pipe)
{
	pipe->at_end = true;
	pipe->store.size_bytes = pipe->at;
	pipe->ended(pipe->opaque, pipe->at);
}

static int reader_read(struct store *store, uint64_t offset, void *ret_data,
		       size_t length)
{
	struct pipe *pipe = to_pipe(store);
	char *to = ret_data;

	if (offset != pipe->at && !pipe->at_end)
		return -ESPIPE;
	while (length > 0 && !pipe->at_end) {
		ssize_t got = read(pipe->fd, to, length);

		if (got < 0 && again(pipe->fd, POLLIN))
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			reach_end(pipe);
		to += got;
		length -= got;
		pipe->at += got;
	}
	memset(to, 0, length);
	return 0;
}

static const struct store_ops reader_ops = {
	.read = reader_read,
	.write = no_write,
	.flush = no_flush,
	.resize = no_resize,
	.punch = no_range,
	.zero = no_range,
	.free = pipe_free,
};

struct store *pipe_new_reader(int fd, uint64_t size_bytes,
			      void (*ended)(void *opaque, uint64_t bytes),
			      void *opaque)
{
	struct pipe *pipe =
		new_pipe(&reader_ops, "standard input", fd, size_bytes);

	if (!pipe)
		return NULL;
	pipe->store.read_only = true;
	pipe->ended = ended;
	pipe->opaque = opaque;
	return &pipe->store;
}

void pipe_set_size(struct store *reader, uint64_t size_bytes)
{
	reader->size_bytes = size_bytes;
}

/* --- Taking note --- */

static int note_write(struct store *store, uint64_t offset, const void *data,
		      size_t length)
{
	struct pipe *pipe = to_pipe(store);

	if (offset < pipe->at)
		return -ESPIPE;
	pipe->at = offset + length;
	return pipe_runs_add(pipe->noted, offset, length, offset);
}

static const struct store_ops note_ops = {
	.read = no_read,
	.write = note_write,
	.flush = no_flush,
	.resize = no_resize,
	.punch = no_range,
	.zero = no_range,
	.free = pipe_free,
};

struct store *pipe_new_note(uint64_t size_bytes, struct pipe_runs *runs)
{
	struct pipe *pipe =
		new_pipe(&note_ops, "standard output", -1, size_bytes);

	if (!pipe)
		return NULL;
	pipe->noted = runs;
	return &pipe->store;
}

/* --- Writing --- */

static int send(struct pipe *pipe, const char *data, size_t length)
{
	while (length > 0) {
		ssize_t sent = write(pipe->fd, data, length);

		if (sent < 0 && again(pipe->fd, POLLOUT))
			continue;
		if (sent < 0)
			return -errno;
		data += sent;
		length -= sent;
		pipe->at += sent;
	}
	return 0;
}

static int send_between(struct pipe *pipe, uint64_t to)
{
	int err = 0;

	if (!pipe->between)
		memset(pipe->chunk, 0, sizeof(pipe->chunk));
	while (pipe->at < to && err == 0) {
		size_t length =
			MIN(to - pipe->at, (uint64_t)sizeof(pipe->chunk));

		if (pipe->between)
			err = store_read(pipe->between, pipe->at, pipe->chunk,
					 length);
		if (err == 0)
			err = send(pipe, pipe->chunk, length);
	}
	return err;
}

/* The run that @offset lies in, at or after the last one; or NULL. */
static const struct pipe_run *find_run(struct pipe *pipe, uint64_t offset)
{
	const struct pipe_runs *runs = pipe->runs;

	for (; pipe->run < runs->count; pipe->run++) {
		const struct pipe_run *run = &runs->all[pipe->run];

		if (offset < run->offset)
			return NULL;
		if (offset - run->offset < run->length)
			return run;
	}
	return NULL;
}

static int writer_write(struct store *store, uint64_t offset, const void *data,
			size_t length)
{
	struct pipe *pipe = to_pipe(store);
	const char *from = data;

	while (length > 0) {
		const struct pipe_run *run = find_run(pipe, offset);
		uint64_t skip, host;
		size_t now;
		int err;

		if (!run)
			return -ESTALE;
		skip = offset - run->offset;
		host = run->host_offset + skip;
		now = MIN((uint64_t)length, run->length - skip);
		if (host < pipe->at)
			return -ESPIPE;
		err = send_between(pipe, host);
		if (err == 0)
			err = send(pipe, from, now);
		if (err)
			return err;
		from += now;
		offset += now;
		length -= now;
	}
	return 0;
}

static const struct store_ops writer_ops = {
	.read = no_read,
	.write = writer_write,
	.flush = no_flush,
	.resize = no_resize,
	.punch = no_range,
	.zero = no_range,
	.free = pipe_free,
};

struct store *pipe_new_writer(int fd, uint64_t size_bytes,
			      const struct pipe_runs *runs,
			      struct store *between)
{
	struct pipe *pipe =
		new_pipe(&writer_ops, "standard output", fd, size_bytes);

	if (!pipe)
		return NULL;
	pipe->runs = runs;
	pipe->between = between;
	return &pipe->store;
}

int pipe_finish(struct store *writer, uint64_t host_bytes)
{
	return send_between(to_pipe(writer), host_bytes);
}
