/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extensions follow the fixed part of the header, and nothing points at them:
 * where they reach past the first 512 bytes they cannot all change at once. So
 * what lies there is written to room of the cluster that the old header does
 * not use, and the first 512 bytes, written last, reach it over an extension
 * that nobody knows and everybody skips (the filler), as long as it has to be:
 *
 *	old	| fixed a b |  b c d  | name |
 *	new	| fixed a F |  . . .    . .  | b' c d | name' |
 *
 * A second such rewrite, into what the old header has left, does without the
 * filler: it is seen only after a crash between the two.
 */
#include "qcow2/header-write.h"

#include <errno.h>
#include <stdlib.h>

#include "qcow2/header-layout.h"

enum {
	ATOMIC_BYTES = 512,
	END_BYTES = sizeof(struct qcow2_wire_extension),
	NO_ROOM = IMAGE_E_NO_SPACE, /* in the cluster, not in the store */
};

/* A part of the first cluster. */
struct part {
	size_t offset;
	size_t length;
};

struct rewrite {
	struct qcow2 *q;
	size_t size;
	/* As on disk; and what of it past the first 512 bytes is in use. */
	uint8_t *old;
	struct part old_tail;
	struct part old_name;
	/* As it shall be. */
	uint8_t *new;
	struct part tail;
	struct part name;
	uint8_t *extensions;
	size_t extension_bytes;
	bool jumped;
};

static size_t end_of(struct part part)
{
	return part.offset + part.length;
}

/* What of the range lies past the first 512 bytes. */
static struct part past_atomic(size_t offset, size_t end)
{
	size_t from = MAX(offset, (size_t)ATOMIC_BYTES);

	return (struct part){from, end > from ? end - from : 0};
}

static bool overlap(struct part a, struct part b)
{
	return ranges_overlap(a.offset, a.length, b.offset, b.length);
}

static bool is_free(const struct rewrite *r, struct part part)
{
	return !overlap(part, r->old_tail) && !overlap(part, r->old_name);
}

/* The bytes of the part are on disk already, and stay. */
static bool is_there(const struct rewrite *r, struct part part)
{
	return memcmp(r->old + part.offset, r->new + part.offset,
		      part.length) == 0;
}

/*
 * The extensions that begin at @at, with the one that ends them; what a filler
 * skips is not in use.
 */
static struct part extensions_of(const uint8_t *bytes, size_t at, size_t end)
{
	size_t from = 0;

	while (range_fits(at, END_BYTES, end)) {
		uint32_t type = get_be32(bytes + at);
		uint32_t length = get_be32(bytes + at + 4);

		if (type == QCOW2_EXT_END)
			return past_atomic(from, at + END_BYTES);
		if (length > end - at - END_BYTES)
			break;
		at += END_BYTES + align_up((uint64_t)length, 8);
		if (type == QCOW2_EXT_FILLER && at - length <= ATOMIC_BYTES)
			from = at;
	}
	return past_atomic(from, end);
}

static int read_old(struct rewrite *r)
{
	const struct qcow2_wire_header *wire = (const void *)r->old;
	uint64_t name;
	uint32_t length;
	size_t fixed;
	int err = store_read(r->q->image.store, 0, r->old, r->size);

	if (err)
		return err;
	name = get_be64(&wire->backing_file_offset);
	length = name ? get_be32(&wire->backing_file_size) : 0;
	fixed = get_be32(&wire->version) < 3 ? QCOW2_HEADER_BYTES_V2
					     : get_be32(&wire->header_length);
	if (fixed > r->size || !range_fits(name, length, r->size))
		return qcow2_corrupt(r->q, "somebody changed the header");
	r->old_name = past_atomic(name, name + length);
	r->old_tail = extensions_of(r->old, fixed, name ? name : r->size);
	return 0;
}

/* The extensions right behind the fixed part. */
static bool put_compact(struct rewrite *r)
{
	size_t fixed = qcow2_header_fixed_bytes(&r->q->header);
	size_t end = fixed + r->extension_bytes + END_BYTES;

	if (end > r->size)
		return false;
	memset(r->new, 0, r->size);
	qcow2_header_put_fixed(&r->q->header, r->new);
	memcpy(r->new + fixed, r->extensions, r->extension_bytes);
	r->tail = past_atomic(0, end);
	r->jumped = false;
	return is_free(r, r->tail) || is_there(r, r->tail);
}

/* Those that do not fit in the first 512 bytes, behind a filler at @behind. */
static bool put_jump(struct rewrite *r, size_t behind)
{
	size_t at = qcow2_header_fixed_bytes(&r->q->header);
	size_t done = 0, rest, length;

	if (at + END_BYTES > ATOMIC_BYTES)
		return false;
	while (done < r->extension_bytes) {
		length = END_BYTES +
			 align_up((uint64_t)get_be32(r->extensions + done + 4),
				  8);
		if (at + done + length > ATOMIC_BYTES - END_BYTES)
			break;
		done += length;
	}
	rest = r->extension_bytes - done;
	if (!range_fits(behind, rest + END_BYTES, r->size))
		return false;
	memset(r->new, 0, r->size);
	qcow2_header_put_fixed(&r->q->header, r->new);
	memcpy(r->new + at, r->extensions, done);
	put_be32(r->new + at + done, QCOW2_EXT_FILLER);
	put_be32(r->new + at + done + 4, behind - at - done - END_BYTES);
	memcpy(r->new + behind, r->extensions + done, rest);
	r->tail = (struct part){behind, rest + END_BYTES};
	r->jumped = true;
	return true;
}

static bool put_name_at(struct rewrite *r, size_t offset)
{
	const char *name = r->q->header.backing_name;
	size_t length = strlen(name);

	if (!range_fits(offset, length, r->size))
		return false;
	r->name = past_atomic(offset, offset + length);
	if (!is_free(r, r->name) &&
	    memcmp(r->old + r->name.offset, name + (r->name.offset - offset),
		   r->name.length) != 0)
		return false;
	memcpy(r->new + offset, name, length);
	qcow2_header_put_name(r->new, offset, length);
	return true;
}

/* Readers take the name to lie behind the extensions, and end them there. */
static bool put_name(struct rewrite *r, size_t end)
{
	r->name = (struct part){0};
	if (!r->q->header.backing_name || !*r->q->header.backing_name)
		return true;
	return put_name_at(r, end) ||
	       (r->old_name.offset > end &&
		put_name_at(r, r->old_name.offset)) ||
	       put_name_at(r, MAX(end, end_of(r->old_tail))) ||
	       put_name_at(r, MAX(end, end_of(r->old_name)));
}

static bool put_behind(struct rewrite *r, size_t offset)
{
	return put_jump(r, align_up(offset, 8)) && is_free(r, r->tail) &&
	       put_name(r, end_of(r->tail));
}

static bool put_all(struct rewrite *r)
{
	size_t compact = qcow2_header_fixed_bytes(&r->q->header) +
			 r->extension_bytes + END_BYTES;
	const size_t room[] = {
		/* Behind the compact place, so that it can move there. */
		MAX(compact, (size_t)ATOMIC_BYTES),
		MAX(compact, end_of(r->old_tail)),
		MAX(compact, end_of(r->old_name)),
		ATOMIC_BYTES,
		end_of(r->old_tail),
		end_of(r->old_name),
	};

	if (put_compact(r) && put_name(r, compact))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(room); i++)
		if (put_behind(r, room[i]))
			return true;
	return false;
}

static int write_part(const struct rewrite *r, struct part part)
{
	if (part.length == 0 || is_there(r, part))
		return 0;
	return store_write(r->q->image.store, part.offset, r->new + part.offset,
			   part.length);
}

static int write_new(const struct rewrite *r)
{
	struct store *store = r->q->image.store;
	int err = write_part(r, r->tail);

	if (err == 0)
		err = write_part(r, r->name);
	if (err == 0)
		err = store_flush(store);
	if (err == 0)
		err = store_write(store, 0, r->new, ATOMIC_BYTES);
	return err ? err : store_flush(store);
}

static int rewrite_with(struct rewrite *r, bool names)
{
	int err = qcow2_header_extensions(&r->q->header, names, &r->extensions,
					  &r->extension_bytes);

	if (err)
		return err;
	err = put_all(r) ? write_new(r) : NO_ROOM;
	free(r->extensions);
	return err;
}

static int rewrite_once(struct rewrite *r)
{
	int err = read_old(r);

	if (err == 0)
		err = rewrite_with(r, true);
	if (err == NO_ROOM && qcow2_header_names_known(&r->q->header))
		err = rewrite_with(r, false);
	return err;
}

static int rewrite(struct rewrite *r)
{
	int err = rewrite_once(r);

	if (err || !r->jumped)
		return err;
	/* Done is done: where this has no room the filler stays. */
	err = rewrite_once(r);
	return err == NO_ROOM ? 0 : err;
}

int qcow2_header_update(struct qcow2 *q)
{
	size_t size = qcow2_cluster_bytes(q);
	struct rewrite r = {
		.q = q,
		.size = size,
		.old = aligned_alloc(4096, align_up(size, 4096)),
		.new = aligned_alloc(4096, align_up(size, 4096)),
	};
	int err = -ENOMEM;

	q->header.autoclear &= qcow2_autoclear_kept(q);
	if (r.old && r.new)
		err = rewrite(&r);
	if (err == 0) {
		q->autoclear_stale = q->autoclear_now = false;
		err = store_read(q->image.store, 0, q->head,
				 (size_t)1 << q->slice_bits);
	}
	if (err == NO_ROOM)
		err = image_set_error(
			&q->image, -ENOSPC,
			"the header does not fit in a cluster: names "
			"that it holds are too long");
	free(r.old);
	free(r.new);
	return err;
}

int qcow2_header_replace(struct qcow2 *q, const struct qcow2_header *before,
			 bool *ret_kept)
{
	char reason[sizeof(q->image.error)];
	int err = qcow2_header_update(q);
	bool kept;

	if (err == 0)
		return 0;
	memcpy(reason, q->image.error, sizeof(reason));
	q->header = *before;
	kept = qcow2_header_update(q) == 0;
	if (ret_kept)
		*ret_kept = kept;
	memcpy(q->image.error, reason, sizeof(reason));
	return err;
}

int qcow2_header_set_features(struct qcow2 *q, uint64_t incompatible,
			      uint64_t compatible, uint64_t autoclear)
{
	struct qcow2_header before = q->header;

	if (q->header.version < 3)
		return incompatible || compatible || autoclear ? -EINVAL : 0;
	q->header.incompatible = incompatible;
	q->header.compatible = compatible;
	q->header.autoclear = autoclear;
	return qcow2_header_replace(q, &before, NULL);
}
