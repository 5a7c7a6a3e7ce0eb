/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/manage.h"

#include "vmdk/check.h"
#include "vmdk/track.h"

#define CREATE IMAGE_OPTION_CREATE

/* QEMU's names, in QEMU's order. */
static const struct image_option options[] = {
	{"size", IMAGE_OPTION_SIZE, CREATE, "virtual disk size", NULL, NULL},
	{"adapter_type", IMAGE_OPTION_STRING, CREATE,
	 "controller that the machine sees the disk at, ide if not given",
	 "ide|lsilogic|buslogic|legacyESX", NULL},
	{"backing_file", IMAGE_OPTION_STRING, CREATE,
	 "file name of a base image", NULL, NULL},
	{"backing_fmt", IMAGE_OPTION_STRING, CREATE,
	 "format of the base image: vmdk", NULL, NULL},
	{"compat6", IMAGE_OPTION_BOOL, CREATE, "for hardware version 6", NULL,
	 "off"},
	{"hwversion", IMAGE_OPTION_STRING, CREATE,
	 "hardware version of the machine, 4 if not given", NULL, "undefined"},
	{"toolsversion", IMAGE_OPTION_STRING, CREATE,
	 "version of the guest's tools", NULL, NULL},
	{"subformat", IMAGE_OPTION_STRING, CREATE,
	 "kind of disk, monolithicSparse if not given",
	 "monolithicSparse|monolithicFlat|twoGbMaxExtentSparse|"
	 "twoGbMaxExtentFlat|streamOptimized|vmfs|vmfsSparse|seSparse",
	 NULL},
	{"zeroed_grain", IMAGE_OPTION_BOOL, CREATE,
	 "zeroes need no room, also over a base image", NULL, NULL},
	{"compression_level", IMAGE_OPTION_NUMBER, CREATE,
	 "of streamOptimized: from 1, fast, to 9", NULL, NULL},
	{NULL, IMAGE_OPTION_STRING, 0, NULL, NULL, NULL},
};

const struct image_manage vmdk_manage = {
	.options = options,
	.create = vmdk_create,
	.is_stream = vmdk_is_stream,
	.stream = vmdk_stream,
	.facts = vmdk_facts,
	.check = vmdk_check,
	.bitmap_list = vmdk_bitmap_list,
	.bitmap_next = vmdk_bitmap_next,
};
