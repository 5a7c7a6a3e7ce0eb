/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making, measuring and amending images, beside QEMU's own tool doing the same.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/manage.h"
#include "image/open.h"
#include "qcow2/qcow2.h"
#include "tests/cmocka.h"
#include "tests/images/reference.h"
#include "tests/images/scratch.h"

static const char writes[] = "-c 'write -P 1 0 256k' -c 'write -z 64k 64k' "
			     "-c 'write -P 2 1M 100k' -c 'write -z -u 1M 64k' "
			     "-c 'write -P 9 3M 512'";

static void parse(struct image_options *options, const char *text)
{
	char *error = NULL;

	*options = (struct image_options){0};
	if (image_options_parse(options, text, &error))
		fail_msg("%s", error);
}

static int create(const char *name, const char *text, uint64_t size,
		  char **ret_error)
{
	*ret_error = NULL;
	return reference_create(&qcow2_format, name, text, size, ret_error);
}

static void must_create(const char *name, const char *text, uint64_t size)
{
	char *error;

	if (create(name, text, size, &error))
		fail_msg("%s: %s", text, error ? error : "");
}

/* What QEMU says of the format, but for sizes and names. */
static void info(const char *name, char *ret, size_t size)
{
	scratch_must("qemu-img info -U --output=json %s | "
		     "grep -v 'filename\\|actual-size\\|dirty-flag'",
		     name);
	snprintf(ret, size, "%s", scratch_output());
}

static const char *const option_sets[] = {
	"compat=1.1",
	"compat=0.10",
	"compat=v3,cluster_size=512",
	"compat=v2,cluster_size=2M",
	"cluster_size=4k,refcount_bits=1",
	"cluster_size=1k,refcount_bits=64",
	"lazy_refcounts=on,refcount_bits=8",
	"compression_type=zstd",
	"preallocation=metadata",
	"preallocation=metadata,compat=0.10,cluster_size=512",
	"preallocation=metadata,cluster_size=2M",
	"preallocation=falloc",
	"preallocation=full,cluster_size=4k",
	"extended_l2=on",
	"extended_l2=on,cluster_size=16k,preallocation=metadata",
	"data_file=d.raw",
	"data_file=d.raw,preallocation=full",
	"data_file=d.raw,data_file_raw=on",
	"data_file=d.raw,data_file_raw=on,extended_l2=on",
};

/* @theirs has each of our facts, as a line of JSON. */
static void assert_facts(const char *name, const char *theirs)
{
	struct image *image = reference_open(name, false);
	struct image_facts facts;

	assert_int_equal(image_facts(image, &facts), 0);
	for (size_t f = 0; f < facts.count; f++) {
		const struct image_fact *fact = &facts.facts[f];
		bool quoted = fact->kind == IMAGE_FACT_STRING;
		char line[128];

		snprintf(line, sizeof(line), "\"%s\": %s%s%s", fact->name,
			 quoted ? "\"" : "", fact->value, quoted ? "\"" : "");
		if (!strstr(theirs, line))
			fail_msg("%s: %s", line, theirs);
	}
	image_facts_deinit(&facts);
	assert_int_equal(image_close(image), 0);
}

static void what_is_made_is_what_qemu_makes(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_sets); i++) {
		char ours[8192], theirs[8192];

		must_create("a.qcow2", option_sets[i], (4 << 20) + 512);
		reference_clean("a.qcow2");
		info("a.qcow2", ours, sizeof(ours));
		assert_facts("a.qcow2", ours);
		scratch_must("rm -f b.qcow2 && qemu-img create -q -f qcow2 "
			     "-o %s b.qcow2 4194816",
			     option_sets[i]);
		info("b.qcow2", theirs, sizeof(theirs));
		assert_string_equal(ours, theirs);
		scratch_must("qemu-img compare a.qcow2 b.qcow2");
		scratch_must("qemu-io -f qcow2 %s a.qcow2", writes);
		reference_clean("a.qcow2");
	}
}

static void what_is_preallocated_is_mapped(void **state)
{
	static const char *const how[] = {"metadata", "falloc", "full"};

	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		char text[64];

		snprintf(text, sizeof(text), "preallocation=%s", how[i]);
		must_create("a.qcow2", text, 4 << 20);
		scratch_must("qemu-img map --output=json a.qcow2");
		/* One run of data from the first byte to the last. */
		assert_non_null(
			strstr(scratch_output(), "\"length\": 4194304"));
		assert_non_null(strstr(scratch_output(), "\"data\": true"));
		if (i > 0)
			scratch_must("[ $(stat -c '%%b*%%B' a.qcow2 | sed "
				     "'s/^/$((/;s/$/))/' | (read e; eval echo "
				     "$e)) -ge 4194304 ]");
	}
}

/* With sub-clusters a cluster can be there and hide nothing. */
static void room_without_content_shows_the_base(void **state)
{
	static const char *const how[] = {
		"metadata",
		"falloc",
		"full",
		"metadata,cluster_size=16k",
		"full,data_file=e.raw",
	};

	scratch_must("rm -f base.qcow2 && "
		     "qemu-img create -q -f qcow2 base.qcow2 4M && "
		     "qemu-io -f qcow2 -c 'write -P 5 100k 3M' base.qcow2");
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		char text[128];

		snprintf(text, sizeof(text),
			 "extended_l2=on,backing_file=base.qcow2,"
			 "backing_fmt=qcow2,preallocation=%s",
			 how[i]);
		must_create("e.qcow2", text, (5 << 20) + 512);
		reference_clean("e.qcow2");
		scratch_must("qemu-img check e.qcow2 | grep '100.00%% alloc'");
		scratch_must("qemu-img compare e.qcow2 base.qcow2");
		if (strncmp(how[i], "metadata", 8) != 0)
			scratch_must("[ $(du -B1 --apparent-size %s | cut -f1) "
				     "-ge 5242880 ] && "
				     "[ $(du -B1 %s | cut -f1) -ge 5242880 ]",
				     strchr(how[i], '=') ? "e.raw" : "e.qcow2",
				     strchr(how[i], '=') ? "e.raw" : "e.qcow2");
		reference_work_on("e.qcow2", NULL, i);
	}
}

static void what_does_not_go_together_is_said(void **state)
{
	static const struct {
		const char *options;
		const char *words;
	} all[] = {
		{"cluster_size=100", "Cluster size"},
		{"cluster_size=256", "Cluster size"},
		{"cluster_size=4M", "Cluster size"},
		{"refcount_bits=3", "Refcount width"},
		{"refcount_bits=128", "Refcount width"},
		{"compat=0.10,refcount_bits=8", "refcount widths"},
		{"compat=0.10,lazy_refcounts=on", "Lazy refcounts"},
		{"compat=0.10,compression_type=zstd", "compression_type"},
		{"backing_file=b,preallocation=metadata", "extended_l2"},
		{"backing_fmt=raw", "backing format"},
		{"comapt=1.1", "compat"},
		{"extended_l2=on,compat=0.10", "extended_l2"},
		{"extended_l2=on,cluster_size=8k", "Extended L2"},
		{"data_file_raw=on", "data_file_raw"},
		{"data_file=", "data_file"},
		{"data_file=nbd:x", "plain path"},
		{"data_file=d.raw,compat=0.10", "data_file"},
		{"data_file=d.raw,data_file_raw=on,backing_file=b",
		 "backing file"},
		{"data_file=./a.qcow2", "the image itself"},
		{"data_file=./b.raw,backing_file=b.raw", "the backing file"},
	};

	scratch_must("echo precious >b.raw");
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		char *error;

		assert_int_equal(
			create("a.qcow2", all[i].options, 1 << 20, &error),
			-EINVAL);
		if (!error || !strstr(error, all[i].words))
			fail_msg("%s: %s", all[i].options, error);
		free(error);
	}
	scratch_must("grep precious b.raw && rm b.raw");
}

/* The numbers after "required size:" and "fully allocated size:". */
static void their_measure(uint64_t ret[2])
{
	const char *text = strstr(scratch_output(), "required size:");
	const char *full = strstr(scratch_output(), "fully allocated size:");

	assert_non_null(text);
	assert_non_null(full);
	ret[0] = strtoull(text + strlen("required size:"), NULL, 10);
	ret[1] = strtoull(full + strlen("fully allocated size:"), NULL, 10);
}

static void compare_measures(const char *text, uint64_t size,
			     struct image *source, const char *name)
{
	struct image_options options;
	const struct image_create_request request = {.size_bytes = size,
						     .options = &options};
	struct image_measure ours;
	uint64_t theirs[2];
	char *error = NULL;

	parse(&options, text);
	if (image_measure(&qcow2_format, &request, source, &ours, &error))
		fail_msg("%s: %s", text, error);
	if (name)
		scratch_must("qemu-img measure -O qcow2 -o %s %s", text, name);
	else
		scratch_must("qemu-img measure -O qcow2 -o %s --size %llu",
			     text, (unsigned long long)size);
	their_measure(theirs);
	if (ours.required != theirs[0] || ours.fully_allocated != theirs[1])
		fail_msg("%s, %llu: %llu and %llu, not %s", text,
			 (unsigned long long)size,
			 (unsigned long long)ours.required,
			 (unsigned long long)ours.fully_allocated,
			 scratch_output());
	image_options_deinit(&options);
}

static void measures_are_qemus(void **state)
{
	static const char *const sets[] = {
		"cluster_size=512",
		"cluster_size=64k",
		"cluster_size=2M",
		"cluster_size=4k,refcount_bits=64",
		"cluster_size=64k,refcount_bits=1",
		"cluster_size=64k,compat=0.10,preallocation=full",
		"cluster_size=16k,extended_l2=on",
	};
	static const uint64_t sizes[] = {
		512,
		65536,
		(1 << 20) + 512,
		123456512,
		UINT64_C(1) << 30,
		UINT64_C(1) << 36,
	};
	struct image *image;

	scratch_must("rm -f t.qcow2 && qemu-img create -q -f qcow2 t.qcow2 8M "
		     "&& qemu-io -f qcow2 %s t.qcow2",
		     writes);
	image = reference_open("t.qcow2", false);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		/* Each set with some of the sizes, each size with some sets. */
		for (size_t s = i % 3; s < ARRAY_SIZE(sizes); s += 3)
			compare_measures(sets[i], sizes[s], NULL, NULL);
		compare_measures(sets[i], 0, image, "-U t.qcow2");
	}
	assert_int_equal(image_close(image), 0);
}

/* An image on a base, with snapshots if @snapshots, and the same as raw. */
static void make_rich(const char *options, bool snapshots)
{
	scratch_must("rm -f base.qcow2 r.qcow2 && "
		     "qemu-img create -q -f qcow2 base.qcow2 4M && "
		     "qemu-io -f qcow2 -c 'write -P 5 0 4M' base.qcow2 && "
		     "qemu-img create -q -f qcow2 -o %s -b base.qcow2 -F qcow2 "
		     "r.qcow2 5M && qemu-io -f qcow2 %s r.qcow2",
		     options, writes);
	if (snapshots)
		scratch_must("qemu-img snapshot -c s r.qcow2 && "
			     "qemu-io -f qcow2 -c 'write -P 7 2M 90k' r.qcow2");
	scratch_must("qemu-img convert -O raw r.qcow2 before.raw");
}

static void an_emptied_image_shows_its_base_and_leaks_nothing(void **state)
{
	static const char *const sets[] = {
		"compat=1.1",
		"compat=0.10",
		"cluster_size=512",
		"cluster_size=2M,refcount_bits=64",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		struct image *image;

		make_rich(sets[i], i % 2);
		image = reference_open("r.qcow2", false);
		assert_int_equal(image_make_empty(image), 0);
		assert_int_equal(image_close(image), 0);
		reference_clean("r.qcow2");
		scratch_must("qemu-img compare base.qcow2 r.qcow2");
		if (i % 2)
			scratch_must("qemu-img snapshot -a s r.qcow2");
		reference_clean("r.qcow2");
	}
}

static void a_backing_file_is_named_anew_and_left_alone(void **state)
{
	struct image *image;

	make_rich("compat=1.1", false);
	scratch_must("cp base.qcow2 other-base-with-a-longer-name.qcow2");
	image = reference_open("r.qcow2", false);
	assert_int_equal(image_set_backing(image,
					   "other-base-with-a-longer-name."
					   "qcow2",
					   "qcow2"),
			 0);
	assert_int_equal(image_close(image), 0);
	reference_clean("r.qcow2");
	scratch_must("rm base.qcow2 && qemu-img compare r.qcow2 before.raw");
	image = reference_open("r.qcow2", false);
	assert_int_equal(image_set_backing(image, NULL, NULL), 0);
	assert_null(image->backing_name);
	assert_int_equal(image_close(image), 0);
	scratch_must("qemu-img info r.qcow2");
	assert_null(strstr(scratch_output(), "backing"));
}

static int amend(const char *name, const char *text)
{
	struct image *image = reference_open(name, false);
	struct image_options options;
	const struct image_amend_request request = {.options = &options};
	int err;

	parse(&options, text);
	err = image_amend(image, &request);
	image_options_deinit(&options);
	assert_int_equal(image_close(image), 0);
	return err;
}

static void amending_keeps_content_and_structure(void **state)
{
	static const struct {
		const char *made;
		const char *amended;
		const char *says;
	} all[] = {
		{"compat=1.1", "compat=0.10", "compat: 0.10"},
		{"compat=0.10", "compat=1.1", "compat: 1.1"},
		{"compat=1.1,cluster_size=512", "compat=v2", "compat: 0.10"},
		{"compat=0.10", "compat=v3,lazy_refcounts=on",
		 "lazy refcounts: true"},
		{"lazy_refcounts=on", "compat=0.10", "compat: 0.10"},
		{"lazy_refcounts=on", "lazy_refcounts=off",
		 "lazy refcounts: false"},
		{"compat=1.1", "backing_file=./base.qcow2",
		 "backing file: ./base.qcow2"},
		{"data_file=d.raw", "data_file=./d.raw", "data file: ./d.raw"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		make_rich(all[i].made, false);
		assert_int_equal(amend("r.qcow2", all[i].amended), 0);
		reference_clean("r.qcow2");
		scratch_must("qemu-img info r.qcow2");
		if (!strstr(scratch_output(), all[i].says))
			fail_msg("%s: %s", all[i].amended, scratch_output());
		scratch_must("qemu-img compare r.qcow2 before.raw");
		/* And without a base, where zeroes need no room. */
		scratch_must("qemu-img create -q -f qcow2 -o %s t.qcow2 4M && "
			     "qemu-io -f qcow2 %s t.qcow2 && "
			     "qemu-img convert -O raw t.qcow2 before.raw",
			     all[i].made, writes);
		if (strstr(all[i].amended, "backing"))
			continue;
		assert_int_equal(amend("t.qcow2", all[i].amended), 0);
		reference_clean("t.qcow2");
		scratch_must("qemu-img compare t.qcow2 before.raw");
	}
}

/*
 * Zeroes of every kind in tables that the image shares with none, one or two
 * snapshots: absent clusters, clusters kept under a flag, alone and shared.
 */
static void make_snapshots_of_zeroes(const char *z)
{
	scratch_must("qemu-io -c 'write -P 1 0 1M' -c 'write -z 64k 64k' "
		     "-c 'write -z -u 256k 64k' -c 'write -z 2M 192k' %s",
		     z);
	scratch_must("qemu-img snapshot -c a %s && qemu-img snapshot -c b %s",
		     z, z);
	scratch_must("qemu-io -c 'write -z 128k 64k' -c 'write -P 3 64k 4k' "
		     "-c 'write -z -u 0 4k' -c 'write -z 3M 64k' %s && "
		     "qemu-img snapshot -c c %s",
		     z, z);
	scratch_must("qemu-io -c 'write -z 3M 64k' -c 'write -z 512k 64k' "
		     "-c 'write -P 4 2M 4k' %s",
		     z);
}

/* Each snapshot's content, and the image's, as NAME.@when. */
static void keep_content(const char *z, const char *when)
{
	scratch_must("for s in a b c; do qemu-img convert -l $s -O raw "
		     "%s $s.%s || exit 1; done",
		     z, when);
	scratch_must("qemu-img convert -O raw %s z.%s", z, when);
}

static void snapshots_lose_their_zero_flags(void **state)
{
	static const struct {
		const char *made;
		bool encrypted;
	} all[] = {
		{"cluster_size=64k", false},
		{"cluster_size=512", false},
		{"cluster_size=64k -b base.qcow2 -F qcow2", false},
		{"cluster_size=4k -b base.qcow2 -F qcow2", false},
		{"encrypt.format=luks,encrypt.key-secret=s,"
		 "encrypt.iter-time=10 -b base.qcow2 -F qcow2",
		 true},
	};

	scratch_must("rm -f base.qcow2 && "
		     "qemu-img create -q -f qcow2 base.qcow2 4M && "
		     "qemu-io -f qcow2 -c 'write -P 5 0 4M' base.qcow2");
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const char *z = all[i].encrypted ? REFERENCE_ENCRYPTED "z.qcow2"
						 : "z.qcow2";

		scratch_must("rm -f z.qcow2 && qemu-img create -q -f qcow2 "
			     "--object secret,id=s,data=" REFERENCE_PASSPHRASE
			     " -o %s z.qcow2 4M",
			     all[i].made);
		make_snapshots_of_zeroes(z);
		keep_content(z, "before");
		assert_int_equal(amend("z.qcow2", "compat=0.10"), 0);
		scratch_must("qemu-img info z.qcow2 | grep 'compat: 0.10' && "
			     "qemu-img check %s",
			     z);
		keep_content(z, "after");
		scratch_must("for s in a b c z; do "
			     "cmp $s.before $s.after || exit 1; done");
		/* Nothing that is written shows in another. */
		scratch_must("qemu-io -c 'write -P 6 0 320k' "
			     "-c 'write -P 6 512k 64k' -c 'write -P 6 2M 192k' "
			     "-c 'write -P 6 3M 64k' %s",
			     z);
		keep_content(z, "after");
		scratch_must("for s in a b c; do "
			     "cmp $s.before $s.after || exit 1; done");
		for (char c = 'a'; c <= 'c'; c++) {
			scratch_must("qemu-img snapshot -d %c %s && "
				     "qemu-img check %s",
				     c, z, z);
		}
	}
}

static void snapshots_of_another_size_keep_the_version(void **state)
{
	scratch_must("rm -f z.qcow2 && "
		     "qemu-img create -q -f qcow2 z.qcow2 4M && "
		     "qemu-img snapshot -c a z.qcow2 && "
		     "qemu-img resize -q z.qcow2 5M");
	assert_int_equal(amend("z.qcow2", "compat=0.10"), -ENOTSUP);
	scratch_must("qemu-img info z.qcow2 | grep 'compat: 1.1'");
	reference_clean("z.qcow2");
}

static void a_raw_data_file_becomes_one_that_is_not(void **state)
{
	char *error;

	must_create("f.qcow2", "data_file=f.raw,data_file_raw=on", 4 << 20);
	scratch_must("qemu-io -f qcow2 %s f.qcow2 && "
		     "qemu-img compare -f qcow2 -F raw f.qcow2 f.raw",
		     writes);
	assert_int_equal(amend("f.qcow2", "data_file_raw=off"), 0);
	assert_int_equal(amend("f.qcow2", "data_file_raw=on"), -EINVAL);
	assert_int_equal(amend("f.qcow2", "data_file="), -EINVAL);
	scratch_must("qemu-img info f.qcow2 | grep 'data file raw: false' && "
		     "qemu-img compare -f qcow2 -F raw f.qcow2 f.raw");
	reference_clean("f.qcow2");
	/* A second image beside it takes its file only if that is free. */
	must_create("f.qcow2", "compat=1.1", 4 << 20);
	assert_int_equal(amend("f.qcow2", "data_file=f.raw"), -EINVAL);
	assert_int_equal(create("g.qcow2", "data_file=no/such/folder.raw",
				4 << 20, &error),
			 -ENOENT);
	free(error);
}

static void refcounts_of_any_width_become_those_of_any_other(void **state)
{
	static const char *const clusters[] = {"512", "2M"};
	static const unsigned widths[] = {16, 1, 64, 2, 32, 4, 8, 1, 16};

	for (size_t c = 0; c < ARRAY_SIZE(clusters); c++) {
		char text[64];

		snprintf(text, sizeof(text), "cluster_size=%s", clusters[c]);
		make_rich(text, false);
		for (size_t i = 1; i < ARRAY_SIZE(widths); i++) {
			snprintf(text, sizeof(text), "refcount_bits=%u",
				 widths[i]);
			assert_int_equal(amend("r.qcow2", text), 0);
			reference_clean("r.qcow2");
		}
		scratch_must("qemu-img info r.qcow2 | "
			     "grep 'refcount bits: 16$' && "
			     "qemu-img compare r.qcow2 before.raw");
	}
	/* A snapshot shares clusters: two references want two bits. */
	make_rich("cluster_size=64k", true);
	assert_int_equal(amend("r.qcow2", "refcount_bits=1"), -ERANGE);
	reference_clean("r.qcow2");
	assert_int_equal(amend("r.qcow2", "refcount_bits=2"), 0);
	reference_clean("r.qcow2");
	scratch_must("qemu-img compare r.qcow2 before.raw");
	/* Each of the two may make the other possible. */
	make_rich("compat=0.10", false);
	assert_int_equal(amend("r.qcow2", "refcount_bits=8"), -EINVAL);
	assert_int_equal(amend("r.qcow2", "compat=1.1,refcount_bits=8"), 0);
	assert_int_equal(amend("r.qcow2", "compat=0.10,refcount_bits=16"), 0);
	reference_clean("r.qcow2");
}

static void what_version_2_cannot_say_is_not_amended_away(void **state)
{
	static const char *const sets[] = {
		"refcount_bits=8",
		"compression_type=zstd",
	};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		make_rich(sets[i], false);
		assert_int_equal(amend("r.qcow2", "compat=0.10"), -ENOTSUP);
		scratch_must("qemu-img compare r.qcow2 before.raw");
	}
	make_rich("compat=1.1", true);
	assert_int_equal(amend("r.qcow2", "cluster_size=4k"), -EINVAL);
	reference_clean("r.qcow2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made_is_what_qemu_makes),
		cmocka_unit_test(what_is_preallocated_is_mapped),
		cmocka_unit_test(room_without_content_shows_the_base),
		cmocka_unit_test(what_does_not_go_together_is_said),
		cmocka_unit_test(measures_are_qemus),
		cmocka_unit_test(
			an_emptied_image_shows_its_base_and_leaks_nothing),
		cmocka_unit_test(a_backing_file_is_named_anew_and_left_alone),
		cmocka_unit_test(amending_keeps_content_and_structure),
		cmocka_unit_test(snapshots_lose_their_zero_flags),
		cmocka_unit_test(snapshots_of_another_size_keep_the_version),
		cmocka_unit_test(a_raw_data_file_becomes_one_that_is_not),
		cmocka_unit_test(
			refcounts_of_any_width_become_those_of_any_other),
		cmocka_unit_test(what_version_2_cannot_say_is_not_amended_away),
	};
	int failed;

	scratch_prefer_memory();
	scratch_enter("qemu-img");
	image_register_format(&qcow2_format);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	scratch_leave();
	return failed;
}
