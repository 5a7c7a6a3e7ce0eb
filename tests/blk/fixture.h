/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real vhost-blk (named by VHOST_BLK) on a temporary file, for one test.
 *
 * Everything is checked with cmocka's asserts: a function that returns has
 * succeeded.
 */
#ifndef TESTS_BLK_FIXTURE_H
#define TESTS_BLK_FIXTURE_H

#include <stdint.h>

#include "tests/frontend/blk-driver.h"
#include "tests/process.h"

enum {
	FIXTURE_IMAGE_BYTES = 16 << 20,
	FIXTURE_SECTORS = FIXTURE_IMAGE_BYTES / BLK_SECTOR_BYTES,
};

struct fixture {
	struct process process;
	char image[96];
	int image_fd;
};

/* The image is FIXTURE_IMAGE_BYTES of fixture_byte. */
int fixture_setup(void **state);
/* fixture_setup, and a daemon with no further options. */
int fixture_setup_running(void **state);
/* Fails if the daemon died meanwhile. */
int fixture_teardown(void **state);

uint8_t fixture_byte(uint64_t offset);

/*
 * Starts the daemon on the fixture's image with @options, NULL-terminated or
 * NULL, and waits until it takes connections. Any left-over socket is the
 * daemon's to deal with.
 */
void fixture_start(struct fixture *f, const char *const *options);

/* The same without waiting; returns the process, which is the caller's. */
pid_t fixture_spawn(const struct fixture *f, const char *socket,
		    const char *const *options);

/*
 * The daemon lives and serves: a new connection writes and reads back. The
 * front-end before must have hung up.
 */
void fixture_assert_serves(const struct fixture *f);

struct blk_driver *fixture_open(const struct fixture *f,
				const struct blk_options *options);

/* The image's bytes, past the daemon. */
void fixture_read_image(const struct fixture *f, uint64_t offset, void *to,
			size_t bytes);

/* Bytes that say where they belong and which time they were written. */
void fixture_pattern(void *to, size_t bytes, uint64_t seed);

#define DAEMON_TEST(name)                                            \
	cmocka_unit_test_setup_teardown(name, fixture_setup_running, \
					fixture_teardown)
#define FIXTURE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
