/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulls the plug everywhere. Random work runs on an image in stores that
 * remember each write and flush; then each state that a crash could have left
 * is looked at.
 *
 * The work comes in phases. In one kind the guest is at it (guest.h): requests
 * cross each other and flushes. Between two of those something is done to the
 * image while nothing is under way (a snapshot, a new size, …), which leads
 * from one picture (picture.h) to another. What may be found after a crash is
 * in the first kind for each sector what was last flushed there or something
 * later, and in the second the one picture or the other. Anything whatever
 * must open, without cross-links, and with all uses counted, unless the image
 * is marked dirty and opening it for writing mends it.
 */
#ifndef TESTS_IMAGES_CRASH_RUN_H
#define TESTS_IMAGES_CRASH_RUN_H

#include "qcow2/create.h"
#include "tests/images/crash-log.h"
#include "tests/images/guest.h"
#include "tests/images/picture.h"
#include "tests/sanitized.h"

/* What is done besides writes, zeroes, discards and flushes. */
enum {
	CRASH_REOPENS = 1 << 0,
	CRASH_SNAPSHOTS = 1 << 1,
	CRASH_RESIZES = 1 << 2,
	CRASH_BITMAPS = 1 << 3,
	CRASH_COMPRESSES = 1 << 4,
	CRASH_HEADERS = 1 << 5, /* a backing file's name comes and goes */
	CRASH_AMENDS = 1 << 6,
	CRASH_EMPTIES = 1 << 7,
	CRASH_FLAGS = 1 << 8, /* zero flags over room that is kept */
};

/* One position in so many is looked at. */
#define CRASH_STRIDE SAMPLED(16)

struct crash_scenario {
	const char *name;
	struct qcow2_create_options options;
	unsigned work;	   /* CRASH_* */
	bool data_file;	   /* guest data lies in a second store */
	bool thirds;	   /* every third sector holds something at first */
	unsigned phases;   /* of each kind */
	unsigned requests; /* in a phase of the guest's */
	unsigned torn;	   /* random states looked at for each position */
};

struct crash_phase {
	size_t begin; /* position in the log; it ends where the next begins */
	bool managed;
	unsigned loose;		/* CRASH_LOOSE_* */
	const char *what;	/* the operation's name */
	struct picture *before; /* when it began */
	struct picture *after;	/* managed: when it ended */
	struct guest guest;	/* not managed */
};

/* A kind of write whose flushes are lost. */
enum crash_loss {
	CRASH_LOSES_NOTHING,
	CRASH_LOSES_MAPPING, /* L1 and L2 tables */
	CRASH_LOSES_REFCOUNTS,
	CRASH_LOSES_HEADER,
	CRASH_LOSES_DATA, /* and what else there is */
};

/*
 * For a log's is_lost: something of the kind that it loses was written to
 * @image since the last flush.
 */
bool crash_loses(const struct crash_log *log, const uint8_t *image);

extern const struct crash_scenario crash_scenarios[];
extern const size_t crash_scenario_count;

struct crash_run {
	const struct crash_scenario *scenario;
	uint64_t seed;
	enum crash_loss loses; /* nothing; or it has to be noticed */
	/* If not 0: so many states at most, from everywhere, and only by @look. */
	unsigned only_looks;
	struct image *image;
	struct crash_log log;
	struct store *store[CRASH_FILES];
	struct guest *guest; /* of the phase that is recorded */
	struct crash_phase *phases;
	size_t phase_count;
	uint64_t random;
	uint64_t stamp;
	/* What the operation at hand chose. */
	char name[PICTURE_NAME_BYTES];
	char other_name[PICTURE_NAME_BYTES];
	uint64_t size_bytes;
	unsigned number;

	size_t states;	     /* looked at */
	size_t dirty;	     /* of them, that were mended when opened */
	size_t inconsistent; /* bitmaps found, of all */
	size_t bitmaps;
	/* Called for each state, checked and as it was found; or NULL. */
	void (*look)(struct crash_run *run, struct crash_state *state,
		     size_t position);
};

/* Records and checks; the number of states. Fails the test on anything wrong. */
size_t crash_run(struct crash_run *run);

uint64_t crash_pick(struct crash_run *run, uint64_t below);

/* Opens what lies in the stores (the second may be NULL). */
struct image *crash_open(struct store *store, struct store *data,
			 const char *snapshot, bool read_only);

/* What is seen of the image that is recorded. */
struct picture *crash_picture(struct crash_run *run,
			      const struct picture *before);

enum {
	/* Of what a smaller disk lacks, the first may be gone already. */
	CRASH_LOOSE_TAIL = 1 << 0,
};

/* Something that is done to an image. */
struct crash_op {
	const char *name;
	unsigned weight;
	unsigned needs; /* one of the scenario's CRASH_* */
	unsigned loose;
	/* Chooses what exactly; false: there is nothing to do. */
	bool (*choose)(struct crash_run *run, const struct picture *before);
	/* Does it; 0 or an error. */
	int (*act)(struct crash_run *run);
	/* Makes of the picture before what it has to be afterwards; or NULL. */
	void (*effect)(struct crash_run *run, struct picture *picture);
	/* Part of a guest's phase: does the bookkeeping in @act. */
	bool by_guest;
};

extern const struct crash_op crash_ops[];
extern const size_t crash_op_count;

/* One of @by_guest or not, chosen by weight; NULL if none can be done. */
const struct crash_op *crash_choose(struct crash_run *run, bool by_guest,
				    const struct picture *before);

/* Looks at every state. */
void crash_check(struct crash_run *run);

#endif
