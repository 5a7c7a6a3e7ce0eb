/* SPDX-License-Identifier: Apache-2.0 */
/* Checking disks, and what of their repair is not an extent's. */
#include "vmdk/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmdk/account.h"
#include "vmdk/create.h"
#include "vmdk/track.h"

struct check {
	struct vmdk *v;
	image_report *report; /* or NULL */
	void *opaque;
	struct image_check *result;
};

static void found(void *opaque, const char *finding)
{
	struct check *c = opaque;

	c->result->corruptions++;
	if (c->report)
		c->report(c->opaque, finding, false);
}

static void fixed(void *opaque, const char *finding)
{
	struct check *c = opaque;

	c->result->corruptions_fixed++;
	if (c->report)
		c->report(c->opaque, finding, true);
}

static int check_parts(struct check *c)
{
	int err = 0;

	if (c->v->text_damage)
		VMDK_SAY(found, c, "ERROR: %s", c->v->text_damage);
	for (size_t i = 0; i < c->v->part_count && err == 0; i++) {
		struct vmdk_survey survey;

		/* Whoever inspects a disk opens no file that it names. */
		if (c->v->parts[i].kind != VMDK_PART_SPARSE ||
		    !c->v->parts[i].store)
			continue;
		err = vmdk_survey(&c->v->parts[i], found, c, &survey);
		vmdk_survey_deinit(&survey);
	}
	return err;
}

/* --- The account of a seSparse extent ------------------------------------ */

static void differs(void *opaque, const char *finding)
{
	VMDK_SAY(found, opaque, "ERROR: %s", finding);
}

/* Where others made it nobody knows what it should be. */
static bool has_own_account(const struct check *c, const struct vmdk_part *part)
{
	return c->v->own_account && part->kind == VMDK_PART_SPARSE &&
	       part->store && part->s.kind == VMDK_KIND_SE;
}

static int check_accounts(struct check *c)
{
	const struct vmdk_account_listener listener = {
		.differs = differs,
		.opaque = c,
	};
	int err = 0;

	for (size_t i = 0; i < c->v->part_count && err == 0; i++)
		if (has_own_account(c, &c->v->parts[i]))
			err = vmdk_account_check(&c->v->parts[i], &listener);
	return err;
}

/* --- The descriptor ----------------------------------------------------- */

/* What is left of it speaks of a parent, whose name would be lost. */
static bool may_have_parent(const char *text)
{
	const char *cid = strcasestr(text, "parentCID");

	return strcasestr(text, "parentFileNameHint") ||
	       (cid && !strcasestr(cid, "ffffffff"));
}

static int write_descriptor(struct vmdk *v)
{
	static const struct image_options none;
	struct store *store = v->image.store;
	const struct image_create_request request = {
		.store = store,
		.size_bytes = v->image.size_bytes,
		.options = &none,
	};
	const struct vmdk_sparse *s = &v->parts[0].s;
	uint8_t *room = calloc(1, s->descriptor_bytes);
	char *text = NULL;
	size_t bytes = 0;
	int err = room ? vmdk_make_descriptor(&request, &text, &bytes, NULL)
		       : -ENOMEM;

	if (err == 0 && bytes >= s->descriptor_bytes)
		err = -ENOSPC;
	if (err == 0) {
		memcpy(room, text, bytes);
		err = store_write(store, s->descriptor_offset, room,
				  s->descriptor_bytes);
	}
	free(text);
	free(room);
	return err ? err : store_flush(store);
}

/* A new one, which knows of no parent; the rest is in the extent's header. */
static int repair_descriptor(struct check *c)
{
	struct vmdk *v = c->v;
	const struct vmdk_sparse *s = &v->parts[0].s;
	char *text;
	int err;

	if (!v->text_damage)
		return 0;
	text = calloc(1, s->descriptor_bytes + 1);
	if (!text)
		return -ENOMEM;
	err = store_read(v->image.store, s->descriptor_offset, text,
			 s->descriptor_bytes);
	/* Zeroes may have come between. */
	for (uint64_t i = 0; i < s->descriptor_bytes; i++)
		text[i] = text[i] ? text[i] : ' ';
	if (err == 0 && may_have_parent(text)) {
		free(text);
		return 0;
	}
	free(text);
	if (err == 0)
		err = write_descriptor(v);
	if (err)
		return err;
	fixed(c, "the descriptor: a new one says what the header does, and "
		 "names no parent");
	free(v->text_damage);
	v->text_damage = NULL;
	return 0;
}

/* --- Both --------------------------------------------------------------- */

/* What the guest reads may be another thing now, and no tracker saw it. */
static int begin_repair(void *opaque)
{
	struct check *c = opaque;

	return vmdk_track_disown(c->v);
}

/* The tables are right. */
static int repair_accounts(struct check *c)
{
	const struct vmdk_account_listener listener = {
		.differs = fixed,
		.begin = begin_repair,
		.opaque = c,
	};
	int err = 0;

	for (size_t i = 0; i < c->v->part_count && err == 0; i++)
		if (has_own_account(c, &c->v->parts[i]) &&
		    c->v->parts[i].writable)
			err = vmdk_account_check(&c->v->parts[i], &listener);
	return err;
}

static int repair(struct check *c)
{
	const struct vmdk_repair_listener listener = {
		.begin = begin_repair,
		.fixed = fixed,
		.opaque = c,
	};
	int err = repair_descriptor(c);

	for (size_t i = 0; i < c->v->part_count && err == 0; i++)
		if (c->v->parts[i].kind == VMDK_PART_SPARSE &&
		    c->v->parts[i].writable &&
		    (!c->v->parts[i].account ||
		     has_own_account(c, &c->v->parts[i])))
			err = vmdk_repair(&c->v->parts[i], &listener);
	return err ? err : repair_accounts(c);
}

/* Room that nobody names is no leak: it cannot be told from what is in use. */
int vmdk_check(struct image *image, enum image_fix fix, image_report *report,
	       void *opaque, struct image_check *ret)
{
	struct image_check result = {0};
	struct check c = {
		.v = vmdk_of(image),
		.report = report,
		.opaque = opaque,
		.result = &result,
	};
	int err = fix == IMAGE_FIX_ALL ? repair(&c) : 0;

	/* Whoever asks looks again after a repair, and is told then. */
	if (err == 0 && result.corruptions_fixed == 0)
		err = check_parts(&c);
	if (err == 0 && result.corruptions_fixed == 0)
		err = check_accounts(&c);
	if (err == 0)
		*ret = result;
	return err;
}
