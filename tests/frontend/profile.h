/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the front-ends that exist start a device: which features they take, and
 * which messages they send in which order. Back-ends tend to depend on the
 * habits of the one that they were written for.
 *
 *	frontend_negotiate	what is said before the driver is up
 *	frontend_start		memory and rings, when the driver is ready
 */
#ifndef TESTS_FRONTEND_PROFILE_H
#define TESTS_FRONTEND_PROFILE_H

#include "tests/frontend/frontend.h"

/* Ends each list of steps. */
enum {
	STEP_END = 0
};

enum profile_step {
	STEP_OWNER = 1,
	STEP_GET_FEATURES,
	STEP_PROTOCOL_FEATURES, /* get and set */
	STEP_QUEUE_NUM,		/* with MQ */
	STEP_MAX_SLOTS,		/* with CONFIGURE_MEM_SLOTS */
	STEP_CHANNEL,		/* with BACKEND_REQ */
	STEP_CONFIG,		/* with CONFIG */
	STEP_STATUS_DRIVER,	/* with STATUS: 0, acknowledge, driver */
	STEP_CALLS,		/* SET_VRING_CALL with a throw-away fd */
	STEP_ERRS,		/* SET_VRING_ERR */
	STEP_SET_FEATURES,
	STEP_INFLIGHT, /* with INFLIGHT_SHMFD: get unless kept, set */
	STEP_MEMORY,   /* SET_MEM_TABLE */
	STEP_SLOTS,    /* ADD_MEM_REG each; SET_MEM_TABLE without the feature */
	STEP_RINGS,    /* for each ring: profile->ring_steps */
	STEP_ENABLE,   /* each ring */
	STEP_STATUS_DRIVER_OK, /* with STATUS */
};

enum ring_step {
	RING_NUM = 1,
	RING_BASE,
	RING_ADDR,
	RING_KICK,
	RING_CALL,
	RING_ERR,
	RING_ENABLE,
};

struct frontend_profile {
	const char *name;
	/* Virtio features and bit 30: taken if offered, … */
	uint64_t features;
	uint64_t net_features; /* … and of a network device */
	uint64_t protocol_features;
	unsigned max_queues;
	bool need_reply;
	size_t inflight_wire_bytes;
	const uint8_t *negotiate_steps;
	const uint8_t *start_steps;
	const uint8_t *ring_steps;
};

extern const struct frontend_profile profile_qemu;
extern const struct frontend_profile profile_cloud_hypervisor;
extern const struct frontend_profile profile_crosvm;
extern const struct frontend_profile profile_firecracker;
extern const struct frontend_profile profile_virtio_user;
/* Takes whatever is offered, in QEMU's order. */
extern const struct frontend_profile profile_everything;

/* All of the above; NULL at the end. */
extern const struct frontend_profile *const frontend_profiles[];

/*
 * Chooses fe->features and fe->protocol from what is offered, the profile
 * and fe's limits, and says what the front-end says before its driver is
 * up. (fe->features is set here, but told by frontend_start.) @queues is how
 * many queues the front-end was told to have: -ERANGE if the back-end says that
 * it has fewer.
 */
int frontend_negotiate(struct frontend *fe,
		       const struct frontend_profile *profile, unsigned queues);

/*
 * Gives memory and @count rings and sets all going. Rings start where the
 * driver is: driver_ring_base.
 */
int frontend_start(struct frontend *fe, const struct frontend_profile *profile,
		   struct ram *ram, struct driver_ring *const *rings,
		   unsigned count);

/* The configuration that the chosen features allow. */
struct driver_ring_config frontend_ring_config(const struct frontend *fe,
					       uint16_t size);

#endif
