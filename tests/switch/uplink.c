/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/switch/uplink.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	/* Of the switch behind. */
	UP = 2,
};

static void up_path(const struct uplink *u, char ret_path[static 128])
{
	fixture_socket(u->back, UP, ret_path);
}

int uplink_setup(void **state)
{
	struct uplink *u = calloc(1, sizeof(*u));

	assert_non_null(u);
	fixture_setup((void **)&u->back);
	fixture_setup((void **)&u->front);
	*state = u;
	return 0;
}

/* Who is in front is the first to go. */
int uplink_teardown(void **state)
{
	struct uplink *u = *state;
	int died = fixture_teardown((void **)&u->front);

	died |= fixture_teardown((void **)&u->back);
	free(u);
	return died;
}

static void spawn(struct fixture *f, const char *yaml, const char *more)
{
	char option[160], path[128];
	const char *options[] = {option, more, NULL};

	fixture_control_path(f, path);
	snprintf(option, sizeof(option), "--control=%s", path);
	f->process.pid = fixture_spawn(f, yaml, options);
	fixture_wait_control(f);
}

void uplink_start_back(struct uplink *u, const char *keys)
{
	char yaml[1024], guest[128], up[128];

	fixture_socket(u->back, UPLINK_BACK_GUEST, guest);
	up_path(u, up);
	snprintf(yaml, sizeof(yaml),
		 "ports:\n"
		 "  - {name: p0, kind: vhost-user, socket-path: %s}\n"
		 "  - {name: up, kind: vhost-user, socket-path: %s%s}\n",
		 guest, up, keys);
	spawn(u->back, yaml, NULL);
}

void uplink_start_front(struct uplink *u, const char *head, const char *args,
			const char *keys)
{
	char yaml[1024], guest[128], up[128];

	fixture_socket(u->front, UPLINK_FRONT_GUEST, guest);
	up_path(u, up);
	snprintf(u->devargs, sizeof(u->devargs), "net_virtio_user0,path=%s%s",
		 up, args);
	snprintf(yaml, sizeof(yaml),
		 "%s\nports:\n"
		 "  - {name: w, kind: dpdk, devargs: \"%s\"%s}\n"
		 "  - {name: p1, kind: vhost-user, socket-path: %s}\n",
		 head, u->devargs, keys, guest);
	spawn(u->front, yaml, u->option);
}

void uplink_join(struct uplink *u)
{
	fixture_join(u->back, UPLINK_BACK_GUEST, NULL);
	fixture_join(u->front, UPLINK_FRONT_GUEST, NULL);
}

void uplink_start(struct uplink *u, const char *head, const char *args,
		  const char *keys)
{
	uplink_start_back(u, keys);
	uplink_start_front(u, head, args, keys);
	uplink_join(u);
}
