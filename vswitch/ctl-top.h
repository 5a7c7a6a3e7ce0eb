/* SPDX-License-Identifier: Apache-2.0 */
/* `vswitch ctl top`: ports and threads as they are loaded now. */
#ifndef VSWITCH_CTL_TOP_H
#define VSWITCH_CTL_TOP_H

#include <stdio.h>

/*
 * Shows a table each second, @count times, or until it is interrupted if that is
 * 0; in a terminal in the place of the last one. 0, or -EIO with a message.
 */
int ctl_top(FILE *to, unsigned count);

#endif
