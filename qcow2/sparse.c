/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "qcow2/manage.h"
#include "qcow2/offline.h"

enum {
	STAT_BLOCK = 512, /* what st_blocks counts */
};

/*
 * As many clusters as an image has to use before it is taken for sparse: a
 * ninth more than the file has room for, and two. QEMU draws the line there.
 */
static uint64_t threshold(uint64_t allocated)
{
	return MAX(allocated + allocated / 9, allocated + 2);
}

int qcow2_is_sparse(struct image *image, bool *ret)
{
	struct qcow2 *q = qcow2_of(image);
	uint64_t limit, end, used = 0;
	struct stat st;

	if (image->store->fd < 0 || fstat(image->store->fd, &st) < 0) {
		*ret = false;
		return 0;
	}
	limit = threshold(((uint64_t)st.st_blocks * STAT_BLOCK) >>
			  q->cluster_bits);
	end = div_round_up(image->store->size_bytes, qcow2_cluster_bytes(q));
	for (uint64_t i = 0; i < end && used < limit; i++) {
		uint64_t count;
		int err = qcow2_offline_ref_get(q, i, &count);

		if (err)
			return err;
		used += count != 0;
	}
	*ret = used >= limit;
	return 0;
}
