/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-blk: serves one disk image to one virtual machine. Opens what it
 * serves, gives up what it does not need, and runs the control loop until it
 * is told to end.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/notify.h"
#include "image/luks.h"
#include "image/open.h"
#include "qcow2/qcow2.h"
#include "vhost-blk/blk-device.h"
#include "vhost-blk/blk-key.h"
#include "vhost-blk/blk-options.h"
#include "vhost-blk/blk-sandbox.h"
#include "vhost/endpoint.h"
#include "vhost/sigbus.h"
#include "vmdk/vmdk.h"

enum {
	CONTROL_ENTRIES = 64,
	LOCK_RETRIES = 40,
	LOCK_RETRY_US = 25000,
};

struct daemon {
	struct blk_options options;
	struct image *image;
	struct loop *loop;
	struct blk_device *device;
	struct endpoint *endpoint;
	int signal_fd;
	struct loop_watch *signals;
	struct log_limit log_limit; /* of what a front-end can cause */
	bool ending;
};

static void signalled(void *arg, int revents)
{
	struct daemon *daemon = arg;
	struct signalfd_siginfo info;

	while (read(daemon->signal_fd, &info, sizeof(info)) > 0)
		daemon->ending = true;
}

static void queue_broke(void *arg, unsigned index)
{
	struct daemon *daemon = arg;
	struct session *session = endpoint_session(daemon->endpoint);

	if (session)
		session_queue_broken(session, index);
}

static void complain(void *arg, const char *what)
{
	struct daemon *daemon = arg;

	log_ratelimited(&daemon->log_limit, LOG_LEVEL_WARNING, "%s: %s",
			daemon->options.image, what);
}

/* A daemon that was given one connection has nothing to do after it. */
static void session_changed(void *arg, bool connected)
{
	struct daemon *daemon = arg;

	log_debug("%s: the front-end is %s", daemon->options.image,
		  connected ? "connected" : "gone");
	if (endpoint_is_over(daemon->endpoint))
		daemon->ending = true;
}

static int open_with_key(struct daemon *daemon, const struct blk_key *key)
{
	const struct blk_options *options = &daemon->options;
	const struct image_secret secrets[] = {
		{.id = "key", .data = key->bytes, .bytes = key->length},
		{0},
	};
	const struct image_open_request request = {
		.path = options->image,
		.format = options->format,
		.read_only = options->read_only,
		.direct = options->cache == BLK_CACHE_NONE,
		.offset = options->range_offset,
		.length = options->range_length,
		.cache_bytes = options->cache_bytes,
		.allowed = options->allowed,
		.secrets = secrets,
	};
	char *error = NULL;
	char *hint = NULL;
	int err = image_open(&request, &daemon->image, &error, &hint);

	/*
	 * The locks of a daemon that was killed last until the kernel has
	 * ended its requests, and whoever restarts it does so at once.
	 */
	for (unsigned i = 0; i < LOCK_RETRIES && err == -EAGAIN; i++) {
		free(error);
		free(hint);
		error = hint = NULL;
		usleep(LOCK_RETRY_US);
		err = image_open(&request, &daemon->image, &error, &hint);
	}
	if (err != 0)
		log_error("%s", error ? error : strerror(-err));
	if (hint)
		log_warning("%s", hint);
	free(error);
	free(hint);
	return err;
}

/* The key is in memory no longer than it takes to open the image. */
static int open_image(struct daemon *daemon)
{
	const char *file = daemon->options.key_file;
	struct blk_key key = {0};
	int err = file ? blk_key_read(file, &key) : 0;

	if (err) {
		log_error("--key-file=%s: %s", file,
			  err == -EINVAL ? "a passphrase has 1 to 65536 bytes"
					 : strerror(-err));
		return err;
	}
	err = open_with_key(daemon, &key);
	blk_key_deinit(&key);
	return err;
}

static int setup_signals(struct daemon *daemon)
{
	sigset_t set;
	int err;

	signal(SIGPIPE, SIG_IGN);
	/* A limit on a file's size fails the request that meets it. */
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	/* Inherited by the I/O threads, so that only signal_fd sees them. */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (daemon->signal_fd < 0)
		return -errno;
	err = sigbus_install();
	if (err < 0)
		return err;
	return loop_watch_new(daemon->loop, daemon->signal_fd, POLLIN,
			      signalled, daemon, &daemon->signals);
}

static int open_loop(struct daemon *daemon)
{
	int err = loop_new(CONTROL_ENTRIES, &daemon->loop);

	if (err < 0)
		log_error("io_uring cannot be used: %s; see "
			  "/proc/sys/kernel/io_uring_disabled and the limit on "
			  "locked memory",
			  strerror(-err));
	return err;
}

static int open_device(struct daemon *daemon)
{
	const struct blk_device_config config = {
		.options = &daemon->options,
		.name = daemon->options.image,
		.image = daemon->image,
		.control = daemon->loop,
		.queue_broke = queue_broke,
		.arg = daemon,
	};
	int err = blk_device_new(&config, &daemon->device);

	if (err < 0)
		log_error("the I/O threads cannot be started: %s",
			  strerror(-err));
	return err;
}

/* --socket-path, --fd, or what the service manager passed. */
static int open_endpoint(struct daemon *daemon)
{
	const struct blk_options *options = &daemon->options;
	struct endpoint_config config = {
		.socket_path = options->socket_path,
		.fd = options->fd,
		.connect = options->connect,
		.changed = session_changed,
		.complain = complain,
		.arg = daemon,
	};
	int err;

	if (!config.socket_path && config.fd < 0)
		config.fd = notify_listen_fd();
	if (!config.socket_path && config.fd < 0) {
		log_error("no socket: give --socket-path or --fd, or start "
			  "with exactly one socket by socket activation");
		return -EINVAL;
	}
	err = endpoint_new(daemon->loop, blk_device_vhost(daemon->device),
			   &config, &daemon->endpoint);
	if (err < 0 && config.socket_path)
		log_error("--socket-path=%s: %s", config.socket_path,
			  strerror(-err));
	else if (err < 0)
		log_error("descriptor %d: %s: is it a Unix stream socket?",
			  config.fd, strerror(-err));
	return err;
}

static int sandboxed(const char *what, int err)
{
	if (err < 0)
		log_error("sandbox: %s could not be given up: %s; "
			  "--sandbox=off does without",
			  what, strerror(-err));
	return err;
}

/* Threads inherit the one; see base/sandbox.h for the order. */
static int give_up_paths(struct daemon *daemon)
{
	int err = 0;

	if (daemon->options.sandbox)
		err = blk_sandbox_paths(daemon->options.socket_path);
	return sandboxed("file names", err);
}

static int give_up_system_calls(struct daemon *daemon)
{
	int err = 0;

	if (daemon->options.sandbox)
		err = blk_sandbox_system_calls();
	return sandboxed("system calls", err);
}

static int daemon_open(struct daemon *daemon)
{
	static int (*const steps[])(struct daemon *) = {
		open_image,  open_loop,	    setup_signals,	  give_up_paths,
		open_device, open_endpoint, give_up_system_calls,
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && err == 0; i++)
		err = steps[i](daemon);
	return err;
}

static int daemon_run(struct daemon *daemon)
{
	int err = 0;

	notify_send("READY=1");
	while (!daemon->ending && err >= 0)
		err = loop_wait(daemon->loop, UINT64_MAX);
	if (err < 0)
		log_error("the control loop failed: %s", strerror(-err));
	notify_send("STOPPING=1");
	return err < 0 ? err : 0;
}

/* Also of a daemon that was opened half-way. */
static int daemon_close(struct daemon *daemon)
{
	int err = 0;

	endpoint_free(daemon->endpoint);
	blk_device_free(daemon->device);
	loop_watch_free(daemon->signals);
	loop_free(daemon->loop);
	fd_close(&daemon->signal_fd);
	if (daemon->image)
		err = image_close(daemon->image);
	if (err != 0)
		log_error("%s: the last flush failed: %s",
			  daemon->options.image,
			  err < 0 ? strerror(-err) : "the image is corrupt");
	return err;
}

static int serve(struct daemon *daemon)
{
	int err = daemon_open(daemon);
	int close_err;

	if (err == 0)
		err = daemon_run(daemon);
	close_err = daemon_close(daemon);
	return err != 0 || close_err != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Read by management tools; docs/interop/vhost-user.json in QEMU's source. */
static void print_capabilities(void)
{
	puts("{\n"
	     "  \"type\": \"block\",\n"
	     "  \"features\": [\n"
	     "    \"read-only\",\n"
	     "    \"blk-file\"\n"
	     "  ]\n"
	     "}");
}

int main(int argc, char **argv)
{
	struct daemon daemon = {.signal_fd = -1};
	char error[OPTIONS_ERROR_BYTES];
	int outcome = blk_options_parse(argc, argv, &daemon.options, error);

	switch (outcome) {
	case 0:
		break;
	case OPTIONS_HELP:
		blk_options_print_help(argv[0]);
		return EXIT_SUCCESS;
	case OPTIONS_VERSION:
		puts("vhost-blk (Ringline) " RINGLINE_VERSION);
		return EXIT_SUCCESS;
	case OPTIONS_CAPABILITIES:
		print_capabilities();
		return EXIT_SUCCESS;
	default:
		log_error("%s", error);
		return EXIT_FAILURE;
	}
	if (daemon.options.verbose)
		log_set_level(LOG_LEVEL_DEBUG);
	image_register_format(&luks_format);
	image_register_format(&qcow2_format);
	image_register_format(&vmdk_format);
	return serve(&daemon);
}
