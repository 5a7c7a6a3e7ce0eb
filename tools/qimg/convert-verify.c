/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --verify: both sides are read again, the target as it was just opened anew.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tools/qimg/convert.h"

enum {
	CHUNK = 1 << 20,
};

struct side {
	struct executor *executor;
	struct executor_request request;
	struct iovec iov;
	char *buffer;
	int result;
};

static void read_done(struct executor_request *request, int result)
{
	container_of(request, struct side, request)->result = result;
}

static void start(struct side *side, struct executor *executor, uint64_t offset,
		  uint64_t bytes)
{
	side->executor = executor;
	side->result = 0;
	side->iov = (struct iovec){side->buffer, bytes};
	side->request = (struct executor_request){
		.op = EXECUTOR_READ,
		.offset = offset,
		.length = bytes,
		.iov = &side->iov,
		.iov_count = 1,
		.done = read_done,
	};
	executor_submit(executor, &side->request);
}

static void wait_for(const struct convert *convert, const struct side *side)
{
	while (executor_in_flight(side->executor) > 0)
		loop_wait(convert->loop, UINT64_MAX);
}

static int compare(struct convert *convert, struct convert_source *source,
		   uint64_t offset, struct side sides[2])
{
	uint64_t bytes = MIN(source->bytes - offset, (uint64_t)CHUNK);
	uint64_t size = source->image->size_bytes;
	uint64_t from = source->from + offset;
	uint64_t there = from < size ? MIN(bytes, size - from) : 0;
	uint64_t at = source->start + offset;

	memset(sides[0].buffer + there, 0, bytes - there);
	start(&sides[1], convert->executor, at, bytes);
	wait_for(convert, &sides[1]);
	if (there) {
		start(&sides[0], source->executor, from, there);
		wait_for(convert, &sides[0]);
	}
	if (sides[0].result < 0 || sides[1].result < 0) {
		bool from_source = sides[0].result < 0;

		return cli_error("--verify: error while reading the %s at "
				 "byte %" PRIu64 ": %s",
				 from_source ? "source" : "target", at,
				 qimg_image_reason(from_source
							   ? source->image
							   : convert->target,
						   sides[!from_source].result));
	}
	if (memcmp(sides[0].buffer, sides[1].buffer, bytes) != 0)
		return cli_error("--verify: source and target differ within "
				 "%" PRIu64 " bytes from byte %" PRIu64,
				 bytes, at);
	return 0;
}

int convert_verify(struct convert *convert)
{
	struct side sides[2] = {0};
	int status = 0;

	for (int i = 0; i < 2; i++)
		sides[i].buffer = aligned_alloc(4096, CHUNK);
	if (!sides[0].buffer || !sides[1].buffer)
		status = cli_error("out of memory");
	for (size_t i = 0; i < convert->source_count; i++) {
		struct convert_source *source = &convert->sources[i];

		for (uint64_t at = 0; at < source->bytes && status == 0;
		     at += CHUNK)
			status = compare(convert, source, at, sides);
	}
	free(sides[0].buffer);
	free(sides[1].buffer);
	return status;
}
