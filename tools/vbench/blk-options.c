/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/blk-options.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/frontend/blk-driver.h"

enum {
	MAX_BLOCK_BYTES = 16 << 20,
	MAX_QUEUE_SIZE = 32768,
	MAX_SECONDS = 86400,
	DIRECT_DESCRIPTORS = 3,
};

static const char usage[] =
	"usage: vbench blk SOCKET [OPTION]...\n"
	"Measures the vhost-user-blk back-end that listens at SOCKET.\n"
	"\n"
	"  --rw=read|write|randread|randwrite|randrw   what to do (randread)\n"
	"  --bs=BYTES          size of a request, suffixes K and M (4K)\n"
	"  --iodepth=N         requests in flight in each queue (64)\n"
	"  --queues=N          queues, all driven by one thread (1)\n"
	"  --queue-size=N      entries of each ring (256)\n"
	"  --packed            packed rings; split ones by default\n"
	"  --direct            no indirect descriptors\n"
	"  --no-event-idx      do not negotiate the event index\n"
	"  --poll              look for completions; the default\n"
	"  --notify            wait for interrupts (call eventfds)\n"
	"  --time=SECONDS      how long to measure (5)\n"
	"  --ramp=SECONDS      how long to run before that (0)\n"
	"  --size=BYTES        use only the beginning of the device\n"
	"  --seed=N            of the offsets and the data (1)\n"
	"  --cpu=N             run on this CPU\n"
	"  --backend-pid=PID   whose CPU time to report (the socket's peer)\n"
	"  --json              one JSON object\n"
	"  --verify            write a pattern to all of --size, read it back\n"
	"                      and compare, instead of measuring\n";

enum option_id {
	OPTION_RW = 1,
	OPTION_BS,
	OPTION_IODEPTH,
	OPTION_QUEUES,
	OPTION_QUEUE_SIZE,
	OPTION_PACKED,
	OPTION_DIRECT,
	OPTION_NO_EVENT_IDX,
	OPTION_POLL,
	OPTION_NOTIFY,
	OPTION_TIME,
	OPTION_RAMP,
	OPTION_SIZE,
	OPTION_SEED,
	OPTION_CPU,
	OPTION_BACKEND_PID,
	OPTION_JSON,
	OPTION_VERIFY,
	OPTION_HELP,
};

static const struct option long_options[] = {
	{"rw", required_argument, NULL, OPTION_RW},
	{"bs", required_argument, NULL, OPTION_BS},
	{"iodepth", required_argument, NULL, OPTION_IODEPTH},
	{"queues", required_argument, NULL, OPTION_QUEUES},
	{"queue-size", required_argument, NULL, OPTION_QUEUE_SIZE},
	{"packed", no_argument, NULL, OPTION_PACKED},
	{"direct", no_argument, NULL, OPTION_DIRECT},
	{"no-event-idx", no_argument, NULL, OPTION_NO_EVENT_IDX},
	{"poll", no_argument, NULL, OPTION_POLL},
	{"notify", no_argument, NULL, OPTION_NOTIFY},
	{"time", required_argument, NULL, OPTION_TIME},
	{"ramp", required_argument, NULL, OPTION_RAMP},
	{"size", required_argument, NULL, OPTION_SIZE},
	{"seed", required_argument, NULL, OPTION_SEED},
	{"cpu", required_argument, NULL, OPTION_CPU},
	{"backend-pid", required_argument, NULL, OPTION_BACKEND_PID},
	{"json", no_argument, NULL, OPTION_JSON},
	{"verify", no_argument, NULL, OPTION_VERIFY},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

static const char *const rw_names[] = {
	[BLK_RW_READ] = "read",		[BLK_RW_WRITE] = "write",
	[BLK_RW_RANDREAD] = "randread", [BLK_RW_RANDWRITE] = "randwrite",
	[BLK_RW_RANDRW] = "randrw",
};

const char *blk_rw_name(enum blk_rw rw)
{
	return rw_names[rw];
}

static int complain(const char *option, const char *value, const char *wanted)
{
	fprintf(stderr, "vbench: --%s=%s: wanted %s\n", option, value, wanted);
	return -EINVAL;
}

/* A number with an optional suffix, in [least, most]. */
static int parse_number(const char *option, const char *value, uint64_t least,
			uint64_t most, uint64_t *ret)
{
	static const char suffixes[] = "kmgt";
	char wanted[80], *end;
	const char *suffix;
	uint64_t number;
	unsigned shift = 0;

	snprintf(wanted, sizeof(wanted), "a number from %llu to %llu",
		 (unsigned long long)least, (unsigned long long)most);
	errno = 0;
	number = strtoull(value, &end, 0);
	if (errno || end == value || *value == '-')
		return complain(option, value, wanted);
	suffix = *end ? strchr(suffixes, *end | 0x20) : NULL;
	if (suffix) {
		shift = 10 * (suffix - suffixes + 1);
		end++;
	}
	if (*end || number > most >> shift || number << shift < least)
		return complain(option, value, wanted);
	*ret = number << shift;
	return 0;
}

static int parse_seconds(const char *option, const char *value, uint64_t *ret)
{
	char *end;
	double seconds = strtod(value, &end);

	if (end == value || *end || !(seconds >= 0 && seconds <= MAX_SECONDS))
		return complain(option, value, "seconds, at most a day");
	*ret = seconds * NS_PER_SECOND;
	return 0;
}

static int parse_rw(const char *value, enum blk_rw *ret)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rw_names); i++) {
		if (strcmp(value, rw_names[i]) == 0) {
			*ret = i;
			return 0;
		}
	}
	return complain("rw", value,
			"read, write, randread, randwrite or randrw");
}

static int parse_valued(enum option_id id, const char *name, const char *value,
			struct bench_options *o)
{
	uint64_t number = 0;
	int err = 0;

	switch (id) {
	case OPTION_RW:
		return parse_rw(value, &o->rw);
	case OPTION_TIME:
		return parse_seconds(name, value, &o->time_ns);
	case OPTION_RAMP:
		return parse_seconds(name, value, &o->ramp_ns);
	case OPTION_SIZE:
		return parse_number(name, value, BLK_SECTOR_BYTES, INT64_MAX,
				    &o->size_bytes);
	case OPTION_SEED:
		return parse_number(name, value, 0, UINT64_MAX, &o->seed);
	case OPTION_BS:
		err = parse_number(name, value, BLK_SECTOR_BYTES,
				   MAX_BLOCK_BYTES, &number);
		if (err == 0 && !is_aligned(number, BLK_SECTOR_BYTES))
			return complain(name, value, "a multiple of 512");
		o->block_bytes = number;
		return err;
	case OPTION_IODEPTH:
		err = parse_number(name, value, 1, MAX_QUEUE_SIZE, &number);
		o->iodepth = number;
		return err;
	case OPTION_QUEUES:
		err = parse_number(name, value, 1, BLK_MAX_QUEUES, &number);
		o->queues = number;
		return err;
	case OPTION_QUEUE_SIZE:
		err = parse_number(name, value, 1, MAX_QUEUE_SIZE, &number);
		o->queue_size = number;
		return err;
	case OPTION_CPU:
		err = parse_number(name, value, 0, CPU_SETSIZE - 1, &number);
		o->cpu = number;
		return err;
	case OPTION_BACKEND_PID:
		err = parse_number(name, value, 1, INT32_MAX, &number);
		o->backend_pid = number;
		return err;
	default:
		return -EINVAL;
	}
}

/* True if @id is an option without a value. */
static bool parse_flag(enum option_id id, struct bench_options *o)
{
	switch (id) {
	case OPTION_PACKED:
		o->packed = true;
		return true;
	case OPTION_DIRECT:
		o->indirect = false;
		return true;
	case OPTION_NO_EVENT_IDX:
		o->event_idx = false;
		return true;
	case OPTION_POLL:
		o->notify = false;
		return true;
	case OPTION_NOTIFY:
		o->notify = true;
		return true;
	case OPTION_JSON:
		o->json = true;
		return true;
	case OPTION_VERIFY:
		o->verify = true;
		return true;
	default:
		return false;
	}
}

/* What can only be judged together. */
static int check_together(const struct bench_options *o)
{
	unsigned descriptors = o->indirect ? 1 : DIRECT_DESCRIPTORS;

	if (!o->packed && !is_power_of_two(o->queue_size)) {
		fprintf(stderr,
			"vbench: --queue-size=%u: a split ring has a power of "
			"two\n",
			o->queue_size);
		return -EINVAL;
	}
	if (o->iodepth * descriptors > o->queue_size) {
		fprintf(stderr,
			"vbench: --iodepth=%u: needs %u entries of the ring, "
			"--queue-size=%u has too few\n",
			o->iodepth, o->iodepth * descriptors, o->queue_size);
		return -EINVAL;
	}
	return 0;
}

int bench_options_parse(int argc, char **argv,
			struct bench_options *ret_options)
{
	struct bench_options o = {
		.rw = BLK_RW_RANDREAD,
		.block_bytes = 4096,
		.iodepth = 64,
		.queues = 1,
		.queue_size = 256,
		.indirect = true,
		.event_idx = true,
		.time_ns = 5 * NS_PER_SECOND,
		.seed = 1,
		.cpu = -1,
	};
	static char program[] = "vbench";
	int id, index, err;

	/* getopt's own messages begin with it. */
	argv[0] = program;
	while ((id = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		if (id == OPTION_HELP) {
			fputs(usage, stdout);
			return 1;
		}
		if (id == '?')
			return -EINVAL; /* getopt has named the option */
		if (parse_flag(id, &o))
			continue;
		err = parse_valued(id, long_options[index].name, optarg, &o);
		if (err < 0)
			return err;
	}
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		return -EINVAL;
	}
	o.socket_path = argv[optind];
	err = check_together(&o);
	if (err == 0)
		*ret_options = o;
	return err;
}
