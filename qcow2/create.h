/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making an empty image: a header, one refcount table with the blocks that
 * describe what is there, an L1 table without entries, and the LUKS header of
 * one that is encrypted.
 */
#ifndef QCOW2_CREATE_H
#define QCOW2_CREATE_H

#include "image/luks.h"
#include "image/store.h"
#include "qcow2/format.h"

/* Zeroed fields take the default. */
struct qcow2_create_options {
	uint64_t size_bytes;
	unsigned version;	/* 2 or 3; default 3 */
	uint32_t cluster_bytes; /* 512 to 2 MiB; default 64 KiB */
	unsigned refcount_bits; /* 1 to 64, a power of two; default 16 */
	enum qcow2_compression compression;
	bool lazy_refcounts;	    /* the flag; nothing here depends on it */
	bool extended_l2;	    /* wants clusters of 16 KiB or more */
	const char *backing_name;   /* or NULL; not looked at */
	const char *backing_format; /* or NULL */
	const char *data_name;	    /* of an external data file, or NULL; not
				     * looked at */
	bool data_raw;		    /* which is what the guest sees */
	/*
	 * The file is to grow to so many clusters at once: the refcount table
	 * has room for them from the start, and leaves no smaller ones behind.
	 */
	uint64_t expected_clusters;
	bool encrypted; /* with @luks, which borrows a passphrase */
	struct luks_create_options luks;
};

/*
 * Makes the image in @store, whose content is lost. 0, a negative errno, or
 * -EINVAL for options that do not go together; *@ret_error says why, to be
 * freed.
 */
int qcow2_create(struct store *store,
		 const struct qcow2_create_options *options, char **ret_error);

#endif
