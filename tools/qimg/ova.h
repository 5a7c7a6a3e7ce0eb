/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OVA: a tar archive that begins with an OVF descriptor and holds a virtual
 * machine's disks, and a manifest of what each file's digest is. A disk is read
 * where it lies in the archive. Only streams and other sparse disks with their
 * descriptor in them can be in one: nothing else of the archive is opened for it.
 */
#ifndef QIMG_OVA_H
#define QIMG_OVA_H

#include "image/open.h"
#include "tools/qimg/tar.h"

/* The end of the name of a file that is looked into without being asked to. */
bool ova_is_name(const char *path);

struct ova_disk {
	struct tar_member member;
	uint64_t
		capacity_bytes; /* as the descriptor has it; 0: it does not say */
};

/*
 * The disk in the archive @path, or in "ARCHIVE.ova/DISK" that disk, by the name of
 * its file or the id that the descriptor gives it; without it the descriptor has
 * to know one only. *@ret_archive is the archive's path, to be freed. 0, or an
 * error with *@ret_error.
 */
int ova_find(const char *path, char **ret_archive, struct ova_disk *ret,
	     char **ret_error);

/*
 * Compares the disk's digest with the manifest's, if there is one that has it:
 * reads all of the disk. 0, or -EBADMSG and others with *@ret_error.
 */
int ova_verify(const char *archive, const struct tar_member *disk,
	       char **ret_error);

#endif
