/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OVA that is being written: a tar archive of an OVF 1.0 descriptor of a machine
 * with one disk, the disk, and a manifest of SHA-256 digests. The descriptor comes
 * first and says how long the disk is, so it gets fixed room, which is filled in
 * the end: the archive has to lie in a file.
 */
#ifndef QIMG_OVA_WRITE_H
#define QIMG_OVA_WRITE_H

#include "image/store.h"

/*
 * A store for the disk's file, written in ascending order without gaps, in the
 * archive @out, which stays the caller's. Members are called after @path; the
 * disk's guest has @capacity_bytes. 0 or -ENOMEM.
 */
int ova_writer_new(struct store *out, const char *path, uint64_t capacity_bytes,
		   struct store **ret_disk);

/* The name of the disk's member. */
const char *ova_writer_disk_name(const struct store *disk);

/* All but the disk: to be called when that is whole. 0 or a negative errno. */
int ova_writer_end(struct store *disk);

#endif
