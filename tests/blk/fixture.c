/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/blk/fixture.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	POLL_US = 10000,
	START_TRIES = 1000,
};

uint8_t fixture_byte(uint64_t offset)
{
	return offset / BLK_SECTOR_BYTES * 7 + offset % 251;
}

void fixture_pattern(void *to, size_t bytes, uint64_t seed)
{
	uint8_t *at = to;

	for (size_t i = 0; i < bytes; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963;
		at[i] = seed >> 56;
	}
}

static void write_image(struct fixture *f)
{
	const size_t chunk = 1 << 20;
	uint8_t *data = malloc(chunk);

	assert_non_null(data);
	for (size_t at = 0; at < FIXTURE_IMAGE_BYTES; at += chunk) {
		for (size_t i = 0; i < chunk; i++)
			data[i] = fixture_byte(at + i);
		assert_int_equal(pwrite(f->image_fd, data, chunk, at), chunk);
	}
	free(data);
}

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	process_init(&f->process, "VHOST_BLK");
	snprintf(f->image, sizeof(f->image), "%s/image", f->process.folder);
	f->image_fd = open(f->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(f->image_fd >= 0);
	write_image(f);
	*state = f;
	return 0;
}

int fixture_setup_running(void **state)
{
	int err = fixture_setup(state);

	if (err == 0)
		fixture_start(*state, NULL);
	return err;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	int died;

	close(f->image_fd);
	unlink(f->image);
	died = process_deinit(&f->process);
	free(f);
	return died;
}

pid_t fixture_spawn(const struct fixture *f, const char *socket,
		    const char *const *options)
{
	char image_arg[128], socket_arg[128];
	const char *args[PROCESS_MAX_ARGS + 1] = {image_arg};
	unsigned count = 1;

	snprintf(image_arg, sizeof(image_arg), "--blk-file=%s", f->image);
	if (socket) {
		snprintf(socket_arg, sizeof(socket_arg), "--socket-path=%s",
			 socket);
		args[count++] = socket_arg;
	}
	for (; options && *options; options++) {
		assert_true(count < PROCESS_MAX_ARGS);
		args[count++] = *options;
	}
	return process_spawn(&f->process, args);
}

/* A predecessor's socket may take connections, but it does not answer. */
static bool answers(const struct fixture *f)
{
	struct frontend *fe;
	int err = frontend_connect(f->process.socket, &fe);

	if (err < 0)
		return false;
	err = frontend_get_features(fe);
	frontend_free(fe);
	return err == 0;
}

void fixture_start(struct fixture *f, const char *const *options)
{
	f->process.pid = fixture_spawn(f, f->process.socket, options);
	for (unsigned tries = 0; tries < START_TRIES; tries++) {
		if (answers(f))
			return;
		usleep(POLL_US);
	}
	process_show_log(&f->process);
	fail_msg("the daemon does not take connections");
}

struct blk_driver *fixture_open(const struct fixture *f,
				const struct blk_options *options)
{
	const struct blk_options none = {0};
	struct blk_driver *d;
	int err = blk_driver_open(f->process.socket, options ? options : &none,
				  &d);

	if (err < 0) {
		process_assert_alive(&f->process);
		process_show_log(&f->process);
		fail_msg("cannot start: %s", strerror(-err));
	}
	return d;
}

void fixture_assert_serves(const struct fixture *f)
{
	struct blk_driver *d;
	uint8_t data[4096], back[4096];
	static uint64_t seed;

	process_assert_alive(&f->process);
	d = fixture_open(f, NULL);
	fixture_pattern(data, sizeof(data), ++seed);
	assert_int_equal(blk_write(d, 0, 80, data, sizeof(data)), 0);
	assert_int_equal(blk_read(d, 0, 80, back, sizeof(back)), 0);
	assert_memory_equal(data, back, sizeof(data));
	blk_driver_free(d);
}

void fixture_read_image(const struct fixture *f, uint64_t offset, void *to,
			size_t bytes)
{
	assert_int_equal(pread(f->image_fd, to, bytes, offset), bytes);
}
