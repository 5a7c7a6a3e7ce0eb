/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A streamOptimized disk as a store that takes the guest's bytes in ascending
 * order. Grains are gathered in a ring, compressed by a pool's threads, each when
 * it is full, and written in the ring's order when the room is wanted again. So
 * the stream is the same however many threads there are.
 *
 * All but the compression runs on the thread that writes, also the jobs' ends: the
 * loop is the stream's own, and only waited for when the oldest grain is not done.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/codec-pool.h"
#include "vmdk/manage.h"
#include "vmdk/stream-out.h"

enum {
	LOOP_ENTRIES = 8,
	GRAINS_PER_THREAD = 8,
	/* What deflate cannot make smaller becomes a little larger. */
	PACKED_BYTES = VMDK_GRAIN_BYTES + 4 * VMDK_SECTOR_BYTES,
};

struct grain {
	struct codec_job job;
	uint64_t number;
	bool done;
	uint8_t data[VMDK_GRAIN_BYTES];
	/* Begins with room for a marker, and ends with some for a sector's rest. */
	uint8_t packed[PACKED_BYTES];
};

struct stream {
	struct store store; /* that the guest's bytes are written to */
	struct vmdk_stream_out out;
	struct loop *loop;
	struct codec_pool *pool;
	int level;
	struct grain *ring;
	unsigned room;
	uint64_t oldest; /* of those in the ring, counted from the first */
	uint64_t next;	 /* after the last one that is compressed */
	struct grain *filling; /* or NULL */
	uint64_t at;	       /* nothing before it may be written any more */
	int err;	       /* once something failed, all does */
};

static struct stream *to_stream(struct store *store)
{
	return container_of(store, struct stream, store);
}

static struct grain *grain_at(struct stream *s, uint64_t count)
{
	return &s->ring[count % s->room];
}

/* --- Out of the ring ---------------------------------------------------- */

static void packed(struct loop_message *message)
{
	container_of(message, struct grain, job.message)->done = true;
}

/* Takes the oldest one out, when it is done. */
static int wait_for_oldest(struct stream *s)
{
	while (!grain_at(s, s->oldest)->done) {
		int got = loop_wait(s->loop, UINT64_MAX);

		if (got < 0 && got != -EINTR)
			return got;
	}
	s->oldest++;
	return 0;
}

static int retire_oldest(struct stream *s)
{
	struct grain *grain = grain_at(s, s->oldest);
	int err = wait_for_oldest(s);

	if (err)
		return err;
	if (grain->job.result)
		return grain->job.result < 0 ? grain->job.result : -EIO;
	return vmdk_stream_out_grain(&s->out, grain->number, grain->packed,
				     (uint32_t)grain->job.ret_bytes);
}

/* --- Into it ------------------------------------------------------------ */

static int begin_grain(struct stream *s, uint64_t number)
{
	int err = 0;

	if (s->next - s->oldest == s->room)
		err = retire_oldest(s);
	if (err)
		return err;
	s->filling = grain_at(s, s->next);
	s->filling->number = number;
	return 0;
}

static void end_grain(struct stream *s)
{
	struct grain *grain = s->filling;

	grain->done = false;
	grain->job = (struct codec_job){
		.loop = s->loop,
		.message.run = packed,
		.compress = true,
		.kind = IMAGE_CODEC_ZLIB,
		.level = s->level,
		.from = grain->data,
		.from_bytes = VMDK_GRAIN_BYTES,
		.to = grain->packed + VMDK_GRAIN_MARKER_BYTES,
		.to_bytes = PACKED_BYTES - VMDK_GRAIN_MARKER_BYTES -
			    VMDK_SECTOR_BYTES,
	};
	s->filling = NULL;
	s->next++;
	codec_pool_submit(s->pool, &grain->job);
}

/* Of one grain. What of it is never written is zeroes. */
static int fill(struct stream *s, uint64_t offset, const uint8_t *data,
		size_t length)
{
	uint64_t number = offset / VMDK_GRAIN_BYTES;
	size_t skip = offset % VMDK_GRAIN_BYTES;
	int err = 0;

	if (s->filling && s->filling->number != number)
		end_grain(s);
	if (!s->filling) {
		err = begin_grain(s, number);
		if (err)
			return err;
		if (length < VMDK_GRAIN_BYTES)
			memset(s->filling->data, 0, VMDK_GRAIN_BYTES);
	}
	memcpy(s->filling->data + skip, data, length);
	if (skip + length == VMDK_GRAIN_BYTES)
		end_grain(s);
	return 0;
}

static int stream_write(struct store *store, uint64_t offset, const void *data,
			size_t length)
{
	struct stream *s = to_stream(store);
	const uint8_t *from = data;

	if (!range_fits(offset, length, store->size_bytes))
		return -EINVAL;
	if (offset < s->at)
		return -ESPIPE;
	s->at = offset + length;
	while (length > 0 && s->err == 0) {
		size_t now = MIN(length, (size_t)(VMDK_GRAIN_BYTES -
						  offset % VMDK_GRAIN_BYTES));

		s->err = fill(s, offset, from, now);
		offset += now;
		from += now;
		length -= now;
	}
	return s->err;
}

static int stream_end(struct store *store)
{
	struct stream *s = to_stream(store);

	if (s->err == 0 && s->filling)
		end_grain(s);
	while (s->err == 0 && s->oldest < s->next)
		s->err = retire_oldest(s);
	if (s->err == 0)
		s->err = vmdk_stream_out_end(&s->out);
	return s->err;
}

/* --- The store ---------------------------------------------------------- */

static int stream_read(struct store *store, uint64_t offset, void *ret_data,
		       size_t length)
{
	return -ESPIPE;
}

/* Nothing is stable before the stream's end. */
static int stream_flush(struct store *store)
{
	return to_stream(store)->err;
}

static int stream_resize(struct store *store, uint64_t size_bytes)
{
	return -ENOTSUP;
}

static int stream_range(struct store *store, uint64_t offset, uint64_t length)
{
	return -ENOTSUP;
}

/* The jobs that are left have to end before their room goes. */
static void stream_free(struct store *store)
{
	struct stream *s = to_stream(store);

	while (s->oldest < s->next && wait_for_oldest(s) == 0)
		;
	codec_pool_free(s->pool);
	if (s->loop)
		loop_free(s->loop);
	vmdk_stream_out_deinit(&s->out);
	free(s->ring);
	free(s);
}

static const struct store_ops ops = {
	.read = stream_read,
	.write = stream_write,
	.flush = stream_flush,
	.resize = stream_resize,
	.punch = stream_range,
	.zero = stream_range,
	.free = stream_free,
};

static int start(struct stream *s)
{
	int err = loop_new(LOOP_ENTRIES, &s->loop);

	if (err == 0)
		err = codec_pool_new(0, &s->pool);
	if (err)
		return err;
	s->room = GRAINS_PER_THREAD * codec_pool_threads(s->pool);
	s->ring = calloc(s->room, sizeof(*s->ring));
	return s->ring ? 0 : -ENOMEM;
}

static int make(const struct image_create_request *request,
		const char *descriptor, size_t descriptor_bytes,
		struct stream **ret)
{
	struct stream *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->store = (struct store){
		.ops = &ops,
		.name = request->store->name,
		.fd = -1,
		.size_bytes = request->size_bytes,
		.alignment = 1,
	};
	s->level = (int)image_options_number(
		request->options, "compression_level", CODEC_DEFAULT_LEVEL);
	err = start(s);
	if (err == 0)
		err = vmdk_stream_out_begin(&s->out, request->store,
					    request->size_bytes >>
						    VMDK_SECTOR_BITS,
					    descriptor, descriptor_bytes);
	if (err) {
		stream_free(&s->store);
		return err;
	}
	*ret = s;
	return 0;
}

bool vmdk_is_stream(const struct image_options *options)
{
	return vmdk_subformat(options)->stream;
}

int vmdk_stream(const struct image_create_request *request,
		struct image_stream *ret, char **ret_error)
{
	struct stream *s = NULL;
	char *text = NULL;
	size_t bytes = 0;
	int err;

	if (request->backing_name)
		return store_fail(ret_error, -ENOTSUP,
				  "vmdk: a stream has no backing image");
	err = vmdk_prepare(request, &text, &bytes, ret_error);
	if (err == 0)
		err = make(request, text, bytes, &s);
	free(text);
	if (err)
		return store_fail(ret_error, err, "%s: cannot be made: %s",
				  request->store->name,
				  err < 0 ? strerror(-err) : "see above");
	*ret = (struct image_stream){
		.guest = &s->store,
		.unit_bytes = VMDK_GRAIN_BYTES,
		.end = stream_end,
	};
	return 0;
}
