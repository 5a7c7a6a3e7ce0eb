/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/images/damaged.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/open.h"
#include "qcow2/format.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/scratch.h"

#define OFFSET QCOW2_OFFSET_MASK
#define HEADER(file, bytes, field) \
	damaged_get(file, offsetof(struct qcow2_wire_header, field), bytes)

uint64_t damaged_get(const struct damaged *file, uint64_t at, unsigned bytes)
{
	uint64_t value = 0;

	assert_true(range_fits(at, bytes, file->size));
	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | file->data[at + i];
	return value;
}

void damaged_put(struct damaged *file, uint64_t at, unsigned bytes,
		 uint64_t value)
{
	assert_true(range_fits(at, bytes, file->size));
	for (unsigned i = 0; i < bytes; i++)
		file->data[at + i] = value >> 8 * (bytes - 1 - i);
}

static void find_bitmaps(struct damaged *f)
{
	uint64_t at = HEADER(f, 4, header_length);
	uint32_t type;

	if (HEADER(f, 4, version) < 3)
		return;
	while ((type = damaged_get(f, at, 4)) != QCOW2_EXT_END) {
		if (type == QCOW2_EXT_BITMAPS) {
			f->bitmaps_extension = at + 8;
			f->bitmaps = damaged_get(f, at + 8 + 16, 8);
		}
		at += 8 + align_up(damaged_get(f, at + 4, 4), 8);
	}
}

void damaged_load(struct damaged *file, const char *name)
{
	size_t size;

	*file = (struct damaged){.data = scratch_read(name, &size)};
	file->size = size;
	file->cluster = UINT64_C(1) << HEADER(file, 4, cluster_bits);
	file->l1 = HEADER(file, 8, l1_table_offset);
	file->l2 = damaged_get(file, file->l1, 8) & OFFSET;
	file->reftable = HEADER(file, 8, refcount_table_offset);
	if (HEADER(file, 4, nb_snapshots)) {
		file->snapshots = HEADER(file, 8, snapshots_offset);
		file->snapshot_l1 = damaged_get(file, file->snapshots, 8);
		file->snapshot_l2 =
			damaged_get(file, file->snapshot_l1, 8) & OFFSET;
	}
	find_bitmaps(file);
}

void damaged_copy(struct damaged *to, const struct damaged *from)
{
	*to = *from;
	to->data = malloc(from->size);
	assert_non_null(to->data);
	memcpy(to->data, from->data, from->size);
}

void damaged_free(struct damaged *file)
{
	free(file->data);
	file->data = NULL;
}

void damaged_write(const char *name, const struct damaged *file)
{
	FILE *out = fopen(name, "w");

	assert_non_null(out);
	assert_int_equal(fwrite(file->data, 1, file->size, out), file->size);
	assert_int_equal(fclose(out), 0);
}

void damaged_copy_file(const char *to, const char *from)
{
	struct damaged file = {0};
	size_t size;

	file.data = scratch_read(from, &size);
	file.size = size;
	damaged_write(to, &file);
	damaged_free(&file);
}

bool damaged_same_files(const char *a, const char *b)
{
	size_t a_size, b_size;
	uint8_t *x = scratch_read(a, &a_size), *y = scratch_read(b, &b_size);
	bool same = a_size == b_size && memcmp(x, y, a_size) == 0;

	free(x);
	free(y);
	return same;
}

uint64_t damaged_snapshot(const struct damaged *file, uint32_t index)
{
	uint64_t at = file->snapshots;

	for (uint32_t i = 0; i < index; i++)
		at = align_up(at + sizeof(struct qcow2_wire_snapshot) +
				      damaged_get(file, at + 12, 2) +
				      damaged_get(file, at + 14, 2) +
				      damaged_get(file, at + 36, 4),
			      8);
	return at;
}

uint64_t damaged_bitmap(const struct damaged *file, uint32_t index)
{
	uint64_t at = file->bitmaps;

	for (uint32_t i = 0; i < index; i++)
		at = align_up(at + sizeof(struct qcow2_wire_bitmap) +
				      damaged_get(file, at + 18, 2) +
				      damaged_get(file, at + 20, 4),
			      8);
	return at;
}

static void tell(void *opaque, const char *finding, bool fixed)
{
	if (getenv("RINGLINE_TELL"))
		print_message("  %s: %s\n", fixed ? "fixed" : "found", finding);
}

int damaged_check(const char *name, enum image_fix fix, struct image_check *ret)
{
	const struct image_open_options options = {
		.read_only = fix == IMAGE_FIX_NONE,
		.check = true,
	};
	const struct store_file_options file = {.read_only = options.read_only};
	struct store *store;
	struct image *image;
	char *error = NULL;
	int err;

	*ret = (struct image_check){0};
	assert_int_equal(store_open_file(name, &file, &store, &error), 0);
	err = qcow2_format.open(store, &options, &image, &error);
	if (err) {
		print_error("%s: %s\n", name, error ? error : "");
		free(error);
		store_free(store);
		return 1;
	}
	err = image_check(image, fix, tell, NULL, ret);
	if (err)
		print_error("%s: check: %d %s\n", name, err,
			    image_error(image));
	assert_int_equal(image_close(image), 0);
	if (err || ret->check_errors)
		return 1;
	return ret->corruptions ? 2 : ret->leaks ? 3 : 0;
}

int damaged_check_theirs(const char *name)
{
	int status =
		scratch_run("qemu-img check -f qcow2 --output=json %s", name);

	return status == 1 ? 2 : status;
}

uint64_t damaged_theirs(const char *key)
{
	char pattern[64];
	const char *at;

	snprintf(pattern, sizeof(pattern), "\"%s\": ", key);
	at = strstr(scratch_output(), pattern);
	return at ? strtoull(at + strlen(pattern), NULL, 10) : 0;
}
