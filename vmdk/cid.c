/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/cid.h"

#include <stdio.h>
#include <sys/random.h>

#include "vmdk/descriptor-line.h"

/* The place of the @index-th line in @text. */
static const char *line_at(const char *text, size_t bytes, size_t index)
{
	const char *end = text + bytes;

	while (index-- > 0) {
		const char *feed = memchr(text, '\n', (size_t)(end - text));

		if (!feed)
			return end;
		text = feed + 1;
	}
	return text;
}

/* Neither the old one, nor one that means something else. */
static uint32_t choose_next(uint32_t cid, unsigned digits)
{
	const uint32_t most = UINT32_MAX >> (4 * (VMDK_CID_DIGITS - digits));
	uint32_t next = cid;

	if (getrandom(&next, sizeof(next), 0) != sizeof(next))
		next = cid + 1;
	next &= most;
	while (next == cid || next >= VMDK_NO_CID - 1)
		next = next + 1 < VMDK_NO_CID - 1 ? (next + 1) & most : 0;
	return next;
}

int vmdk_cid_prepare(struct vmdk *v, const char *text, size_t bytes,
		     uint64_t offset, char **ret_error)
{
	const struct vmdk_line *line = v->d.lines;
	size_t index = 0;

	while (!vmdk_line_is(&line[index], "CID"))
		index++;
	if (line[index].value_bytes < VMDK_FEWEST_CID_DIGITS ||
	    line[index].value_bytes > VMDK_CID_DIGITS)
		return store_fail(
			ret_error, IMAGE_E_UNSUPPORTED,
			"%s: vmdk: descriptor: line %zu: a CID of %zu "
			"digits cannot be changed in its place; the "
			"image can be opened read-only",
			v->image.store->name, index + 1,
			line[index].value_bytes);
	v->cid.offset = offset + line[index].value_at +
			(uint64_t)(line_at(text, bytes, index) - text);
	v->cid.digits = line[index].value_bytes;
	v->cid.next = choose_next(v->d.cid, v->cid.digits);
	v->cid.state = VMDK_CID_OLD;
	return 0;
}

void vmdk_cid_want(struct vmdk *v, struct image_extent *ret)
{
	if (v->cid.state == VMDK_CID_OLD)
		v->cid.state = VMDK_CID_WANTED;
	*ret = (struct image_extent){
		.kind = v->plan_out ? IMAGE_BUSY : IMAGE_MUST_FLUSH,
	};
}

void vmdk_cid_add(struct vmdk *v, struct plan_draft *draft)
{
	char text[VMDK_CID_DIGITS + 1];

	if (v->cid.state != VMDK_CID_WANTED)
		return;
	snprintf(text, sizeof(text), "%0*x", (int)v->cid.digits, v->cid.next);
	plan_add_write(draft, v->image.store, v->cid.offset, text,
		       v->cid.digits);
	v->cid.state = VMDK_CID_OUT;
}

void vmdk_cid_planned(struct vmdk *v, int result)
{
	if (v->cid.state != VMDK_CID_OUT)
		return;
	v->cid.state = result == 0 ? VMDK_CID_NEW : VMDK_CID_WANTED;
	if (result == 0)
		v->d.cid = v->cid.next;
}
