/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/spec-nbd.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "image/nbd-address.h"
#include "tools/qimg/cli.h"

enum {
	MAX_SECONDS = 7 * 24 * 3600,
};

#define FILE_PREFIX "file."

static bool is_nbd(const struct image_options *options, const char *setting)
{
	return strcmp(image_options_string(options, setting, ""), "nbd") == 0;
}

bool spec_nbd_is_meant(const struct image_options *options)
{
	return is_nbd(options, "driver") ||
	       is_nbd(options, FILE_PREFIX "driver");
}

/* Of the settings of the export itself. */
static const char *prefix(const struct image_options *options)
{
	return is_nbd(options, "driver") ? "" : FILE_PREFIX;
}

bool spec_nbd_has_setting(const char *setting)
{
	size_t length = strlen(FILE_PREFIX);

	if (strncmp(setting, FILE_PREFIX, length) == 0)
		setting += length;
	return nbd_address_has_option(setting) ||
	       strcmp(setting, "open-timeout") == 0 ||
	       strcmp(setting, "reply-timeout") == 0;
}

char *spec_nbd_address(const struct image_options *options, const char *name)
{
	struct nbd_address address;
	char *error = NULL, *text;

	if (nbd_address_from_options(options, prefix(options), &address,
				     &error)) {
		cli_error("%s: %s", name, error ? error : "out of memory");
		free(error);
		return NULL;
	}
	text = nbd_address_format(&address);
	nbd_address_deinit(&address);
	if (!text)
		cli_error("out of memory");
	return text;
}

/* Of "open-timeout" or "file.open-timeout": 0 if it is not set. */
static bool timeout(const struct image_options *options, const char *name,
		    const char *setting, uint64_t *ret_ns)
{
	const char *inner = setting + strlen(FILE_PREFIX);
	const char *text = image_options_string(options, setting, NULL);
	unsigned long seconds;
	char *end;

	if (!text)
		text = image_options_string(options, inner, "0");
	seconds = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || seconds > MAX_SECONDS) {
		cli_error("%s: %s=%s: a number of seconds is expected, 0 for "
			  "the default",
			  name, inner, text);
		return false;
	}
	*ret_ns = seconds * NS_PER_SECOND;
	return true;
}

bool spec_nbd_timeouts(const struct image_options *options, const char *name,
		       struct image_open_request *request)
{
	return timeout(options, name, FILE_PREFIX "open-timeout",
		       &request->open_timeout_ns) &&
	       timeout(options, name, FILE_PREFIX "reply-timeout",
		       &request->reply_timeout_ns);
}
