/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordinary main for a fuzz target: runs every file of the folders (or the
 * files) named, so that a committed corpus is a regression test in any build.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned inputs_run;

static int run_file(const char *path)
{
	struct stat st;
	uint8_t *data;
	size_t size;
	FILE *file = fopen(path, "rb");

	if (!file || fstat(fileno(file), &st) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	/* Exactly as long as the input: a sanitizer sees one byte over. */
	data = malloc(st.st_size ? st.st_size : 1);
	size = data ? fread(data, 1, st.st_size, file) : 0;
	fclose(file);
	if (!data || size != (size_t)st.st_size) {
		fprintf(stderr, "%s: could not be read\n", path);
		free(data);
		return -1;
	}
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	inputs_run++;
	return 0;
}

static int run_path(const char *path)
{
	char name[4096];
	struct dirent *entry;
	DIR *folder = opendir(path);
	int err = 0;

	if (!folder)
		return errno == ENOTDIR ? run_file(path) : -1;
	while (err == 0 && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		err = run_file(name);
	}
	closedir(folder);
	return err;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (run_path(argv[i]) < 0)
			return 1;
	if (inputs_run == 0) {
		fprintf(stderr, "no input found\n");
		return 1;
	}
	printf("%u inputs\n", inputs_run);
	return 0;
}
