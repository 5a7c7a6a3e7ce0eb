/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-blk: serves one disk image to one virtual machine. Opens what it
 * serves, gives up what it does not need, and runs the control loop until it
 * is told to end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "image/luks.h"
#include "image/open.h"
#include "qcow2/qcow2.h"
#include "vhost-blk/blk-device.h"
#include "vhost-blk/blk-key.h"
#include "vhost-blk/blk-options.h"
#include "vhost-blk/blk-sandbox.h"
#include "vhost/daemon.h"
#include "vmdk/vmdk.h"

enum {
	LOCK_RETRIES = 40,
	LOCK_RETRY_US = 25000,
};

struct server {
	struct daemon daemon;
	struct blk_options options;
	struct image *image;
	struct blk_device *device;
};

static void queue_broke(void *arg, unsigned index)
{
	struct server *server = arg;

	daemon_queue_broke(&server->daemon, index);
}

static int open_with_key(struct server *server, const struct blk_key *key)
{
	const struct blk_options *options = &server->options;
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
	int err = image_open(&request, &server->image, &error, &hint);

	/*
	 * The locks of a daemon that was killed last until the kernel has
	 * ended its requests, and whoever restarts it does so at once.
	 */
	for (unsigned i = 0; i < LOCK_RETRIES && err == -EAGAIN; i++) {
		free(error);
		free(hint);
		error = hint = NULL;
		usleep(LOCK_RETRY_US);
		err = image_open(&request, &server->image, &error, &hint);
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
static int open_image(struct server *server)
{
	const char *file = server->options.key_file;
	struct blk_key key = {0};
	int err = file ? blk_key_read(file, &key) : 0;

	if (err) {
		log_error("--key-file=%s: %s", file,
			  err == -EINVAL ? "a passphrase has 1 to 65536 bytes"
					 : strerror(-err));
		return err;
	}
	err = open_with_key(server, &key);
	blk_key_deinit(&key);
	return err;
}

static int open_loop(struct server *server)
{
	return daemon_open_loop(&server->daemon);
}

static int give_up_paths(struct server *server)
{
	return daemon_give_up_paths(&server->daemon);
}

static int open_device(struct server *server)
{
	const struct blk_device_config config = {
		.options = &server->options,
		.name = server->options.image,
		.image = server->image,
		.control = server->daemon.loop,
		.queue_broke = queue_broke,
		.arg = server,
	};
	int err = blk_device_new(&config, &server->device);

	if (err < 0)
		log_error("the I/O threads cannot be started: %s",
			  strerror(-err));
	return err;
}

static int open_endpoint(struct server *server)
{
	return daemon_open_endpoint(&server->daemon,
				    blk_device_vhost(server->device));
}

static int give_up_system_calls(struct server *server)
{
	return daemon_give_up_system_calls(&server->daemon, blk_sandbox_names,
					   blk_sandbox_ioctls,
					   blk_sandbox_ioctl_count);
}

static int server_open(struct server *server)
{
	static int (*const steps[])(struct server *) = {
		open_image,  open_loop,	    give_up_paths,
		open_device, open_endpoint, give_up_system_calls,
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && err == 0; i++)
		err = steps[i](server);
	return err;
}

/* Also of one that was opened half-way. */
static int server_close(struct server *server)
{
	int err = 0;

	daemon_close_endpoint(&server->daemon);
	blk_device_free(server->device);
	daemon_close(&server->daemon);
	if (server->image)
		err = image_close(server->image);
	if (err != 0)
		log_error("%s: the last flush failed: %s",
			  server->options.image,
			  err < 0 ? strerror(-err) : "the image is corrupt");
	return err;
}

static int serve(struct server *server)
{
	int err = server_open(server);
	int close_err;

	if (err == 0)
		err = daemon_run(&server->daemon);
	close_err = server_close(server);
	return err != 0 || close_err != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static const struct daemon_program program = {
	.name = "vhost-blk",
	.capabilities = "{\n"
			"  \"type\": \"block\",\n"
			"  \"features\": [\n"
			"    \"read-only\",\n"
			"    \"blk-file\"\n"
			"  ]\n"
			"}",
	.print_help = blk_options_print_help,
};

int main(int argc, char **argv)
{
	struct server server = {.daemon.options = &server.options.daemon};
	char error[OPTIONS_ERROR_BYTES];
	int outcome = blk_options_parse(argc, argv, &server.options, error);
	int status;

	if (!daemon_begins(&program, outcome, argv[0], error,
			   &server.options.daemon, &status))
		return status;
	server.daemon.name = server.options.image;
	image_register_format(&luks_format);
	image_register_format(&qcow2_format);
	image_register_format(&vmdk_format);
	return serve(&server);
}
