/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/net.h"

#include <stdio.h>
#include <string.h>

#include "tools/vbench/blk.h"
#include "tools/vbench/cpu.h"
#include "tools/vbench/net-load.h"
#include "tools/vbench/net-options.h"
#include "tools/vbench/net-report.h"
#include "tools/vbench/net-rfc2544.h"

static int measure(const struct net_bench_options *options)
{
	struct net_load *load;
	struct net_result result;
	int err = net_load_new(options, &load);

	if (err < 0)
		return err;
	err = net_load_run(load, options, &result);
	if (err < 0)
		fprintf(stderr, "vbench: %s: %s\n", options->socket_path,
			strerror(-err));
	else if (options->json)
		net_report_json(options, &result);
	else
		net_report_text(options, &result);
	net_load_free(load);
	return err;
}

static int measure_rfc2544(const struct net_bench_options *options)
{
	static struct net_rfc2544_size sizes[NET_RFC2544_SIZES];
	int err = net_rfc2544_run(options, sizes);

	if (err < 0) {
		fprintf(stderr, "vbench: %s: %s\n", options->socket_path,
			strerror(-err));
		return err;
	}
	if (options->json)
		net_rfc2544_json(sizes);
	else
		net_rfc2544_text(sizes);
	err = options->plot ? net_rfc2544_plot(sizes, options->plot) : 0;
	if (err < 0)
		fprintf(stderr, "vbench: --plot=%s: %s\n", options->plot,
			strerror(-err));
	return err;
}

int vbench_net(int argc, char **argv)
{
	struct net_bench_options options;
	char error[OPTIONS_ERROR_BYTES];
	int err = net_bench_options_parse(argc, argv, &options, error);

	if (err == OPTIONS_HELP) {
		net_bench_options_print_help();
		return VBENCH_OK;
	}
	if (err < 0) {
		fprintf(stderr, "vbench: %s\n", error);
		return VBENCH_USAGE;
	}
	err = cpu_pin(options.cpu);
	if (err == 0)
		err = options.rfc2544 ? measure_rfc2544(&options)
				      : measure(&options);
	return err == 0 ? VBENCH_OK : VBENCH_FAILED;
}
