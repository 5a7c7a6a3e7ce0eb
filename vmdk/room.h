/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room in the file of a sparse extent, taken from its end: for grains, which get
 * their place in a table when they are committed, and for tables that are not
 * there yet.
 */
#ifndef VMDK_ROOM_H
#define VMDK_ROOM_H

#include "vmdk/table.h"

/*
 * What writing takes of a part that is opened for it, its directory read. 0, a
 * negative errno, or IMAGE_E_CORRUPT: a table lies where none can be written,
 * unless that is to be found by a @check. Of an SE extent see vmdk_account_open.
 */
int vmdk_room_init(struct vmdk_part *part, bool own_account, bool check,
		   char **ret_error);

/* The file holds what ends at byte @end. */
int vmdk_room_reach(struct vmdk_part *part, uint64_t end);

/* @bytes at the end of the file, in whole grains. Not SE. */
int vmdk_room_take_end(struct vmdk_part *part, uint64_t bytes,
		       uint64_t *ret_offset);

/* The file ends where its last grain does. Before its store goes. */
void vmdk_room_trim(struct vmdk_part *part);

/* Accepts one that was not initialised. */
void vmdk_room_deinit(struct vmdk_part *part);

/*
 * A flush has to come before more is changed, as the cache or the journal is full:
 * *@ret is MUST_FLUSH, or BUSY while a plan is out.
 */
void vmdk_answer_full(const struct vmdk *v, struct image_extent *ret);
bool vmdk_is_full(const struct vmdk *v);

/* So many more changes of @part's entries can be noted before a flush. */
bool vmdk_can_note(const struct vmdk *v, const struct vmdk_part *part,
		   uint64_t changes);

/* An empty table for @grain. 0, IMAGE_E_NO_SPACE, -ENOSPC, or -EBUSY: later. */
int vmdk_room_make_table(struct vmdk *v, struct vmdk_part *part,
			 uint64_t grain);

/*
 * *@count grains from @grain on, whose entries @table begins with, or fewer, as
 * it then says. There is a place among the pending. 0 and the ticket,
 * IMAGE_E_NO_SPACE, -ENOSPC.
 */
int vmdk_room_take(struct vmdk *v, struct vmdk_part *part, uint64_t grain,
		   uint32_t *count, const struct vmdk_table *table,
		   uint64_t *ret_ticket, uint64_t *ret_offset);

/* SE: the account gets to know that entry @index of @block, and those after it, name
 * the @count grains at @offset, which were taken. */
void vmdk_room_name(struct vmdk_part *part, uint64_t offset, uint32_t count,
		    const struct metacache_block *block, uint32_t index);

/* Of @count grains from @grain on, how many come before one that is pending. */
uint64_t vmdk_room_limit(const struct vmdk *v, const struct vmdk_part *part,
			 uint64_t grain, uint64_t count);

/* Sets entry @index of @block, the table of @grain; _change records it, too. */
void vmdk_table_change(struct vmdk *v, const struct vmdk_part *part,
		       uint64_t grain, struct metacache_block *block,
		       uint32_t index, uint64_t entry);
void vmdk_table_set(struct vmdk *v, const struct vmdk_part *part,
		    uint64_t grain, struct metacache_block *block,
		    uint32_t index, uint64_t entry);

#endif
