/* SPDX-License-Identifier: Apache-2.0 */
/* In the place of store-nbd.c where there is no libnbd. */
#include <errno.h>

#include "image/nbd-address.h"
#include "image/store-nbd.h"

static int nbd_open(const char *address,
		    const struct image_remote_options *options,
		    struct store **ret_store, char **ret_error)
{
	return store_fail(ret_error, -ENOTSUP,
			  "%s: this program was built without NBD (libnbd)",
			  address);
}

const struct image_remote nbd_remote = {
	.is_address = nbd_address_is,
	.resolve = nbd_address_resolve,
	.open = nbd_open,
};
