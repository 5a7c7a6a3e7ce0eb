/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A header that is rewritten is the old one or the new one, wherever a crash
 * comes and whichever sectors it lets through.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "image/image.h"
#include "qcow2/create.h"
#include "qcow2/header-write.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/crash-log.h"
#include "tests/random.h"

enum {
	SECTOR = 512,
	MAX_TORN = 12, /* sectors between two flushes */
	CHANGES = 24,
};

struct scene {
	struct crash_log log;
	struct store *recorder;
	struct image *image;
	struct qcow2_header before;
	struct qcow2_header after;
	unsigned filled; /* states in which a filler was seen */
};

static struct qcow2_header header_of(struct store *store)
{
	struct qcow2_header h;
	char *error = NULL;
	int err = qcow2_header_read(store, QCOW2_HEADER_WRITE, &h, &error);

	if (err)
		fail_msg("%d: %s", err, error ? error : "");
	return h;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_bytes(const void *a, size_t a_bytes, const void *b,
		       size_t b_bytes)
{
	return a_bytes == b_bytes && (!a_bytes || !memcmp(a, b, a_bytes));
}

/* Names of features may come and go with the room for them. */
static bool same_header(const struct qcow2_header *a,
			const struct qcow2_header *b)
{
	return a->version == b->version && a->size_bytes == b->size_bytes &&
	       a->l1_offset == b->l1_offset && a->l1_entries == b->l1_entries &&
	       a->reftable_offset == b->reftable_offset &&
	       a->reftable_clusters == b->reftable_clusters &&
	       a->refcount_order == b->refcount_order &&
	       a->cluster_bits == b->cluster_bits &&
	       a->incompatible == b->incompatible &&
	       a->compatible == b->compatible && a->autoclear == b->autoclear &&
	       a->compression == b->compression &&
	       same_text(a->backing_name, b->backing_name) &&
	       same_text(a->backing_format, b->backing_format) &&
	       same_text(a->data_name, b->data_name) &&
	       same_bytes(a->unknown, a->unknown_bytes, b->unknown,
			  b->unknown_bytes);
}

static void scene_begin(struct scene *s, struct store *store)
{
	const struct image_open_options options = {.cache_bytes = 1};
	char *error = NULL;

	*s = (struct scene){.log = {0}};
	s->recorder = crash_log_record(&s->log, store_memory_data(store),
				       store->size_bytes);
	assert_int_equal(
		qcow2_format.open(s->recorder, &options, &s->image, &error), 0);
	s->before = header_of(s->recorder);
}

/* The state at hand has the old header or the new one, and knows which. */
static void check_state(struct scene *s, uint8_t *data, size_t bytes)
{
	struct store *store;
	struct qcow2_header h;

	assert_int_equal(store_new_memory(bytes, &store), 0);
	memcpy(store_memory_data(store), data, bytes);
	h = header_of(store);
	if (!same_header(&h, &s->before) && !same_header(&h, &s->after))
		fail_msg("neither the old nor the new header");
	if (memmem(data, SECTOR, "rlfg", 4))
		s->filled++;
	qcow2_header_deinit(&h);
	store_free(store);
}

/* All subsets of the sectors that entries [from, to) wrote. */
static void check_subsets(struct scene *s, const uint8_t *flushed, size_t bytes,
			  size_t from, size_t to)
{
	struct {
		uint64_t offset;
		const uint8_t *data;
		size_t length;
	} sectors[MAX_TORN];
	uint8_t *data = malloc(bytes);
	unsigned count = 0;

	for (size_t i = from; i < to; i++) {
		const struct crash_entry *e = &s->log.entries[i];
		uint64_t at = e->offset;

		assert_int_equal(e->kind, CRASH_WRITE);
		while (at < e->offset + e->length) {
			uint64_t end = MIN(align_down(at, SECTOR) + SECTOR,
					   e->offset + e->length);

			assert_true(count < MAX_TORN);
			sectors[count].offset = at;
			sectors[count].data = e->data + (at - e->offset);
			sectors[count++].length = end - at;
			at = end;
		}
	}
	for (unsigned set = 0; set < 1u << count; set++) {
		memcpy(data, flushed, bytes);
		for (unsigned i = 0; i < count; i++)
			if (set >> i & 1)
				memcpy(data + sectors[i].offset,
				       sectors[i].data, sectors[i].length);
		check_state(s, data, bytes);
	}
	free(data);
}

/* Only what was written since entry @from, when the change began. */
static void check_every_crash(struct scene *s, size_t from)
{
	size_t bytes = s->recorder->size_bytes, since = 0;
	uint8_t *flushed = malloc(bytes);

	memcpy(flushed, s->log.file[0].start, bytes);
	for (size_t i = 0; i <= s->log.count; i++) {
		bool ends = i == s->log.count ||
			    s->log.entries[i].kind == CRASH_FLUSH;

		if (!ends)
			continue;
		if (i >= from)
			check_subsets(s, flushed, bytes, since, i);
		for (; since < i; since++)
			memcpy(flushed + s->log.entries[since].offset,
			       s->log.entries[since].data,
			       s->log.entries[since].length);
		since = i + 1;
	}
	free(flushed);
}

static void update_and_check(struct scene *s)
{
	struct qcow2 *q = qcow2_of(s->image);
	size_t from = s->log.count;

	assert_int_equal(qcow2_header_update(q), 0);
	s->after = header_of(s->recorder);
	if (!same_header(&s->after, &q->header))
		fail_msg("what was written is not what was asked for");
	assert_memory_equal(q->head, crash_log_data(s->recorder),
			    1 << q->slice_bits);
	check_every_crash(s, from);
	qcow2_header_deinit(&s->before);
	s->before = s->after;
	s->after = (struct qcow2_header){0};
}

static void scene_end(struct scene *s)
{
	qcow2_header_deinit(&s->before);
	s->image->format->close(s->image);
	crash_log_release(s->recorder);
	crash_log_deinit(&s->log);
}

static struct store *make(const struct qcow2_create_options *options)
{
	struct store *store;
	char *error = NULL;

	assert_int_equal(store_new_memory(0, &store), 0);
	assert_int_equal(qcow2_create(store, options, &error), 0);
	return store;
}

static void set_text(char **text, uint64_t random, size_t most)
{
	size_t length = random % (most + 1);

	free(*text);
	*text = NULL;
	if (length == 0)
		return;
	*text = calloc(1, length + 1);
	memset(*text, 'a' + (int)(random >> 32) % 26, length);
}

static void change_at_random(struct qcow2_header *h, uint64_t *random,
			     size_t most)
{
	switch (random_next(random) % 6) {
	case 0:
	case 1:
		set_text(&h->backing_name, random_next(random), most);
		break;
	case 2:
		set_text(&h->backing_format, random_next(random), 15);
		break;
	case 3:
		set_text(&h->data_name, random_next(random), most);
		break;
	case 4:
		h->compatible ^= QCOW2_COMPAT_LAZY_REFCOUNTS;
		break;
	default:
		h->size_bytes -= 512;
		break;
	}
	if (h->version < 3)
		h->compatible = 0;
}

static void add_unknown(struct store *store, const char *text)
{
	uint8_t *at = (uint8_t *)store_memory_data(store) +
		      sizeof(struct qcow2_wire_header);

	while (get_be32(at) != QCOW2_EXT_END)
		at += 8 + align_up(get_be32(at + 4), 8);
	put_be32(at, 0x12345678);
	put_be32(at + 4, strlen(text));
	memcpy(at + 8, text, strlen(text));
}

static void a_torn_rewrite_leaves_the_old_or_the_new_header(void **state)
{
	static const struct {
		struct qcow2_create_options options;
		size_t most; /* bytes of names: all must fit */
		bool fills;
	} all[] = {
		{{.cluster_bytes = 4096}, 500, true},
		{{.cluster_bytes = 4096, .version = 2}, 500, true},
		{{.cluster_bytes = 65536}, 1023, true},
		{{.cluster_bytes = 512}, 120, false},
		{{.cluster_bytes = 1024}, 150, false},
	};
	uint64_t random = 88172645463325252;
	unsigned filled = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct qcow2_create_options options = all[i].options;
		struct store *store;
		struct scene s;

		options.size_bytes = 1 << 20;
		store = make(&options);
		if (options.version == 0 && options.cluster_bytes >= 4096)
			add_unknown(store, "nobody knows me");
		scene_begin(&s, store);
		for (int change = 0; change < CHANGES; change++) {
			change_at_random(&qcow2_of(s.image)->header, &random,
					 all[i].most);
			update_and_check(&s);
		}
		if (all[i].fills)
			filled += s.filled;
		scene_end(&s);
		store_free(store);
	}
	/* Else the hard way was never gone. */
	assert_true(filled > 0);
}

static void what_is_not_known_here_survives_a_rewrite(void **state)
{
	const struct qcow2_create_options options = {
		.size_bytes = 1 << 20,
		.cluster_bytes = 4096,
	};
	static const char name[] = "an unheard-of extension";
	struct store *store = make(&options);
	uint8_t *data = store_memory_data(store);
	struct scene s;

	/* A header that is 24 bytes longer than any we know. */
	memmove(data + 136, data + 112, 1024);
	memset(data + 112, 0x5a, 24);
	put_be32(data + offsetof(struct qcow2_wire_header, header_length), 136);
	/* Bits 17, 40 and 2 mean nothing to us. */
	put_be64(data + offsetof(struct qcow2_wire_header, compatible_features),
		 UINT64_C(1) << 40);
	put_be64(data + offsetof(struct qcow2_wire_header, autoclear_features),
		 UINT64_C(1) << 17);
	/* The last extension's name entry: a bit of theirs. */
	data[136 + 8 + 1] = 40;
	put_be32(data + 136 + 8 + 384, 0x12345678);
	put_be32(data + 136 + 8 + 384 + 4, sizeof(name));
	memcpy(data + 136 + 8 + 384 + 8, name, sizeof(name));

	scene_begin(&s, store);
	qcow2_of(s.image)->header.backing_name = strdup("base");
	update_and_check(&s);
	assert_int_equal(s.before.additional_bytes, 32);
	for (int i = 8; i < 32; i++)
		assert_int_equal(s.before.additional[i], 0x5a);
	assert_int_equal(s.before.compatible, UINT64_C(1) << 40);
	assert_int_equal(s.before.autoclear, 0);
	assert_int_equal(s.before.unknown_bytes, 32);
	assert_memory_equal(s.before.unknown + 8, name, sizeof(name));
	assert_int_equal(s.before.feature_names_bytes, 384);
	assert_int_equal(s.before.feature_names[1], 40);
	scene_end(&s);
	store_free(store);
}

static void names_that_do_not_fit_are_refused_and_nothing_changes(void **state)
{
	const struct qcow2_create_options options = {
		.size_bytes = 1 << 20,
		.cluster_bytes = 512,
		.backing_name = "base",
	};
	struct store *store = make(&options);
	struct qcow2_header *h;
	struct scene s;
	char *longer = calloc(1, 501);

	scene_begin(&s, store);
	memset(longer, 'x', 500);
	h = &qcow2_of(s.image)->header;
	free(h->backing_name);
	h->backing_name = longer;
	assert_int_equal(qcow2_header_update(qcow2_of(s.image)), -ENOSPC);
	assert_non_null(strstr(image_error(s.image), "too long"));
	assert_int_equal(s.log.count, 0);
	scene_end(&s);
	store_free(store);
}

static void features_are_set_in_one_write(void **state)
{
	const struct qcow2_create_options options = {.size_bytes = 1 << 20};
	struct store *store = make(&options);
	struct scene s;

	scene_begin(&s, store);
	assert_int_equal(qcow2_header_set_features(qcow2_of(s.image), 0,
						   QCOW2_COMPAT_LAZY_REFCOUNTS,
						   0),
			 0);
	s.after = header_of(s.recorder);
	assert_int_equal(s.after.compatible, QCOW2_COMPAT_LAZY_REFCOUNTS);
	check_every_crash(&s, 0);
	qcow2_header_deinit(&s.after);
	scene_end(&s);
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_torn_rewrite_leaves_the_old_or_the_new_header),
		cmocka_unit_test(what_is_not_known_here_survives_a_rewrite),
		cmocka_unit_test(
			names_that_do_not_fit_are_refused_and_nothing_changes),
		cmocka_unit_test(features_are_set_in_one_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
