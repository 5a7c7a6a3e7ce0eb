/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/vbench/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static int read_proc(int pid, const char *name, char *ret_text, size_t size)
{
	char path[64];
	size_t got;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	got = fread(ret_text, 1, size - 1, file);
	fclose(file);
	ret_text[got] = '\0';
	return got > 0 ? 0 : -EIO;
}

int process_cpu_ns(int pid, uint64_t *ret_ns)
{
	uint64_t user, system;
	char text[1024], *after;
	int err = read_proc(pid, "stat", text, sizeof(text));

	if (err < 0)
		return err;
	/* The name in parentheses may hold anything, ")" included. */
	after = strrchr(text, ')');
	/* proc(5): state is the 3rd field, utime and stime 14th and 15th. */
	if (!after || sscanf(after + 1,
			     " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u"
			     " %" SCNu64 " %" SCNu64,
			     &user, &system) != 2)
		return -EPROTO;
	*ret_ns = (user + system) * (NS_PER_SECOND / sysconf(_SC_CLK_TCK));
	return 0;
}

int process_anon_kib(int pid, uint64_t *ret_kib)
{
	char text[4096], *line;
	int err = read_proc(pid, "status", text, sizeof(text));

	if (err < 0)
		return err;
	line = strstr(text, "\nRssAnon:");
	if (!line || sscanf(line, " RssAnon: %" SCNu64, ret_kib) != 1)
		return -EPROTO;
	return 0;
}
