/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-options.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/capture.h"
#include "vhost-net/net-mac.h"
#include "vhost-net/netdev.h"

enum {
	MULTICAST = 1, /* of an address's first byte */
	CAPTURE_LIMIT_BYTES = 1 << 30,
};

static struct net_options *net(struct options_parser *parser)
{
	return parser->options;
}

static int set_tap(struct options_parser *parser)
{
	if (parser->value[0] == '\0')
		return options_fail_value(parser, "the name of a TAP");
	net(parser)->tap = parser->value;
	return 0;
}

/* One of a list, which begins at *@at; *@at is then what is behind it. */
static int add_tap_fd(struct options_parser *parser, const char **at)
{
	struct net_options *options = net(parser);
	unsigned long long fd;
	char *end;

	fd = strtoull(*at, &end, 10);
	if (**at < '0' || **at > '9' || (*end != ',' && *end != '\0') ||
	    fd > INT_MAX)
		return options_fail_value(parser,
					  "numbers of inherited descriptors, "
					  "with commas between them");
	if (options->tap_fd_count == NET_OPTIONS_MAX_PAIRS)
		return options_fail(parser, "--%s=%s: more than %u descriptors",
				    parser->name, parser->value,
				    NET_OPTIONS_MAX_PAIRS);
	for (unsigned i = 0; i < options->tap_fd_count; i++)
		if (options->tap_fds[i] == (int)fd)
			return options_fail(parser,
					    "--%s=%s: descriptor %llu comes "
					    "twice: each pair of queues has "
					    "its own",
					    parser->name, parser->value, fd);
	options->tap_fds[options->tap_fd_count++] = fd;
	*at = end;
	return 0;
}

static int set_tap_fd(struct options_parser *parser)
{
	const char *at = parser->value;
	int err;

	do
		err = add_tap_fd(parser, &at);
	while (err == 0 && *at++ == ',');
	return err;
}

static int set_tap_napi(struct options_parser *parser)
{
	net(parser)->tap_napi = true;
	return 0;
}

static int set_xdp(struct options_parser *parser)
{
	if (parser->value[0] == '\0')
		return options_fail_value(parser, "the name of an interface");
	net(parser)->xdp = parser->value;
	return 0;
}

static int set_xdp_mode(struct options_parser *parser)
{
	static const char *const names[] = {
		[NET_XDP_AUTO] = "auto",
		[NET_XDP_NATIVE] = "native",
		[NET_XDP_COPY] = "copy",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(parser->value, names[i]) != 0)
			continue;
		net(parser)->xdp_mode = i;
		net(parser)->has_xdp_mode = true;
		return 0;
	}
	return options_fail_value(parser, "auto, native or copy");
}

static int set_bridge(struct options_parser *parser)
{
	net(parser)->bridge = parser->value;
	return 0;
}

static int set_pairs(struct options_parser *parser)
{
	return options_count(parser, NET_OPTIONS_MAX_PAIRS,
			     &net(parser)->pairs);
}

static int set_threads(struct options_parser *parser)
{
	return options_count(parser, NET_OPTIONS_MAX_THREADS,
			     &net(parser)->threads);
}

static int set_mac(struct options_parser *parser)
{
	struct net_options *options = net(parser);
	const char *end = net_mac_parse(parser->value, options->mac);

	if (!end || *end)
		return options_fail_value(
			parser, "an address, as in 52:54:00:12:34:56");
	if (options->mac[0] & MULTICAST)
		return options_fail_value(parser,
					  "an address that is not a group's: "
					  "its first byte is even");
	options->has_mac = true;
	return 0;
}

static int set_mtu(struct options_parser *parser)
{
	uint64_t mtu;

	if (options_size(parser->value, &mtu) < 0 || mtu < NETDEV_MIN_MTU ||
	    mtu > NETDEV_MAX_MTU)
		return options_fail(parser,
				    "--%s=%s: give a number from %u to %u",
				    parser->name, parser->value, NETDEV_MIN_MTU,
				    NETDEV_MAX_MTU);
	net(parser)->mtu = mtu;
	return 0;
}

static int set_rate(struct options_parser *parser, uint64_t *ret_rate)
{
	int err = options_rate(parser, ret_rate);

	if (err == 0 && *ret_rate > LIMIT_MAX_RATE)
		return options_fail_value(parser, "at most 64G");
	return err;
}

static int set_send_bps(struct options_parser *parser)
{
	return set_rate(parser, &net(parser)->rates.bytes[NET_SEND]);
}

static int set_send_fps(struct options_parser *parser)
{
	return set_rate(parser, &net(parser)->rates.frames[NET_SEND]);
}

static int set_receive_bps(struct options_parser *parser)
{
	return set_rate(parser, &net(parser)->rates.bytes[NET_RECEIVE]);
}

static int set_receive_fps(struct options_parser *parser)
{
	return set_rate(parser, &net(parser)->rates.frames[NET_RECEIVE]);
}

static int set_capture(struct options_parser *parser)
{
	if (parser->value[0] == '\0')
		return options_fail_value(parser, "the name of a file");
	net(parser)->capture.file = parser->value;
	return 0;
}

static int set_capture_snap(struct options_parser *parser)
{
	uint64_t bytes;

	if (options_size(parser->value, &bytes) < 0 ||
	    bytes < NET_ETHERNET_BYTES || bytes > CAPTURE_MAX_SNAP_BYTES)
		return options_fail(parser,
				    "--%s=%s: give a number from %u to %u",
				    parser->name, parser->value,
				    NET_ETHERNET_BYTES, CAPTURE_MAX_SNAP_BYTES);
	net(parser)->capture.snap_bytes = bytes;
	return 0;
}

static int set_capture_limit(struct options_parser *parser)
{
	return options_rate(parser, &net(parser)->capture.limit_bytes);
}

static const struct options_row rows[] = {
	DAEMON_SOCKET_ROWS,
	{"tap", "NAME", set_tap,
	 "the TAP to use, which is made if there is none"},
	{"tap-fd", "N[,N]…", set_tap_fd,
	 "use this inherited TAP instead; a descriptor for each pair of queues"},
	{"tap-napi", NULL, set_tap_napi,
	 "have what the guest sends go through the TAP's NAPI, for GRO"},
	{"bridge", "NAME", set_bridge, "have the TAP join this bridge"},
	{"xdp", "INTERFACE", set_xdp,
	 "use this interface of the host by AF_XDP instead of a TAP"},
	{"xdp-mode", "MODE", set_xdp_mode,
	 "native (in its driver), copy (any interface), or auto (default)"},
	{"num-queue-pairs", "N", set_pairs, "pairs of queues to offer (1)"},
	{"threads", "N", set_threads, "threads that serve them (1)"},
	{"mac", "ADDRESS", set_mac, "the address that the guest is told"},
	{"mtu", "BYTES", set_mtu,
	 "set the TAP's, and tell the guest; of an interface: tell only"},
	{"send-bps", "BYTES", set_send_bps,
	 "let the guest send at most so many bytes a second"},
	{"send-fps", "N", set_send_fps, "… so many frames"},
	{"receive-bps", "BYTES", set_receive_bps,
	 "let it receive at most so many bytes a second"},
	{"receive-fps", "N", set_receive_fps, "… so many frames"},
	{"capture", "FILE", set_capture,
	 "have SIGUSR2 begin and end a capture of frames into this file"},
	{"capture-snap", "BYTES", set_capture_snap,
	 "capture so much of a frame (all)"},
	{"capture-limit", "BYTES", set_capture_limit,
	 "let the file grow to so much (1G)"},
	DAEMON_ROWS,
};

void net_options_print_help(const char *program)
{
	printf("Usage: %s --socket-path=PATH --tap=NAME|--xdp=INTERFACE "
	       "[OPTION]...\n"
	       "Joins a virtual machine to a TAP or an interface as a "
	       "vhost-user network device.\n\n",
	       program);
	options_print(rows, ARRAY_SIZE(rows));
}

/* What only a TAP has. */
static const char *tap_option(const struct net_options *options)
{
	if (options->tap)
		return "tap";
	if (options->tap_fd_count > 0)
		return "tap-fd";
	if (options->tap_napi)
		return "tap-napi";
	return options->bridge ? "bridge" : NULL;
}

static int check_xdp(struct options_parser *parser)
{
	struct net_options *options = net(parser);
	const char *other = tap_option(options);

	if (other)
		return options_fail(parser,
				    "--xdp and --%s exclude each other: an "
				    "interface is not a TAP",
				    other);
	if (options->pairs == 0)
		options->pairs = 1;
	return 0;
}

static int check_tap(struct options_parser *parser)
{
	struct net_options *options = net(parser);

	if (options->xdp)
		return check_xdp(parser);
	if (options->has_xdp_mode)
		return options_fail(parser, "--xdp-mode is of no use by "
					    "itself: give --xdp too");
	if (!options->tap && options->tap_fd_count == 0)
		return options_fail(parser, "--tap is missing: name the TAP, "
					    "or give --tap-fd or --xdp");
	if (options->tap && options->tap_fd_count > 0)
		return options_fail(parser, "--tap and --tap-fd exclude each "
					    "other: give one");
	if (options->tap_fd_count > 0 && options->tap_napi)
		return options_fail(parser, "--tap-napi goes with --tap: who "
					    "opens a TAP for --tap-fd gives "
					    "it IFF_NAPI");
	if (options->pairs == 0)
		options->pairs = MAX(options->tap_fd_count, 1u);
	if (options->tap_fd_count > 0 &&
	    options->pairs != options->tap_fd_count)
		return options_fail(parser,
				    "--num-queue-pairs=%u, but %u --tap-fd: "
				    "give one for each pair",
				    options->pairs, options->tap_fd_count);
	return 0;
}

static int check_capture(struct options_parser *parser)
{
	struct net_capture_options *capture = &net(parser)->capture;

	if (!capture->file && (capture->snap_bytes || capture->limit_bytes))
		return options_fail(parser,
				    "--capture-%s captures nothing by "
				    "itself: give --capture too",
				    capture->snap_bytes ? "snap" : "limit");
	if (capture->snap_bytes == 0)
		capture->snap_bytes = CAPTURE_MAX_SNAP_BYTES;
	if (capture->limit_bytes == 0)
		capture->limit_bytes = CAPTURE_LIMIT_BYTES;
	return 0;
}

int net_options_parse(int argc, char **argv, struct net_options *ret_options,
		      char ret_error[static OPTIONS_ERROR_BYTES])
{
	struct options_parser parser = {.options = ret_options,
					.error = ret_error};
	int err;

	*ret_options = (struct net_options){
		.daemon = DAEMON_OPTIONS_INIT,
		.threads = 1,
	};
	err = options_parse(&parser, rows, ARRAY_SIZE(rows), argc, argv);
	if (err == 0)
		err = daemon_options_check(&parser);
	if (err == 0)
		err = check_tap(&parser);
	if (err == 0)
		err = check_capture(&parser);
	if (err == 0)
		ret_options->threads =
			MIN(ret_options->threads, ret_options->pairs);
	return err;
}
