/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is a name, as an image may hold it. What is taken for an address has
 * one text, which is taken for the same address again and is safe to print.
 */
#include <stdlib.h>
#include <string.h>

#include "image/nbd-address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *text)
{
	struct nbd_address again;
	char *same;

	for (const char *c = text; *c; c++)
		if (*c <= ' ' || *c > '~')
			abort();
	if (nbd_address_parse(text, &again, NULL))
		abort();
	same = nbd_address_format(&again);
	if (same && strcmp(same, text) != 0)
		abort();
	nbd_address_deinit(&again);
	free(same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *name = strndup((const char *)data, size);
	char *text = NULL, *error = NULL;

	if (name && nbd_address_resolve(name, size % 2, &text, &error) == 0)
		check(text);
	free(text);
	free(error);
	free(name);
	return 0;
}
