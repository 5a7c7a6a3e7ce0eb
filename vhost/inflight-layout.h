/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The in-flight region of one queue as it lies in shared memory; vhost-user
 * specification, "Inflight I/O tracking". Fields are in the host's byte order.
 */
#ifndef VHOST_INFLIGHT_LAYOUT_H
#define VHOST_INFLIGHT_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum {
	INFLIGHT_VERSION_FRESH = 0,
	INFLIGHT_VERSION = 1,
	INFLIGHT_ALIGN = 64,
	INFLIGHT_AREA_ALIGN = 4096, /* from the start of the region */
};

/* The state of one entry of the descriptor table. */
struct inflight_split_desc {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next;	  /* in the list of the last batch */
	uint64_t counter; /* order of virtq_get */
};

struct inflight_split {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct inflight_split_desc desc[];
};

static_assert(sizeof(struct inflight_split_desc) == 16, "wire");
static_assert(offsetof(struct inflight_split_desc, next) == 6, "wire");
static_assert(offsetof(struct inflight_split_desc, counter) == 8, "wire");
static_assert(sizeof(struct inflight_split) == 16, "wire");
static_assert(offsetof(struct inflight_split, version) == 8, "wire");
static_assert(offsetof(struct inflight_split, used_idx) == 14, "wire");

/* A copy of one descriptor of the ring, and what its chain needs. */
struct inflight_packed_desc {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next;
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

struct inflight_packed {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	uint16_t used_idx;
	uint16_t old_used_idx;
	uint8_t used_wrap_counter;
	uint8_t old_used_wrap_counter;
	uint8_t padding[7];
	struct inflight_packed_desc desc[];
};

static_assert(sizeof(struct inflight_packed_desc) == 32, "wire");
static_assert(offsetof(struct inflight_packed_desc, counter) == 8, "wire");
static_assert(offsetof(struct inflight_packed_desc, addr) == 24, "wire");
static_assert(offsetof(struct inflight_packed, version) ==
		      offsetof(struct inflight_split, version),
	      "inflight_forget");
static_assert(offsetof(struct inflight_packed, free_head) == 12, "wire");
static_assert(offsetof(struct inflight_packed, used_wrap_counter) == 20,
	      "wire");
static_assert(offsetof(struct inflight_packed, desc) == 32, "wire");

#endif
