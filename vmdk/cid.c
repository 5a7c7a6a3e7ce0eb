/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/cid.h"

#include <stdio.h>
#include <sys/random.h>

#include "vmdk/track.h"

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
	struct vmdk_place place =
		vmdk_descriptor_place(&v->d, "CID", text, bytes);

	if (place.value_bytes < VMDK_FEWEST_CID_DIGITS ||
	    place.value_bytes > VMDK_CID_DIGITS)
		return store_fail(
			ret_error, IMAGE_E_UNSUPPORTED,
			"%s: vmdk: descriptor: line %zu: a CID of %zu "
			"digits cannot be changed in its place; the "
			"image can be opened read-only",
			v->image.store->name, place.line + 1,
			place.value_bytes);
	v->cid.offset = offset + place.value_at;
	v->cid.digits = (unsigned)place.value_bytes;
	v->cid.next = choose_next(v->d.cid, v->cid.digits);
	v->cid.state = VMDK_CID_OLD;
	vmdk_track_prepare(v, text, bytes, offset);
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
	vmdk_track_add(v, draft);
	v->cid.state = VMDK_CID_OUT;
}

void vmdk_cid_planned(struct vmdk *v, int result)
{
	if (v->cid.state != VMDK_CID_OUT)
		return;
	v->cid.state = result == 0 ? VMDK_CID_NEW : VMDK_CID_WANTED;
	if (result == 0)
		v->d.cid = v->cid.next;
	vmdk_track_planned(v, result);
}
