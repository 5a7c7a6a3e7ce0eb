/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/bench-options.h"

#include <sched.h>
#include <stdlib.h>

#include "base/clock.h"

enum {
	MAX_SECONDS = 3600,
};

int bench_seconds(struct options_parser *parser, uint64_t *ret_ns)
{
	char *end;
	double seconds = strtod(parser->value, &end);

	/* So that a NaN is refused, too. */
	if (end == parser->value || *end ||
	    !(seconds >= 0 && seconds <= MAX_SECONDS))
		return options_fail_value(parser, "seconds, at most an hour");
	*ret_ns = seconds * NS_PER_SECOND;
	return 0;
}

int bench_cpu(struct options_parser *parser, int *ret_cpu)
{
	uint64_t cpu;

	if (options_size(parser->value, &cpu) < 0 || cpu >= CPU_SETSIZE)
		return options_fail_value(parser, "the number of a CPU");
	*ret_cpu = cpu;
	return 0;
}

int bench_pid(struct options_parser *parser, int *ret_pid)
{
	uint64_t pid;

	if (options_size(parser->value, &pid) < 0 || pid == 0 ||
	    pid > INT32_MAX)
		return options_fail_value(parser, "the number of a process");
	*ret_pid = pid;
	return 0;
}
