/* SPDX-License-Identifier: Apache-2.0 */
/* A sub-command of vbench and the exit status of all of them. */
#ifndef TOOLS_VBENCH_BLK_H
#define TOOLS_VBENCH_BLK_H

enum vbench_status {
	VBENCH_OK,
	VBENCH_FAILED, /* no connection, failed requests, wrong data */
	VBENCH_USAGE,
};

/* argv[0] is "blk". Returns an enum vbench_status. */
int vbench_blk(int argc, char **argv);

#endif
