/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/kick.h"

#include <stdint.h>
#include <sys/uio.h>

void kick_drain(int fd)
{
	uint64_t count;
	struct iovec iov = {&count, sizeof(count)};

	if (fd >= 0 && preadv2(fd, &iov, 1, -1, RWF_NOWAIT) < 0)
		return;
}
