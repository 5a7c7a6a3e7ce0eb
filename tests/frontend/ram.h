/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory as a front-end has it: regions in memfds, at guest physical
 * addresses (gpa) of the caller's choice, with holes and with neighbours that
 * touch. Three address spaces must never be confused, so here none equals
 * another:
 *
 *	gpa	what descriptors hold
 *	uva	what the front-end tells the back-end its own addresses are;
 *		invented, differently displaced in each region, in descending
 *		order of gpa
 *	host	where this process really has the memory: ram->base + gpa, so
 *		that a range over two touching regions is one piece here while
 *		the back-end must split it
 *
 * A small allocator hands out gpa ranges, region by region in turn. Nothing is
 * freed but all at once. One thread.
 */
#ifndef TESTS_FRONTEND_RAM_H
#define TESTS_FRONTEND_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RAM_MAX_REGIONS = 512,
	/* Kept from ram_alloc on both sides of where two regions touch. */
	RAM_BORDER_BYTES = 256 << 10,
};

#define RAM_NONE UINT64_MAX

struct ram_region {
	uint64_t gpa;
	uint64_t size_bytes;
	uint64_t mmap_offset; /* of the first byte in the file */
	uint64_t uva;	      /* chosen by ram_new */
	int fd;		      /* owned; made by ram_new */
	/* The allocator's. */
	uint64_t next;	/* gpa of the first byte not handed out */
	uint64_t limit; /* gpa where ram_alloc stops */
	bool border_used;
};

struct ram {
	uint8_t *base; /* host address of gpa 0 */
	uint64_t end;  /* one past the highest gpa */
	unsigned count;
	unsigned turn;
	struct ram_region regions[];
};

/*
 * Makes regions of which gpa, size_bytes and mmap_offset are given, ascending
 * and page-aligned. The memory is zeroed.
 */
int ram_new(const struct ram_region *wanted, unsigned count,
	    struct ram **ret_ram);

/*
 * The usual layout, with at least @bytes: one region at 0 and one that touches
 * it, a hole, and the rest from 4 GiB on, at an offset into its file.
 */
int ram_new_usual(uint64_t bytes, struct ram **ret_ram);

/* Accepts NULL. */
void ram_free(struct ram *ram);

/* Hands out everything anew; the content stays. */
void ram_reset(struct ram *ram);

/* @align is a power of two. RAM_NONE if no region has the room. */
uint64_t ram_alloc(struct ram *ram, uint64_t bytes, uint64_t align);

/*
 * A range whose first @before bytes end one region and whose @after bytes
 * begin its neighbour, both at most RAM_BORDER_BYTES; once for each place
 * where two regions touch. RAM_NONE when there is no more.
 */
uint64_t ram_alloc_straddling(struct ram *ram, uint64_t before, uint64_t after);

/* The host address of @gpa, which lies in a region. */
static inline void *ram_at(const struct ram *ram, uint64_t gpa)
{
	return ram->base + gpa;
}

/* The gpa of a host address within @ram. */
static inline uint64_t ram_gpa(const struct ram *ram, const void *host)
{
	return (uint64_t)((const uint8_t *)host - ram->base);
}

/* The region that holds @gpa; NULL if it lies in a hole. */
const struct ram_region *ram_region_of(const struct ram *ram, uint64_t gpa);

/* What to tell the back-end of a ring at @gpa; 0 if it lies in a hole. */
uint64_t ram_uva(const struct ram *ram, uint64_t gpa);

#endif
