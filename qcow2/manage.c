/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/manage.h"

const struct image_manage qcow2_manage = {
	.options = NULL,
};
