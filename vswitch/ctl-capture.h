/* SPDX-License-Identifier: Apache-2.0 */
/* `vswitch ctl capture`. */
#ifndef VSWITCH_CTL_CAPTURE_H
#define VSWITCH_CTL_CAPTURE_H

/*
 * Has the switch at the socket @path copy what passes a port to standard output
 * or a file, as [--count=N] [--snap=N] [--write=FILE] PORT [FILTER...] says,
 * until there are so many frames, SIGINT, SIGTERM, or the end of its reader.
 * The status to exit with: 2 for arguments that are none, without a message.
 */
int ctl_capture(const char *path, int argc, char **argv);

#endif
