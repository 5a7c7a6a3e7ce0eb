/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a sparse extent as a whole: what lies where in its file, and whether
 * no two things lie in one place. For check.c and repair.c; synchronous I/O.
 */
#ifndef VMDK_CHECK_H
#define VMDK_CHECK_H

#include "image/manage.h"
#include "vmdk/core.h"

enum vmdk_item_kind {
	VMDK_ITEM_HEADER,
	VMDK_ITEM_STATE, /* SE: the second header, and what is VMware's */
	VMDK_ITEM_JOURNAL_HEADER,
	VMDK_ITEM_JOURNAL,
	VMDK_ITEM_FREE_BITMAP,
	VMDK_ITEM_BACK_MAP,
	VMDK_ITEM_DESCRIPTOR,
	VMDK_ITEM_DIRECTORY,
	VMDK_ITEM_TABLE,
	VMDK_ITEM_GRAIN,
};

struct vmdk_item {
	uint64_t place;	 /* bytes of the file */
	uint64_t number; /* of the table, or of the grain */
	uint32_t bytes;	 /* of a directory: not more than these */
	uint8_t kind;
	bool second; /* directory or table: the other copy */
	bool shared; /* with its neighbours; once sorted */
};

struct vmdk_survey {
	struct vmdk_part *part;
	uint8_t *rgd;		 /* the second directory, or NULL */
	struct vmdk_item *items; /* heap; sorted by place */
	size_t count, room;
	size_t tables;		/* of the items when only tables are there */
	uint8_t *table, *other; /* of a table's size, for whoever needs them */
	/* Told of each finding, unless NULL. */
	void (*found)(void *opaque, const char *finding);
	void *opaque;
};

/*
 * Everything that @part's directories lead to. 0 or a negative errno. To be
 * deinitialised whether it succeeds or not.
 */
int vmdk_survey(struct vmdk_part *part,
		void (*found)(void *opaque, const char *finding), void *opaque,
		struct vmdk_survey *ret);
void vmdk_survey_deinit(struct vmdk_survey *survey);

/* Whether an item lies in [place, place + bytes), or a part of one. */
bool vmdk_survey_has(const struct vmdk_survey *survey, uint64_t place,
		     uint64_t bytes);

/* Where the last item ends: what is free in the file lies past that. */
uint64_t vmdk_survey_end(const struct vmdk_survey *survey);

/* The item that begins at @place, or NULL. */
struct vmdk_item *vmdk_survey_at(const struct vmdk_survey *survey,
				 uint64_t place);

/* Keeps the order. 0 or -ENOMEM. */
int vmdk_survey_insert(struct vmdk_survey *survey, struct vmdk_item item);

/*
 * Table @index of a directory into @table: zeroes if there is none. False: it
 * does not lie in the file. *@ret_err is the outcome of the read.
 */
bool vmdk_survey_table(struct vmdk_part *part, const uint8_t *directory,
		       uint64_t index, uint8_t *table, int *ret_err);

struct vmdk_repair_listener {
	/* Before each change; other than 0 ends the repair with it. Or NULL. */
	int (*begin)(void *opaque);
	/* Told of what was mended, unless NULL. */
	void (*fixed)(void *opaque, const char *finding);
	void *opaque;
};

/* Mends what can be mended of a part that is open for writing. 0 or an error. */
int vmdk_repair(struct vmdk_part *part,
		const struct vmdk_repair_listener *listener);

int vmdk_check(struct image *image, enum image_fix fix, image_report *report,
	       void *opaque, struct image_check *ret);

/* Tells it, unless nobody listens. */
#define VMDK_SAY(found, opaque, ...)                           \
	do {                                                   \
		void (*told_)(void *, const char *) = (found); \
		char say_[256];                                \
		snprintf(say_, sizeof(say_), __VA_ARGS__);     \
		if (told_)                                     \
			told_(opaque, say_);                   \
	} while (0)

#endif
