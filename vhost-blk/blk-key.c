/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-blk/blk-key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image/cipher.h"

enum {
	/* One byte more than is allowed tells that there are more. */
	ROOM = BLK_KEY_MAX_BYTES + 4096,
};

/* Reads up to the end, or more than there may be. */
static int read_all(int fd, struct blk_key *key)
{
	while (key->length <= BLK_KEY_MAX_BYTES) {
		ssize_t got =
			read(fd, key->bytes + key->length, ROOM - key->length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		key->length += (size_t)got;
	}
	return key->length == 0 || key->length > BLK_KEY_MAX_BYTES ? -EINVAL
								   : 0;
}

int blk_key_read(const char *path, struct blk_key *ret_key)
{
	struct blk_key key = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int err = 0;

	if (fd < 0)
		return -errno;
	key.bytes = mmap(NULL, ROOM, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (key.bytes == MAP_FAILED) {
		close(fd);
		return -ENOMEM;
	}
	/* A kernel that does neither still has it wiped. */
	(void)madvise(key.bytes, ROOM, MADV_DONTDUMP);
	(void)mlock(key.bytes, ROOM);
	err = read_all(fd, &key);
	close(fd);
	if (err)
		blk_key_deinit(&key);
	else
		*ret_key = key;
	return err;
}

void blk_key_deinit(struct blk_key *key)
{
	if (!key->bytes)
		return;
	cipher_wipe(key->bytes, ROOM);
	munmap(key->bytes, ROOM);
	*key = (struct blk_key){0};
}
