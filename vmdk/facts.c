/* SPDX-License-Identifier: Apache-2.0 */
/* What an image says of itself, by QEMU's names (ImageInfoSpecificVmdk). */
#include <stdio.h>

#include "vmdk/core.h"
#include "vmdk/manage.h"

typedef unsigned long long number;

/* Adds "extents.INDEX.WHAT". */
#define ADD(facts, index, what, kind, ...)                                     \
	({                                                                     \
		char name_[64];                                                \
		snprintf(name_, sizeof(name_), "extents.%zu%s%s", index,       \
			 *(what) ? "." : "", what);                            \
		image_facts_add(facts, name_, IMAGE_FACT_##kind, __VA_ARGS__); \
	})

/* A relative name is seen from the folder of the image. */
static int add_filename(const struct vmdk *v, const struct vmdk_part *part,
			size_t index, struct image_facts *facts)
{
	const char *own = v->image.store->name;
	const char *slash = strrchr(own, '/');
	const char *name;

	if (part->file == VMDK_OWN_STORE)
		return ADD(facts, index, "filename", STRING, "%s",
			   part->store ? own : "");
	name = v->image.files[part->file].name;
	if (*name == '/' || !slash)
		return ADD(facts, index, "filename", STRING, "%s", name);
	return ADD(facts, index, "filename", STRING, "%.*s%s",
		   (int)(slash + 1 - own), own, name);
}

static int add_part(const struct vmdk *v, const struct vmdk_part *part,
		    size_t index, struct image_facts *facts)
{
	bool own = part->store && part->file == VMDK_OWN_STORE;
	int err = ADD(facts, index, "", GROUP, "%s", "");

	if (err == 0)
		err = add_filename(v, part, index, facts);
	if (err == 0)
		err = ADD(facts, index, "format", STRING, "%s",
			  own ? "" : vmdk_extent_type_name(part->type));
	if (err == 0)
		err = ADD(facts, index, "virtual-size", NUMBER, "%llu",
			  (number)part->bytes);
	if (err == 0 && part->kind == VMDK_PART_SPARSE)
		err = ADD(facts, index, "cluster-size", NUMBER, "%llu",
			  1ull << part->grain_bits);
	if (err == 0 && part->kind == VMDK_PART_SPARSE && part->s.compressed)
		err = ADD(facts, index, "compressed", BOOL, "true");
	return err;
}

static int add_descriptor(const struct vmdk_descriptor *d,
			  struct image_facts *facts)
{
	int err = image_facts_add(facts, "create-type", IMAGE_FACT_STRING, "%s",
				  d->create_type);

	if (err == 0)
		err = image_facts_add(facts, "cid", IMAGE_FACT_NUMBER, "%u",
				      d->cid);
	if (err == 0)
		err = image_facts_add(facts, "parent-cid", IMAGE_FACT_NUMBER,
				      "%u", d->parent_cid);
	return err;
}

int vmdk_facts(struct image *image, struct image_facts *ret)
{
	const struct vmdk *v = vmdk_of(image);
	struct image_facts facts = {0};
	int err = v->d.create_type ? add_descriptor(&v->d, &facts) : 0;

	if (err == 0)
		err = image_facts_add(&facts, "extents", IMAGE_FACT_LIST, "%s",
				      "");
	for (size_t i = 0; i < v->part_count && err == 0; i++)
		err = add_part(v, &v->parts[i], i, &facts);
	if (err) {
		image_facts_deinit(&facts);
		return err;
	}
	*ret = facts;
	return 0;
}
