/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A switch that keeps its state in a file, and the next one that has it. Ports p0
 * and p1 are in VLAN 1, p2 is in VLAN 7.
 *
 * As the fixture: a function that returns has succeeded.
 */
#ifndef TESTS_SWITCH_RESTART_H
#define TESTS_SWITCH_RESTART_H

#include "tests/switch/fixture.h"

enum {
	RESTART_PORTS = 6, /* that a test may use */
};

int restart_setup(void **state);
int restart_teardown(void **state);

/* Of the state. */
void restart_path(const struct fixture *f, char ret_path[static 128]);

/* The first switch. */
void restart_start(struct fixture *f);
/* The next one, with what is in the files by now. */
void restart_start_again(struct fixture *f);

/* Over the control socket: p<number>, with @keys beside name, kind and socket. */
void restart_add_port(struct fixture *f, unsigned number, const char *keys);

/* Whether the log has a line with @words in it. */
bool restart_logged(const struct fixture *f, const char *words);

#define RESTART_TEST(name) \
	cmocka_unit_test_setup_teardown(name, restart_setup, restart_teardown)

#endif
