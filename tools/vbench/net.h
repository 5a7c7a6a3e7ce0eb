/* SPDX-License-Identifier: Apache-2.0 */
/* `vbench net`: measures a vhost-user-net back-end. */
#ifndef TOOLS_VBENCH_NET_H
#define TOOLS_VBENCH_NET_H

/* Returns the exit status. */
int vbench_net(int argc, char **argv);

#endif
