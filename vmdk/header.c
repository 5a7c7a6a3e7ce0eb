/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/header.h"

#include <string.h>

#include "base/bytes.h"
#include "image/image.h"
#include "vmdk/descriptor.h"

#define corrupt(ret_error, ...) \
	store_fail(ret_error, IMAGE_E_CORRUPT, __VA_ARGS__)
#define unsupported(ret_error, ...) \
	store_fail(ret_error, IMAGE_E_UNSUPPORTED, __VA_ARGS__)

typedef unsigned long long number;

/* [offset, offset + length) in sectors, inside the file. */
static bool sectors_fit(uint64_t offset, uint64_t length, uint64_t file_bytes)
{
	return range_fits(offset, length, file_bytes >> VMDK_SECTOR_BITS);
}

static int judge_geometry(struct vmdk_sparse *s, char **ret_error)
{
	if (s->capacity_sectors > VMDK_MAX_SECTORS)
		return corrupt(ret_error,
			       "a capacity of %llu sectors is too "
			       "large",
			       (number)s->capacity_sectors);
	if (!is_power_of_two(s->grain_sectors))
		return corrupt(ret_error,
			       "a grain of %llu sectors is no power "
			       "of two",
			       (number)s->grain_sectors);
	if (s->grain_sectors > VMDK_MAX_GRAIN_SECTORS)
		return unsupported(ret_error,
				   "a grain of %llu sectors is "
				   "larger than %u",
				   (number)s->grain_sectors,
				   VMDK_MAX_GRAIN_SECTORS);
	s->gd_entries = div_round_up(s->capacity_sectors,
				     s->grain_sectors * s->gt_entries);
	if (s->gd_entries > VMDK_MAX_GD_ENTRIES)
		return unsupported(ret_error,
				   "a grain directory of %llu "
				   "entries is larger than %u",
				   (number)s->gd_entries, VMDK_MAX_GD_ENTRIES);
	return 0;
}

/* @sector is where the directory begins, of entries of @entry_bytes. */
static int judge_directory(const struct vmdk_sparse *s, const char *which,
			   uint64_t sector, unsigned entry_bytes,
			   uint64_t file_bytes, char **ret_error)
{
	uint64_t bytes = s->gd_entries * entry_bytes;

	if (sector != 0 && sector <= file_bytes >> VMDK_SECTOR_BITS &&
	    bytes <= file_bytes - (sector << VMDK_SECTOR_BITS))
		return 0;
	return corrupt(ret_error,
		       "the %s of %llu entries at sector %llu does "
		       "not lie in the file",
		       which, (number)s->gd_entries, (number)sector);
}

static int judge_descriptor(struct vmdk_sparse *s, uint64_t sector,
			    uint64_t sectors, uint64_t file_bytes,
			    char **ret_error)
{
	if (sector == 0)
		return 0;
	if (sectors > VMDK_MAX_DESCRIPTOR_BYTES / VMDK_SECTOR_BYTES)
		return unsupported(ret_error,
				   "a descriptor of %llu sectors is "
				   "larger than %u bytes",
				   (number)sectors, VMDK_MAX_DESCRIPTOR_BYTES);
	if (sectors == 0 || !sectors_fit(sector, sectors, file_bytes))
		return corrupt(ret_error,
			       "the descriptor of %llu sectors at "
			       "sector %llu does not lie in the "
			       "file",
			       (number)sectors, (number)sector);
	s->descriptor_offset = sector << VMDK_SECTOR_BITS;
	s->descriptor_bytes = sectors << VMDK_SECTOR_BITS;
	return 0;
}

/* What has to be understood before any number is believed. */
static int judge_features(const struct vmdk_wire_sparse *w, char **ret_error)
{
	uint32_t version = le32toh(w->version);
	uint32_t flags = le32toh(w->flags);
	uint32_t unknown = flags & VMDK_FLAGS_INCOMPATIBLE &
			   ~(uint32_t)VMDK_FLAGS_KNOWN_INCOMPATIBLE;
	uint16_t compression = le16toh(w->compression);

	if (le32toh(w->magic) != VMDK_SPARSE_MAGIC)
		return corrupt(ret_error, "it does not begin as a sparse "
					  "extent");
	if (version == 0 || version > VMDK_MAX_VERSION)
		return unsupported(ret_error,
				   "it has version %u, and only 1 "
				   "to %u are known",
				   version, VMDK_MAX_VERSION);
	if ((flags & VMDK_FLAG_LINE_ENDS) &&
	    memcmp(w->line_ends, VMDK_LINE_ENDS, sizeof(w->line_ends)) != 0)
		return corrupt(ret_error, "its ends of lines were changed: it "
					  "was copied as a text");
	if (unknown)
		return unsupported(ret_error,
				   "it has features that are not "
				   "known (flags 0x%x)",
				   unknown);
	if (compression > VMDK_COMPRESSION_DEFLATE)
		return unsupported(ret_error,
				   "its method of compression, %u, "
				   "is not known",
				   compression);
	if ((flags & VMDK_FLAG_COMPRESSED) && !compression)
		return corrupt(ret_error, "it is compressed by no method");
	return 0;
}

static int judge_places(const struct vmdk_wire_sparse *w, uint64_t file_bytes,
			struct vmdk_sparse *s, char **ret_error)
{
	uint64_t gd = le64toh(w->gd_offset), rgd = le64toh(w->rgd_offset);
	uint64_t overhead = le64toh(w->overhead);
	int err;

	s->at_end = gd == VMDK_GD_AT_END;
	if (s->at_end)
		return 0;
	err = judge_directory(s, "grain directory", gd, sizeof(uint32_t),
			      file_bytes, ret_error);
	if (err)
		return err;
	s->gd_offset = gd << VMDK_SECTOR_BITS;
	if (overhead > div_round_up(file_bytes, VMDK_SECTOR_BYTES))
		return corrupt(ret_error,
			       "it ends within its %llu sectors of "
			       "metadata: it was cut off",
			       (number)overhead);
	s->overhead_bytes = MAX(overhead << VMDK_SECTOR_BITS, s->header_bytes);
	if (!(le32toh(w->flags) & VMDK_FLAG_REDUNDANT) || rgd == 0)
		return 0;
	err = judge_directory(s, "second grain directory", rgd,
			      sizeof(uint32_t), file_bytes, ret_error);
	if (err == 0)
		s->rgd_offset = rgd << VMDK_SECTOR_BITS;
	return err;
}

static int judge_sparse(const struct vmdk_wire_sparse *w, uint64_t file_bytes,
			struct vmdk_sparse *s, char **ret_error)
{
	int err;

	if (s->gt_entries == 0 || s->gt_entries > VMDK_MAX_GTES)
		return corrupt(ret_error,
			       "a grain table cannot have %u "
			       "entries",
			       s->gt_entries);
	err = judge_geometry(s, ret_error);
	return err ? err : judge_places(w, file_bytes, s, ret_error);
}

int vmdk_header_parse_sparse(const void *head, uint64_t file_bytes,
			     struct vmdk_sparse *ret, char **ret_error)
{
	struct vmdk_wire_sparse w;
	struct vmdk_sparse s = {
		.kind = VMDK_KIND_KDMV,
		.header_bytes = sizeof(w),
	};
	uint32_t flags;
	int err;

	memcpy(&w, head, sizeof(w));
	err = judge_features(&w, ret_error);
	if (err)
		return err;
	flags = le32toh(w.flags);
	s.version = le32toh(w.version);
	s.capacity_sectors = le64toh(w.capacity);
	s.grain_sectors = le64toh(w.grain_size);
	s.gt_entries = le32toh(w.gtes_per_gt);
	s.compressed = le16toh(w.compression) == VMDK_COMPRESSION_DEFLATE;
	s.markers = flags & VMDK_FLAG_MARKERS;
	s.zero_grains = flags & VMDK_FLAG_ZERO_GRAINS;
	s.unclean = w.unclean;
	err = judge_descriptor(&s, le64toh(w.descriptor_offset),
			       le64toh(w.descriptor_size), file_bytes,
			       ret_error);
	if (err == 0 && s.capacity_sectors != 0)
		err = judge_sparse(&w, file_bytes, &s, ret_error);
	if (err)
		return err;
	if (s.capacity_sectors == 0 && s.descriptor_offset == 0)
		return corrupt(ret_error, "it has no capacity");
	*ret = s;
	return 0;
}

static bool is_marker(const struct vmdk_wire_marker *m, enum vmdk_marker type)
{
	return m->size == 0 && le32toh(m->type) == (uint32_t)type;
}

int vmdk_header_parse_footer(const void *tail, uint64_t file_bytes,
			     struct vmdk_sparse *sparse, char **ret_error)
{
	struct vmdk_wire_footer w;
	struct vmdk_sparse s;
	int err;

	memcpy(&w, tail, sizeof(w));
	if (!is_marker(&w.marker, VMDK_MARKER_FOOTER) ||
	    !is_marker(&w.end, VMDK_MARKER_END))
		return corrupt(ret_error, "its end has no footer: the stream "
					  "was cut off");
	err = vmdk_header_parse_sparse(&w.header, file_bytes, &s, ret_error);
	if (err)
		return err;
	if (s.at_end || s.capacity_sectors != sparse->capacity_sectors ||
	    s.grain_sectors != sparse->grain_sectors ||
	    s.gt_entries != sparse->gt_entries ||
	    s.compressed != sparse->compressed || s.markers != sparse->markers)
		return corrupt(ret_error, "its header and its footer say "
					  "different things");
	/* The footer of some has no descriptor. */
	s.descriptor_offset = sparse->descriptor_offset;
	s.descriptor_bytes = sparse->descriptor_bytes;
	*sparse = s;
	return 0;
}

int vmdk_header_parse_cowd(const void *head, uint64_t file_bytes,
			   struct vmdk_sparse *ret, char **ret_error)
{
	struct vmdk_wire_cowd w;
	struct vmdk_sparse s = {
		.kind = VMDK_KIND_COWD,
		.header_bytes = sizeof(w),
		.overhead_bytes = sizeof(w),
		.gt_entries = VMDK_COWD_GTES,
	};
	uint64_t gd;
	int err;

	memcpy(&w, head, sizeof(w));
	if (le32toh(w.magic) != VMDK_COWD_MAGIC)
		return corrupt(ret_error, "it does not begin as a COWD extent");
	s.version = le32toh(w.version);
	if (s.version != VMDK_COWD_VERSION)
		return unsupported(ret_error,
				   "it has version %u, and only 1 "
				   "is known",
				   s.version);
	s.capacity_sectors = le32toh(w.capacity);
	s.grain_sectors = le32toh(w.grain_size);
	s.free_offset = (uint64_t)le32toh(w.next_free) << VMDK_SECTOR_BITS;
	s.unclean = w.unclean;
	if (s.capacity_sectors == 0)
		return corrupt(ret_error, "it has no capacity");
	err = judge_geometry(&s, ret_error);
	if (err)
		return err;
	if (le32toh(w.gd_entries) < s.gd_entries)
		return corrupt(ret_error,
			       "its grain directory has %u entries, "
			       "and its capacity needs %llu",
			       le32toh(w.gd_entries), (number)s.gd_entries);
	gd = le32toh(w.gd_offset);
	err = judge_directory(&s, "grain directory", gd, sizeof(uint32_t),
			      file_bytes, ret_error);
	if (err)
		return err;
	s.gd_offset = gd << VMDK_SECTOR_BITS;
	if (s.gd_offset < s.header_bytes)
		return corrupt(ret_error,
			       "the grain directory at sector %llu lies within "
			       "the header",
			       (number)gd);
	/* It is elsewhere in none that was seen. */
	if (s.gd_offset == s.header_bytes)
		s.overhead_bytes += align_up(s.gd_entries * sizeof(uint32_t),
					     VMDK_SECTOR_BYTES);
	*ret = s;
	return 0;
}

static struct vmdk_region take_region(const struct vmdk_wire_se_part *part)
{
	return (struct vmdk_region){
		.offset = le64toh(part->offset),
		.size = le64toh(part->size),
	};
}

static void take_reserved(const struct vmdk_wire_se *w, struct vmdk_sparse *s)
{
	s->reserved[VMDK_SE_JOURNAL_HEADER] = take_region(&w->journal_header);
	s->reserved[VMDK_SE_JOURNAL] = take_region(&w->journal);
	s->reserved[VMDK_SE_FREE_BITMAP] = take_region(&w->free_bitmap);
	s->reserved[VMDK_SE_BACK_MAP] = take_region(&w->back_map);
}

/* Parts whose place does not depend on what the guest wrote. */
static int judge_se_parts(const struct vmdk_wire_se *w, uint64_t file_bytes,
			  struct vmdk_sparse *s, char **ret_error)
{
	uint64_t gd = le64toh(w->grain_directory.offset);
	uint64_t tables = le64toh(w->grain_tables.offset);
	uint64_t table_sectors = le64toh(w->grain_tables.size);
	uint64_t grains = le64toh(w->grains.offset);
	uint64_t state = le64toh(w->state.offset);
	int err = judge_directory(s, "grain directory", gd, sizeof(uint64_t),
				  file_bytes, ret_error);

	if (err)
		return err;
	if (!sectors_fit(state, 1, file_bytes))
		return corrupt(ret_error,
			       "its second header at sector %llu "
			       "does not lie in the file",
			       (number)state);
	if (tables == 0 || !sectors_fit(tables, table_sectors, file_bytes))
		return corrupt(ret_error, "its grain tables do not lie in the "
					  "file");
	if (grains == 0 || grains > VMDK_MAX_SECTORS)
		return corrupt(ret_error,
			       "its grains cannot begin at sector "
			       "%llu",
			       (number)grains);
	s->gd_offset = gd << VMDK_SECTOR_BITS;
	s->state_offset = state << VMDK_SECTOR_BITS;
	s->tables_offset = tables << VMDK_SECTOR_BITS;
	s->tables_bytes = table_sectors << VMDK_SECTOR_BITS;
	s->grains_offset = grains << VMDK_SECTOR_BITS;
	s->grains_sectors = le64toh(w->grains.size);
	return 0;
}

int vmdk_header_parse_se(const void *head, uint64_t file_bytes,
			 struct vmdk_sparse *ret, char **ret_error)
{
	struct vmdk_wire_se w;
	struct vmdk_sparse s = {
		.kind = VMDK_KIND_SE,
		.header_bytes = sizeof(w),
		.gt_entries = VMDK_SE_GTES,
		.zero_grains = true,
	};
	int err;

	memcpy(&w, head, sizeof(w));
	if (le64toh(w.magic) != VMDK_SE_MAGIC)
		return corrupt(ret_error, "it does not begin as a seSparse "
					  "extent");
	if (le64toh(w.version) != VMDK_SE_VERSION)
		return unsupported(ret_error,
				   "it has version 0x%llx, and only "
				   "0x%llx is known",
				   (number)le64toh(w.version),
				   (number)VMDK_SE_VERSION);
	s.capacity_sectors = le64toh(w.capacity);
	s.grain_sectors = le64toh(w.grain_size);
	if (s.grain_sectors != VMDK_SE_GRAIN_SECTORS ||
	    le64toh(w.grain_table_size) != VMDK_SE_TABLE_SECTORS)
		return unsupported(ret_error,
				   "its grains have %llu sectors "
				   "and their tables %llu; only %u "
				   "and %u are known",
				   (number)s.grain_sectors,
				   (number)le64toh(w.grain_table_size),
				   VMDK_SE_GRAIN_SECTORS,
				   VMDK_SE_TABLE_SECTORS);
	if (w.flags || !bytes_are_zero(w.reserved, sizeof(w.reserved)))
		return unsupported(ret_error, "it has features that are not "
					      "known");
	if (s.capacity_sectors == 0)
		return corrupt(ret_error, "it has no capacity");
	err = judge_geometry(&s, ret_error);
	if (err == 0)
		take_reserved(&w, &s);
	if (err == 0)
		err = judge_se_parts(&w, file_bytes, &s, ret_error);
	if (err == 0)
		*ret = s;
	return err;
}

int vmdk_header_check_state(const void *state, char **ret_error)
{
	struct vmdk_wire_se_state w;

	memcpy(&w, state, sizeof(w));
	if (le64toh(w.magic) != VMDK_SE_STATE_MAGIC)
		return corrupt(ret_error, "its second header is none");
	if (w.replay_journal)
		return unsupported(ret_error, "a change of it was cut off, and "
					      "its journal is to be replayed "
					      "first, by VMware's tools");
	return 0;
}
