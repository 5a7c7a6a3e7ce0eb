/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The passphrase of an encrypted image, from a file or, as /dev/fd/N, from a
 * descriptor that the daemon was started with: it is never an argument, which
 * every user of the host can read. It is held in memory that no core dump
 * shows, until the image is open.
 */
#ifndef VHOST_BLK_BLK_KEY_H
#define VHOST_BLK_BLK_KEY_H

#include <stddef.h>
#include <stdint.h>

enum {
	BLK_KEY_MAX_BYTES = 64 << 10,
};

struct blk_key {
	uint8_t *bytes; /* pages of their own */
	size_t length;
};

/*
 * All bytes of the file, a newline at its end too, as `qemu-img --object
 * secret,file=` takes them. 0, a negative errno, or -EINVAL for one that is
 * empty or longer than BLK_KEY_MAX_BYTES.
 */
int blk_key_read(const char *path, struct blk_key *ret_key);

/* Overwrites it. Accepts one that is empty. */
void blk_key_deinit(struct blk_key *key);

#endif
