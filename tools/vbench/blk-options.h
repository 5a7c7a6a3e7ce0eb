/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `vbench blk`. */
#ifndef TOOLS_VBENCH_BLK_OPTIONS_H
#define TOOLS_VBENCH_BLK_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum blk_rw {
	BLK_RW_READ,
	BLK_RW_WRITE,
	BLK_RW_RANDREAD,
	BLK_RW_RANDWRITE,
	BLK_RW_RANDRW,
};

struct bench_options {
	const char *socket_path;
	enum blk_rw rw;
	uint32_t block_bytes;
	unsigned iodepth; /* for each queue */
	unsigned queues;
	uint16_t queue_size;
	bool packed;
	bool notify;
	bool indirect;
	bool event_idx;
	bool json;
	bool verify;
	uint64_t time_ns;
	uint64_t ramp_ns;
	uint64_t size_bytes; /* 0: the whole device */
	uint64_t seed;
	int cpu;	 /* -1: wherever */
	int backend_pid; /* 0: who listens at the socket */
};

/* As it is spelt on the command line. */
const char *blk_rw_name(enum blk_rw rw);

/*
 * Parses argv[1] and on. 0, 1 if help was asked for (and printed), or -EINVAL,
 * with a line on standard error that names option and value.
 */
int bench_options_parse(int argc, char **argv,
			struct bench_options *ret_options);

#endif
