/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/blk-verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tools/vbench/random.h"

struct verify {
	struct blk_plan plan;
	const struct bench_options *options;
	uint64_t blocks;
	uint64_t issued;
	uint64_t stride; /* no divisor in common with blocks */
	bool writing;
	uint64_t mismatches;
	uint8_t *wanted; /* one block */
};

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b != 0) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* A step that visits every block once before it comes round. */
static uint64_t find_stride(uint64_t blocks)
{
	uint64_t stride = blocks / 2 + blocks / 7 + 1;

	while (common_divisor(stride, blocks) != 1)
		stride++;
	return stride;
}

static void fill_pattern(const struct verify *v, void *data, uint64_t block)
{
	uint64_t state = random_mix(v->options->seed) ^ random_mix(~block);

	random_fill(&state, data, v->options->block_bytes);
}

static bool verify_next(struct blk_plan *plan, struct blk_slot *slot)
{
	struct verify *v = container_of(plan, struct verify, plan);

	if (v->issued == v->blocks)
		return false;
	slot->block = (uint64_t)((unsigned __int128)v->issued++ * v->stride %
				 v->blocks);
	slot->write = v->writing;
	if (v->writing)
		fill_pattern(v, slot->data, slot->block);
	else
		memset(slot->data, 0x5a, v->options->block_bytes);
	return true;
}

static bool verify_done(struct blk_plan *plan, struct blk_slot *slot,
			uint64_t now)
{
	struct verify *v = container_of(plan, struct verify, plan);
	uint32_t at = 0;

	if (v->writing)
		return true;
	fill_pattern(v, v->wanted, slot->block);
	if (memcmp(v->wanted, slot->data, v->options->block_bytes) == 0)
		return true;
	while (v->wanted[at] == slot->data[at])
		at++;
	if (v->mismatches++ == 0)
		fprintf(stderr,
			"vbench: byte %u of block %" PRIu64 " (offset %" PRIu64
			") is 0x%02x, not 0x%02x\n",
			at, slot->block,
			slot->block * v->options->block_bytes + at,
			slot->data[at], v->wanted[at]);
	return true;
}

static bool verify_goes_on(struct blk_plan *plan, uint64_t now)
{
	return true;
}

static int flush(struct blk_load *load)
{
	int status;

	if (!frontend_has(load->driver->fe, VIRTIO_BLK_F_FLUSH))
		return 0;
	status = blk_flush(load->driver, 0);
	if (status <= 0)
		return status;
	fprintf(stderr, "vbench: flush failed with status %d\n", status);
	load->errors++;
	return 0;
}

int blk_verify(struct blk_load *load)
{
	struct verify v = {
		.plan = {verify_next, verify_done, verify_goes_on},
		.options = load->options,
		.blocks = load->blocks,
		.stride = find_stride(load->blocks),
		.writing = true,
		.wanted = malloc(load->options->block_bytes),
	};
	int err;

	if (!v.wanted)
		return -ENOMEM;
	err = blk_load_run(load, &v.plan);
	if (err == 0)
		err = flush(load);
	if (err == 0) {
		v.writing = false;
		v.issued = 0;
		err = blk_load_run(load, &v.plan);
	}
	free(v.wanted);
	if (err == 0 && v.mismatches > 0) {
		fprintf(stderr, "vbench: %" PRIu64 " blocks differ\n",
			v.mismatches);
		err = -EILSEQ;
	}
	return err;
}
