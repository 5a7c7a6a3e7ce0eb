/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a block device busy: iodepth slots for each queue, each with its
 * header, data, status and indirect tables written once; a slot that comes
 * back is at once asked of the plan what to do next. One thread, no
 * allocation, one clock read, one publish and at most one kick for a batch.
 *
 * A plan decides what the requests are and what becomes of them: measuring
 * (blk-measure.c) and verifying (blk-verify.c).
 */
#ifndef TOOLS_VBENCH_BLK_LOAD_H
#define TOOLS_VBENCH_BLK_LOAD_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/frontend/blk-driver.h"
#include "tools/vbench/blk-options.h"

struct blk_slot {
	struct virtio_blk_outhdr *header;
	uint8_t *data;
	uint8_t *status;
	uint64_t start_ns;
	uint64_t tables_gpa; /* one to read, one to write; or RAM_NONE */
	struct driver_buffer buffers[2][3];
	uint64_t block; /* the plan's choice: number of the block … */
	bool write;	/* … and what to do with it */
	uint16_t queue;
};

struct blk_plan {
	/*
	 * Sets slot->block and slot->write. False: nothing more to do, the
	 * slot rests.
	 */
	bool (*next)(struct blk_plan *plan, struct blk_slot *slot);
	/* @slot came back with success. False ends the run. */
	bool (*done)(struct blk_plan *plan, struct blk_slot *slot,
		     uint64_t now_ns);
	/* Called often; false ends the run. */
	bool (*goes_on)(struct blk_plan *plan, uint64_t now_ns);
};

struct blk_load {
	const struct bench_options *options;
	struct blk_driver *driver;
	struct blk_slot *slots;
	unsigned slot_count;
	uint64_t blocks; /* in the part of the device that is used */
	unsigned in_flight;
	uint64_t errors;
	uint64_t last_completion_ns;
};

/* Connects and makes the slots. On failure says why on standard error. */
int blk_load_new(const struct bench_options *options,
		 struct blk_load **ret_load);

/* Accepts NULL. */
void blk_load_free(struct blk_load *load);

/*
 * Runs @plan until it ends, and waits for what is in flight. Requests that
 * fail are counted in load->errors, the first one said on standard error.
 * -ETIMEDOUT if nothing comes back for ten seconds, -ECONNRESET if the
 * back-end is gone, -EPROTO if it broke the ring.
 */
int blk_load_run(struct blk_load *load, struct blk_plan *plan);

#endif
