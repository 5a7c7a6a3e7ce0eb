/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is made of the tables of options beside the parsing and the help: scripts
 * that complete command lines, and the part of the manual page that lists the
 * options. The build runs qimg --completion SHELL and qimg --man-options.
 */
#ifndef QIMG_GENERATE_H
#define QIMG_GENERATE_H

#include "image/image.h"
#include "tools/qimg/cli.h"

/* All that there is; both end with NULL. */
struct generate {
	const struct cli_command *const *commands;
	const struct image_format *const *formats;
};

/* For @shell: "bash", "zsh" or "fish". The exit status, after a message. */
int generate_completion(const struct generate *g, const char *shell);

/* In roff, for the section OPTIONS. */
void generate_man_options(const struct generate *g);

/* --- For the shells' own files --- */

/* What an argument of @kind may be, with blanks between; to be freed. */
char *generate_words(const struct generate *g, enum cli_kind kind);

void generate_bash(const struct generate *g);
void generate_zsh(const struct generate *g);
void generate_fish(const struct generate *g);

#endif
