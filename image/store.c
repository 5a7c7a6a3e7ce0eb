/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store.h"

#include <stdarg.h>
#include <stdio.h>

void store_free(struct store *store)
{
	if (store)
		store->ops->free(store);
}

int store_fail(char **ret_error, int err, const char *format, ...)
{
	va_list args;

	if (!ret_error || *ret_error)
		return err;
	va_start(args, format);
	if (vasprintf(ret_error, format, args) < 0)
		*ret_error = NULL;
	va_end(args);
	return err;
}
