/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/scratch.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cmocka.h"

enum {
	MAX_TRIES = 10,
};

static char folder[64] = "/tmp/ringline-images.XXXXXX";
static char output[65536];

void scratch_prefer_memory(void)
{
	if (access("/dev/shm", W_OK) == 0)
		strcpy(folder, "/dev/shm/ringline-images.XXXXXX");
}

void scratch_enter(const char *program)
{
	char command[256];

	snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1",
		 program);
	if (system(command) != 0) {
		printf("1..0 # SKIP no %s\n", program);
		exit(SCRATCH_SKIPPED);
	}
	if (!mkdtemp(folder) || chdir(folder) < 0) {
		perror(folder);
		exit(1);
	}
}

void scratch_leave(void)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	if (chdir("/") < 0 || system(command) != 0)
		perror(folder);
}

static int run_once(const char *command)
{
	FILE *pipe = popen(command, "r");
	size_t used;
	int status;

	assert_non_null(pipe);
	used = fread(output, 1, sizeof(output) - 1, pipe);
	output[used] = 0;
	while (fgetc(pipe) != EOF)
		;
	status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/*
 * QEMU counts how often it derives a key in a while, and gives up where its
 * clock of CPU time stood still meanwhile, as it may on a busy machine.
 */
static bool had_bad_luck(void)
{
	return strstr(output, "Unable to get accurate CPU usage") != NULL;
}

int scratch_run(const char *format, ...)
{
	char command[32768];
	va_list args;
	size_t used;
	int status = 0;

	va_start(args, format);
	used = (size_t)vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	assert_true(used < sizeof(command) - 8);
	snprintf(command + used, sizeof(command) - used, " 2>&1");
	for (unsigned i = 0; i < MAX_TRIES; i++) {
		status = run_once(command);
		if (status == 0 || !had_bad_luck())
			break;
	}
	return status;
}

const char *scratch_output(void)
{
	return output;
}

void scratch_expect(int status, const char *what)
{
	if (status == 0)
		return;
	print_error("%s\nstatus %d:\n%s\n", what, status, output);
	fail();
}

uint8_t *scratch_read(const char *name, size_t *ret_length)
{
	struct stat st;
	uint8_t *data;
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	data = malloc(st.st_size ? st.st_size : 1);
	assert_non_null(data);
	got = read(fd, data, st.st_size);
	assert_true(got == st.st_size);
	close(fd);
	*ret_length = st.st_size;
	return data;
}
