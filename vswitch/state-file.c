/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a state: who has it, and its two places. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "vswitch/state-parts.h"

enum {
	PLACES = 2,
	LOCK_TRIES = 40,
	LOCK_NS = 50 * 1000 * 1000,
};

off_t state_file_place(uint64_t sequence)
{
	return sequence % PLACES * (off_t)STATE_MAX_BYTES;
}

/* A file that holds something else is somebody's, and not ours to write to.
 * Zeroes are what a first save leaves that never came to its end. */
static bool is_ours(int fd)
{
	static const uint8_t zeroes[8];
	uint8_t magic[8];
	ssize_t n = pread(fd, magic, sizeof(magic), 0);

	return n == 0 || (n == sizeof(magic) &&
			  (memcmp(magic, STATE_MAGIC, sizeof(magic)) == 0 ||
			   memcmp(magic, zeroes, sizeof(magic)) == 0));
}

/* A killed predecessor has it until the kernel has ended its requests. */
static int lock(int fd)
{
	const struct timespec moment = {.tv_nsec = LOCK_NS};

	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		nanosleep(&moment, NULL);
	}
	return -EWOULDBLOCK;
}

int state_file_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
	int err = fd < 0 ? -errno : lock(fd);

	if (err == 0 && !is_ours(fd))
		err = -EINVAL;
	if (err == 0)
		return fd;
	fd_close(&fd);
	return err;
}

/* All bytes of a place, to be freed; NULL: there are none. */
static uint8_t *read_place(int fd, unsigned place, size_t *ret_length)
{
	struct state_header header;
	const off_t at = state_file_place(place);
	size_t length;
	uint8_t *bytes;
	ssize_t n;

	if (pread(fd, &header, sizeof(header), at) != sizeof(header))
		return NULL;
	length = state_bytes(&header);
	if (length == 0)
		length = sizeof(header);
	bytes = malloc(length);
	n = bytes ? pread(fd, bytes, length, at) : -1;
	if (n < 0) {
		free(bytes);
		return NULL;
	}
	*ret_length = n;
	return bytes;
}

uint8_t *state_file_read(int fd, const char *path, struct state_view *ret_view)
{
	const char *wrong = NULL;
	uint8_t *best = NULL;

	for (unsigned place = 0; place < PLACES; place++) {
		size_t length = 0;
		uint8_t *bytes = read_place(fd, place, &length);
		struct state_view view;
		const char *what =
			bytes ? state_view(bytes, length, &view) : NULL;

		if (what)
			wrong = what;
		if (!bytes || what ||
		    (best && view.sequence < ret_view->sequence)) {
			free(bytes);
			continue;
		}
		free(best);
		best = bytes;
		*ret_view = view;
	}
	if (!best && wrong)
		log_warning("%s: nothing is restored: %s", path, wrong);
	return best;
}
