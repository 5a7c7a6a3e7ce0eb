/* SPDX-License-Identifier: Apache-2.0 */
/* Bitmaps on a store in memory: against a plain model, and at every crash. */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/bitmap.h"
#include "qcow2/core.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"

enum {
	MIB = 1 << 20,
	DISK = 3 * MIB + 1536,
	GRANULE = 4096,
	GRANULES = (DISK + GRANULE - 1) / GRANULE,
};

static int try_open(struct store *store, bool read_only, struct image **ret)
{
	const struct image_open_options options = {.read_only = read_only,
						   .cache_bytes = 1};
	char *error = NULL;
	int err = qcow2_format.open(store, &options, ret, &error);

	if (err)
		print_message("%s\n", error ? error : "?");
	free(error);
	return err;
}

static struct image *open_memory(struct store *store)
{
	struct image *image = NULL;

	assert_int_equal(try_open(store, false, &image), 0);
	return image;
}

static struct image *make(const struct qcow2_create_options *options)
{
	struct store *store;

	assert_int_equal(store_new_memory(0, &store), 0);
	assert_int_equal(qcow2_create(store, options, NULL), 0);
	return open_memory(store);
}

static struct image *make_default(void)
{
	const struct qcow2_create_options options = {.size_bytes = DISK,
						     .cluster_bytes = 4096};

	return make(&options);
}

static struct store *copy_store(struct store *old)
{
	const uint8_t *data = store_memory_data(old);
	size_t end = old->size_bytes;
	struct store *store;

	/* The file is grown far ahead, which takes long to copy. */
	while (end >= 65536 && bytes_are_zero(data + end - 65536, 65536))
		end -= 65536;
	end = MIN(end + MIB, (size_t)old->size_bytes);
	assert_int_equal(store_new_memory(end, &store), 0);
	memcpy(store_memory_data(store), data, end);
	return store;
}

/* --- A store whose contents outlive it -------------------------------------- */

static struct store *saved;

static void (*free_memory)(struct store *store);

static void save_and_free(struct store *store)
{
	saved = copy_store(store);
	free_memory(store);
}

/* Closes the image, and opens what lies in its store then. */
static struct store *close_and_save(struct image *image)
{
	static struct store_ops ops;

	ops = *image->store->ops;
	free_memory = ops.free;
	ops.free = save_and_free;
	image->store->ops = &ops;
	assert_int_equal(image_close(image), 0);
	return saved;
}

static struct image *reopen(struct image *image)
{
	return open_memory(close_and_save(image));
}

/* As a process that is killed: nothing more is written. */
static struct image *kill_and_reopen(struct image *image)
{
	struct store *store = copy_store(image->store);

	image_close(image);
	return open_memory(store);
}

static int change(struct image *image, enum image_bitmap_action action,
		  const char *name)
{
	const struct image_bitmap_change change = {
		.action = action, .name = name, .granularity_bytes = GRANULE};
	int err = image_bitmap_change(image, &change);

	if (err)
		print_message("%s\n", image_error(image));
	return err;
}

static int merge_from(struct image *image, const char *name,
		      struct image *source, const char *source_name)
{
	const struct image_bitmap_change change = {
		.action = IMAGE_BITMAP_MERGE,
		.name = name,
		.source = source,
		.source_name = source_name,
	};

	return image_bitmap_change(image, &change);
}

static void add(struct image *image, const char *name, uint32_t granularity,
		bool disabled)
{
	const struct image_bitmap_change change = {
		.action = IMAGE_BITMAP_ADD,
		.name = name,
		.granularity_bytes = granularity,
		.disabled = disabled,
	};
	int err = image_bitmap_change(image, &change);

	if (err)
		print_error("%s\n", image_error(image));
	assert_int_equal(err, 0);
}

/* What the list says of @name; asserts that it is there. */
static struct image_bitmap look(struct image *image, const char *name)
{
	struct image_bitmaps list = {0};
	struct image_bitmap found = {0};

	assert_int_equal(image_bitmap_list(image, &list), 0);
	for (size_t i = 0; i < list.count; i++)
		if (strcmp(list.all[i].name, name) == 0)
			found = list.all[i];
	image_bitmaps_deinit(&list);
	assert_non_null(found.name);
	return found;
}

static void assert_bits(struct image *image, const char *name,
			const bool *model, uint64_t granule)
{
	uint64_t size = image->size_bytes, at = 0;
	uint64_t count = div_round_up(size, granule), set = 0;
	bool *got = calloc(count, 1);

	while (at < size) {
		uint64_t offset = 0, length = 0;

		assert_int_equal(
			image_bitmap_next(image, name, at, &offset, &length),
			0);
		if (length == 0)
			break;
		for (uint64_t g = offset / granule;
		     g < div_round_up(offset + length, granule); g++)
			got[g] = true;
		at = offset + length;
	}
	assert_memory_equal(got, model, count);
	for (uint64_t g = 0; g < count; g++)
		set += model[g];
	assert_int_equal(look(image, name).dirty_bytes, set * granule);
	free(got);
}

static void dirty(bool *model, uint64_t granule, uint64_t offset,
		  uint64_t length)
{
	for (uint64_t g = offset / granule;
	     g <= (offset + length - 1) / granule; g++)
		model[g] = true;
}

static int write_packed(struct image *image, uint64_t *offset, uint64_t *length)
{
	static const uint8_t data[65536] = {1};
	uint64_t cluster = image->cluster_bytes;

	*offset = align_down(*offset, cluster);
	*length = MIN(cluster, image->size_bytes - *offset);
	return sync_io_write_packed(image, *offset, data, *length);
}

/* One random change of the guest; where it was. */
static void change_guest(struct image *image, uint64_t *ret_offset,
			 uint64_t *ret_length)
{
	static const uint8_t data[65536] = {1};
	uint64_t size = image->size_bytes;
	uint64_t offset = (uint64_t)rand() * 512 % size;
	uint64_t length = MIN(size - offset, (uint64_t)sizeof(data));
	unsigned what = rand() % 5;
	int err;

	length = MIN(length, (uint64_t)rand() % 128 * 512 + 512);
	if (what < 2)
		err = sync_io_write(image, offset, data, length);
	else if (what == 2)
		err = sync_io_zero(image, offset, length);
	else if (what == 3)
		err = sync_io_discard(image, offset, length);
	else
		err = write_packed(image, &offset, &length);
	assert_int_equal(err, 0);
	*ret_offset = offset;
	*ret_length = length;
}

static void enabled_bitmaps_follow_the_guest_and_disabled_ones_do_not(void **s)
{
	static const struct qcow2_create_options all[] = {
		{.size_bytes = DISK, .cluster_bytes = 512},
		{.size_bytes = DISK, .cluster_bytes = 4096},
		{.size_bytes = DISK},
	};
	static const bool none[DISK / 512];

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct image *image = make(&all[i]);
		bool fine[DISK / 512 + 1] = {0}, coarse[4] = {0};

		add(image, "fine", 512, false);
		add(image, "coarse", MIB, false);
		add(image, "still", 65536, true);
		srand(i);
		for (unsigned round = 0; round < 3; round++) {
			for (unsigned n = 0; n < 10; n++) {
				uint64_t offset, length;

				change_guest(image, &offset, &length);
				dirty(fine, 512, offset, length);
				dirty(coarse, MIB, offset, length);
			}
			image = reopen(image);
			assert_bits(image, "fine", fine, 512);
			assert_bits(image, "coarse", coarse, MIB);
			assert_bits(image, "still", none, 65536);
			assert_true(look(image, "fine").enabled);
			assert_false(look(image, "still").enabled);
		}
		image_close(image);
	}
}

static void an_image_that_is_only_read_is_not_touched(void **state)
{
	struct image *image = make_default();
	struct store *before;
	uint8_t data[512];

	add(image, "b", GRANULE, false);
	image = reopen(image);
	before = copy_store(image->store);
	assert_int_equal(sync_io_read(image, 0, data, sizeof(data)), 0);
	assert_int_equal(image_flush_sync(image), 0);
	assert_memory_equal(store_memory_data(image->store),
			    store_memory_data(before), before->size_bytes);
	store_free(before);
	image_close(image);
}

static void a_killed_process_leaves_its_bitmaps_marked(void **state)
{
	static const bool none[GRANULES];
	struct image *image = make_default();

	add(image, "on", GRANULE, false);
	add(image, "off", GRANULE, true);
	image = kill_and_reopen(image);
	assert_false(look(image, "on").inconsistent);
	assert_int_equal(sync_io_write(image, 0, "x", 1), 0);
	image = kill_and_reopen(image);
	assert_true(look(image, "on").inconsistent);
	assert_false(look(image, "off").inconsistent);
	assert_bits(image, "off", none, GRANULE);
	/* And closing cleanly later does not make it right. */
	assert_int_equal(sync_io_write(image, MIB, "x", 1), 0);
	image = reopen(image);
	assert_true(look(image, "on").inconsistent);
	assert_int_equal(change(image, IMAGE_BITMAP_CLEAR, "on"), -EINVAL);
	assert_int_equal(change(image, IMAGE_BITMAP_ENABLE, "on"), -EINVAL);
	assert_int_equal(merge_from(image, "off", NULL, "on"), -EINVAL);
	assert_int_equal(change(image, IMAGE_BITMAP_REMOVE, "on"), 0);
	image_close(image);
}

static void bitmaps_are_changed_by_name(void **state)
{
	struct image *image = make_default();
	struct image *other = make_default();
	bool model[GRANULES] = {0}, all[GRANULES] = {0};

	add(image, "a", GRANULE, false);
	add(image, "b", 512, true);
	assert_int_equal(change(image, IMAGE_BITMAP_ADD, "a"), -EEXIST);
	assert_int_equal(change(image, IMAGE_BITMAP_CLEAR, "c"), -ENOENT);
	assert_int_equal(image_bitmap_set(image, "a", MIB, 3 * GRANULE + 1), 0);
	dirty(model, GRANULE, MIB, 3 * GRANULE + 1);
	assert_bits(image, "a", model, GRANULE);
	assert_int_equal(image_bitmap_set(image, "b", 10 * GRANULE + 700, 1),
			 0);
	assert_int_equal(merge_from(image, "a", NULL, "b"), 0);
	dirty(model, GRANULE, 10 * GRANULE + 700, 1);
	image = reopen(image);
	assert_bits(image, "a", model, GRANULE);

	add(other, "all", 65536, true);
	assert_int_equal(image_bitmap_set(other, "all", 0, DISK), 0);
	assert_int_equal(merge_from(image, "a", other, "all"), 0);
	memset(all, 1, sizeof(all));
	image = reopen(image);
	assert_bits(image, "a", all, GRANULE);
	assert_int_equal(change(image, IMAGE_BITMAP_CLEAR, "a"), 0);
	memset(all, 0, sizeof(all));
	assert_int_equal(change(image, IMAGE_BITMAP_DISABLE, "a"), 0);
	assert_int_equal(sync_io_write(image, 0, "x", 1), 0);
	image = reopen(image);
	assert_bits(image, "a", all, GRANULE);
	assert_int_equal(change(image, IMAGE_BITMAP_ENABLE, "a"), 0);
	assert_int_equal(sync_io_write(image, 0, "x", 1), 0);
	all[0] = true;
	image = reopen(image);
	assert_bits(image, "a", all, GRANULE);
	assert_int_equal(change(image, IMAGE_BITMAP_REMOVE, "a"), 0);
	assert_int_equal(change(image, IMAGE_BITMAP_REMOVE, "b"), 0);
	image = reopen(image);
	assert_int_equal(qcow2_of(image)->header.autoclear, 0);
	image_close(other);
	image_close(image);
}

static void a_bitmap_that_cannot_be_is_refused(void **state)
{
	const struct qcow2_create_options old = {.size_bytes = DISK,
						 .version = 2};
	const struct qcow2_create_options huge = {
		.size_bytes = UINT64_C(1) << 44, .cluster_bytes = 65536};
	struct image_bitmap_change c = {.action = IMAGE_BITMAP_ADD,
					.name = "x"};
	struct image *image = make(&old);
	char name[1025];

	assert_int_equal(image_bitmap_change(image, &c), -ENOTSUP);
	image_close(image);
	image = make(&huge);
	c.granularity_bytes = 512;
	assert_int_equal(image_bitmap_change(image, &c), -ENOMEM);
	assert_non_null(strstr(image_error(image), "too large"));
	c.granularity_bytes = 256;
	assert_int_equal(image_bitmap_change(image, &c), -EINVAL);
	c.granularity_bytes = 3 << 20;
	assert_int_equal(image_bitmap_change(image, &c), -EINVAL);
	c.granularity_bytes = UINT32_C(1) << 31;
	memset(name, 'n', 1024);
	name[1024] = 0;
	c.name = name;
	assert_int_equal(image_bitmap_change(image, &c), -EINVAL);
	name[1023] = 0;
	assert_int_equal(image_bitmap_change(image, &c), 0);
	image = reopen(image);
	assert_int_equal(look(image, name).granularity_bytes, UINT32_C(1)
								      << 31);
	image_close(image);
}

static void bitmaps_follow_a_resize(void **state)
{
	struct image *image = make_default();
	bool model[2 * GRANULES] = {0}, on[2 * GRANULES] = {0};

	add(image, "a", GRANULE, true);
	add(image, "on", GRANULE, false);
	assert_int_equal(image_bitmap_set(image, "a", DISK - 1, 1), 0);
	dirty(model, GRANULE, DISK - 1, 1);
	assert_int_equal(image_resize(image, 4 * MIB, IMAGE_PREALLOCATION_FULL),
			 0);
	image = reopen(image);
	assert_int_equal(image->size_bytes, 4 * MIB);
	assert_bits(image, "a", model, GRANULE);
	assert_bits(image, "on", on, GRANULE);
	assert_int_equal(sync_io_write(image, 4 * MIB - 1, "x", 1), 0);
	dirty(on, GRANULE, 4 * MIB - 1, 1);
	image = reopen(image);
	assert_bits(image, "on", on, GRANULE);

	/* What was cut off is not written when it comes back. */
	assert_int_equal(image_resize(image, 2 * MIB, IMAGE_PREALLOCATION_OFF),
			 0);
	assert_int_equal(image_resize(image, 5 * MIB, IMAGE_PREALLOCATION_OFF),
			 0);
	memset(model, 0, sizeof(model));
	memset(on, 0, sizeof(on));
	assert_bits(image, "a", model, GRANULE);
	image = reopen(image);
	assert_bits(image, "a", model, GRANULE);
	assert_bits(image, "on", on, GRANULE);
	image_close(image);
}

/* Killed in the middle, nobody may believe what has another length. */
static void a_resize_marks_bitmaps_that_are_disabled_too(void **state)
{
	struct image *image = make_default();

	add(image, "a", GRANULE, true);
	assert_int_equal(image_resize(image, 4 * MIB, IMAGE_PREALLOCATION_OFF),
			 0);
	image = kill_and_reopen(image);
	assert_int_equal(image->size_bytes, 4 * MIB);
	assert_true(look(image, "a").inconsistent);
	image_close(image);
}

/* Bitmaps would have to tell what differs from the snapshot. */
static void a_snapshot_is_not_applied_beside_bitmaps(void **state)
{
	struct image *image = make_default();

	assert_int_equal(image_snapshot_create(image, "s"), 0);
	add(image, "a", GRANULE, true);
	assert_int_equal(image_snapshot_apply(image, "s"), -EBUSY);
	assert_int_equal(change(image, IMAGE_BITMAP_REMOVE, "a"), 0);
	assert_int_equal(image_snapshot_apply(image, "s"), 0);
	image_close(image);
}

static void a_compressed_write_comes_after_the_marks(void **state)
{
	static const uint8_t data[4096] = {1};
	struct image *image = make_default();

	add(image, "a", GRANULE, false);
	image = reopen(image);
	assert_int_equal(sync_io_write_packed(image, 0, data, 4096), 0);
	image = kill_and_reopen(image);
	assert_true(look(image, "a").inconsistent);
	image_close(image);
}

static void set_autoclear(struct image *image, uint64_t bits)
{
	put_be64((uint8_t *)store_memory_data(image->store) +
			 offsetof(struct qcow2_wire_header, autoclear_features),
		 bits);
}

static uint64_t autoclear_of(struct image *image)
{
	return get_be64((uint8_t *)store_memory_data(image->store) +
			offsetof(struct qcow2_wire_header, autoclear_features));
}

/* Also by a compressed write, which has to flush for that. */
static void a_bit_that_stands_for_no_bitmaps_goes_at_the_first_change(void **s)
{
	static const uint8_t data[4096] = {1};
	struct image_bitmaps list = {0};

	for (int packed = 0; packed < 2; packed++) {
		struct image *image = make_default();

		set_autoclear(image, QCOW2_AUTOCLEAR_BITMAPS | 1 << 20);
		image = kill_and_reopen(image);
		assert_int_equal(image_bitmap_list(image, &list), 0);
		assert_int_equal(list.count, 0);
		image_bitmaps_deinit(&list);
		image = reopen(image);
		assert_int_not_equal(autoclear_of(image), 0);
		assert_int_equal(
			packed ? sync_io_write_packed(image, 0, data, 4096)
			       : sync_io_write(image, 0, data, 4096),
			0);
		assert_int_equal(autoclear_of(image), 0);
		image_close(image);
	}
}

/* Where the directory of a store lies. */
static uint8_t *directory_of(struct image *image)
{
	return (uint8_t *)store_memory_data(image->store) +
	       qcow2_of(image)->header.bitmap_directory_offset;
}

/* An image with "a" (enabled) and "b", whose first entry is changed. */
static struct image *hostile(size_t at, uint8_t value)
{
	struct image *image = make_default();

	add(image, "a", GRANULE, false);
	add(image, "b", GRANULE, true);
	image = reopen(image);
	directory_of(image)[at] = value;
	return kill_and_reopen(image);
}

static void a_broken_directory_is_disowned(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} all[] = {
		{18, 0xff}, /* the name's length */
		{19, 0},    /* the same: none */
		{20, 0xff}, /* extra data beyond the end */
		{24, 0},    /* a zero byte in the name */
		{24, 'b'},  /* two of a name */
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct image *image = hostile(all[i].at, all[i].value);
		struct image_bitmaps list = {0};

		assert_int_equal(image_bitmap_list(image, &list),
				 IMAGE_E_CORRUPT);
		assert_int_equal(sync_io_write(image, 0, "x", 1), 0);
		image = kill_and_reopen(image);
		assert_int_equal(qcow2_of(image)->header.autoclear, 0);
		assert_int_equal(image_bitmap_list(image, &list), 0);
		assert_int_equal(list.count, 0);
		image_bitmaps_deinit(&list);
		image_close(image);
	}
}

static void a_strange_bitmap_is_kept_marked_and_never_believed(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} all[] = {
		{0, 0xff},  /* the table far away */
		{7, 1},	    /* not aligned */
		{8, 0xff},  /* too long a table */
		{11, 9},    /* of another length */
		{12, 0x80}, /* an unknown flag */
		{16, 2},    /* an unknown type */
		{17, 8},    /* granularities */
		{17, 32},   {17, 255},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct image *image = hostile(all[i].at, all[i].value);
		uint64_t offset, length;

		assert_true(look(image, "a").inconsistent);
		assert_false(look(image, "b").inconsistent);
		assert_int_not_equal(
			image_bitmap_next(image, "a", 0, &offset, &length), 0);
		assert_int_equal(sync_io_write(image, 0, "x", 1), 0);
		image = reopen(image);
		assert_true(directory_of(image)[15] & QCOW2_BITMAP_IN_USE);
		assert_int_equal(directory_of(image)[all[i].at], all[i].value);
		add(image, "c", GRANULE, false);
		image = reopen(image);
		assert_int_equal(directory_of(image)[all[i].at], all[i].value);
		image_close(image);
	}
}

static void a_table_entry_that_cannot_be_makes_a_bitmap_inconsistent(void **s)
{
	static const uint64_t entries[] = {
		2, UINT64_C(1) << 56, 4096 | 1, 512, 0, UINT64_C(1) << 40,
	};

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		struct image *image = make_default();
		uint64_t offset, value = entries[i];

		add(image, "a", GRANULE, false);
		if (value == 0) /* the L1 table */
			value = qcow2_of(image)->l1.offset;
		offset = qcow2_of(image)->bitmaps.all[0]->table_offset;
		put_be64((uint8_t *)store_memory_data(image->store) + offset,
			 value);
		image = kill_and_reopen(image);
		assert_true(look(image, "a").inconsistent);
		assert_int_equal(change(image, IMAGE_BITMAP_REMOVE, "a"), 0);
		image_close(image);
	}
}

/* --- Crashes ------------------------------------------------------------------ */

enum {
	MAX_LOG = 2000,
	SMALL_DISK = 256 << 10,
};

/* The file at each write or other change, in the order in which they came. */
static struct store *log_states[MAX_LOG];
static size_t log_count;
static const struct store_ops *plain;

static void log_state(struct store *store)
{
	const uint8_t *data = store_memory_data(store);
	size_t end = store->size_bytes;

	if (log_count == MAX_LOG)
		return;
	/* The file is grown far ahead. */
	while (end >= 4096 && bytes_are_zero(data + end - 4096, 4096))
		end -= 4096;
	assert_int_equal(store_new_memory(end, &log_states[log_count]), 0);
	memcpy(store_memory_data(log_states[log_count++]), data, end);
}

static int logged_write(struct store *store, uint64_t offset, const void *data,
			size_t length)
{
	size_t half = length / 2 / 512 * 512;

	log_state(store);
	if (half) {
		assert_int_equal(plain->write(store, offset, data, half), 0);
		log_state(store);
	}
	return plain->write(store, offset, data, length);
}

static void every_crash_leaves_a_bitmap_right_or_inconsistent(void **state)
{
	static struct store_ops ops;
	const struct qcow2_create_options options = {.size_bytes = SMALL_DISK,
						     .cluster_bytes = 4096};
	bool model[SMALL_DISK / GRANULE] = {0};
	bool got[SMALL_DISK / GRANULE] = {0};
	struct image *image = make(&options);
	size_t believed = 0;

	add(image, "a", GRANULE, false);
	image = reopen(image);
	plain = image->store->ops;
	ops = *plain;
	ops.write = logged_write;
	image->store->ops = &ops;
	srand(1);
	for (unsigned n = 0; n < 12; n++) {
		uint64_t offset, length;

		change_guest(image, &offset, &length);
		dirty(model, GRANULE, offset, length);
		if (n % 4 == 3)
			assert_int_equal(image_flush_sync(image), 0);
	}
	image_close(image);
	assert_in_range(log_count, 20, MAX_LOG - 1);
	for (size_t i = 0; i < log_count; i++) {
		bool none = true;

		image = open_memory(log_states[i]);
		if (!look(image, "a").inconsistent) {
			/* Before the first change, or all of them. */
			none = look(image, "a").dirty_bytes == 0;
			assert_bits(image, "a", none ? got : model, GRANULE);
			if (none)
				assert_true(i < log_count / 2);
			believed++;
		}
		image_close(image);
	}
	assert_in_range(believed, 1, log_count - 1);
	log_count = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			enabled_bitmaps_follow_the_guest_and_disabled_ones_do_not),
		cmocka_unit_test(an_image_that_is_only_read_is_not_touched),
		cmocka_unit_test(a_killed_process_leaves_its_bitmaps_marked),
		cmocka_unit_test(bitmaps_are_changed_by_name),
		cmocka_unit_test(a_bitmap_that_cannot_be_is_refused),
		cmocka_unit_test(bitmaps_follow_a_resize),
		cmocka_unit_test(a_resize_marks_bitmaps_that_are_disabled_too),
		cmocka_unit_test(a_snapshot_is_not_applied_beside_bitmaps),
		cmocka_unit_test(a_compressed_write_comes_after_the_marks),
		cmocka_unit_test(
			a_bit_that_stands_for_no_bitmaps_goes_at_the_first_change),
		cmocka_unit_test(a_broken_directory_is_disowned),
		cmocka_unit_test(
			a_strange_bitmap_is_kept_marked_and_never_believed),
		cmocka_unit_test(
			a_table_entry_that_cannot_be_makes_a_bitmap_inconsistent),
		cmocka_unit_test(
			every_crash_leaves_a_bitmap_right_or_inconsistent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
