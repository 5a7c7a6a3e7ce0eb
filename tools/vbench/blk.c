/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/blk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/vbench/blk-load.h"
#include "tools/vbench/blk-measure.h"
#include "tools/vbench/blk-options.h"
#include "tools/vbench/blk-verify.h"
#include "tools/vbench/cpu.h"

static int measure(struct blk_load *load)
{
	struct blk_result *result = malloc(sizeof(*result));
	int err;

	if (!result)
		return -ENOMEM;
	err = blk_measure(load, result);
	if (err == 0) {
		if (load->options->json)
			blk_report_json(load->options, result);
		else
			blk_report_text(load->options, result);
	}
	free(result);
	return err;
}

static int verify(struct blk_load *load)
{
	uint64_t bytes = load->blocks * load->options->block_bytes;
	int err = blk_verify(load);
	bool good = err == 0 && load->errors == 0;

	if (load->options->json)
		printf("{\"device\":\"blk\",\"verify\":%s,\"bytes\":%" PRIu64
		       ",\"errors\":%" PRIu64 "}\n",
		       good ? "true" : "false", bytes, load->errors);
	else if (good)
		printf("%" PRIu64 " bytes written, read back and equal\n",
		       bytes);
	return err;
}

int vbench_blk(int argc, char **argv)
{
	struct bench_options options;
	struct blk_load *load = NULL;
	uint64_t errors = 0;
	int err = bench_options_parse(argc, argv, &options);

	if (err != 0)
		return err < 0 ? VBENCH_USAGE : VBENCH_OK;
	err = cpu_pin(options.cpu);
	if (err == 0)
		err = blk_load_new(&options, &load);
	if (err == 0)
		err = options.verify ? verify(load) : measure(load);
	if (load)
		errors = load->errors;
	blk_load_free(load);
	return err == 0 && errors == 0 ? VBENCH_OK : VBENCH_FAILED;
}
