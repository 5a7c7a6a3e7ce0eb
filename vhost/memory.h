/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory as one immutable snapshot of the front-end's regions.
 *
 * A snapshot is built from the regions of SET_MEM_TABLE, or from another
 * snapshot by adding or removing one region (ADD_MEM_REG, REM_MEM_REG), and is
 * never changed afterwards. Rings hold a reference to the snapshot that they
 * translate with; the control thread swaps snapshots while the rings are
 * stopped. Regions that two snapshots share are mapped once.
 *
 * Addresses: gpa is what descriptors hold, uva what ring addresses hold (the
 * front-end's own virtual address), host is ours.
 *
 * vhost-user specification, "Memory regions description"; at most
 * GUEST_MEMORY_MAX_REGIONS regions, as QEMU and the kernel have it.
 */
#ifndef VHOST_MEMORY_H
#define VHOST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	GUEST_MEMORY_MAX_REGIONS = 509
};

struct guest_memory;

/* One region as it comes on the wire, with its file. */
struct guest_region_spec {
	uint64_t gpa;
	uint64_t size_bytes;
	uint64_t uva;
	uint64_t mmap_offset; /* of the region's first byte in the file */
	int fd;		      /* borrowed: mapped, and not needed afterwards */
};

/*
 * Maps @count regions. Refuses with -EINVAL an empty, wrapping or overlapping
 * region, one that the file is too short for (fstat(2), any offset), more than
 * GUEST_MEMORY_MAX_REGIONS; any other negative errno is from mmap(2) or
 * fstat(2). *@ret_memory holds one reference. Control thread.
 */
int guest_memory_new(const struct guest_region_spec *specs, size_t count,
		     struct guest_memory **ret_memory);

/* The regions of @memory (which may be NULL: none) and @spec. */
int guest_memory_with(const struct guest_memory *memory,
		      const struct guest_region_spec *spec,
		      struct guest_memory **ret_memory);

/*
 * The regions of @memory without the one that has @spec's gpa, uva and size;
 * -ENOENT if there is none.
 */
int guest_memory_without(const struct guest_memory *memory,
			 const struct guest_region_spec *spec,
			 struct guest_memory **ret_memory);

/* Any thread. Unmaps what no other snapshot shares at the last reference. */
struct guest_memory *guest_memory_ref(struct guest_memory *memory);
void guest_memory_unref(struct guest_memory *memory);

size_t guest_memory_regions(const struct guest_memory *memory);

/* One past the highest gpa, 0 without regions: what a dirty log must cover. */
uint64_t guest_memory_end(const struct guest_memory *memory);

/*
 * Writes the host segments of [gpa, gpa + length) to @ret_iov, splitting where
 * neighbouring regions meet. Returns how many (at most @max), or -EFAULT if
 * any byte lies outside memory, or -ENOBUFS if @max is too small. A length of
 * 0 gives 0 segments. Any thread; no lock; the region last hit in *@hint (a
 * caller's variable that starts at 0) is tried first.
 */
int guest_memory_iov(const struct guest_memory *memory, uint64_t gpa,
		     uint64_t length, struct iovec *ret_iov, unsigned max,
		     unsigned *hint);

/*
 * The host address of [uva, uva + length) if it lies within one mapping (or in
 * regions whose mappings happen to join), else NULL. For rings.
 */
void *guest_memory_uva(const struct guest_memory *memory, uint64_t uva,
		       uint64_t length);

/*
 * The gpa of a host address that guest_memory_iov gave out; UINT64_MAX if it
 * is not one. For the dirty log only.
 */
uint64_t guest_memory_gpa(const struct guest_memory *memory, const void *host);

/*
 * True once a page of this snapshot turned out to be missing (the front-end
 * truncated its file) and was replaced by zeroes; see vhost/sigbus.h. The
 * device is then to be stopped. Any thread, cheap enough for the data path.
 */
bool guest_memory_is_broken(const struct guest_memory *memory);

#endif
