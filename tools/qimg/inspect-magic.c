/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/bytes.h"
#include "tools/qimg/inspect.h"

struct magic {
	size_t at;
	size_t bytes;
	const char *value;
	const char *name;
};

#define MAGIC(at, value, name)                     \
	{                                          \
		at, sizeof(value) - 1, value, name \
	}

static const struct magic magics[] = {
	MAGIC(0, "QFI\xfb", "a QCOW image of another version"),
	MAGIC(0, "QED\0", "a QED image"),
	MAGIC(0, "KDMV", "a VMDK image"),
	MAGIC(0, "COWD", "a VMDK image (COWD)"),
	MAGIC(0, "# Disk DescriptorFile", "a VMDK descriptor"),
	MAGIC(0, "vhdxfile", "a VHDX image"),
	MAGIC(0, "conectix", "a VHD image"),
	MAGIC(64, "\x7f\x10\xda\xbe", "a VDI image"),
	MAGIC(0, "WithoutFreeSpace", "a Parallels image"),
	MAGIC(0, "WithouFreSpacExt", "a Parallels image"),
	MAGIC(0, "Bochs Virtual HD Image", "a Bochs image"),
	MAGIC(0, "LUKS\xba\xbe", "a LUKS container of another version"),
	MAGIC(0, "SKUL\xba\xbe", "a second LUKS 2 header"),
	MAGIC(0, "\x1f\x8b\x08", "a gzip archive"),
	MAGIC(0,
	      "\xfd"
	      "7zXZ\0",
	      "an xz archive"),
	MAGIC(0, "\x28\xb5\x2f\xfd", "a zstd archive"),
	MAGIC(0, "BZh", "a bzip2 archive"),
	MAGIC(0, "7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
	MAGIC(0, "PK\3\4", "a ZIP archive"),
	MAGIC(257, "ustar", "a tar archive (an OVA, perhaps)"),
};

const char *inspect_magic(const void *head, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		const struct magic *m = &magics[i];

		if (range_fits(m->at, m->bytes, size) &&
		    memcmp((const char *)head + m->at, m->value, m->bytes) == 0)
			return m->name;
	}
	return NULL;
}
