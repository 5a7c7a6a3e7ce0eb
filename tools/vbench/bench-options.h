/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of options that the network sub-commands share (base/options.h). Each
 * takes the option that is being parsed: 0 and the value, or a negative errno and
 * the parser's error. Main thread.
 */
#ifndef TOOLS_VBENCH_BENCH_OPTIONS_H
#define TOOLS_VBENCH_BENCH_OPTIONS_H

#include <stdint.h>

#include "base/options.h"

/* Seconds with or without a fraction, at most an hour. */
int bench_seconds(struct options_parser *parser, uint64_t *ret_ns);

/* The number that a CPU, or a process, has. */
int bench_cpu(struct options_parser *parser, int *ret_cpu);
int bench_pid(struct options_parser *parser, int *ret_pid);

#endif
