/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager's side: a socket that it opened for us, and telling it
 * how we are. sd_listen_fds(3) and sd_notify(3), of which so little is needed
 * that libsystemd is not.
 */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

/*
 * The one socket that was passed by socket activation, close-on-exec, or -1.
 * -EINVAL if there are more than one.
 */
int notify_listen_fd(void);

/* "READY=1" and the like; nothing happens without a manager. */
void notify_send(const char *state);

#endif
