/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clusters decompressed last, so that a guest that reads one in small
 * requests has it decompressed once.
 *
 * A cluster is found by where its stream lies, and only for an extent that the
 * format has just answered: what is no longer mapped is never asked for. The
 * stream's room can be used again only after a round of executor-group.c, and
 * each executor forgets everything before it reports: no request of the old
 * parity, which could still bring in what was freed, is alive by then.
 */
#include <string.h>

#include "image/executor-private.h"

static bool is_of(const struct executor_unpacked *slot,
		  const struct image_extent *extent)
{
	return slot->store == extent->store &&
	       slot->host_offset == extent->host_offset &&
	       slot->host_bytes == extent->host_bytes &&
	       slot->cluster_bytes == extent->cluster_bytes &&
	       slot->codec == extent->codec;
}

const char *executor_find_unpacked(const struct executor *executor,
				   const struct image_extent *extent)
{
	for (unsigned i = 0; i < EXECUTOR_UNPACKED; i++)
		if (is_of(&executor->unpacked[i], extent))
			return executor->unpacked[i].data;
	return NULL;
}

/* The slot that was filled longest ago, empty. */
static struct executor_unpacked *next_slot(struct executor *executor)
{
	struct executor_unpacked *slot =
		&executor->unpacked[executor->unpacked_next];

	executor->unpacked_next =
		(executor->unpacked_next + 1) % EXECUTOR_UNPACKED;
	slot->store = NULL;
	return slot;
}

static void label(struct executor_unpacked *slot,
		  const struct image_extent *extent)
{
	*slot = (struct executor_unpacked){
		.store = extent->store,
		.host_offset = extent->host_offset,
		.host_bytes = extent->host_bytes,
		.cluster_bytes = extent->cluster_bytes,
		.codec = extent->codec,
		.data = slot->data,
	};
}

void executor_keep_unpacked(struct executor *executor,
			    const struct image_extent *extent,
			    const char *cluster)
{
	struct executor_unpacked *slot;

	if (executor_find_unpacked(executor, extent))
		return;
	slot = next_slot(executor);
	memcpy(slot->data, cluster, extent->cluster_bytes);
	label(slot, extent);
}

int executor_unpack(struct executor *executor,
		    const struct image_extent *extent, const char *stream,
		    const char **ret_cluster)
{
	struct executor_unpacked *slot = next_slot(executor);
	int outcome;

	if (extent->may_be_short)
		outcome = codec_decompress_short(
			executor->codec, extent->codec, stream,
			extent->host_bytes, slot->data, extent->cluster_bytes);
	else
		outcome = codec_decompress(executor->codec, extent->codec,
					   stream, extent->host_bytes,
					   slot->data, extent->cluster_bytes);
	if (outcome != 0)
		return outcome;
	label(slot, extent);
	*ret_cluster = slot->data;
	return 0;
}

void executor_forget_unpacked(struct executor *executor)
{
	for (unsigned i = 0; i < EXECUTOR_UNPACKED; i++)
		executor->unpacked[i].store = NULL;
}
