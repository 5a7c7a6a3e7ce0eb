/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as an OVF descriptor: what is found of disks keeps to the limits. */
#include <stdlib.h>
#include <string.h>

#include "tools/qimg/ovf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ovf ovf = {0};
	char *error = NULL;

	if (ovf_parse((const char *)data, size, &ovf, &error) == 0) {
		if (error || ovf.count > OVF_MAX_DISKS)
			abort();
		for (size_t i = 0; i < ovf.count; i++)
			if (ovf.disks[i].capacity_bytes > INT64_MAX ||
			    (ovf.disks[i].file &&
			     strlen(ovf.disks[i].file) > OVF_MAX_NAME_BYTES))
				abort();
	}
	free(error);
	ovf_deinit(&ovf);
	return 0;
}
