/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `vbench switch`. */
#ifndef TOOLS_VBENCH_SWITCH_OPTIONS_H
#define TOOLS_VBENCH_SWITCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/options.h"

enum {
	SWITCH_BENCH_MAX_GUESTS = 256,
	SWITCH_BENCH_MAX_DEPTH = 128,
	SWITCH_BENCH_MIN_FRAME = 60,
	SWITCH_BENCH_MAX_FRAME = 1518, /* in one receive buffer */
	SWITCH_BENCH_MAX_STATIONS = 1 << 20,
	SWITCH_BENCH_MAX_RATE = 1000 * 1000 * 1000,
};

enum switch_test {
	SWITCH_PAIRS,	     /* each guest to its neighbour, and back */
	SWITCH_MESH,	     /* each to all others, one after the other */
	SWITCH_BROADCAST,    /* the first to all others at once */
	SWITCH_CAPACITY,     /* RFC 2889, 5.7 */
	SWITCH_LEARNING,     /* … 5.8 */
	SWITCH_HEAD_OF_LINE, /* … 5.5 */
};

struct switch_bench_options {
	char *const *sockets;
	unsigned guests;
	enum switch_test test;
	uint16_t active; /* guests that send and receive; 0: all */
	uint16_t frame_bytes;
	uint16_t depth;
	uint16_t queue_size;
	bool packed;
	uint32_t stations; /* to be learned in one trial */
	uint64_t time_ns;
	uint64_t ramp_ns;
	int cpu; /* -1: anywhere */
	int backend_pid;
	bool json;
};

/* As options_parse; @argv begins with the sub-command. */
int switch_bench_options_parse(int argc, char **argv,
			       struct switch_bench_options *ret_options,
			       char ret_error[static OPTIONS_ERROR_BYTES]);
void switch_bench_options_print_help(void);

const char *switch_test_name(enum switch_test test);

#endif
