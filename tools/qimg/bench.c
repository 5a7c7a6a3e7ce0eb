/* SPDX-License-Identifier: Apache-2.0 */
/* qimg bench: how fast an image is read or written. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "image/open.h"
#include "tools/qimg/bench.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/output.h"

enum {
	FLUSH_INTERVAL = QIMG_FIRST_OWN_KEY,
	NO_DRAIN,
	PATTERN,
	DEFAULT_COUNT = 75000,
	DEFAULT_DEPTH = 64,
	DEFAULT_BYTES = 4096,
};

static const struct cli_option options[] = {
	{'c', NULL, CLI_TEXT, "COUNT", "of requests (default: 75000)"},
	{'d', NULL, CLI_TEXT, "DEPTH", "requests at once (default: 64)"},
	{'s', NULL, CLI_TEXT, "BYTES", "of a request (default: 4k)"},
	{'o', NULL, CLI_TEXT, "BYTES", "where the first one is (default: 0)"},
	{'S', NULL, CLI_TEXT, "BYTES",
	 "from one to the next (default: what -s says)"},
	{'w', NULL, CLI_FLAG, NULL, "write, over what is there"},
	{PATTERN, "pattern", CLI_TEXT, "BYTE", "what is written (default: 0)"},
	{FLUSH_INTERVAL, "flush-interval", CLI_TEXT, "COUNT",
	 "with -w: flush after so many requests"},
	{NO_DRAIN, "no-drain", CLI_FLAG, NULL,
	 "send on while a flush is under way"},
	{'i', NULL, CLI_AIO, "AIO",
	 "accepted; the requests go through io_uring"},
	{'n', NULL, CLI_FLAG, NULL, "as -i native"},
	QIMG_OPTION_CACHE('t'),
	QIMG_OPTION_FORMAT,
	QIMG_OPTION_QUIET,
	QIMG_OPTION_SHARE,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	QIMG_OPTION_OUTPUT,
	{0},
};

/* --- Options --- */

/* A number as C has them, in [min, max]. */
static int take_number(const struct cli *cli, int key, const char *what,
		       uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *text = cli_value(cli, key);
	unsigned long long value;
	char *end;

	if (!text)
		return 0;
	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || *text < '0' || *text > '9' || *end || value < min ||
	    value > max)
		return cli_error("Invalid %s specified", what);
	*ret = value;
	return 0;
}

static int take_size(const struct cli *cli, int key, const char *what,
		     uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *text = cli_value(cli, key);

	return text ? cli_size(what, text, min, max, ret) : 0;
}

static int take_numbers(const struct cli *cli, struct bench_plan *plan)
{
	uint64_t depth = DEFAULT_DEPTH, pattern = 0;

	if (take_number(cli, 'c', "request count", 0, INT_MAX, &plan->count) ||
	    take_number(cli, 'd', "queue depth", 1, INT_MAX, &depth) ||
	    take_number(cli, PATTERN, "pattern byte", 0, UINT8_MAX, &pattern) ||
	    take_number(cli, FLUSH_INTERVAL, "flush interval", 0, INT_MAX,
			&plan->flush_interval) ||
	    take_size(cli, 'o', "offset", 0, INT64_MAX, &plan->offset) ||
	    take_size(cli, 's', "buffer size", 1, INT_MAX,
		      &plan->request_bytes) ||
	    take_size(cli, 'S', "step_size", 1, INT_MAX, &plan->step))
		return 1;
	plan->depth = (unsigned)depth;
	plan->pattern = (uint8_t)pattern;
	if (plan->step == 0)
		plan->step = plan->request_bytes;
	return 0;
}

/* All of them mean the same here, and what QEMU refuses is refused. */
static int check_aio(const struct cli *cli, const struct bench_plan *plan)
{
	static const char *const names[] = {"threads", "native", "io_uring"};
	const char *name = cli_value(cli, 'i');
	bool native = cli_has(cli, 'n');
	bool known = !name;

	for (size_t i = 0; i < ARRAY_SIZE(names) && !known; i++)
		known = strcmp(name, names[i]) == 0;
	if (!known)
		return cli_error("Invalid aio option: %s", name);
	native |= name && strcmp(name, "native") == 0;
	if (native && !plan->cache.direct)
		return cli_error("Could not open '%s': aio=native was "
				 "specified, but it requires cache.direct=on, "
				 "which was not specified.",
				 plan->name);
	return 0;
}

static int check_options(const struct cli *cli, const struct bench_plan *plan)
{
	if (cli->operand_count != 1)
		return cli_error("Expecting one image file name");
	if (!plan->write && plan->flush_interval)
		return cli_error("--flush-interval is only available in write "
				 "tests");
	if (plan->flush_interval && plan->flush_interval < plan->depth)
		return cli_error("Flush interval can't be smaller than depth");
	if (plan->write && cli_has(cli, 'U'))
		return cli_error("Could not open '%s': force-share=on can only "
				 "be used with read-only images",
				 plan->name);
	return check_aio(cli, plan);
}

/* --- The figures --- */

static void print_plan(const struct bench_plan *plan)
{
	printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %u in "
	       "parallel (starting at offset %" PRIu64 ", step size %" PRIu64
	       ")\n",
	       plan->count, plan->write ? "write" : "read", plan->request_bytes,
	       plan->depth, plan->offset, plan->step);
	if (plan->flush_interval)
		printf("Sending flush every %" PRIu64 " requests\n",
		       plan->flush_interval);
	fflush(stdout);
}

static json_int_t per_second(uint64_t amount, uint64_t ns)
{
	return ns ? (json_int_t)((double)amount * NS_PER_SECOND / (double)ns)
		  : 0;
}

static json_t *latency_json(const struct histogram *h)
{
	static const struct {
		const char *name;
		unsigned per_mille;
	} all[] = {
		{"p50", 500},	{"p90", 900},  {"p99", 990},
		{"p99.9", 999}, {"max", 1000},
	};
	json_t *object = json_object();

	json_object_set_new(object, "mean",
			    json_integer((json_int_t)histogram_mean(h)));
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		json_object_set_new(
			object, all[i].name,
			json_integer((json_int_t)histogram_percentile(
				h, all[i].per_mille)));
	return object;
}

static void print_json(const struct bench_plan *plan,
		       const struct bench_result *r)
{
	uint64_t bytes = r->requests * plan->request_bytes;

	output_json(json_pack(
		"{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
		"write", plan->write, "requests", (json_int_t)r->requests,
		"request-bytes", (json_int_t)plan->request_bytes, "depth",
		(json_int_t)plan->depth, "offset", (json_int_t)plan->offset,
		"step", (json_int_t)plan->step, "flushes",
		(json_int_t)r->flushes, "elapsed-ns", (json_int_t)r->elapsed_ns,
		"requests-per-second", per_second(r->requests, r->elapsed_ns),
		"bytes-per-second", per_second(bytes, r->elapsed_ns),
		"latency-ns", latency_json(&r->latency_ns)));
}

/* --- The run --- */

static int measure(const struct bench_plan *plan, bool json)
{
	struct bench_result *result = malloc(sizeof(*result));
	int status;

	if (!result)
		return cli_error("out of memory");
	if (!json)
		print_plan(plan);
	if (plan->count && plan->image->size_bytes == 0)
		status = cli_error("%s: there is nothing in an image of no "
				   "bytes",
				   plan->name);
	else
		status = bench_run(plan, result);
	if (status == 0 && json)
		print_json(plan, result);
	else if (status == 0)
		printf("Run completed in %3.3f seconds.\n",
		       (double)result->elapsed_ns / NS_PER_SECOND);
	free(result);
	return status;
}

static int run(const struct cli *cli)
{
	const char *mode = cli_value(cli, 't');
	struct bench_plan plan = {
		.name = cli->operand_count ? cli->operands[0] : NULL,
		.count = DEFAULT_COUNT,
		.request_bytes = DEFAULT_BYTES,
		.write = cli_has(cli, 'w'),
		.drain = !cli_has(cli, NO_DRAIN),
	};
	struct qimg_open open = {
		.name = plan.name,
		.format = cli_value(cli, 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
		.read_only = !plan.write,
		.share = cli_has(cli, 'U'),
	};
	int json = output_format(cli);
	int status;

	if (json < 0 || (mode && !qimg_cache_parse(mode, &plan.cache)) ||
	    take_numbers(cli, &plan) || check_options(cli, &plan) ||
	    !qimg_secrets_add(cli))
		return 1;
	open.cache = plan.cache;
	plan.image = qimg_open(&open);
	if (!plan.image)
		return 1;
	status = measure(&plan, json == 1);
	if (!qimg_close(plan.image, plan.name))
		status = 1;
	return status;
}

const struct cli_command qimg_bench = {
	.name = "bench",
	.operands = "FILE",
	.summary = "Measures how fast an image is read or written",
	.min_operands = 0,
	.max_operands = -1,
	.options = options,
	.run = run,
};
