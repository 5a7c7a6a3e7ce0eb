/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two switches joined: the port "w" of the one in front is a driver
 * (net_virtio_user) on the vhost-user port "up" of the one behind. Guest 0 is
 * behind, on its switch's "p0"; guest 1 is in front, on "p1".
 */
#ifndef TESTS_SWITCH_UPLINK_H
#define TESTS_SWITCH_UPLINK_H

#include "tests/switch/fixture.h"

enum {
	UPLINK_BACK_GUEST,
	UPLINK_FRONT_GUEST,
};

struct uplink {
	struct fixture *back, *front;
	const char
		*option;   /* of the one in front, set before it starts; NULL */
	char devargs[192]; /* of w */
};

int uplink_setup(void **state);
int uplink_teardown(void **state);

/* Starts the switch behind; @keys of its port "up" are YAML or "". */
void uplink_start_back(struct uplink *u, const char *keys);
/* And the one in front: @head is YAML before its ports, @args goes to the driver,
 * @keys to the port. The control sockets of both are there. */
void uplink_start_front(struct uplink *u, const char *head, const char *args,
			const char *keys);
/* A guest on each. */
void uplink_join(struct uplink *u);
/* Both, with their guests. */
void uplink_start(struct uplink *u, const char *head, const char *args,
		  const char *keys);

#define UPLINK_TEST(name) \
	cmocka_unit_test_setup_teardown(name, uplink_setup, uplink_teardown)

#endif
