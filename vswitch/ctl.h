/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vswitch ctl`: asks a running switch over its control socket, and prints
 * tables for people or JSON for programs.
 */
#ifndef VSWITCH_CTL_H
#define VSWITCH_CTL_H

/* @argv begins with "ctl". main's status. */
int ctl_main(int argc, char **argv);

#endif
