/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commit and rebase of random chains, by qimg and by qemu-img on copies of the
 * same files: what is read through the chain stays, both get the same content
 * into the lower image, and all that is left is clean. Then a crash at each
 * point of either: what is read through the chain never changes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/chain.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "tests/cmocka.h"
#include "tests/images/crash-run.h"
#include "tests/images/reference.h"
#include "tests/images/scratch.h"
#include "tests/random.h"

enum {
	KIB = 1 << 10,
	SECTOR = 512,
	MAX_IMAGES = 4,
	CHAINS = 4,
	CRASH_BYTES = 96 * KIB,
	CRASH_LOWER_BYTES = 64 * KIB,
	MAX_BYTES = 3 << 20,
	TORN_STATES = 3,
};

static uint64_t random_state;

static uint64_t pick(uint64_t below)
{
	return random_below(&random_state, below);
}

/* --- Random chains ---------------------------------------------------------- */

/* Of files ours/PREFIXn; the lowest is 0. */
struct chain {
	const char *prefix;
	unsigned count;
	const char *format[MAX_IMAGES];
	uint64_t size[MAX_IMAGES];
};

/* Random parts are written, by qemu-io. */
static void fill(const struct chain *c, unsigned at)
{
	static const char *const zeroes[] = {"write -z", "write -z -u",
					     "write -P 0", "discard"};
	uint64_t sectors = c->size[at] / SECTOR;
	char commands[2048] = "", op[24];
	size_t used = 0;

	for (unsigned i = 0; i < 10; i++) {
		uint64_t first = pick(sectors);
		uint64_t count = 1 + pick(MIN(sectors - first, UINT64_C(1000)));

		if (pick(3) == 0)
			snprintf(op, sizeof(op), "%s", zeroes[pick(4)]);
		else
			snprintf(op, sizeof(op), "write -P %d",
				 1 + (int)pick(200));
		used += (size_t)snprintf(commands + used,
					 sizeof(commands) - used,
					 "-c '%s %llu %llu' ", op,
					 (unsigned long long)first * SECTOR,
					 (unsigned long long)count * SECTOR);
	}
	scratch_must("qemu-io -f %s %s ours/%s%u", c->format[at], commands,
		     c->prefix, at);
}

static void create(struct chain *c, unsigned at)
{
	static const char *const options[] = {
		"cluster_size=512",   "cluster_size=4096",
		"cluster_size=65536", "cluster_size=65536,extended_l2=on",
		"cluster_size=2M",    "cluster_size=4096,compat=0.10",
	};
	bool raw = at == 0 && pick(3) == 0;
	char backing[64] = "", with[64] = "";

	c->format[at] = raw ? "raw" : "qcow2";
	c->size[at] = raw ? MAX_BYTES : (1 + pick(MAX_BYTES / SECTOR)) * SECTOR;
	if (at)
		snprintf(backing, sizeof(backing), "-b %s%u -F %s", c->prefix,
			 at - 1, c->format[at - 1]);
	if (!raw)
		snprintf(with, sizeof(with), "-o %s",
			 options[pick(ARRAY_SIZE(options))]);
	scratch_must("qemu-img create -f %s %s %s ours/%s%u %llu",
		     c->format[at], with, backing, c->prefix, at,
		     (unsigned long long)c->size[at]);
	fill(c, at);
}

static void make_chain(struct chain *c, const char *prefix, unsigned count)
{
	*c = (struct chain){.prefix = prefix, .count = count};
	for (unsigned i = 0; i < count; i++)
		create(c, i);
}

static void must_be_clean(const struct chain *c, unsigned at)
{
	if (strcmp(c->format[at], "qcow2") != 0)
		return;
	scratch_must("qemu-img check -f qcow2 ours/%s%u", c->prefix, at);
	if (!strstr(scratch_output(), "No errors were found"))
		fail_msg("%s", scratch_output());
}

/* Through the chain, and at least so far as the file @raw goes. */
static void must_read_as(const struct chain *c, unsigned at, const char *raw)
{
	size_t length, expected_length;
	uint8_t *data, *expected;

	scratch_must("qemu-img convert -f %s -O raw ours/%s%u got.raw",
		     c->format[at], c->prefix, at);
	data = scratch_read("got.raw", &length);
	expected = scratch_read(raw, &expected_length);
	assert_true(length >= expected_length);
	for (size_t i = 0; i < expected_length; i++)
		if (data[i] != expected[i])
			fail_msg("%s%u: byte %zu differs", c->prefix, at, i);
	free(data);
	free(expected);
}

/* --- Commits ----------------------------------------------------------------- */

static void commit_once(uint64_t seed)
{
	struct chain c;
	unsigned top, base;
	char options[40] = "";

	random_state = seed;
	scratch_must("rm -rf ours theirs && mkdir ours");
	make_chain(&c, "i", 2 + pick(MAX_IMAGES - 1));
	scratch_must("cp -r ours theirs");
	top = c.count - 1;
	base = pick(2) ? top - 1 : pick(top);
	if (base != top - 1 || pick(4) == 0)
		snprintf(options, sizeof(options), "-b i%u", base);
	else if (pick(2))
		snprintf(options, sizeof(options), "-d");
	scratch_must("qemu-img convert -f qcow2 -O raw ours/i%u before.raw",
		     top);
	scratch_must("$QIMG commit -f qcow2 %s ours/i%u", options, top);
	assert_string_equal(scratch_output(), "Image committed.\n");
	must_be_clean(&c, base);
	must_be_clean(&c, top);
	must_read_as(&c, base, "before.raw");
	if (base == top - 1)
		must_read_as(&c, top, "before.raw");
	/* QEMU cannot commit some images of version 2. */
	if (scratch_run("qemu-img commit -f qcow2 %s theirs/i%u", options, top))
		return;
	scratch_must("qemu-img compare -f %s -F %s ours/i%u theirs/i%u",
		     c.format[base], c.format[base], base, base);
	scratch_must("qemu-img compare -f qcow2 -F qcow2 ours/i%u theirs/i%u",
		     top, top);
}

static void commits_give_what_qemu_img_gives(void **state)
{
	for (uint64_t seed = 1; seed <= CHAINS; seed++)
		commit_once(seed * 7919);
}

/* --- Rebases ------------------------------------------------------------------ */

static void rebase_once(uint64_t seed)
{
	struct chain c, other;
	const struct chain *new;
	unsigned top, at;
	char onto[40] = "\"\"";

	random_state = seed;
	scratch_must("rm -rf ours && mkdir ours");
	make_chain(&c, "i", 1 + pick(MAX_IMAGES));
	make_chain(&other, "j", 1 + pick(2));
	top = c.count - 1;
	if (strcmp(c.format[top], "raw") == 0)
		return;
	new = pick(2) && top ? &c : &other;
	at = pick(new == &c ? top : new->count);
	if (pick(3))
		snprintf(onto, sizeof(onto), "%s%u -F %s", new->prefix, at,
			 new->format[at]);
	scratch_must("qemu-img convert -f qcow2 -O raw ours/i%u before.raw",
		     top);
	scratch_must("$QIMG rebase -f qcow2 -b %s ours/i%u", onto, top);
	must_be_clean(&c, top);
	must_read_as(&c, top, "before.raw");
	for (unsigned i = 0; i < top; i++)
		must_be_clean(&c, i);
}

static void rebases_keep_what_is_read(void **state)
{
	for (uint64_t seed = 1; seed <= CHAINS; seed++)
		rebase_once(seed * 104729);
}

/* The lowest image has bytes where the one between has already ended. */
static void what_lies_past_a_shorter_backing_image_stays_zeroes(void **state)
{
	scratch_must("rm -rf ours && mkdir ours && cd ours && "
		     "qemu-img create -f qcow2 low 320k && "
		     "qemu-img create -f qcow2 -b low -F qcow2 middle 256k && "
		     "qemu-img create -f qcow2 -b middle -F qcow2 top 320k && "
		     "qemu-io -c 'write -P 17 0 320k' low && "
		     "qemu-io -c 'write -P 34 0 256k' middle");
	scratch_must("cd ours && $QIMG rebase -f qcow2 -b low -F qcow2 top");
	scratch_must("cd ours && qemu-io -f qcow2 -c 'read -P 34 0 256k' "
		     "-c 'read -P 0 256k 64k' top >said && "
		     "! grep -q 'verification failed' said");
}

static void messages_are_those_of_qemu_img(void **state)
{
	static const char *const commands[] = {
		"commit alone",
		"commit -b elsewhere upper",
		"rebase upper",
		"rebase -b alone upper",
		"rebase -b alone -F nothing upper",
	};

	scratch_must("rm -rf ours && mkdir ours && cd ours && "
		     "qemu-img create -f qcow2 alone 1M && "
		     "qemu-img create -f qcow2 -b alone -F qcow2 upper");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		char theirs[1024];

		assert_int_equal(
			scratch_run("cd ours && qemu-img %s", commands[i]), 1);
		snprintf(theirs, sizeof(theirs), "%s",
			 strchr(scratch_output(), ':'));
		*strchr(theirs, '\n') = 0;
		assert_int_equal(
			scratch_run("cd ours && $QIMG %s", commands[i]), 1);
		assert_ptr_not_equal(strstr(scratch_output(), theirs), NULL);
	}
	assert_int_equal(scratch_run("cd ours && $QIMG rebase -b upper -F "
				     "qcow2 alone"),
			 1);
	scratch_must("cd ours && $QIMG rebase -u -b gone -F raw upper && "
		     "qemu-img info -U upper | grep 'backing file: gone'");
}

/* --- Crashes ------------------------------------------------------------------ */

/* Made, with some writes of its own, as bytes; to be freed. */
static uint8_t *make_small(const char *backing, uint32_t cluster_bytes,
			   uint64_t size, uint8_t stamp, uint64_t *ret_bytes)
{
	const struct qcow2_create_options options = {
		.size_bytes = size,
		.cluster_bytes = cluster_bytes,
		.backing_name = backing,
		.backing_format = backing ? "qcow2" : NULL,
	};
	struct store *store;
	struct image *image;
	char *error = NULL;
	uint8_t data[5 * KIB];
	uint8_t *copy;

	assert_int_equal(store_new_memory(0, &store), 0);
	assert_int_equal(qcow2_create(store, &options, &error), 0);
	image = crash_open(store, NULL, NULL, false);
	for (uint64_t i = 0; i < 5; i++) {
		uint64_t at = pick((size - sizeof(data)) / SECTOR) * SECTOR;
		int err;

		memset(data, stamp + (int)i, sizeof(data));
		err = i == 2 ? sync_io_zero(image, at, sizeof(data))
			     : sync_io_write(image, at, data, sizeof(data));
		assert_int_equal(err, 0);
	}
	assert_int_equal(sync_io_settle(image), 0);
	*ret_bytes = store->size_bytes;
	copy = malloc(store->size_bytes);
	assert_non_null(copy);
	assert_int_equal(store_read(store, 0, copy, store->size_bytes), 0);
	assert_int_equal(image_close(image), 0);
	return copy;
}

static void read_all(struct image *image, uint8_t data[CRASH_BYTES])
{
	assert_int_equal(image->size_bytes, CRASH_BYTES);
	assert_int_equal(sync_io_read(image, 0, data, CRASH_BYTES), 0);
}

/* Of all states that a crash may leave: @look says whether one is right. */
static size_t look_at_all(const struct crash_log *log,
			  void (*look)(struct crash_state *state, void *opaque),
			  void *opaque)
{
	uint64_t torn = 88172645463325252u;
	struct crash_state state;
	size_t states = 0;

	for (unsigned round = 0; round <= TORN_STATES; round++) {
		crash_state_init(&state, log);
		for (size_t at = 0; at <= log->count; at++, states++) {
			crash_state_set(&state, at, round ? &torn : NULL);
			look(&state, opaque);
		}
		crash_state_deinit(&state);
	}
	return states;
}

static void look_at_commit(struct crash_state *state, void *opaque)
{
	static uint8_t data[CRASH_BYTES];
	struct image *top = crash_open(&state->file[0].store, NULL, NULL, true);

	top->backing = crash_open(&state->file[1].store, NULL, NULL, true);
	read_all(top, data);
	assert_memory_equal(data, opaque, sizeof(data));
	image_close(top);
}

static void crash_commit(uint32_t top_cluster, uint32_t base_cluster)
{
	static uint8_t expected[CRASH_BYTES];
	const struct chain_options how = {0};
	uint64_t top_bytes, base_bytes;
	uint8_t *top_data =
		make_small("base", top_cluster, CRASH_BYTES, 10, &top_bytes);
	uint8_t *base_data = make_small(NULL, base_cluster, CRASH_LOWER_BYTES,
					100, &base_bytes);
	struct crash_log log;
	struct store *top_store = crash_log_record(&log, top_data, top_bytes);
	struct store *base_store =
		crash_log_record_more(&log, base_data, base_bytes);
	struct image *top = crash_open(top_store, NULL, NULL, false);
	struct image *failed;
	int err;

	top->backing = crash_open(base_store, NULL, NULL, false);
	read_all(top, expected);
	err = chain_commit(top, top->backing, &how, &failed);
	if (err)
		fail_msg("%d: %s", err, failed ? image_error(failed) : "");
	assert_int_equal(image_close(top), 0);
	assert_true(look_at_all(&log, look_at_commit, expected) > 40);
	crash_log_release(top_store);
	crash_log_release(base_store);
	crash_log_deinit(&log);
	free(top_data);
	free(base_data);
}

static void a_crash_of_a_commit_changes_nothing(void **state)
{
	random_state = 4711;
	crash_commit(4 * KIB, 4 * KIB);
	crash_commit(1 * KIB, 16 * KIB);
	crash_commit(16 * KIB, 512);
}

struct rebase_case {
	uint8_t expected[CRASH_BYTES];
	uint8_t *lower[2]; /* "old", "new" */
	uint64_t lower_bytes[2];
	size_t seen[2];
};

static struct image *open_lower(const struct rebase_case *c, unsigned which)
{
	struct store *store;

	assert_int_equal(store_new_memory(0, &store), 0);
	assert_int_equal(
		store_write(store, 0, c->lower[which], c->lower_bytes[which]),
		0);
	return crash_open(store, NULL, NULL, true);
}

static void look_at_rebase(struct crash_state *state, void *opaque)
{
	static uint8_t data[CRASH_BYTES];
	struct rebase_case *c = opaque;
	struct image *image =
		crash_open(&state->file[0].store, NULL, NULL, true);
	unsigned which = strcmp(image->backing_name, "new") == 0;

	if (!which)
		assert_string_equal(image->backing_name, "old");
	image->backing = open_lower(c, which);
	read_all(image, data);
	assert_memory_equal(data, c->expected, sizeof(data));
	c->seen[which]++;
	image_close(image);
}

static void a_crash_of_a_rebase_changes_nothing(void **state)
{
	static struct rebase_case c;
	const struct chain_options how = {0};
	uint64_t bytes;
	uint8_t *data;
	struct crash_log log;
	struct store *store;
	struct image *image, *backing, *failed;
	int err;

	random_state = 815;
	data = make_small("old", 4 * KIB, CRASH_BYTES, 10, &bytes);
	c.lower[0] = make_small(NULL, 1 * KIB, CRASH_LOWER_BYTES, 100,
				&c.lower_bytes[0]);
	c.lower[1] =
		make_small(NULL, 8 * KIB, CRASH_BYTES, 200, &c.lower_bytes[1]);
	store = crash_log_record(&log, data, bytes);
	image = crash_open(store, NULL, NULL, false);
	image->backing = open_lower(&c, 0);
	backing = open_lower(&c, 1);
	read_all(image, c.expected);
	err = chain_rebase(image, backing, "new", "qcow2", &how, &failed);
	if (err)
		fail_msg("%d: %s", err, failed ? image_error(failed) : "");
	assert_int_equal(image_close(image), 0);
	image_close(backing);
	look_at_all(&log, look_at_rebase, &c);
	assert_true(c.seen[0] > 10 && c.seen[1] > 0);
	crash_log_release(store);
	crash_log_deinit(&log);
	free(data);
	free(c.lower[0]);
	free(c.lower[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_crash_of_a_commit_changes_nothing),
		cmocka_unit_test(a_crash_of_a_rebase_changes_nothing),
		cmocka_unit_test(commits_give_what_qemu_img_gives),
		cmocka_unit_test(rebases_keep_what_is_read),
		cmocka_unit_test(
			what_lies_past_a_shorter_backing_image_stays_zeroes),
		cmocka_unit_test(messages_are_those_of_qemu_img),
	};
	int failed;

	reference_take_qimg(argc, argv);
	scratch_prefer_memory();
	scratch_enter("qemu-img");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
