/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people do to bitmaps (image/manage.h). Each change is made in memory and
 * stored; if it cannot be stored it is taken back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "qcow2/bitmap.h"
#include "qcow2/core.h"

enum {
	MIN_DEFAULT_GRANULARITY = 4096,
	MAX_DEFAULT_GRANULARITY = 65536,
};

static int check_directory(struct qcow2 *q)
{
	if (!q->bitmaps.broken)
		return 0;
	return image_set_error(&q->image, IMAGE_E_CORRUPT, "%s",
			       q->bitmaps.broken);
}

static struct qcow2_bitmap *look_up(const struct qcow2 *q, const char *name)
{
	for (size_t i = 0; i < q->bitmaps.count; i++)
		if (strcmp(q->bitmaps.all[i]->name, name) == 0)
			return q->bitmaps.all[i];
	return NULL;
}

static int find(struct qcow2 *q, const char *name, struct qcow2_bitmap **ret)
{
	int err = check_directory(q);

	if (err)
		return err;
	*ret = look_up(q, name);
	if (*ret)
		return 0;
	return image_set_error(&q->image, -ENOENT,
			       "the image has no bitmap \"%s\"", name);
}

static int find_loaded(struct qcow2 *q, const char *name,
		       struct qcow2_bitmap **ret)
{
	int err = find(q, name, ret);

	return err ? err : qcow2_bitmap_load(q, *ret);
}

static int describe(struct qcow2 *q, struct qcow2_bitmap *b, uint64_t *reads,
		    struct image_bitmap *ret)
{
	uint64_t count = 0;
	int err = 0;

	if (!b->unknown && !b->inconsistent)
		err = qcow2_bitmap_count(q, b, reads, &count);
	if (err && !b->inconsistent)
		return err;
	*ret = (struct image_bitmap){
		.name = strdup(b->name),
		.inconsistent = b->inconsistent || b->unknown,
		.enabled = b->flags & QCOW2_BITMAP_AUTO,
	};
	if (b->granularity_bits <= QCOW2_MAX_BITMAP_GRANULARITY_BITS)
		ret->granularity_bytes = UINT32_C(1) << b->granularity_bits;
	if (!ret->inconsistent)
		ret->dirty_bytes = count << b->granularity_bits;
	return ret->name ? 0 : -ENOMEM;
}

int qcow2_bitmap_list(struct image *image, struct image_bitmaps *ret)
{
	struct qcow2 *q = qcow2_of(image);
	struct image_bitmaps list = {0};
	/* Each cluster of the file is some bitmap's alone. */
	uint64_t reads = image->store->size_bytes / qcow2_cluster_bytes(q) + 1;
	int err = check_directory(q);

	if (err)
		return err;
	list.all = calloc(q->bitmaps.count + 1, sizeof(*list.all));
	if (!list.all)
		return -ENOMEM;
	for (size_t i = 0; i < q->bitmaps.count && err == 0; i++) {
		err = describe(q, q->bitmaps.all[i], &reads, &list.all[i]);
		list.count += err == 0;
	}
	if (err) {
		image_bitmaps_deinit(&list);
		return err;
	}
	*ret = list;
	return 0;
}

/* @prefix ends with a dot. */
static int describe_flags(const struct qcow2 *q, const struct qcow2_bitmap *b,
			  const char *prefix, struct image_facts *facts)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} names[] = {
		{QCOW2_BITMAP_IN_USE, "in-use"},
		{QCOW2_BITMAP_AUTO, "auto"},
	};
	uint32_t flags = qcow2_bitmap_flags(q, b);
	char name[64];
	int err;

	snprintf(name, sizeof(name), "%sflags", prefix);
	err = image_facts_add(facts, name, IMAGE_FACT_LIST, "%s", "");
	for (size_t i = 0, count = 0; i < ARRAY_SIZE(names); i++) {
		if (err || !(flags & names[i].flag))
			continue;
		snprintf(name, sizeof(name), "%sflags.%zu", prefix, count++);
		err = image_facts_add(facts, name, IMAGE_FACT_STRING, "%s",
				      names[i].name);
	}
	return err;
}

static int describe_bitmap(const struct qcow2 *q, const struct qcow2_bitmap *b,
			   size_t number, struct image_facts *facts)
{
	char prefix[40], name[64];
	int err;

	snprintf(prefix, sizeof(prefix), "bitmaps.%zu", number);
	err = image_facts_add(facts, prefix, IMAGE_FACT_GROUP, "%s", "");
	strcat(prefix, ".");
	if (err == 0)
		err = describe_flags(q, b, prefix, facts);
	snprintf(name, sizeof(name), "%sname", prefix);
	if (err == 0)
		err = image_facts_add(facts, name, IMAGE_FACT_STRING, "%s",
				      b->name);
	snprintf(name, sizeof(name), "%sgranularity", prefix);
	if (err == 0)
		err = image_facts_add(facts, name, IMAGE_FACT_NUMBER, "%llu",
				      1ull << (b->granularity_bits & 63));
	return err;
}

int qcow2_bitmaps_facts(struct qcow2 *q, struct image_facts *facts)
{
	int err = 0;

	/* What was opened to be checked has not looked at them. */
	if (q->for_check && q->bitmaps.count == 0 && !q->bitmaps.broken)
		err = qcow2_bitmaps_open(q, false);
	if (err || q->bitmaps.broken || q->bitmaps.count == 0)
		return err;
	err = image_facts_add(facts, "bitmaps", IMAGE_FACT_LIST, "%s", "");
	for (size_t i = 0; i < q->bitmaps.count && err == 0; i++)
		err = describe_bitmap(q, q->bitmaps.all[i], i, facts);
	return err;
}

/* --- Adding and removing ---------------------------------------------------- */

static int check_new(struct qcow2 *q, const char *name, uint32_t granularity)
{
	struct image *image = &q->image;

	if (q->header.version < 3)
		return image_set_error(image, -ENOTSUP,
				       "images of version 2 cannot have "
				       "bitmaps");
	if (image->size_bytes == 0)
		return image_set_error(image, -EINVAL,
				       "an image of no bytes cannot have "
				       "bitmaps");
	if (*name == 0 || strlen(name) > QCOW2_MAX_BITMAP_NAME)
		return image_set_error(image, -EINVAL,
				       "the name of a bitmap has 1 to %d bytes",
				       QCOW2_MAX_BITMAP_NAME);
	if (look_up(q, name))
		return image_set_error(image, -EEXIST,
				       "there is a bitmap \"%s\" already",
				       name);
	if (q->bitmaps.count == QCOW2_MAX_BITMAPS)
		return image_set_error(image, -ENOSPC,
				       "the image has %d bitmaps, as many as "
				       "it can have",
				       QCOW2_MAX_BITMAPS);
	if (!is_power_of_two(granularity) ||
	    granularity < 1u << QCOW2_MIN_BITMAP_GRANULARITY_BITS ||
	    granularity > 1u << QCOW2_MAX_BITMAP_GRANULARITY_BITS)
		return image_set_error(image, -EINVAL,
				       "the granularity of a bitmap is a power "
				       "of two from 512 bytes to 2 GiB");
	return 0;
}

static void append(struct qcow2 *q, struct qcow2_bitmap *b)
{
	q->bitmaps.all[q->bitmaps.count++] = b;
}

/* Out of the list; its place in the order is lost. */
static void take_out(struct qcow2 *q, const struct qcow2_bitmap *b)
{
	size_t i = 0;

	while (q->bitmaps.all[i] != b)
		i++;
	q->bitmaps.count--;
	memmove(q->bitmaps.all + i, q->bitmaps.all + i + 1,
		(q->bitmaps.count - i) * sizeof(*q->bitmaps.all));
}

static int make_room(struct qcow2 *q)
{
	struct qcow2_bitmap **larger = reallocarray(
		q->bitmaps.all, q->bitmaps.count + 1, sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	q->bitmaps.all = larger;
	return 0;
}

/* The default is QEMU's. */
static uint32_t granularity_of(const struct qcow2 *q,
			       const struct image_bitmap_change *change)
{
	if (change->granularity_bytes)
		return change->granularity_bytes;
	return MAX(
		MIN(q->image.cluster_bytes, (uint32_t)MAX_DEFAULT_GRANULARITY),
		(uint32_t)MIN_DEFAULT_GRANULARITY);
}

int qcow2_bitmap_new(struct qcow2 *q, const struct image_bitmap_change *change,
		     struct qcow2_bitmap **ret)
{
	int err = check_new(q, change->name, granularity_of(q, change));
	struct qcow2_bitmap *b;

	if (err == 0)
		err = make_room(q);
	if (err)
		return err;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->name = strdup(change->name);
	b->type = QCOW2_BITMAP_DIRTY_TRACKING;
	b->granularity_bits = __builtin_ctz(granularity_of(q, change));
	b->flags = change->disabled ? 0 : QCOW2_BITMAP_AUTO;
	err = b->name ? qcow2_bitmap_reserve(q, b, q->image.size_bytes)
		      : -ENOMEM;
	if (err) {
		qcow2_bitmap_free(b);
		return err;
	}
	b->changed = true;
	*ret = b;
	return 0;
}

static int add(struct qcow2 *q, const struct image_bitmap_change *change)
{
	struct qcow2_bitmap *b = NULL;
	int err = qcow2_bitmap_new(q, change, &b);

	if (err)
		return err;
	append(q, b);
	err = qcow2_bitmaps_store_all(q);
	/* It may be stored although not all is well afterwards. */
	if (err == 0 || q->bitmaps.broken || b->placed)
		return err;
	take_out(q, b);
	qcow2_bitmap_drop(q, b);
	qcow2_bitmap_free(b);
	return err;
}

static int remove_bitmap(struct qcow2 *q, struct qcow2_bitmap *b)
{
	int err;

	if (b->unknown)
		return qcow2_bitmap_load(q, b); /* says why not */
	take_out(q, b);
	err = qcow2_bitmaps_store_all(q);
	if (err && !q->bitmaps.broken) {
		append(q, b);
		return err;
	}
	qcow2_bitmap_drop(q, b);
	if (err == 0) {
		qcow2_bitmap_give_back(q, b);
		err = qcow2_settle(q);
	}
	qcow2_bitmap_free(b);
	return err;
}

/* --- Changing ---------------------------------------------------------------- */

static int set_enabled(struct qcow2 *q, struct qcow2_bitmap *b, bool enabled)
{
	uint32_t before = b->flags;
	int err = qcow2_bitmap_load(q, b);

	if (err)
		return err;
	if (enabled)
		b->flags |= QCOW2_BITMAP_AUTO;
	else
		b->flags &= ~QCOW2_BITMAP_AUTO;
	if (b->flags == before)
		return 0;
	err = qcow2_bitmaps_store_all(q);
	if (err && !q->bitmaps.broken)
		b->flags = before;
	return err;
}

int qcow2_bitmap_merge(struct qcow2 *q, struct qcow2_bitmap *b,
		       struct image *source, const char *name)
{
	uint64_t offset = 0, size = q->image.size_bytes;

	if (source->size_bytes != size)
		return image_set_error(
			&q->image, -EINVAL,
			"the images have different sizes (%llu and %llu "
			"bytes): their bitmaps cannot be merged",
			(unsigned long long)source->size_bytes,
			(unsigned long long)size);
	while (offset < size) {
		uint64_t at = 0, length = 0;
		int err = image_bitmap_next(source, name, offset, &at, &length);

		if (err && source != &q->image)
			image_set_error(&q->image, err, "%s",
					image_error(source));
		if (err || length == 0)
			return err;
		qcow2_bitmap_set_bytes(b, at, length);
		offset = at + length;
	}
	return 0;
}

static int merge(struct qcow2 *q, struct qcow2_bitmap *b,
		 const struct image_bitmap_change *change)
{
	struct image *source = change->source ? change->source : &q->image;

	if (!change->source_name)
		return -EINVAL;
	return qcow2_bitmap_merge(q, b, source, change->source_name);
}

/* CLEAR and MERGE: the bits change, or come back as they were. */
static int change_bits(struct qcow2 *q, struct qcow2_bitmap *b,
		       const struct image_bitmap_change *change)
{
	uint64_t *before;
	int err = qcow2_bitmap_load(q, b);

	if (err)
		return err;
	before = malloc(b->bytes_held);
	if (!before)
		return -ENOMEM;
	memcpy(before, b->bits, b->bytes_held);
	b->changed = true; /* and so stays in memory */
	if (change->action == IMAGE_BITMAP_CLEAR)
		memset(b->bits, 0, b->bytes_held);
	else
		err = merge(q, b, change);
	if (err == 0)
		err = qcow2_bitmaps_store_all(q);
	if (err && !q->bitmaps.broken)
		memcpy(b->bits, before, b->bytes_held);
	free(before);
	return err;
}

int qcow2_bitmap_change(struct image *image,
			const struct image_bitmap_change *change)
{
	struct qcow2 *q = qcow2_of(image);
	struct qcow2_bitmap *b = NULL;
	int err = check_directory(q);

	if (err == 0)
		err = qcow2_settle(q);
	if (err == 0 && change->action != IMAGE_BITMAP_ADD)
		err = find(q, change->name, &b);
	if (err)
		return err;
	switch (change->action) {
	case IMAGE_BITMAP_ADD:
		return add(q, change);
	case IMAGE_BITMAP_REMOVE:
		return remove_bitmap(q, b);
	case IMAGE_BITMAP_ENABLE:
	case IMAGE_BITMAP_DISABLE:
		return set_enabled(q, b, change->action == IMAGE_BITMAP_ENABLE);
	case IMAGE_BITMAP_CLEAR:
	case IMAGE_BITMAP_MERGE:
		return change_bits(q, b, change);
	}
	return -EINVAL;
}

int qcow2_bitmap_next(struct image *image, const char *name, uint64_t offset,
		      uint64_t *ret_offset, uint64_t *ret_length)
{
	struct qcow2 *q = qcow2_of(image);
	struct qcow2_bitmap *b;
	uint64_t granules, first, end;
	int err = find_loaded(q, name, &b);

	if (err)
		return err;
	granules = qcow2_bitmap_granules(q, b);
	first = bitmap_next_set(b->bits, granules,
				offset >> b->granularity_bits);
	if (first >= granules) {
		*ret_offset = image->size_bytes;
		*ret_length = 0;
		return 0;
	}
	end = bitmap_next_clear(b->bits, granules, first)
	      << b->granularity_bits;
	*ret_offset = MAX(first << b->granularity_bits, offset);
	*ret_length = MIN(end, image->size_bytes) - *ret_offset;
	return 0;
}

int qcow2_bitmap_set(struct image *image, const char *name, uint64_t offset,
		     uint64_t length)
{
	struct qcow2 *q = qcow2_of(image);
	struct qcow2_bitmap *b;
	int err;

	if (!range_fits(offset, length, image->size_bytes))
		return image_set_error(image, -EINVAL,
				       "the range reaches past the image's "
				       "end");
	err = qcow2_settle(q);
	if (err == 0)
		err = find_loaded(q, name, &b);
	if (err || length == 0)
		return err;
	qcow2_bitmap_set_bytes(b, offset, length);
	return qcow2_bitmaps_store_all(q);
}
