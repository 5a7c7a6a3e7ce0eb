/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image says is changed, and then everything that can be done to an
 * image is done to it. The input is a program of records: the first byte
 * chooses one of a few small sound images (made anew by the driver itself) and
 * for what it is opened, records of one sort write into its header, tables,
 * refcounts, snapshots and bitmaps, those of the other do things. So each
 * mutation that the fuzzer makes is one that an image's structure knows. A data
 * file that an image names is there, with something in it.
 *
 * No input may crash, take more than two seconds of processor time or make the
 * process larger by 256 MiB. What a repair says is whole stays so: the next
 * check finds nothing, nor does one after further writes.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "image/sync-io.h"
#include "qcow2/create.h"
#include "qcow2/qcow2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
			       unsigned seed);
const char *__asan_default_options(void);

enum {
	KIB = 1 << 10,
	MIB = 1 << 20,
	RECORD_BYTES = 8,
	MAX_RECORDS = 48,
	CAPACITY = 8 * MIB,
	MAX_SECONDS = 2,
	MAX_GROWTH = 256 * MIB,
	MAX_LENGTH = 256 * KIB,
	DATA_FILE_BYTES = 64 * KIB,
};

/* What is not touched again shall not count as the driver's. */
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=8:allocator_may_return_null=1";
}

/* --- Sound images ------------------------------------------------------ */

struct kind {
	struct qcow2_create_options options;
	unsigned snapshots;
	unsigned bitmaps;
	bool compressed; /* some of it is */
};

static const struct kind kinds[] = {
	{.options = {.size_bytes = 256 * KIB, .cluster_bytes = 512}},
	{.options = {.size_bytes = 256 * KIB, .cluster_bytes = 512},
	 .snapshots = 2,
	 .bitmaps = 2},
	{.options = {.size_bytes = 1 * MIB,
		     .cluster_bytes = 4 * KIB,
		     .refcount_bits = 1},
	 .bitmaps = 1},
	{.options = {.size_bytes = 256 * KIB,
		     .cluster_bytes = 1 * KIB,
		     .version = 2},
	 .snapshots = 1},
	{.options = {.size_bytes = 1 * MIB, .refcount_bits = 64},
	 .snapshots = 1},
	{.options = {.size_bytes = 512 * KIB,
		     .cluster_bytes = 2 * KIB,
		     .lazy_refcounts = true,
		     .backing_name = "none",
		     .backing_format = "raw"},
	 .snapshots = 1,
	 .bitmaps = 1},
	{.options = {.size_bytes = 256 * KIB,
		     .cluster_bytes = 1 * KIB,
		     .data_name = "data"},
	 .bitmaps = 1},
	{.options = {.size_bytes = 512 * KIB,
		     .cluster_bytes = 16 * KIB,
		     .extended_l2 = true},
	 .snapshots = 1,
	 .compressed = true},
};

/* What an image is opened for; more than one thing takes more time. */
enum {
	USE_READ = 1 << 0,
	USE_WRITE = 1 << 1,
	USE_SNAPSHOT = 1 << 2,
	USE_CHECK = 1 << 3,
	USE_FIX_LEAKS = 1 << 4,
	USE_FIX_ALL = 1 << 5,
	USE_EVERYTHING = (1 << 6) - 1,
};

static const unsigned uses[] = {
	USE_EVERYTHING, USE_READ,  USE_WRITE,	  USE_SNAPSHOT,
	USE_WRITE,	USE_CHECK, USE_FIX_LEAKS, USE_FIX_ALL,
};

struct sound {
	uint8_t *data;
	uint64_t bytes;
};

static struct sound sounds[ARRAY_SIZE(kinds)];
static long usual_kib; /* the process's size with these */

/* Takes @image; NULL if it does not go with the file. */
static struct image *with_data_file(struct image *image, bool read_only)
{
	struct store *data;
	char *error = NULL;

	if (store_new_bounded(DATA_FILE_BYTES, CAPACITY, &data) != 0)
		abort();
	memset(store_memory_data(data), 0xd7, DATA_FILE_BYTES / 2);
	data->read_only = read_only;
	if (image_attach(image, 0, data, &error) == 0)
		return image;
	free(error);
	store_free(data);
	image_close(image);
	return NULL;
}

/* Takes @store; NULL if it is no image. */
static struct image *open_image(struct store *store, bool read_only, bool check,
				const char *snapshot)
{
	const struct image_open_options options = {
		.read_only = read_only,
		.cache_bytes = 1,
		.check = check,
		.snapshot = snapshot,
	};
	struct image *image = NULL;
	char *error = NULL;

	if (qcow2_format.open(store, &options, &image, &error) != 0) {
		free(error);
		store_free(store);
		return NULL;
	}
	return image->file_count ? with_data_file(image, read_only) : image;
}

static void add_extras(struct image *image, const struct kind *kind)
{
	static const uint8_t packed[64 * KIB] = {1, 2, 3};
	uint8_t bytes[3 * KIB];

	memset(bytes, 0x5a, sizeof(bytes));
	for (unsigned i = 0; i < kind->bitmaps; i++) {
		char name[4] = {'b', '0' + i, 0};
		const struct image_bitmap_change change = {
			.action = IMAGE_BITMAP_ADD,
			.name = name,
			.granularity_bytes = 4 * KIB << i,
		};

		(void)image_bitmap_change(image, &change);
	}
	for (unsigned i = 0; i <= kind->snapshots; i++) {
		char name[4] = {'s', '0' + i, 0};

		for (uint64_t at = i * KIB; at < image->size_bytes / 2;
		     at += 32 * KIB)
			if (sync_io_write(image, at, bytes, sizeof(bytes)))
				abort();
		if (kind->compressed &&
		    sync_io_write_packed(image, i * image->cluster_bytes,
					 packed, image->cluster_bytes) != 0)
			abort();
		if (sync_io_zero(image, 8 * KIB * i, 4 * KIB))
			abort();
		if (i < kind->snapshots)
			(void)image_snapshot_create(image, name);
	}
}

/* Whole clusters, so far as there is anything in them. */
static uint64_t used_bytes(struct store *store)
{
	const uint8_t *data = store_memory_data(store);
	uint64_t bytes = store->size_bytes;

	while (bytes && data[bytes - 1] == 0)
		bytes--;
	return MIN(align_up(bytes, UINT64_C(1) << get_be32(data + 20)),
		   store->size_bytes);
}

static void make_sound(unsigned which)
{
	const struct kind *kind = &kinds[which];
	struct sound *sound = &sounds[which];
	struct store *store, *copy;
	struct image *image;
	char *error = NULL;

	if (store_new_bounded(0, CAPACITY, &store) != 0 ||
	    qcow2_create(store, &kind->options, &error) != 0)
		abort();
	/* Closing frees the store: it owns a copy. */
	if (store_new_bounded(store->size_bytes, CAPACITY, &copy) != 0)
		abort();
	memcpy(store_memory_data(copy), store_memory_data(store),
	       store->size_bytes);
	store_free(store);
	image = open_image(copy, false, false, NULL);
	if (!image)
		abort();
	add_extras(image, kind);
	if (sync_io_settle(image) != 0)
		abort();
	/* The file was made longer than it has to be. */
	sound->bytes = MIN(used_bytes(copy), (uint64_t)2 * MIB);
	sound->data = malloc(sound->bytes);
	if (!sound->data || store_read(copy, 0, sound->data, sound->bytes) != 0)
		abort();
	image_close(image);
}

static long peak_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static void too_slow(int signal_number)
{
	static const char words[] = "more than 2 s of processor time\n";

	(void)!write(STDERR_FILENO, words, sizeof(words) - 1);
	abort();
}

static void make_all(void)
{
	if (sounds[0].data)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		make_sound(i);
	signal(SIGPROF, too_slow);
	usual_kib = peak_kib();
}

static void set_timer(unsigned seconds)
{
	const struct itimerval timer = {.it_value.tv_sec = seconds};

	setitimer(ITIMER_PROF, &timer, NULL);
}

/* --- Changes of what it says ------------------------------------------- */

struct record {
	uint8_t what; /* high bit: something is done */
	uint8_t how;
	uint16_t where;
	uint32_t value;
};

static uint64_t field(const struct sound *sound, uint64_t at, unsigned bytes)
{
	if (!range_fits(at, 8, sound->bytes))
		return 0;
	return bytes == 8 ? get_be64(sound->data + at)
			  : get_be32(sound->data + at);
}

/* Entry @where of the table that starts there, modulo its length. */
static uint64_t entry(const struct sound *sound, uint64_t table, uint64_t bytes,
		      uint64_t where)
{
	if (bytes < 8 || !range_fits(table, bytes, sound->bytes))
		return 0;
	return table + where % (bytes / 8) * 8;
}

static uint64_t entry_after(const struct sound *sound, uint64_t table,
			    uint64_t where)
{
	uint64_t cluster = UINT64_C(1) << field(sound, 20, 4);
	uint64_t next = field(sound, table, 8) & UINT64_C(0xfffffffffffe00);

	return next ? entry(sound, next, cluster, where) : 0;
}

/* Of the bitmaps' extension, or 0. */
static uint64_t bitmap_extension(const struct sound *sound)
{
	uint64_t at = field(sound, 4, 4) == 2 ? 72 : field(sound, 100, 4);

	for (unsigned i = 0; i < 8 && range_fits(at, 32, sound->bytes); i++) {
		if (field(sound, at, 4) == 0x23852875)
			return at + 8;
		at += 8 + align_up(field(sound, at + 4, 4), 8);
	}
	return 0;
}

/* Where the change goes. */
static uint64_t place(const struct sound *sound, const struct record *r)
{
	uint64_t l1 = field(sound, 40, 8), l1_bytes = field(sound, 36, 4) * 8;
	uint64_t reftable = field(sound, 48, 8);
	uint64_t extension = bitmap_extension(sound);
	unsigned low = r->where % 256, high = r->where / 256;

	switch (r->what % 12) {
	case 0:
		return low % 112; /* any byte of the header */
	case 1:
		return low * 2 % 112 & ~3u;
	case 2:
		return 104 + r->where % 256; /* extensions */
	case 3:
		return entry(sound, l1, l1_bytes, r->where);
	case 4:
	case 5:
		return entry_after(sound, entry(sound, l1, l1_bytes, high),
				   low);
	case 6:
		return entry(sound, reftable, 512, low);
	case 7:
		return entry_after(sound, reftable, r->where);
	case 8:
		return field(sound, 64, 8) + r->where % 160; /* snapshots */
	case 9: /* a snapshot's L1 table, or the L2 table it names */
		l1 = field(sound, field(sound, 64, 8), 8);
		return high % 2 ? entry(sound, l1, 64, low)
				: entry_after(sound, l1, low);
	case 10:
		return extension ? extension + r->where % 24 : 0;
	default: /* the bitmap directory, or the table it names first */
		extension = extension ? field(sound, extension + 16, 8) : 0;
		return high % 2 ? extension + low % 96
				: field(sound, extension, 8) + low % 64;
	}
}

static void change(struct sound *sound, const struct record *r)
{
	uint64_t at = place(sound, r);
	uint64_t cluster = UINT64_C(1) << (field(sound, 20, 4) & 31);
	uint8_t *to = sound->data + at;

	if (!range_fits(at, 8, sound->bytes))
		return;
	switch (r->how % 8) {
	case 0:
		to[0] = r->value;
		break;
	case 1:
		to[r->value % 8] ^= 1 << r->value / 8 % 8;
		break;
	case 2:
		put_be32(to, r->value);
		break;
	case 3:
		put_be64(to, r->value);
		break;
	case 4: /* another cluster, perhaps with flags */
		put_be64(to, (uint64_t)(r->value & 0xff) * cluster |
				     (uint64_t)(r->value >> 28) << 60 |
				     (r->value >> 8 & 1));
		break;
	case 5:
		put_be64(to, UINT64_MAX >> r->value % 64);
		break;
	case 6: /* a compressed cluster */
		put_be64(to, UINT64_C(1) << 62 |
				     (uint64_t)(r->value >> 16) << 46 |
				     (r->value & 0xffff));
		break;
	default:
		put_be64(to, get_be64(to) + (int32_t)r->value);
	}
}

/* --- Things that are done ---------------------------------------------- */

static void guest_request(struct image *image, const struct record *r)
{
	static uint8_t buffer[MAX_LENGTH];
	uint64_t size = image->size_bytes;
	uint64_t offset = r->how & 0x80 ? (size >> 16) * r->where
					: (uint64_t)r->where * 512;
	uint64_t length = MIN(1 + r->value % MAX_LENGTH, size);

	if (offset >= size)
		return;
	length = MIN(length, size - offset);
	if (r->how % 4 == 0)
		(void)sync_io_read(image, offset, buffer, length);
	else if (r->how % 4 == 1)
		(void)sync_io_write(image, offset, buffer, length);
	else if (r->how % 4 == 2)
		(void)sync_io_zero(image, offset, length);
	else
		(void)sync_io_discard(image, offset, length);
}

static void snapshots(struct image *image, const struct record *r)
{
	struct image_snapshots list = {0};
	char name[4] = {'s', '0' + r->where % 4, 0};

	switch (r->how % 4) {
	case 0:
		if (image_snapshot_list(image, &list) == 0)
			image_snapshots_deinit(&list);
		break;
	case 1:
		(void)image_snapshot_create(image, name);
		break;
	case 2:
		(void)image_snapshot_apply(image, name);
		break;
	default:
		(void)image_snapshot_delete(image, name);
	}
}

static void bitmaps(struct image *image, const struct record *r)
{
	char name[4] = {'b', '0' + r->where % 4, 0};
	char other[4] = {'b', '0' + r->where / 4 % 4, 0};
	const struct image_bitmap_change change = {
		.action = r->value % 6,
		.name = name,
		.source_name = other,
		.granularity_bytes = 512u << r->value / 8 % 12,
	};
	struct image_bitmaps list = {0};
	uint64_t start, length;

	if (r->how % 4 == 0 && image_bitmap_list(image, &list) == 0)
		image_bitmaps_deinit(&list);
	else if (r->how % 4 == 1)
		(void)image_bitmap_next(image, name, 0, &start, &length);
	else if (r->how % 4 == 2 && image->size_bytes >= 512)
		(void)image_bitmap_set(image, name, 0, 512);
	else
		(void)image_bitmap_change(image, &change);
}

static void other(struct image *image, const struct record *r)
{
	struct image_facts facts = {0};
	struct image_check check;

	switch (r->how % 8) {
	case 0:
	case 1:
		(void)image_resize(image, (uint64_t)r->value * 512,
				   IMAGE_PREALLOCATION_OFF);
		break;
	case 2:
		(void)image_set_backing(image, r->where % 2 ? "/x" : NULL,
					NULL);
		break;
	case 3:
		(void)image_make_empty(image);
		break;
	case 4:
		if (image_facts(image, &facts) == 0)
			image_facts_deinit(&facts);
		break;
	case 5:
		(void)image_check(image, IMAGE_FIX_NONE, NULL, NULL, &check);
		break;
	default:
		(void)image_flush_sync(image);
	}
}

static void act(struct image *image, const struct record *r)
{
	switch (r->what % 8) {
	case 0:
	case 1:
	case 2:
	case 3:
		guest_request(image, r);
		break;
	case 4:
		snapshots(image, r);
		break;
	case 5:
		bitmaps(image, r);
		break;
	default:
		other(image, r);
	}
}

static struct store *store_of(const struct sound *sound, bool read_only)
{
	struct store *store;

	if (store_new_bounded(sound->bytes, CAPACITY, &store) != 0)
		abort();
	memcpy(store_memory_data(store), sound->data, sound->bytes);
	store->read_only = read_only;
	return store;
}

static void use(const struct sound *sound, const struct record *records,
		size_t count, bool read_only, const char *snapshot)
{
	struct store *store = store_of(sound, read_only);
	struct image *image = open_image(store, read_only, false, snapshot);

	if (!image)
		return;
	for (size_t i = 0; i < count; i++)
		if (records[i].what & 0x80)
			act(image, &records[i]);
	image_close(image);
}

/*
 * Two places of a disk may have one cluster, counted twice: a repair leaves that
 * as it is, QEMU's too. Once a write gave the one a cluster of its own, the
 * other lacks the COPIED flag. It costs a copy, and no data: a flag that is set
 * on what is shared would.
 */
static bool is_harmless(const char *finding)
{
	unsigned long long entry = UINT64_C(1) << 63;
	const char *value = strstr(finding, "COPIED is wrong in");

	value = value ? strstr(value, "(0x") : NULL;
	return value && sscanf(value, "(0x%llx)", &entry) == 1 &&
	       !(entry >> 63);
}

struct findings {
	bool told;
	unsigned harmless;
};

static void find(void *opaque, const char *finding, bool fixed)
{
	struct findings *findings = opaque;

	if (findings->told)
		fprintf(stderr, "  %s\n", finding);
	findings->harmless += is_harmless(finding);
}

/* What was repaired, and whatever is done to it then, is whole. */
static void expect_clean(struct image *image, bool written)
{
	struct findings findings = {0};
	struct image_check check;
	int err = image_check(image, IMAGE_FIX_NONE, find, &findings, &check);

	if (written)
		check.corruptions -= findings.harmless;
	if (err == 0 && check.corruptions == 0 && check.leaks == 0 &&
	    check.check_errors == 0)
		return;
	fprintf(stderr, "%s: %d, %llu corruptions, %llu leaks: %s\n",
		written ? "written to after a repair" : "after a repair", err,
		(unsigned long long)check.corruptions,
		(unsigned long long)check.leaks, image_error(image));
	findings.told = true;
	(void)image_check(image, IMAGE_FIX_NONE, find, &findings, &check);
	abort();
}

/* What lies in a store whose image will be closed. */
static struct sound copy_of(struct store *store)
{
	struct sound copy = {.data = malloc(store->size_bytes + 1),
			     .bytes = store->size_bytes};

	if (!copy.data || store_read(store, 0, copy.data, copy.bytes) != 0)
		abort();
	return copy;
}

static void write_on(const struct sound *repaired, const struct record *records,
		     size_t count)
{
	struct store *store = store_of(repaired, false);
	struct image *image = open_image(store, false, false, NULL);
	struct sound written;

	if (!image)
		return;
	for (size_t i = 0; i < count; i++)
		if ((records[i].what & 0x80) && records[i].what % 8 < 4)
			guest_request(image, &records[i]);
	if (sync_io_settle(image) != 0) {
		image_close(image);
		return;
	}
	written = copy_of(store);
	image_close(image);
	image = open_image(store_of(&written, false), false, true, NULL);
	free(written.data);
	if (!image)
		abort();
	expect_clean(image, true);
	image_close(image);
}

/* Then there is nothing left to be done, and writing does no harm. */
static void repair(const struct sound *sound, enum image_fix fix,
		   const struct record *records, size_t count)
{
	struct store *store = store_of(sound, false);
	struct image *image = open_image(store, false, true, NULL);
	struct sound repaired = {0};
	struct image_check check;

	if (!image)
		return;
	if (image_check(image, fix, NULL, NULL, &check) == 0 &&
	    fix == IMAGE_FIX_ALL && check.corruptions == 0 &&
	    check.check_errors == 0) {
		expect_clean(image, false);
		repaired = copy_of(store);
	}
	image_close(image);
	if (repaired.data)
		write_on(&repaired, records, count);
	free(repaired.data);
}

static void run(const struct sound *sound, unsigned what,
		const struct record *records, size_t count)
{
	if (what & USE_READ)
		use(sound, records, count, true, NULL);
	if (what & USE_WRITE)
		use(sound, records, count, false, NULL);
	if (what & USE_SNAPSHOT)
		use(sound, records, count, true, "s0");
	if (what & USE_CHECK)
		repair(sound, IMAGE_FIX_NONE, records, count);
	if (what & USE_FIX_LEAKS)
		repair(sound, IMAGE_FIX_LEAKS, records, count);
	if (what & USE_FIX_ALL)
		repair(sound, IMAGE_FIX_ALL, records, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record records[MAX_RECORDS];
	struct sound sound;
	const struct sound *from;
	size_t count;

	make_all();
	if (size < 1)
		return 0;
	from = &sounds[data[0] % ARRAY_SIZE(kinds)];
	count = MIN((size - 1) / RECORD_BYTES, (size_t)MAX_RECORDS);
	memcpy(records, data + 1, count * RECORD_BYTES);
	sound = (struct sound){.data = malloc(from->bytes),
			       .bytes = from->bytes};
	if (!sound.data)
		abort();
	memcpy(sound.data, from->data, from->bytes);
	for (size_t i = 0; i < count; i++)
		if (!(records[i].what & 0x80))
			change(&sound, &records[i]);
	set_timer(MAX_SECONDS);
	run(&sound, uses[data[0] / ARRAY_SIZE(kinds) % ARRAY_SIZE(uses)],
	    records, count);
	set_timer(0);
	free(sound.data);
	if ((peak_kib() - usual_kib) * 1024 > MAX_GROWTH) {
		fprintf(stderr, "grew by %ld KiB\n", peak_kib() - usual_kib);
		abort();
	}
	return 0;
}

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
/* Whole records come and go, and one at a time is changed. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
			       unsigned seed)
{
	size_t count = size ? (size - 1) / RECORD_BYTES : 0;
	size_t at = 1 + (count ? seed / 8 % count : 0) * RECORD_BYTES;
	size_t end = 1 + count * RECORD_BYTES;

	if (size == 0)
		data[0] = 0;
	if (seed % 8 == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	/* Opened for one thing at a time: inputs are to be many. */
	if (seed % 8 == 1 ||
	    uses[data[0] / ARRAY_SIZE(kinds) % ARRAY_SIZE(uses)] ==
		    USE_EVERYTHING)
		data[0] = seed >> 8 | ARRAY_SIZE(kinds);
	if (seed % 8 <= 3 && end + RECORD_BYTES <= max_size &&
	    count < MAX_RECORDS) {
		memmove(data + at + RECORD_BYTES, data + at, end - at);
		for (unsigned i = 0; i < RECORD_BYTES; i++)
			data[at + i] = seed >> (i * 5 % 24) ^ i * 37;
		LLVMFuzzerMutate(data + at, RECORD_BYTES, RECORD_BYTES);
		return end + RECORD_BYTES;
	}
	if (seed % 8 == 4 && count > 1) {
		memmove(data + at, data + at + RECORD_BYTES,
			end - at - RECORD_BYTES);
		return end - RECORD_BYTES;
	}
	if (count)
		LLVMFuzzerMutate(data + at, RECORD_BYTES, RECORD_BYTES);
	return end;
}
#endif
