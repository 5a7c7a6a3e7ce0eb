/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of vhost-blk, read into one structure and checked as far as
 * it can be without touching a file. One table holds every option, so that
 * what is parsed and what --help prints cannot differ.
 */
#ifndef VHOST_BLK_BLK_OPTIONS_H
#define VHOST_BLK_BLK_OPTIONS_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost/daemon-options.h"

enum {
	BLK_OPTIONS_MAX_QUEUES = 256,
	BLK_OPTIONS_MAX_THREADS = 64,
	BLK_OPTIONS_MAX_ALLOWED = 64,
};

enum blk_cache {
	BLK_CACHE_NONE,
	BLK_CACHE_WRITEBACK,
	BLK_CACHE_WRITETHROUGH,
};

/* Strings are those of argv. */
struct blk_options {
	struct daemon_options daemon; /* first */
	const char *image;
	const char *format;   /* NULL: not given */
	const char *serial;   /* NULL: not given */
	const char *key_file; /* NULL: not given */
	bool read_only;
	enum blk_cache cache;
	uint16_t num_queues;
	uint16_t threads;
	uint32_t logical_block_bytes;
	uint32_t physical_block_bytes; /* 0: not given */
	uint64_t range_offset;
	uint64_t range_length; /* 0: to the end */
	uint64_t iops;	       /* 0: no limit */
	uint64_t bps;
	uint64_t cache_bytes; /* of metadata; 0: the format's default */
	const char *allowed[BLK_OPTIONS_MAX_ALLOWED + 1]; /* NULL at the end */
	unsigned allowed_count;
};

/* As options_parse. */
int blk_options_parse(int argc, char **argv, struct blk_options *ret_options,
		      char ret_error[static OPTIONS_ERROR_BYTES]);

void blk_options_print_help(const char *program);

#endif
