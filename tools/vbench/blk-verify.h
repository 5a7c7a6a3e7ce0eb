/* SPDX-License-Identifier: Apache-2.0 */
/* The verifying run of `vbench blk`. */
#ifndef TOOLS_VBENCH_BLK_VERIFY_H
#define TOOLS_VBENCH_BLK_VERIFY_H

#include "tools/vbench/blk-load.h"

/*
 * Writes every block, each with a pattern of its own, in an order that is not
 * the one of the blocks; flushes; reads all back and compares. 0, -EILSEQ if a
 * block was not as written (said on standard error, with its first wrong
 * byte), or as blk_load_run.
 */
int blk_verify(struct blk_load *load);

#endif
