/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of its own for one test program, and the reference's programs run
 * in it.
 */
#ifndef TESTS_IMAGES_SCRATCH_H
#define TESTS_IMAGES_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

/* The exit code for "skipped". */
enum {
	SCRATCH_SKIPPED = 77
};

/*
 * Before scratch_enter: the folder is to lie in memory where there is a place
 * for it. For tests of many small steps, each of which other programs flush.
 */
void scratch_prefer_memory(void);

/* Makes the folder and enters it. Exits with 77 if @program is not there. */
void scratch_enter(const char *program);

/* Removes it and everything in it. */
void scratch_leave(void);

/*
 * Runs a shell command in the folder. Returns its exit status; what it said
 * is kept for scratch_output, up to the next run.
 */
int scratch_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *scratch_output(void);

/* Fails the test, with the output, if the command's status is not 0. */
#define scratch_must(...) scratch_expect(scratch_run(__VA_ARGS__), #__VA_ARGS__)
void scratch_expect(int status, const char *what);

/* The whole file, to be freed; its length is *@ret_length. */
uint8_t *scratch_read(const char *name, size_t *ret_length);

#endif
