/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a seSparse file says of its room beside what its tables do: a bit for each
 * grain (the free bitmap: 1 is in use), the number of the entry that names it (the
 * back map), and from which number on grain tables are free. How these look is
 * inferred (docs/vmdk.md): so all of it is read when a file is opened for writing,
 * and a file that says anything else is not written to.
 *
 * A plan writes it before the tables: what a crash leaves is grains that are called
 * used and that nobody names. They are free for whoever opens the file next.
 *
 * Grains, tables and entries have numbers here: of the grains' region, of the
 * tables' region, and of all entries of that, one table after the other. The
 * image's lock is held; no I/O but in vmdk_account_open.
 */
#ifndef VMDK_ACCOUNT_H
#define VMDK_ACCOUNT_H

#include "image/plan.h"
#include "vmdk/core.h"

enum {
	/* Entries of the back map between two plans. */
	VMDK_ACCOUNT_CHANGES = 64 << 10,
};

struct vmdk_account_change {
	uint64_t grain;
	uint64_t entry;
};

struct vmdk_account {
	uint64_t limit;	 /* grains that the file can hold */
	uint64_t *used;	 /* bit per grain: named by a table, or given out */
	uint64_t lowest; /* none below is free */
	uint64_t end;	 /* all from here on are free */
	uint64_t *dirty; /* bit per sector of the free bitmap */
	uint64_t *writing;
	size_t dirty_count;
	uint64_t *tables; /* bit per table: named by the directory */
	uint32_t table_count;
	uint64_t free_table; /* what the file says */
	uint64_t free_table_wanted, free_table_out;
	struct vmdk_account_change *changes; /* VMDK_ACCOUNT_CHANGES */
	uint32_t change_count;
	uint32_t changes_out; /* the first ones: in a plan */
	uint64_t promised;
};

/*
 * Of @part, whose directory is read. @own: its descriptor says that we made it, so
 * that it need not prove how it is to be read. With @check it is not looked at, and
 * nothing may be taken. 0, a negative errno, or with *@ret_error -EROFS or
 * IMAGE_E_CORRUPT: not to be written. To be freed.
 */
int vmdk_account_open(const struct vmdk_part *part, bool own, bool check,
		      struct vmdk_account **ret, char **ret_error);
void vmdk_account_free(struct vmdk_account *account);

/* Where a region begins in the file, in bytes. */
static inline uint64_t vmdk_se_region(const struct vmdk_part *part,
				      enum vmdk_se_reserved which)
{
	return part->s.reserved[which].offset << VMDK_SECTOR_BITS;
}

/* Grains that the file can hold: its regions, and what accounts for them. */
uint64_t vmdk_account_limit(const struct vmdk_part *part);

struct vmdk_account_listener {
	void (*differs)(void *opaque, const char *finding);
	/* To mend: before each write; other than 0 ends it. NULL: only to tell. */
	int (*begin)(void *opaque);
	void *opaque;
};

/*
 * Tells, or mends, where the account of @part differs from what its tables say. Bits
 * that nobody names are no difference. Synchronous; 0 or an error.
 */
int vmdk_account_check(const struct vmdk_part *part,
		       const struct vmdk_account_listener *listener);

/* So many more grains can be named before a plan has to come. */
static inline bool vmdk_account_has_room(const struct vmdk_account *account,
					 uint64_t grains)
{
	return VMDK_ACCOUNT_CHANGES - account->change_count -
		       account->promised >=
	       grains;
}

/*
 * A run of free grains, *@count at most, which becomes its length; it is promised
 * that they can be named. IMAGE_E_NO_SPACE: there is none.
 */
int vmdk_account_take(struct vmdk_account *account, uint32_t *count,
		      uint64_t *ret_grain);

/* What was taken is not named after all; or it is, by @entry and those after it. */
void vmdk_account_give_back(struct vmdk_account *account, uint64_t grain,
			    uint32_t count);
void vmdk_account_name(struct vmdk_account *account, uint64_t grain,
		       uint32_t count, uint64_t entry);

/* A certain grain, for replays: false if it is not free. */
bool vmdk_account_is_free(const struct vmdk_account *account, uint64_t grain);
void vmdk_account_take_one(struct vmdk_account *account, uint64_t grain);

/* A free table's number, or IMAGE_E_NO_SPACE; and back. */
int vmdk_account_take_table(struct vmdk_account *account, uint32_t *ret_table);
void vmdk_account_give_table_back(struct vmdk_account *account, uint32_t table);

/* For plans: how much it adds at most, adds it, and how the plan ended. */
void vmdk_account_measure(const struct vmdk_account *account, size_t *steps,
			  size_t *bytes);
void vmdk_account_add(const struct vmdk_part *part, struct plan_draft *draft);
void vmdk_account_planned(struct vmdk_account *account, int result);

#endif
