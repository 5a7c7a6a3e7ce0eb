/* SPDX-License-Identifier: Apache-2.0 */
#include "image/nbd-library.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/bytes.h"

/* The only one there is; its calls stay what they are. */
static const char soname[] = "libnbd.so.0";

struct nbd_library libnbd;

static const struct {
	const char *name;
	size_t offset; /* in struct nbd_library */
} calls[] = {
#define NBD_LIBRARY_CALL(name) \
	{"nbd_" #name, offsetof(struct nbd_library, name)},
	NBD_LIBRARY_CALLS(NBD_LIBRARY_CALL)
#undef NBD_LIBRARY_CALL
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_loaded;
static char *reason;

static bool find_all(void *library)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		void *call = dlsym(library, calls[i].name);

		if (!call)
			return false;
		memcpy((char *)&libnbd + calls[i].offset, &call, sizeof(call));
	}
	return true;
}

/* Never unloaded: TLS leaves things behind that outlive a handle. */
static void load(void)
{
	void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
	const char *error;

	is_loaded = library && find_all(library);
	if (is_loaded)
		return;
	error = dlerror();
	if (error)
		reason = strdup(error);
	if (library)
		dlclose(library);
}

int nbd_library_load(char **ret_reason)
{
	pthread_once(&once, load);
	if (is_loaded)
		return 0;
	*ret_reason = reason ? strdup(reason) : NULL;
	return -ENOTSUP;
}
