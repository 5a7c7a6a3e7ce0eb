/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/account.h"

#include <stdlib.h>

#include "base/bitmap.h"

enum {
	SECTOR_BITS = VMDK_SECTOR_BYTES * 8,
	WORDS = SECTOR_BITS / 64,
	FREE_TABLE = offsetof(struct vmdk_wire_se_state, free_gt),
};

void vmdk_account_free(struct vmdk_account *account)
{
	if (!account)
		return;
	free(account->used);
	free(account->dirty);
	free(account->writing);
	free(account->tables);
	free(account->changes);
	free(account);
}

/* --- Grains ------------------------------------------------------------- */

static void mark_dirty(struct vmdk_account *a, uint64_t grain, uint64_t count)
{
	for (uint64_t i = grain / SECTOR_BITS;
	     i <= (grain + count - 1) / SECTOR_BITS; i++) {
		a->dirty_count += !bitmap_test(a->dirty, i);
		bitmap_set(a->dirty, i);
	}
}

int vmdk_account_take(struct vmdk_account *a, uint32_t *count,
		      uint64_t *ret_grain)
{
	uint64_t grain = bitmap_next_clear(a->used, a->limit, a->lowest);
	uint64_t most = MIN(a->limit, grain + *count);

	a->lowest = grain;
	if (grain == a->limit)
		return IMAGE_E_NO_SPACE;
	*count = (uint32_t)(bitmap_next_set(a->used, most, grain) - grain);
	bitmap_set_range(a->used, grain, *count);
	mark_dirty(a, grain, *count);
	a->lowest = grain + *count;
	a->promised += *count;
	*ret_grain = grain;
	return 0;
}

void vmdk_account_give_back(struct vmdk_account *a, uint64_t grain,
			    uint32_t count)
{
	bitmap_clear_range(a->used, grain, count);
	mark_dirty(a, grain, count);
	a->lowest = MIN(a->lowest, grain);
	a->promised -= count;
}

void vmdk_account_name(struct vmdk_account *a, uint64_t grain, uint32_t count,
		       uint64_t entry)
{
	for (uint32_t i = 0; i < count; i++)
		a->changes[a->change_count++] = (struct vmdk_account_change){
			.grain = grain + i,
			.entry = entry + i,
		};
	a->promised -= count;
}

bool vmdk_account_is_free(const struct vmdk_account *a, uint64_t grain)
{
	return grain < a->limit && !bitmap_test(a->used, grain);
}

void vmdk_account_take_one(struct vmdk_account *a, uint64_t grain)
{
	bitmap_set(a->used, grain);
	mark_dirty(a, grain, 1);
	a->promised++;
}

/* --- Tables ------------------------------------------------------------- */

int vmdk_account_take_table(struct vmdk_account *a, uint32_t *ret_table)
{
	size_t table = bitmap_next_clear(a->tables, a->table_count, 0);

	if (table == a->table_count)
		return IMAGE_E_NO_SPACE;
	bitmap_set(a->tables, table);
	a->free_table_wanted = MAX(a->free_table_wanted, (uint64_t)table + 1);
	*ret_table = (uint32_t)table;
	return 0;
}

void vmdk_account_give_table_back(struct vmdk_account *a, uint32_t table)
{
	bitmap_clear(a->tables, table);
}

/* --- Plans -------------------------------------------------------------- */

void vmdk_account_measure(const struct vmdk_account *a, size_t *steps,
			  size_t *bytes)
{
	*steps += a->dirty_count + a->change_count + 1;
	*bytes += a->dirty_count * VMDK_SECTOR_BYTES +
		  a->change_count * sizeof(uint64_t) + sizeof(uint64_t);
}

static void add_bits(const struct vmdk_part *part, struct plan_draft *draft)
{
	struct vmdk_account *a = part->account;
	size_t sectors = div_round_up(a->limit, SECTOR_BITS);
	size_t words = BITMAP_WORDS(a->limit);
	uint64_t place = vmdk_se_region(part, VMDK_SE_FREE_BITMAP);
	uint8_t data[VMDK_SECTOR_BYTES];

	for (size_t i = bitmap_next_set(a->dirty, sectors, 0); i < sectors;
	     i = bitmap_next_set(a->dirty, sectors, i + 1)) {
		size_t count = MIN(words - i * WORDS, (size_t)WORDS);

		for (size_t word = 0; word < count; word++)
			put_le64(data + word * 8, a->used[i * WORDS + word]);
		plan_add_write(draft, part->store,
			       place + i * VMDK_SECTOR_BYTES, data, count * 8);
		bitmap_clear(a->dirty, i);
		bitmap_set(a->writing, i);
	}
	a->dirty_count = 0;
}

static int by_grain(const void *a, const void *b)
{
	const struct vmdk_account_change *one = a, *other = b;

	return one->grain < other->grain ? -1 : one->grain > other->grain;
}

static void add_back_map(const struct vmdk_part *part, struct plan_draft *draft)
{
	struct vmdk_account *a = part->account;
	uint64_t place = vmdk_se_region(part, VMDK_SE_BACK_MAP);
	uint8_t entry[8];

	qsort(a->changes, a->change_count, sizeof(*a->changes), by_grain);
	for (uint32_t i = 0; i < a->change_count; i++) {
		put_le64(entry, a->changes[i].entry);
		plan_add_write(draft, part->store,
			       place + a->changes[i].grain * sizeof(entry),
			       entry, sizeof(entry));
	}
	a->changes_out = a->change_count;
}

void vmdk_account_add(const struct vmdk_part *part, struct plan_draft *draft)
{
	struct vmdk_account *a = part->account;
	uint8_t number[8];

	add_bits(part, draft);
	add_back_map(part, draft);
	if (a->free_table == a->free_table_wanted)
		return;
	put_le64(number, a->free_table_wanted);
	plan_add_write(draft, part->store, part->s.state_offset + FREE_TABLE,
		       number, sizeof(number));
	a->free_table_out = a->free_table_wanted;
}

static void bits_written(struct vmdk_account *a, bool failed)
{
	size_t sectors = div_round_up(a->limit, SECTOR_BITS);

	for (size_t i = bitmap_next_set(a->writing, sectors, 0); i < sectors;
	     i = bitmap_next_set(a->writing, sectors, i + 1)) {
		bitmap_clear(a->writing, i);
		if (failed)
			mark_dirty(a, i * SECTOR_BITS, 1);
	}
}

/* After a failure the file may say either, and all is written again. */
void vmdk_account_planned(struct vmdk_account *a, int result)
{
	bits_written(a, result != 0);
	if (result == 0) {
		a->change_count -= a->changes_out;
		memmove(a->changes, a->changes + a->changes_out,
			a->change_count * sizeof(*a->changes));
		if (a->free_table_out)
			a->free_table = a->free_table_out;
	}
	a->changes_out = 0;
	a->free_table_out = 0;
}
