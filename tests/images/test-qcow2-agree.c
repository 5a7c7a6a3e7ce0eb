/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is thought of images that a crash left: by our check, by qemu-img's and
 * by the walker of the crash tests, which share no code. Clean, leaks only, or
 * corrupt: all three have to say the same. So that there is something corrupt
 * to be found, some come from a driver that loses barriers.
 *
 * Where ours is stricter than QEMU's (the zero flag in version 2, mappings into
 * tables, COPIED where nothing is mapped), test-qcow2-check.c says so; no crash
 * leaves any of that, but a lost barrier can leave the first. A snapshot that was
 * being deleted can leave clusters that lack COPIED, which all three call corrupt:
 * it costs copies, and no data.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/crash-run.h"
#include "tests/images/qcow2-walk.h"
#include "tests/images/scratch.h"

enum {
	SOUND = 24, /* looked at of each scenario */
	LOSSY = 6,  /* and of each with each kind of loss */
	FEWEST = 500 / CRASH_STRIDE,
	AT_VERSION = 4, /* in the header */
	AT_INCOMPATIBLE = 72,

	/* qemu-img's statuses. */
	CLEAN = 0,
	CORRUPT = 2,
	LEAKS = 3,
};

struct verdict {
	int class;
	uint64_t leaks;
};

static unsigned compared;
static unsigned of_class[4];

/* False if it does not open, which only a lost barrier can explain. */
static bool ask_ours(const struct crash_run *run, struct crash_state *state,
		     struct verdict *ret)
{
	const struct image_open_options options = {
		.read_only = true,
		.check = true,
	};
	struct image_check check = {0};
	struct image *image;
	char *error = NULL;
	int err = qcow2_format.open(&state->file[0].store, &options, &image,
				    &error);

	if (err && !run->loses)
		fail_msg("does not open: %d: %s", err, error ? error : "");
	free(error);
	if (err)
		return false;
	err = image_check(image, IMAGE_FIX_NONE, NULL, NULL, &check);
	if (err || check.check_errors)
		fail_msg("check: %d: %s", err, image_error(image));
	assert_int_equal(image_close(image), 0);
	*ret = (struct verdict){
		.class = check.corruptions ? CORRUPT
			 : check.leaks	   ? LEAKS
					   : CLEAN,
		.leaks = check.leaks,
	};
	return true;
}

static struct verdict ask_qemu(void)
{
	struct verdict v = {
		/* Where a backing file is named, there is none. */
		.class =
			scratch_run("qemu-img check --output=json 'json:{"
				    "\"driver\": \"qcow2\", \"backing\": null, "
				    "\"file.driver\": \"file\", "
				    "\"file.filename\": \"crash.qcow2\"}'"),
	};
	const char *leaks = strstr(scratch_output(), "\"leaks\": ");

	if (leaks)
		v.leaks = strtoull(leaks + strlen("\"leaks\": "), NULL, 10);
	return v;
}

static struct verdict ask_the_walker(struct crash_state *state)
{
	struct qcow2_walk walk = {
		.data = state->file[0].data,
		.size_bytes = state->file[0].store.size_bytes,
	};
	int err = qcow2_walk(&walk);

	free(walk.uses);
	return (struct verdict){
		.class = err || walk.unmarked ? CORRUPT
			 : walk.leaked	      ? LEAKS
					      : CLEAN,
		.leaks = walk.leaked,
	};
}

/* It became version 2 before the last zero flag was gone. */
static bool has_old_flags(const struct crash_run *run,
			  const struct crash_state *state,
			  const struct verdict *ours)
{
	return run->loses && ours->class == CORRUPT &&
	       get_be32(state->file[0].data + AT_VERSION) == 2;
}

/* Marked dirty, or short of nothing but COPIED flags. */
static bool is_excused(struct crash_state *state)
{
	struct qcow2_walk walk = {
		.data = state->file[0].data,
		.size_bytes = state->file[0].store.size_bytes,
	};
	int err = qcow2_walk(&walk);

	free(walk.uses);
	return err == 0 || (get_be64(walk.data + AT_INCOMPATIBLE) & 1);
}

static void write_state(const char *name, const struct crash_file *file)
{
	uint64_t bytes = MIN(file->written_end, file->store.size_bytes);
	FILE *out = fopen(name, "w");

	assert_non_null(out);
	/* A file that nobody wrote to has no data at all. */
	if (bytes)
		assert_int_equal(fwrite(file->data, 1, bytes, out), bytes);
	assert_int_equal(fflush(out), 0);
	assert_int_equal(ftruncate(fileno(out), file->store.size_bytes), 0);
	assert_int_equal(fclose(out), 0);
}

static void compare(struct crash_run *run, struct crash_state *state,
		    size_t position)
{
	struct verdict ours, walker = ask_the_walker(state), qemu;

	if (!ask_ours(run, state, &ours))
		return;
	write_state("crash.qcow2", &state->file[0]);
	/* Images with a data file call it so. */
	write_state("data", &state->file[1]);
	qemu = ask_qemu();
	/*
	 * QEMU gives up where its own tables are gone, or a directory of bitmaps
	 * cannot be; ours goes on, and disowns the directory.
	 */
	if (qemu.class == 1 && run->loses &&
	    (ours.class == CORRUPT || (run->scenario->work & CRASH_BITMAPS)))
		return;
	if (qemu.class != CORRUPT && has_old_flags(run, state, &ours))
		return;
	if (qemu.class == 1 || qemu.class > LEAKS)
		fail_msg("qemu-img cannot: %s", scratch_output());
	if (ours.class != qemu.class || walker.class != qemu.class)
		fail_msg("%s, loss %d, position %zu: ours says %d, the walker "
			 "%d, qemu-img %d:\n%s",
			 run->scenario->name, run->loses, position, ours.class,
			 walker.class, qemu.class, scratch_output());
	if (qemu.class != CORRUPT &&
	    (ours.leaks != qemu.leaks || walker.leaks != qemu.leaks))
		fail_msg("%s, position %zu: leaks: %llu, %llu, qemu-img %llu",
			 run->scenario->name, position,
			 (unsigned long long)ours.leaks,
			 (unsigned long long)walker.leaks,
			 (unsigned long long)qemu.leaks);
	if (qemu.class == CORRUPT && !run->loses && !is_excused(state))
		fail_msg("%s, position %zu: corrupt:\n%s", run->scenario->name,
			 position, scratch_output());
	of_class[qemu.class]++;
	compared++;
}

static void all_agree_on(const struct crash_scenario *scenario,
			 enum crash_loss loss, unsigned wanted)
{
	struct crash_run run = {
		.scenario = scenario,
		.seed = 1,
		.loses = loss,
		.only_looks = MAX(wanted / CRASH_STRIDE, 4u),
		.look = compare,
	};

	crash_run(&run);
}

static void all_agree_on_what_a_crash_left(void **state)
{
	for (size_t i = 0; i < crash_scenario_count; i++)
		all_agree_on(&crash_scenarios[i], CRASH_LOSES_NOTHING, SOUND);
	assert_true(of_class[CLEAN] > 0 && of_class[LEAKS] > 0);
}

static void all_agree_on_what_lost_barriers_left(void **state)
{
	for (size_t i = 0; i < crash_scenario_count; i++) {
		all_agree_on(&crash_scenarios[i], CRASH_LOSES_MAPPING, LOSSY);
		all_agree_on(&crash_scenarios[i], CRASH_LOSES_REFCOUNTS, LOSSY);
	}
	assert_true(of_class[CORRUPT] > 0);
	print_message("# %u compared: %u clean, %u with leaks, %u corrupt\n",
		      compared, of_class[CLEAN], of_class[LEAKS],
		      of_class[CORRUPT]);
	assert_true(compared >= FEWEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_agree_on_what_a_crash_left),
		cmocka_unit_test(all_agree_on_what_lost_barriers_left),
	};
	int failed;

	scratch_prefer_memory();
	scratch_enter("qemu-img");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
