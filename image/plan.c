/* SPDX-License-Identifier: Apache-2.0 */
#include "image/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum {
	MAX_STEP_BYTES = 1 << 20, /* of neighbours written as one */
	DATA_ALIGNMENT = 4096,
};

int plan_draft_init(struct plan_draft *draft, size_t steps, size_t bytes)
{
	*draft = (struct plan_draft){
		.steps = calloc(steps, sizeof(*draft->steps)),
		.buffer = aligned_alloc(
			DATA_ALIGNMENT,
			align_up(MAX(bytes, (size_t)1), DATA_ALIGNMENT)),
	};
	if (draft->steps && draft->buffer)
		return 0;
	free(draft->steps);
	free(draft->buffer);
	return -ENOMEM;
}

struct image_step *plan_add(struct plan_draft *draft, enum image_step_kind kind,
			    struct store *store, uint64_t offset,
			    uint64_t length)
{
	struct image_step *step = &draft->steps[draft->count++];

	*step = (struct image_step){
		.kind = kind,
		.store = store,
		.offset = offset,
		.length = length,
	};
	return step;
}

static bool goes_on(const struct image_step *last, const struct store *store,
		    uint64_t offset, size_t length)
{
	return last->kind == IMAGE_STEP_WRITE && last->store == store &&
	       last->offset + last->length == offset &&
	       last->length + length <= MAX_STEP_BYTES;
}

void plan_add_write(struct plan_draft *draft, struct store *store,
		    uint64_t offset, const void *data, size_t length)
{
	struct image_step *last =
		draft->count ? &draft->steps[draft->count - 1] : NULL;

	draft->wrote = true;
	memcpy(draft->buffer + draft->used, data, length);
	if (last && goes_on(last, store, offset, length))
		last->length += length;
	else
		plan_add(draft, IMAGE_STEP_WRITE, store, offset, length)->data =
			draft->buffer + draft->used;
	draft->used += length;
}

void plan_add_barrier(struct plan_draft *draft, bool always)
{
	if (draft->wrote || always)
		plan_add(draft, IMAGE_STEP_BARRIER, NULL, 0, 0);
	draft->wrote = false;
}

void plan_take(struct plan_draft *draft, struct image_plan *ret)
{
	*ret = (struct image_plan){
		.steps = draft->steps,
		.count = draft->count,
		.ticket = (uintptr_t)draft->buffer,
	};
}

void plan_free(struct image_plan *plan)
{
	free((void *)(uintptr_t)plan->ticket);
	free(plan->steps);
	*plan = (struct image_plan){0};
}
