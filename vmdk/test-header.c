/* SPDX-License-Identifier: Apache-2.0 */
/* What the headers of sparse extents may claim, and what is refused. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/image.h"
#include "tests/cmocka.h"
#include "vmdk/header.h"

enum {
	FILE_BYTES = 1 << 20,
};

#define AT(field)      offsetof(struct vmdk_wire_sparse, field)
#define COWD(field)    offsetof(struct vmdk_wire_cowd, field)
#define SE(field)      offsetof(struct vmdk_wire_se, field)
#define MARK(f)	       offsetof(struct vmdk_wire_footer, f)
#define TOP_BIT(shift) (UINT64_C(1) << (shift))

typedef int parse(const void *head, uint64_t file_bytes,
		  struct vmdk_sparse *ret, char **ret_error);

/* 1 GiB in grains of 64 KiB: 32 tables. */
static void make_sparse(uint8_t *w)
{
	memset(w, 0, sizeof(struct vmdk_wire_sparse));
	put_le32(w + AT(magic), VMDK_SPARSE_MAGIC);
	put_le32(w + AT(version), 1);
	put_le32(w + AT(flags), VMDK_FLAG_LINE_ENDS | VMDK_FLAG_REDUNDANT);
	put_le64(w + AT(capacity), 2 << 20);
	put_le64(w + AT(grain_size), 128);
	put_le64(w + AT(descriptor_offset), 1);
	put_le64(w + AT(descriptor_size), 20);
	put_le32(w + AT(gtes_per_gt), 512);
	put_le64(w + AT(rgd_offset), 21);
	put_le64(w + AT(gd_offset), 150);
	put_le64(w + AT(overhead), 384);
	memcpy(w + AT(line_ends), VMDK_LINE_ENDS, 4);
}

/* 16 MiB in grains of a sector: 8 tables. */
static void make_cowd(uint8_t *w)
{
	memset(w, 0, sizeof(struct vmdk_wire_cowd));
	put_le32(w + COWD(magic), VMDK_COWD_MAGIC);
	put_le32(w + COWD(version), 1);
	put_le32(w + COWD(flags), 3);
	put_le32(w + COWD(capacity), 32768);
	put_le32(w + COWD(grain_size), 1);
	put_le32(w + COWD(gd_offset), 4);
	put_le32(w + COWD(gd_entries), 8);
	put_le32(w + COWD(next_free), 260);
}

static void make_se(uint8_t *w)
{
	memset(w, 0, sizeof(struct vmdk_wire_se));
	put_le64(w + SE(magic), VMDK_SE_MAGIC);
	put_le64(w + SE(version), VMDK_SE_VERSION);
	put_le64(w + SE(capacity), 32769);
	put_le64(w + SE(grain_size), 8);
	put_le64(w + SE(grain_table_size), 64);
	put_le64(w + SE(state), 1);
	put_le64(w + SE(grain_directory), 2);
	put_le64(w + SE(grain_tables), 8);
	put_le64(w + SE(grain_tables) + 8, 128);
	put_le64(w + SE(grains), 200);
}

static void expect_refusal(parse *how, const uint8_t *head, uint64_t file_bytes,
			   int outcome, const char *words)
{
	struct vmdk_sparse s;
	char *error = NULL;
	int err = how(head, file_bytes, &s, &error);

	if (err != outcome || !error || !strstr(error, words))
		fail_msg("got %d \"%s\", expected %d \"%s\"", err,
			 error ? error : "", outcome, words);
	free(error);
}

static void expect_accepted(parse *how, const uint8_t *head,
			    struct vmdk_sparse *ret)
{
	char *error = NULL;
	int err = how(head, FILE_BYTES, ret, &error);

	if (err)
		fail_msg("%d: %s", err, error ? error : "");
}

static void sound_headers_say_where_things_are(void **state)
{
	uint8_t w[2048];
	struct vmdk_sparse s;

	make_sparse(w);
	expect_accepted(vmdk_header_parse_sparse, w, &s);
	assert_int_equal(s.capacity_sectors, 2 << 20);
	assert_int_equal(s.gd_entries, 32);
	assert_int_equal(s.gd_offset, 150 * 512);
	assert_int_equal(s.rgd_offset, 21 * 512);
	assert_int_equal(s.descriptor_offset, 512);
	assert_int_equal(s.descriptor_bytes, 20 * 512);
	assert_false(s.compressed || s.markers || s.zero_grains || s.at_end);
	make_cowd(w);
	expect_accepted(vmdk_header_parse_cowd, w, &s);
	assert_int_equal(s.gd_entries, 8);
	assert_int_equal(s.gd_offset, 2048);
	assert_int_equal(s.gt_entries, 4096);
	assert_int_equal(s.free_offset, 260 * 512);
	/* No grain lies in the header or the directory behind it. */
	assert_int_equal(s.overhead_bytes, 5 * 512);
	make_se(w);
	expect_accepted(vmdk_header_parse_se, w, &s);
	assert_int_equal(s.gd_entries, 2);
	assert_int_equal(s.tables_bytes, 128 * 512);
	assert_int_equal(s.grains_offset, 200 * 512);
}

static void sparse_32(size_t at, uint32_t value, int outcome, const char *words)
{
	uint8_t w[512];

	make_sparse(w);
	put_le32(w + at, value);
	expect_refusal(vmdk_header_parse_sparse, w, FILE_BYTES, outcome, words);
}

static void sparse_64(size_t at, uint64_t value, int outcome, const char *words)
{
	uint8_t w[512];

	make_sparse(w);
	put_le64(w + at, value);
	expect_refusal(vmdk_header_parse_sparse, w, FILE_BYTES, outcome, words);
}

static void what_is_not_known_is_refused_by_name(void **state)
{
	uint8_t w[512];

	sparse_32(AT(version), 0, IMAGE_E_UNSUPPORTED, "version 0");
	sparse_32(AT(version), 4, IMAGE_E_UNSUPPORTED, "version 4");
	sparse_32(AT(flags), 1 << 18, IMAGE_E_UNSUPPORTED, "0x40000");
	sparse_32(AT(flags), VMDK_FLAG_COMPRESSED, IMAGE_E_CORRUPT,
		  "no method");
	sparse_32(AT(magic), 0, IMAGE_E_CORRUPT, "begin");
	make_sparse(w);
	w[AT(compression)] = 2;
	expect_refusal(vmdk_header_parse_sparse, w, FILE_BYTES,
		       IMAGE_E_UNSUPPORTED, "compression, 2");
	make_sparse(w);
	w[AT(line_ends)] = '\r';
	expect_refusal(vmdk_header_parse_sparse, w, FILE_BYTES, IMAGE_E_CORRUPT,
		       "as a text");
}

static void sizes_that_cannot_be_are_refused(void **state)
{
	sparse_64(AT(capacity), TOP_BIT(54), IMAGE_E_CORRUPT, "too large");
	sparse_64(AT(capacity), TOP_BIT(50), IMAGE_E_UNSUPPORTED,
		  "larger than 33554432");
	sparse_64(AT(grain_size), 0, IMAGE_E_CORRUPT, "power of two");
	sparse_64(AT(grain_size), 129, IMAGE_E_CORRUPT, "power of two");
	sparse_64(AT(grain_size), 65536, IMAGE_E_UNSUPPORTED, "than 32768");
	sparse_64(AT(grain_size), TOP_BIT(63), IMAGE_E_UNSUPPORTED, "than");
	sparse_32(AT(gtes_per_gt), 0, IMAGE_E_CORRUPT, "0 entries");
	sparse_32(AT(gtes_per_gt), 513, IMAGE_E_CORRUPT, "513 entries");
	sparse_64(AT(descriptor_size), 2049, IMAGE_E_UNSUPPORTED, "1048576");
}

/* Each limit is reached, and passed by the case above. */
static void the_largest_that_may_be_are_accepted(void **state)
{
	const uint64_t huge = TOP_BIT(40);
	struct vmdk_sparse s;
	char *error = NULL;
	uint8_t w[512];

	make_sparse(w);
	put_le64(w + AT(capacity),
		 (uint64_t)VMDK_MAX_GD_ENTRIES * VMDK_MAX_GTES * 128);
	put_le32(w + AT(flags), 0);
	put_le64(w + AT(descriptor_size), 2048);
	assert_int_equal(vmdk_header_parse_sparse(w, huge, &s, &error), 0);
	assert_int_equal(s.gd_entries, VMDK_MAX_GD_ENTRIES);
	assert_int_equal(s.descriptor_bytes, 1 << 20);
	put_le64(w + AT(capacity),
		 (uint64_t)VMDK_MAX_GD_ENTRIES * VMDK_MAX_GTES * 128 + 1);
	expect_refusal(vmdk_header_parse_sparse, w, huge, IMAGE_E_UNSUPPORTED,
		       "larger than 33554432");
	put_le64(w + AT(capacity), (uint64_t)INT64_MAX / 512);
	put_le64(w + AT(grain_size), VMDK_MAX_GRAIN_SECTORS);
	expect_refusal(vmdk_header_parse_sparse, w, huge, IMAGE_E_UNSUPPORTED,
		       "larger than 33554432");
}

static void places_outside_the_file_are_refused(void **state)
{
	uint8_t w[512];

	sparse_64(AT(gd_offset), 0, IMAGE_E_CORRUPT, "grain directory");
	sparse_64(AT(gd_offset), FILE_BYTES / 512, IMAGE_E_CORRUPT,
		  "directory");
	sparse_64(AT(gd_offset), TOP_BIT(55), IMAGE_E_CORRUPT, "directory");
	sparse_64(AT(rgd_offset), TOP_BIT(55), IMAGE_E_CORRUPT, "second");
	sparse_64(AT(overhead), TOP_BIT(63), IMAGE_E_CORRUPT, "cut off");
	sparse_64(AT(descriptor_size), 0, IMAGE_E_CORRUPT, "descriptor");
	sparse_64(AT(descriptor_offset), TOP_BIT(55), IMAGE_E_CORRUPT,
		  "descriptor");
	make_sparse(w);
	expect_refusal(vmdk_header_parse_sparse, w, 383 * 512, IMAGE_E_CORRUPT,
		       "cut off");
}

/* A second directory that no flag announces is not looked at. */
static void what_is_not_announced_is_not_judged(void **state)
{
	uint8_t w[512];
	struct vmdk_sparse s;

	make_sparse(w);
	put_le32(w + AT(flags), 0);
	put_le64(w + AT(rgd_offset), UINT64_MAX);
	w[AT(line_ends)] = 0;
	expect_accepted(vmdk_header_parse_sparse, w, &s);
	assert_int_equal(s.rgd_offset, 0);
	/* Only a descriptor, which names the extents. */
	put_le64(w + AT(capacity), 0);
	put_le64(w + AT(grain_size), 0);
	expect_accepted(vmdk_header_parse_sparse, w, &s);
	assert_int_equal(s.descriptor_offset, 512);
	put_le64(w + AT(descriptor_offset), 0);
	expect_refusal(vmdk_header_parse_sparse, w, FILE_BYTES, IMAGE_E_CORRUPT,
		       "no capacity");
}

static int with_footer(uint8_t *tail, char **ret_error, struct vmdk_sparse *s)
{
	uint8_t w[512];

	make_sparse(w);
	put_le64(w + AT(gd_offset), VMDK_GD_AT_END);
	expect_accepted(vmdk_header_parse_sparse, w, s);
	assert_true(s->at_end);
	*ret_error = NULL;
	return vmdk_header_parse_footer(tail, FILE_BYTES, s, ret_error);
}

static void make_footer(uint8_t *tail)
{
	memset(tail, 0, sizeof(struct vmdk_wire_footer));
	put_le32(tail + MARK(marker.type), VMDK_MARKER_FOOTER);
	make_sparse(tail + MARK(header));
}

static void refuse_footer(uint8_t *tail, const char *words)
{
	struct vmdk_sparse s;
	char *error;

	assert_int_equal(with_footer(tail, &error, &s), IMAGE_E_CORRUPT);
	if (!strstr(error, words))
		fail_msg("\"%s\" lacks \"%s\"", error, words);
	free(error);
}

static void a_footer_has_the_directory_and_nothing_else_new(void **state)
{
	uint8_t tail[sizeof(struct vmdk_wire_footer)];
	struct vmdk_sparse s;
	char *error;

	make_footer(tail);
	assert_int_equal(with_footer(tail, &error, &s), 0);
	assert_false(s.at_end);
	assert_int_equal(s.gd_offset, 150 * 512);
	put_le32(tail + MARK(marker.type), VMDK_MARKER_GRAIN_TABLE);
	refuse_footer(tail, "no footer");
	make_footer(tail);
	put_le32(tail + MARK(end.size), 1);
	refuse_footer(tail, "no footer");
	make_footer(tail);
	put_le64(tail + MARK(header.capacity), 1 << 20);
	refuse_footer(tail, "different");
	make_footer(tail);
	put_le64(tail + MARK(header.gd_offset), VMDK_GD_AT_END);
	refuse_footer(tail, "different");
	make_footer(tail);
	put_le64(tail + MARK(header.gd_offset), FILE_BYTES / 512);
	refuse_footer(tail, "does not lie in the file");
}

static void cowd_32(size_t at, uint32_t value, int outcome, const char *words)
{
	uint8_t w[2048];

	make_cowd(w);
	put_le32(w + at, value);
	expect_refusal(vmdk_header_parse_cowd, w, FILE_BYTES, outcome, words);
}

static void cowd_headers_have_the_same_limits(void **state)
{
	cowd_32(COWD(magic), 1, IMAGE_E_CORRUPT, "begin");
	cowd_32(COWD(version), 2, IMAGE_E_UNSUPPORTED, "version 2");
	cowd_32(COWD(capacity), 0, IMAGE_E_CORRUPT, "no capacity");
	cowd_32(COWD(grain_size), 3, IMAGE_E_CORRUPT, "power of two");
	cowd_32(COWD(gd_entries), 7, IMAGE_E_CORRUPT, "needs 8");
	cowd_32(COWD(grain_size), 65536, IMAGE_E_UNSUPPORTED, "than 32768");
	cowd_32(COWD(gd_offset), 0, IMAGE_E_CORRUPT, "directory");
	cowd_32(COWD(gd_offset), 3, IMAGE_E_CORRUPT, "within the header");
	cowd_32(COWD(gd_offset), UINT32_MAX, IMAGE_E_CORRUPT, "directory");
}

static void se_64(size_t at, uint64_t value, int outcome, const char *words)
{
	uint8_t w[512];

	make_se(w);
	put_le64(w + at, value);
	expect_refusal(vmdk_header_parse_se, w, FILE_BYTES, outcome, words);
}

static void se_headers_have_the_same_limits(void **state)
{
	se_64(SE(magic), 1, IMAGE_E_CORRUPT, "begin");
	se_64(SE(version), 3, IMAGE_E_UNSUPPORTED, "version 0x3");
	se_64(SE(capacity), 0, IMAGE_E_CORRUPT, "no capacity");
	se_64(SE(capacity), TOP_BIT(53), IMAGE_E_UNSUPPORTED, "larger");
	se_64(SE(grain_size), 16, IMAGE_E_UNSUPPORTED, "16 sectors");
	se_64(SE(grain_table_size), 32, IMAGE_E_UNSUPPORTED, "tables 32");
	se_64(SE(flags), 1, IMAGE_E_UNSUPPORTED, "features");
	se_64(SE(reserved) + 24, 1, IMAGE_E_UNSUPPORTED, "features");
	se_64(SE(state), 2048, IMAGE_E_CORRUPT, "second header");
	se_64(SE(grain_directory), TOP_BIT(55), IMAGE_E_CORRUPT, "directory");
	se_64(SE(grain_tables), 0, IMAGE_E_CORRUPT, "tables");
	se_64(SE(grain_tables) + 8, TOP_BIT(55), IMAGE_E_CORRUPT, "tables");
	se_64(SE(grains), 0, IMAGE_E_CORRUPT, "grains");
	se_64(SE(grains), TOP_BIT(55), IMAGE_E_CORRUPT, "grains");
}

static void a_journal_to_be_replayed_is_refused(void **state)
{
	uint8_t w[sizeof(struct vmdk_wire_se_state)] = {0};
	char *error = NULL;

	assert_int_equal(vmdk_header_check_state(w, NULL), IMAGE_E_CORRUPT);
	put_le64(w, VMDK_SE_STATE_MAGIC);
	assert_int_equal(vmdk_header_check_state(w, NULL), 0);
	put_le64(w + offsetof(struct vmdk_wire_se_state, replay_journal), 1);
	assert_int_equal(vmdk_header_check_state(w, &error),
			 IMAGE_E_UNSUPPORTED);
	assert_non_null(strstr(error, "replayed"));
	free(error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sound_headers_say_where_things_are),
		cmocka_unit_test(what_is_not_known_is_refused_by_name),
		cmocka_unit_test(sizes_that_cannot_be_are_refused),
		cmocka_unit_test(the_largest_that_may_be_are_accepted),
		cmocka_unit_test(places_outside_the_file_are_refused),
		cmocka_unit_test(what_is_not_announced_is_not_judged),
		cmocka_unit_test(
			a_footer_has_the_directory_and_nothing_else_new),
		cmocka_unit_test(cowd_headers_have_the_same_limits),
		cmocka_unit_test(se_headers_have_the_same_limits),
		cmocka_unit_test(a_journal_to_be_replayed_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
