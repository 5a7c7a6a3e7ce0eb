/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter is compiled here: the switch gets a program that it can check, and
 * looks up no names. What comes back is passed on by whole blocks, so that a file
 * can be read however this ends. To end it we send no more: the switch writes
 * what it still has and what it counted, and hangs up.
 */
#include "vswitch/ctl-capture.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/pcapng.h"
#include "vhost-net/net-frame.h"
#include "vswitch/ctl-client.h"

enum {
	ERROR_STATUS = 1,
	USAGE_STATUS = 2,
	PRIVATE = 0600,
	FILTER_BYTES = 4096, /* of its text */
	MAX_BLOCK = 1 << 20,
	LEAST_BLOCK = 12,
};

struct options {
	unsigned long long count; /* 0: no end */
	unsigned snap;
	const char *file; /* NULL: standard output */
	const char *port;
	char filter[FILTER_BYTES];
};

static int socket_fd;

static void stop(int signal)
{
	shutdown(socket_fd, SHUT_WR);
}

/* --- what is asked ------------------------------------------------------------- */

static bool read_number(const char *text, unsigned long long most,
			unsigned long long *ret)
{
	char end;

	return sscanf(text, "%llu%c", ret, &end) == 1 && text[0] != '-' &&
	       *ret > 0 && *ret <= most;
}

static bool read_option(const char *text, struct options *options)
{
	unsigned long long snap;

	if (strncmp(text, "--count=", 8) == 0)
		return read_number(text + 8, UINT64_MAX, &options->count);
	if (strncmp(text, "--write=", 8) == 0) {
		options->file = text + 8;
		return *options->file;
	}
	if (strncmp(text, "--snap=", 7) != 0 ||
	    !read_number(text + 7, UINT32_MAX, &snap))
		return false;
	options->snap = snap;
	return true;
}

/* Words of a filter are one text, as tcpdump has it. */
static bool read_options(int argc, char **argv, struct options *ret)
{
	size_t length = 0;

	*ret = (struct options){0};
	for (; argc > 0 && argv[0][0] == '-'; argc--, argv++)
		if (!read_option(argv[0], ret))
			return false;
	if (argc == 0)
		return false;
	ret->port = argv[0];
	for (int i = 1; i < argc; i++) {
		length += snprintf(ret->filter + length, FILTER_BYTES - length,
				   "%s%s", i > 1 ? " " : "", argv[i]);
		if (length >= FILTER_BYTES)
			return false;
	}
	return true;
}

/* As [code, jt, jf, k] each; NULL, with a message. */
static json_t *compile(const char *text)
{
	pcap_t *ethernet = pcap_open_dead(DLT_EN10MB, NET_COPY_BYTES);
	struct bpf_program program;
	json_t *list = json_array();

	if (!ethernet || pcap_compile(ethernet, &program, text, true,
				      PCAP_NETMASK_UNKNOWN) < 0) {
		log_error("%s: %s", text,
			  ethernet ? pcap_geterr(ethernet) : "no memory");
		json_decref(list);
		list = NULL;
	} else {
		for (unsigned i = 0; i < program.bf_len; i++) {
			const struct bpf_insn *insn = &program.bf_insns[i];

			json_array_append_new(
				list,
				json_pack("[i, i, i, I]", insn->code, insn->jt,
					  insn->jf, (json_int_t)insn->k));
		}
		pcap_freecode(&program);
	}
	if (ethernet)
		pcap_close(ethernet);
	return list;
}

static json_t *make_params(const struct options *options)
{
	json_t *params = json_pack("{s:s}", "port", options->port);
	json_t *filter;

	if (!params)
		log_error("%s: it is no UTF-8 text", options->port);
	if (params && options->snap)
		json_object_set_new(params, "snap",
				    json_integer(options->snap));
	if (!params || !options->filter[0])
		return params;
	filter = compile(options->filter);
	if (filter) {
		json_object_set_new(params, "filter", filter);
		return params;
	}
	json_decref(params);
	return NULL;
}

/* --- what comes ---------------------------------------------------------------- */

struct stream {
	FILE *from;
	int to;
	unsigned long long left; /* frames; UINT64_MAX: all */
	uint8_t block[MAX_BLOCK];
};

static int write_all(int fd, const uint8_t *bytes, size_t count)
{
	while (count > 0) {
		ssize_t wrote = write(fd, bytes, count);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return -errno;
		bytes += wrote;
		count -= wrote;
	}
	return 0;
}

/* A block and its length; 0: there are no more. */
static size_t read_block(struct stream *s)
{
	const size_t head = 8;
	size_t bytes;

	if (fread(s->block, head, 1, s->from) != 1)
		return 0;
	bytes = pcapng_block_bytes(s->block);
	if (bytes < LEAST_BLOCK || bytes > MAX_BLOCK ||
	    fread(s->block + head, bytes - head, 1, s->from) != 1)
		return 0;
	return bytes;
}

static int pass_on(struct stream *s)
{
	size_t bytes;
	int err = 0;

	while (err == 0 && (bytes = read_block(s)) > 0) {
		const bool is_frame = pcapng_block_is_packet(s->block);

		/* Those that were under way when there were enough. */
		if (is_frame && s->left == 0)
			continue;
		err = write_all(s->to, s->block, bytes);
		if (is_frame && s->left != UINT64_MAX && --s->left == 0)
			stop(0);
	}
	/* Who reads from us has had enough. */
	return err == -EPIPE ? 0 : err;
}

static int stream(FILE *from, int to, const struct options *options)
{
	const struct sigaction once = {
		.sa_handler = stop,
		.sa_flags = SA_RESTART | SA_RESETHAND,
	};
	struct stream *s = malloc(sizeof(*s));
	int err = -ENOMEM;

	if (s) {
		s->from = from;
		s->to = to;
		s->left = options->count ? options->count : UINT64_MAX;
		socket_fd = fileno(from);
		sigaction(SIGINT, &once, NULL);
		sigaction(SIGTERM, &once, NULL);
		signal(SIGPIPE, SIG_IGN);
		err = pass_on(s);
		free(s);
	}
	if (err < 0)
		log_error("%s: %s",
			  options->file ? options->file : "standard output",
			  strerror(-err));
	return err;
}

/* --- the command --------------------------------------------------------------- */

static int open_output(const struct options *options)
{
	int fd;

	if (!options->file && isatty(STDOUT_FILENO)) {
		log_error("pcapng is nothing to look at: give --write=FILE, or "
			  "a pipe, as in | wireshark -k -i -");
		return -ENOTTY;
	}
	if (!options->file)
		return STDOUT_FILENO;
	fd = open(options->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		  PRIVATE);
	if (fd < 0)
		log_error("%s: %s", options->file, strerror(errno));
	return fd;
}

/* Takes @params. */
static int ask(const char *path, const struct options *options, int output,
	       json_t *params)
{
	FILE *switch_stream = ctl_connect(path);
	json_t *answer;
	int err = -EIO;

	if (!switch_stream) {
		json_decref(params);
		return err;
	}
	answer = ctl_ask(switch_stream, "capture", params);
	if (ctl_result(answer))
		err = stream(switch_stream, output, options);
	json_decref(answer);
	fclose(switch_stream);
	return err;
}

int ctl_capture(const char *path, int argc, char **argv)
{
	struct options options;
	json_t *params;
	int output, err;

	if (!read_options(argc, argv, &options))
		return USAGE_STATUS;
	params = make_params(&options);
	if (!params)
		return ERROR_STATUS;
	output = open_output(&options);
	if (output < 0) {
		json_decref(params);
		return ERROR_STATUS;
	}
	err = ask(path, &options, output, params);
	if (options.file && close(output) < 0 && err == 0) {
		err = -errno;
		log_error("%s: %s", options.file, strerror(errno));
	}
	return err == 0 ? EXIT_SUCCESS : ERROR_STATUS;
}
