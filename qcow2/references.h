/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which host clusters of a set the image refers to, whatever their refcounts
 * say: a refcount that is not zero is either somebody's, or was left behind
 * when a process was killed in the middle of a flush.
 */
#ifndef QCOW2_REFERENCES_H
#define QCOW2_REFERENCES_H

#include "qcow2/core.h"

struct qcow2_suspect {
	uint64_t cluster;
	bool used;
};

/* Sorted by cluster, no two the same. */
struct qcow2_suspects {
	struct qcow2_suspect *all;
	size_t count;
};

/* The cluster's place, or NULL. */
struct qcow2_suspect *qcow2_suspects_find(const struct qcow2_suspects *suspects,
					  uint64_t cluster);

/* Marks what the header, the tables and their tables in turn lie in. */
void qcow2_mark_tables(const struct qcow2 *q, struct qcow2_suspects *suspects);

/*
 * Marks also what the L2 tables and the snapshots use: reads all of them, with
 * synchronous calls. No change is waiting for a flush. 0, a negative errno, or
 * IMAGE_E_CORRUPT if a snapshot's tables cannot be read.
 */
int qcow2_mark_contents(struct qcow2 *q, struct qcow2_suspects *suspects);

#endif
