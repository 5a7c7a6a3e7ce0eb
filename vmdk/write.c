/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to what changes a sparse extent. */
#include <errno.h>

#include "vmdk/cid.h"
#include "vmdk/map.h"
#include "vmdk/room.h"

/* In one answer; neighbours in the guest become neighbours in the file. */
#define MAX_ALLOCATE_BYTES (UINT64_C(16) << 20)

static int done(const struct vmdk_ask *ask, uint64_t grains,
		struct image_extent *ret)
{
	*ret = (struct image_extent){
		.kind = IMAGE_DONE,
		.length = vmdk_ask_bytes(ask, grains),
	};
	return 0;
}

/* It reads as zeroes already, and nothing is to be said or written. */
static bool is_idle(const struct vmdk *v, const struct vmdk_ask *ask,
		    bool zeroes)
{
	return ask->op == IMAGE_DISCARD ||
	       (ask->op == IMAGE_ZERO && (zeroes || !vmdk_is_backed(v)));
}

/*
 * Fewer of @grains, if not all can be noted. False: none can, or the cache has no
 * room; *@ret is the answer.
 */
static bool has_room(const struct vmdk *v, const struct vmdk_part *part,
		     uint64_t *grains, struct image_extent *ret)
{
	while (*grains > 1 && !vmdk_can_note(v, part, *grains))
		*grains /= 2;
	if (!vmdk_is_full(v) && vmdk_can_note(v, part, *grains))
		return true;
	vmdk_answer_full(v, ret);
	return false;
}

/* Where the last of @grains ends, of the part's bytes. */
static uint64_t end_of(const struct vmdk_ask *ask, uint64_t grains)
{
	return MIN((ask->grain + grains) << ask->part->grain_bits,
		   ask->part->bytes);
}

static int allocate(struct vmdk *v, const struct vmdk_ask *ask,
		    const struct vmdk_table *table, uint64_t grains,
		    bool zeroes, struct image_extent *ret)
{
	struct vmdk_part *part = ask->part;
	uint64_t most =
		MAX(MAX_ALLOCATE_BYTES >> part->grain_bits, UINT64_C(1));
	uint64_t ticket, host, length;
	uint32_t count;
	int err;

	if (v->pending_count == VMDK_MAX_PENDING) {
		*ret = (struct image_extent){.kind = IMAGE_BUSY};
		return 0;
	}
	grains = MIN(grains, most);
	if (!has_room(v, part, &grains, ret))
		return 0;
	count = (uint32_t)grains;
	err = vmdk_room_take(v, part, ask->grain, &count, table, &ticket,
			     &host);
	if (err)
		return err;
	length = vmdk_ask_bytes(ask, count);
	*ret = (struct image_extent){
		.kind = IMAGE_ALLOCATE,
		.length = length,
		.store = part->store,
		.host_offset = host,
		.head_bytes = ask->skip,
		.tail_bytes = end_of(ask, count) - ask->offset - length,
		.fill_zeroes = zeroes || !vmdk_is_backed(v),
		.reads_zero = part->store->can_grow && host >= part->fresh,
		.ticket = ticket,
	};
	return 0;
}

/* Grains that the request covers wholly: they are only marked as zeroes. */
static bool mark_zeroes(struct vmdk *v, const struct vmdk_ask *ask,
			const struct vmdk_table *table, uint64_t grains,
			struct image_extent *ret)
{
	uint64_t end = ask->offset + ask->length;

	if (!ask->part->s.zero_grains || ask->skip)
		return false;
	if (end_of(ask, grains) > end)
		grains--;
	if (grains == 0)
		return false;
	if (!has_room(v, ask->part, &grains, ret))
		return true;
	for (uint32_t i = 0; i < grains; i++)
		vmdk_table_change(v, ask->part, ask->grain + i, table->block,
				  table->index + i, vmdk_zero_entry(ask->part));
	done(ask, grains, ret);
	return true;
}

/* @grains from the first on are in no file; @zeroes: and read as zeroes. */
static int change_absent(struct vmdk *v, const struct vmdk_ask *ask,
			 const struct vmdk_table *table, uint64_t grains,
			 bool zeroes, struct image_extent *ret)
{
	grains = vmdk_room_limit(v, ask->part, ask->grain, grains);
	if (grains == 0) {
		*ret = (struct image_extent){.kind = IMAGE_BUSY};
		return 0;
	}
	if (is_idle(v, ask, zeroes))
		return done(ask, grains, ret);
	if (ask->op == IMAGE_ZERO && mark_zeroes(v, ask, table, grains, ret))
		return 0;
	/* A part of the first grain; the others may be marked. */
	if (ask->op == IMAGE_ZERO && ask->part->s.zero_grains)
		grains = 1;
	return allocate(v, ask, table, grains, zeroes, ret);
}

int vmdk_change_found(struct vmdk *v, const struct vmdk_ask *ask,
		      const struct vmdk_table *table, struct image_extent *ret)
{
	struct vmdk_ask as_read = *ask;
	uint64_t grains;
	bool zeroes;

	as_read.op = IMAGE_READ;
	if (!vmdk_map_found(&as_read, table, ret))
		return IMAGE_E_CORRUPT;
	if (ret->kind == IMAGE_DATA)
		return 0;
	zeroes = ret->kind == IMAGE_ZEROES;
	grains = div_round_up(ask->skip + ret->length,
			      UINT64_C(1) << ask->part->grain_bits);
	return change_absent(v, ask, table, grains, zeroes, ret);
}

int vmdk_change_absent(struct vmdk *v, const struct vmdk_ask *ask,
		       uint64_t grains, struct image_extent *ret)
{
	int err;

	if (is_idle(v, ask, false))
		return done(ask, grains, ret);
	if (vmdk_is_full(v)) {
		vmdk_answer_full(v, ret);
		return 0;
	}
	err = vmdk_room_make_table(v, ask->part, ask->grain);
	if (err != -EBUSY)
		return err ? err : VMDK_ANSWERED;
	*ret = (struct image_extent){.kind = IMAGE_BUSY};
	return 0;
}
