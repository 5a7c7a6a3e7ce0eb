/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flush plan in the making, for formats: writes of which the plan keeps copies,
 * neighbours joined to one, and barriers where something was written. Everything
 * is allocated at the start, so that adding cannot fail.
 */
#ifndef IMAGE_PLAN_H
#define IMAGE_PLAN_H

#include "image/image.h"

struct plan_draft {
	struct image_step *steps;
	size_t count;
	uint8_t *buffer; /* the copies, one after the other */
	size_t used;
	bool wrote; /* since the last barrier */
};

/* Room for @steps, and for @bytes that they write. 0 or -ENOMEM. */
int plan_draft_init(struct plan_draft *draft, size_t steps, size_t bytes);

/* A step of any kind, to be filled in further. */
struct image_step *plan_add(struct plan_draft *draft, enum image_step_kind kind,
			    struct store *store, uint64_t offset,
			    uint64_t length);

void plan_add_write(struct plan_draft *draft, struct store *store,
		    uint64_t offset, const void *data, size_t length);

/* If something was written since the last one; or @always. */
void plan_add_barrier(struct plan_draft *draft, bool always);

/* The draft becomes *@ret, to be freed by plan_free. */
void plan_take(struct plan_draft *draft, struct image_plan *ret);

/* For flush_end: the plan is empty afterwards. */
void plan_free(struct image_plan *plan);

#endif
