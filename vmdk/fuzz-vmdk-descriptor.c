/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor as it is found: what is accepted keeps its limits, says the same
 * when it was written and read again, and takes another CID.
 */
#include <stdlib.h>
#include <string.h>

#include "vmdk/descriptor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_limits(const struct vmdk_descriptor *d)
{
	uint64_t sectors = 0;

	for (size_t i = 0; i < d->extent_count; i++) {
		const struct vmdk_extent_line *e = &d->extents[i];

		if (e->sectors == 0 || (e->type == VMDK_ZERO) != !e->name ||
		    e->offset_sectors > VMDK_MAX_SECTORS - e->sectors)
			abort();
		sectors += e->sectors;
	}
	if (sectors != d->sectors || sectors > VMDK_MAX_SECTORS ||
	    d->extent_count == 0 || d->extent_count > VMDK_MAX_EXTENTS ||
	    d->line_count > VMDK_MAX_DESCRIPTOR_LINES || !d->create_type)
		abort();
}

static void check_same(const struct vmdk_descriptor *a,
		       const struct vmdk_descriptor *b)
{
	if (a->cid != b->cid || a->parent_cid != b->parent_cid ||
	    strcmp(a->create_type, b->create_type) != 0 ||
	    a->extent_count != b->extent_count || a->sectors != b->sectors)
		abort();
}

static void check_again(const struct vmdk_descriptor *d)
{
	struct vmdk_descriptor again;
	size_t bytes;
	char *text;

	/* Ends of lines can be added that make it too long. */
	if (vmdk_descriptor_write(d, &text, &bytes) != 0)
		return;
	if (vmdk_descriptor_parse(text, bytes, &again, NULL) != 0)
		abort();
	check_same(d, &again);
	if (vmdk_descriptor_set(&again, "CID", "12345678") == 0 &&
	    again.cid != 0x12345678)
		abort();
	(void)vmdk_descriptor_set(&again, "ddb.adapterType", "ide");
	vmdk_descriptor_deinit(&again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmdk_descriptor d;
	char *error = NULL;

	if (vmdk_descriptor_parse((const char *)data, size, &d, &error) == 0) {
		check_limits(&d);
		check_again(&d);
		vmdk_descriptor_deinit(&d);
	} else if (!error) {
		abort();
	}
	free(error);
	return 0;
}
