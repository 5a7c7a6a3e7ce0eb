/* SPDX-License-Identifier: Apache-2.0 */
/* A network of the test's own, with TAPs that nobody else sees. */
#ifndef TESTS_NAMESPACE_H
#define TESTS_NAMESPACE_H

/* Enters a network namespace; once for a program. Where none or no TAP can be
 * made all tests are skipped. */
void namespace_enter(void);

/* The same, and where there is no AF_XDP. */
void namespace_enter_xdp(void);

#endif
