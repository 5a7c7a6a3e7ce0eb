/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is printed: sizes as people read them, and JSON as qemu-img lays it out
 * (four blanks a level), so that either's output can be compared with the other.
 */
#ifndef QIMG_OUTPUT_H
#define QIMG_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/manage.h"
#include "tools/qimg/cli.h"

enum {
	OUTPUT_SIZE_CHARS = 24
};

/* "64 MiB", three significant digits; returns @ret. */
const char *output_size(uint64_t bytes, char ret[OUTPUT_SIZE_CHARS]);

/* An image's own text, made printable, between two of ours. */
void output_text(const char *before, const char *text, const char *after);

/* --output: 0 human, 1 JSON, -1 neither (a message was printed). */
int output_format(const struct cli *cli);

/* Prints it, with a line's end, and gives it up. */
void output_json(json_t *value);

/* The facts of a format: as lines indented by four, or as an object. */
void output_facts(const struct image_facts *facts);
json_t *output_facts_json(const struct image_facts *facts);

/* The table of snapshots that `info` and `snapshot -l` print. */
void output_snapshots(const struct image_snapshots *snapshots);

#endif
