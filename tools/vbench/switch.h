/* SPDX-License-Identifier: Apache-2.0 */
/* `vbench switch`: measures a switch with many vhost-user ports. */
#ifndef TOOLS_VBENCH_SWITCH_H
#define TOOLS_VBENCH_SWITCH_H

/* Returns the exit status. */
int vbench_switch(int argc, char **argv);

#endif
