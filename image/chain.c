/* SPDX-License-Identifier: Apache-2.0 */
#include "image/chain.h"

#include <assert.h>
#include <errno.h>

#include "base/bytes.h"
#include "image/block-status.h"
#include "image/chain-pump.h"
#include "image/manage.h"

/* --- Commit ------------------------------------------------------------------ */

static int judge_commit(struct chain_pump *pump, uint64_t offset,
			uint64_t length, enum chain_action *ret,
			uint64_t *ret_length)
{
	struct block_status s;
	int err = block_status_above(pump->source, pump->target, offset, length,
				     &s);

	pump->failed = pump->source;
	if (err)
		return err;
	*ret = !s.present ? CHAIN_SKIP : s.zero ? CHAIN_ZERO : CHAIN_COPY;
	*ret_length = s.length;
	return 0;
}

static bool is_below(const struct image *top, const struct image *base)
{
	const struct image *image = top->backing;

	while (image && image != base)
		image = image->backing;
	return image;
}

int chain_commit(struct image *top, struct image *base,
		 const struct chain_options *options, struct image **ret_failed)
{
	struct chain_pump pump = {
		.source = top,
		.target = base,
		.size_bytes = top->size_bytes,
		.options = options,
		.judge = judge_commit,
	};
	int err = 0;

	assert(is_below(top, base));
	*ret_failed = base;
	if (base->read_only)
		return -EROFS;
	if (base->size_bytes < top->size_bytes)
		err = image_resize(base, top->size_bytes,
				   IMAGE_PREALLOCATION_OFF);
	if (err)
		return err;
	err = chain_pump_run(&pump);
	*ret_failed = pump.failed;
	if (err || options->keep)
		return err;
	*ret_failed = top;
	err = image_make_empty(top);
	/* Then it keeps what the base has now, too: no harm, as in QEMU. */
	return err == -ENOTSUP ? 0 : err;
}

/* --- Rebase ------------------------------------------------------------------- */

static struct image *find_in(struct image *chain, const struct image *image)
{
	while (chain && !store_is_same(chain->store, image->store))
		chain = chain->backing;
	return chain;
}

/* What the new chain reads as there. */
static int look_at_new(struct image *backing, uint64_t offset, uint64_t length,
		       struct block_status *ret)
{
	*ret = (struct block_status){.length = length, .zero = true};
	if (!backing || offset >= backing->size_bytes)
		return 0;
	return block_status_next(backing, offset,
				 MIN(length, backing->size_bytes - offset),
				 ret);
}

/* Images that both chains have (opaque) need not be compared with themselves. */
static int judge_rebase(struct chain_pump *pump, uint64_t offset,
			uint64_t length, enum chain_action *ret,
			uint64_t *ret_length)
{
	const struct image *shared = pump->opaque;
	struct block_status old, new;
	int err =
		block_status_above(pump->source, shared, offset, length, &old);

	pump->failed = pump->source;
	if (err)
		return err;
	*ret = CHAIN_SKIP;
	*ret_length = old.length;
	if ((old.present && old.depth == 0) || (!old.present && shared))
		return 0;
	pump->failed = pump->other;
	err = look_at_new(pump->other, offset, old.length, &new);
	*ret_length = new.length;
	if (err == 0 && !(old.zero && new.zero))
		*ret = CHAIN_COMPARE;
	return err;
}

int chain_rebase(struct image *image, struct image *backing, const char *name,
		 const char *format, const struct chain_options *options,
		 struct image **ret_failed)
{
	struct chain_pump pump = {
		.source = image,
		.target = image,
		.other = backing,
		.size_bytes = image->size_bytes,
		.options = options,
		.judge = judge_rebase,
	};
	int err;

	*ret_failed = image;
	if (image->read_only)
		return -EROFS;
	if (image->backing_name && !image->backing)
		return -EINVAL;
	if (find_in(backing, image))
		return -ELOOP;
	if (!image->format->manage || !image->format->manage->set_backing)
		return -ENOTSUP;
	if (backing)
		pump.opaque = find_in(image->backing, backing);
	image->backing_changes = true;
	err = chain_pump_run(&pump);
	image->backing_changes = false;
	*ret_failed = pump.failed;
	if (err)
		return err;
	*ret_failed = image;
	return image_set_backing(image, name, format);
}
