/* SPDX-License-Identifier: Apache-2.0 */
/* What ova.c and ova-manifest.c share: looking for members of an archive. */
#ifndef QIMG_OVA_PRIVATE_H
#define QIMG_OVA_PRIVATE_H

#include "tools/qimg/ova.h"

/* @wanted by name, or those whose name ends so; or none, for the first alone. */
struct ova_search {
	const char *wanted;	 /* or NULL */
	const char *end;	 /* or NULL */
	struct tar_member found; /* the first of them */
	unsigned count;
	struct tar_member first; /* of the archive */
};

int ova_search(struct store *store, struct ova_search *search,
	       char **ret_error);

/* Read-only, and without a lock. */
int ova_open_archive(const char *path, struct store **ret, char **ret_error);

/* All of @member, and a zero byte behind it, to be freed; -EFBIG past @most. */
int ova_read_text(struct store *store, const struct tar_member *member,
		  size_t most, char **ret_text, char **ret_error);

/* In words; returns @err. */
int ova_fail(char **ret_error, const char *archive, int err);

#endif
