/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor by which a driver kicks. Who watches it for readiness need
 * not read it, since a watch reports each write; what has piled up is taken
 * away when the queue stops.
 */
#ifndef VHOST_KICK_H
#define VHOST_KICK_H

/*
 * Empties it: a count that is left over could be taken by the front-end for a
 * kick that nobody has seen. Never blocks, whatever kind of file a front-end
 * calls a kick. @fd may be -1.
 */
void kick_drain(int fd);

#endif
