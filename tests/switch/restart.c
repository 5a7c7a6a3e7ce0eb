/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/switch/restart.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void restart_path(const struct fixture *f, char ret_path[static 128])
{
	snprintf(ret_path, 128, "%s/state", f->process.folder);
}

int restart_setup(void **state)
{
	return fixture_setup(state);
}

int restart_teardown(void **state)
{
	struct fixture *f = *state;
	char path[128];

	restart_path(f, path);
	unlink(path);
	return fixture_teardown(state);
}

void restart_start(struct fixture *f)
{
	static const char *const ports[] = {"", "", "vlan: 7", NULL};
	char option[160], path[128];
	const char *const options[] = {option, NULL};

	restart_path(f, path);
	snprintf(option, sizeof(option), "--state=%s", path);
	fixture_start_controlled_with(f, "", ports, options);
}

void restart_start_again(struct fixture *f)
{
	char path[128];

	for (unsigned i = 0; i < RESTART_PORTS; i++) {
		fixture_socket(f, i, path);
		unlink(path);
	}
	fixture_control_path(f, path);
	unlink(path);
	f->process.pid = fixture_spawn_again(f);
	fixture_wait_control(f);
}

void restart_add_port(struct fixture *f, unsigned number, const char *keys)
{
	char arguments[256], path[128];

	fixture_socket(f, number, path);
	snprintf(arguments, sizeof(arguments),
		 "port add name=p%u kind=vhost-user socket-path=%s %s", number,
		 path, keys);
	assert_int_equal(fixture_ctl(f, arguments), 0);
}

bool restart_logged(const struct fixture *f, const char *words)
{
	char line[PROCESS_LINE_BYTES];
	FILE *log = fopen(f->process.log, "re");
	bool is_there = false;

	assert_non_null(log);
	while (fgets(line, sizeof(line), log))
		is_there |= strstr(line, words) != NULL;
	fclose(log);
	return is_there;
}
