/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/barrier.h"
#include "base/printable.h"

void store_free(struct store *store)
{
	if (store)
		store->ops->free(store);
}

/* It was not tried, or not to its end: nothing is known to be lost. */
static bool is_passing(int result)
{
	return result == -EINTR || result == -EAGAIN || result == -ECANCELED;
}

int store_flushed(struct store *store, int result)
{
	bool in_page_cache = store->alignment == 1;

	if (result < 0 && in_page_cache && !is_passing(result))
		store_once(&store->flush_error, result);
	return result < 0 ? result : load_once(&store->flush_error);
}

bool store_is_same(const struct store *a, const struct store *b)
{
	struct stat of_a, of_b;

	if (a == b)
		return true;
	if (a->is_remote || b->is_remote)
		return a->is_remote && b->is_remote &&
		       strcmp(a->name, b->name) == 0;
	return a->fd >= 0 && b->fd >= 0 && fstat(a->fd, &of_a) == 0 &&
	       fstat(b->fd, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
	       of_a.st_ino == of_b.st_ino;
}

int store_fail(char **ret_error, int err, const char *format, ...)
{
	va_list args;
	char *text;

	if (!ret_error || *ret_error)
		return err;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	/* Names and lines in it may be an image's. */
	*ret_error = text ? printable_copy(text) : NULL;
	free(text);
	return err;
}
