/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qimg inspect, from inside. The parent (inspect.c) opens the file and makes a
 * child (inspect-process.c), which gives up files, system calls, memory and
 * time, and only then parses what it was handed (inspect-child.c). Its report
 * is one JSON object, which comes back through a pipe; the parent believes none
 * of it more than the image itself: it judges (inspect-judge.c) and prints
 * (inspect-print.c), and opens nothing that the report names.
 */
#ifndef QIMG_INSPECT_H
#define QIMG_INSPECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/store.h"

enum {
	INSPECT_STORES = 2,	      /* to be described, to be checked */
	INSPECT_MAX_LISTED = 1000,    /* snapshots, bitmaps, features */
	INSPECT_MAX_FILES = 100,      /* beside the backing file */
	INSPECT_MAX_FINDINGS = 20,    /* of a check */
	INSPECT_MAX_REPORT = 4 << 20, /* bytes */
};

struct inspect_request {
	const char *name;   /* as it was typed */
	const char *format; /* -f, or NULL: by magic number */
	uint64_t memory_bytes;
	unsigned cpu_seconds;
	/* The file, opened as often; the child's side takes them. */
	struct store *stores[INSPECT_STORES];
};

/* How the child ended. */
enum inspect_end {
	INSPECT_REPORTED,
	INSPECT_OUT_OF_MEMORY,
	INSPECT_OUT_OF_TIME,
	INSPECT_FORBIDDEN_CALL,
	INSPECT_CRASHED,
	INSPECT_NO_SANDBOX, /* the kernel has one and refused it */
	INSPECT_FAILED,	    /* no child could be made */
};

/* The child's exit statuses. */
enum {
	INSPECT_CHILD_OK,
	INSPECT_CHILD_NO_MEMORY = 10,
	INSPECT_CHILD_NO_SANDBOX,
};

/* From worst to best is from high to low. */
enum inspect_verdict {
	INSPECT_SAFE,
	INSPECT_ATTENTION,
	INSPECT_DAMAGED,
	INSPECT_HOSTILE,
};

/* --- inspect-process.c --- */

/*
 * Runs the child; its report (an empty object if there is none), to be given
 * up, with what was used of the limits. A crash's signal is *@ret_signal.
 */
json_t *inspect_run(const struct inspect_request *request,
		    enum inspect_end *ret_end, int *ret_signal);

/* --- inspect-child.c --- */

/* In the child: never returns. The report goes to @out. */
_Noreturn void inspect_child(const struct inspect_request *request, int out);

/* --- inspect-magic.c --- */

/*
 * What @head, the first @size bytes of a file, begins, if that is something
 * that nobody means as a raw disk ("a VMDK image", "a gzip archive"); or NULL.
 */
const char *inspect_magic(const void *head, size_t size);

/* --- inspect-judge.c --- */

/*
 * Adds to @report what follows from it: "verdict", "warnings", "notes" and
 * "commands"; and to each of "references" what is remarkable about its name.
 */
enum inspect_verdict inspect_judge(json_t *report,
				   const struct inspect_request *request,
				   enum inspect_end end, int signal);

/* --- inspect-names.c --- */

/*
 * Adds to @reference what is remarkable about its "name", as the image at
 * @image_path means it: "protocol", "absolute", "outside-folder", "system" (in
 * /dev, /etc and their like), "itself"; and, for a plain path, "path". Only
 * words are compared: nothing of the kind is looked at.
 */
void inspect_name(json_t *reference, const char *image_path);

/* --- inspect-print.c --- */

void inspect_print(const json_t *report);

/* --- inspect-text.c --- */

/* @text as one word of a shell's command line, to be freed; or NULL. */
char *inspect_quote(const char *text);

/* Members of what may be no such thing; "" and 0. */
const char *inspect_string(const json_t *object, const char *name);
uint64_t inspect_number(const json_t *object, const char *name);
bool inspect_true(const json_t *object, const char *name);

#endif
