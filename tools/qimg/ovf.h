/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OVF descriptor of an OVA, as far as its disks go: which files there are
 * (References), and which of them hold a disk of which size (DiskSection).
 * ISO/IEC 17203. XML is taken apart by expat; a document type, and with it every
 * entity of its own, is refused.
 */
#ifndef QIMG_OVF_H
#define QIMG_OVF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	OVF_MAX_BYTES = 4 << 20,
	OVF_MAX_DEPTH = 64,
	OVF_MAX_FILES = 4096,
	OVF_MAX_DISKS = 4096,
	OVF_MAX_NAME_BYTES = 1023,
};

struct ovf_disk {
	char *id;   /* heap, as is the next */
	char *file; /* as the archive's member is called; NULL: an empty disk */
	uint64_t capacity_bytes; /* 0: it does not say */
	bool is_compressed;	 /* as a whole, by gzip or the like */
	bool is_chunked;	 /* lies in several files */
};

struct ovf {
	struct ovf_disk *disks; /* heap, in the order of the descriptor */
	size_t count;
};

/* 0, -ENOMEM, or -EBADMSG with *@ret_error, which says where and what. */
int ovf_parse(const char *text, size_t bytes, struct ovf *ret,
	      char **ret_error);

/* Accepts a zeroed one. */
void ovf_deinit(struct ovf *ovf);

/*
 * Of "20", "byte * 2^30", ...: the units of the standard's capacity. False for
 * what is none, or more than 2^63 bytes.
 */
bool ovf_capacity(const char *number, const char *units, uint64_t *ret_bytes);

#endif
