/* SPDX-License-Identifier: Apache-2.0 */
/* qimg inspect: is an image of unknown origin safe to use, and how? */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/printable.h"
#include "image/open.h"
#include "image/option.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/format-options.h"
#include "tools/qimg/inspect.h"
#include "tools/qimg/output.h"
#include "tools/qimg/spec.h"

enum {
	MEMORY = QIMG_FIRST_OWN_KEY,
	CPU_TIME,
	DEFAULT_CPU_SECONDS = 10,
	MAX_CPU_SECONDS = 86400,
};

static const uint64_t DEFAULT_MEMORY = UINT64_C(512) << 20;
/* The program itself and its libraries have to fit. */
static const uint64_t LEAST_MEMORY = UINT64_C(64) << 20;

static const struct cli_option options[] = {
	{'f', NULL, CLI_FORMAT, "FORMAT",
	 "the image's format (default: by its magic number)"},
	QIMG_OPTION_SHARE,
	{MEMORY, "memory", CLI_TEXT, "SIZE",
	 "what reading it may take, at least 64M (default: 512M)"},
	{CPU_TIME, "cpu-time", CLI_TEXT, "SECONDS",
	 "of a processor that reading it may take (default: 10)"},
	QIMG_OPTION_OUTPUT,
	{0},
};

/* The exit statuses; 1: it could not be inspected. */
static int status_of(enum inspect_verdict verdict)
{
	static const int statuses[] = {
		[INSPECT_SAFE] = 0,
		[INSPECT_ATTENTION] = 3,
		[INSPECT_DAMAGED] = 2,
		[INSPECT_HOSTILE] = 2,
	};

	return statuses[verdict];
}

static int parse_limits(struct inspect_request *r, const struct cli *cli)
{
	const char *memory = cli_value(cli, MEMORY);
	const char *seconds = cli_value(cli, CPU_TIME);
	char *end;

	r->memory_bytes = DEFAULT_MEMORY;
	r->cpu_seconds = DEFAULT_CPU_SECONDS;
	if (memory && (image_parse_size(memory, &r->memory_bytes) ||
		       r->memory_bytes < LEAST_MEMORY))
		return cli_error("--memory=%s: expecting a size such as 512M, "
				 "at least 64M",
				 memory);
	if (seconds) {
		unsigned long value = strtoul(seconds, &end, 10);

		if (*seconds < '0' || *seconds > '9' || *end || value == 0 ||
		    value > MAX_CPU_SECONDS)
			return cli_error("--cpu-time=%s: expecting a number of "
					 "seconds, 1 to %d",
					 seconds, MAX_CPU_SECONDS);
		r->cpu_seconds = value;
	}
	return 0;
}

static int open_stores(struct inspect_request *r, bool share)
{
	const struct store_file_options how = {
		.read_only = true,
		.no_lock = share,
	};
	char *path = qimg_path(r->name, false);
	char *error = NULL;
	int err = path ? 0 : -EINVAL;

	if (path && qimg_is_remote(path))
		err = store_fail(&error, -ENOTSUP,
				 "an inspection connects to nobody; copy it to "
				 "a file with convert -f raw -O raw");
	for (int i = 0; i < INSPECT_STORES && err == 0; i++)
		err = store_open_file(path, &how, &r->stores[i], &error);
	if (path && err)
		cli_error("Could not open '%s': %s", r->name,
			  error ? error : strerror(-err));
	free(error);
	free(path);
	return err ? 1 : 0;
}

/* What is known of the file without reading it. */
static void add_file(json_t *report, const struct inspect_request *r)
{
	char *name = printable_copy(r->name);
	struct stat st;

	json_object_set_new(report, "filename", json_string(name ? name : ""));
	json_object_set_new(report, "file-length",
			    json_integer((json_int_t)r->stores[0]->size_bytes));
	if (fstat(r->stores[0]->fd, &st) == 0)
		json_object_set_new(
			report, "actual-size",
			json_integer((json_int_t)st.st_blocks * 512));
	json_object_set_new(report, "memory-limit",
			    json_integer((json_int_t)r->memory_bytes));
	json_object_set_new(report, "cpu-seconds-limit",
			    json_integer(r->cpu_seconds));
	free(name);
}

static int inspect(const struct inspect_request *r, bool json)
{
	enum inspect_verdict verdict;
	enum inspect_end end;
	int signal, status;
	json_t *report = inspect_run(r, &end, &signal);

	if (end == INSPECT_FAILED || end == INSPECT_NO_SANDBOX) {
		json_decref(report);
		return cli_error("%s: not inspected: %s", r->name,
				 end == INSPECT_FAILED
					 ? strerror(errno)
					 : "the kernel refused the sandbox");
	}
	add_file(report, r);
	verdict = inspect_judge(report, r, end, signal);
	status = status_of(verdict);
	if (json) {
		output_json(report);
	} else {
		inspect_print(report);
		json_decref(report);
	}
	return status;
}

static int run(const struct cli *cli)
{
	struct inspect_request r = {
		.name = cli->operands[0],
		.format = cli_value(cli, 'f'),
	};
	int json = output_format(cli);
	int status;

	if (json < 0 || parse_limits(&r, cli))
		return 1;
	if (r.format && !image_find_format(r.format))
		return cli_error("Unknown driver '%s'%s", r.format,
				 format_nearest(r.format));
	status = open_stores(&r, cli_has(cli, 'U'));
	if (status == 0)
		status = inspect(&r, json);
	for (int i = 0; i < INSPECT_STORES; i++)
		store_free(r.stores[i]);
	return status;
}

const struct cli_command qimg_inspect = {
	.name = "inspect",
	.operands = "FILE",
	.summary = "Says, from a sandbox, whether an image is safe to use",
	.min_operands = 1,
	.max_operands = 1,
	.options = options,
	.run = run,
};
