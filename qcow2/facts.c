/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/bytes.h"
#include "qcow2/bitmap.h"
#include "qcow2/core.h"
#include "qcow2/crypt.h"
#include "qcow2/manage.h"

static int add_bool(struct image_facts *facts, const char *name, bool value)
{
	return image_facts_add(facts, name, IMAGE_FACT_BOOL, "%s",
			       value ? "true" : "false");
}

/* What version 2 has no way to say is not mentioned of it. */
static int add_features(const struct qcow2_header *h, struct image_facts *facts)
{
	int err = 0;

	if (h->incompatible & QCOW2_INCOMPAT_DATA_FILE) {
		err = image_facts_add(facts, "data-file", IMAGE_FACT_STRING,
				      "%s", h->data_name ? h->data_name : "");
		if (err == 0)
			err = add_bool(facts, "data-file-raw",
				       h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA);
	}
	if (err == 0)
		err = add_bool(facts, "extended-l2",
			       h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2);
	if (err == 0)
		err = add_bool(facts, "lazy-refcounts",
			       h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS);
	if (err == 0)
		err = add_bool(facts, "corrupt",
			       h->incompatible & QCOW2_INCOMPAT_CORRUPT);
	return err;
}

int qcow2_facts(struct image *image, struct image_facts *ret)
{
	const struct qcow2_header *h = &qcow2_of(image)->header;
	struct image_facts facts = {0};
	int err = image_facts_add(&facts, "compat", IMAGE_FACT_STRING, "%s",
				  h->version < 3 ? "0.10" : "1.1");

	if (err == 0 && h->version >= 3)
		err = add_features(h, &facts);
	if (err == 0)
		err = image_facts_add(&facts, "refcount-bits",
				      IMAGE_FACT_NUMBER, "%u",
				      1u << h->refcount_order);
	if (err == 0)
		err = image_facts_add(
			&facts, "compression-type", IMAGE_FACT_STRING, "%s",
			h->compression == QCOW2_COMPRESSION_ZSTD ? "zstd"
								 : "zlib");
	if (err == 0)
		err = qcow2_crypt_facts(qcow2_of(image), &facts);
	if (err == 0)
		err = qcow2_bitmaps_facts(qcow2_of(image), &facts);
	if (err) {
		image_facts_deinit(&facts);
		return err;
	}
	*ret = facts;
	return 0;
}

/* By kind and bit, as in the table of feature names. */
static const char *const known_features[3][8] = {
	[QCOW2_FEATURE_INCOMPATIBLE] = {"dirty", "corrupt", "data-file",
					"compression-type", "extended-l2"},
	[QCOW2_FEATURE_COMPATIBLE] = {"lazy-refcounts"},
	[QCOW2_FEATURE_AUTOCLEAR] = {"bitmaps", "data-file-raw"},
};

/* The image's own table has entries of 48 bytes: kind, bit, name. */
static void name_feature(const struct qcow2_header *h, unsigned kind,
			 unsigned bit, char ret[48])
{
	if (bit < ARRAY_SIZE(known_features[0]) && known_features[kind][bit]) {
		snprintf(ret, 48, "%s", known_features[kind][bit]);
		return;
	}
	snprintf(ret, 48, "bit %u", bit);
	for (size_t at = 0; range_fits(at, 48, h->feature_names_bytes);
	     at += 48) {
		const uint8_t *entry = h->feature_names + at;

		if (entry[0] == kind && entry[1] == bit && entry[2])
			snprintf(ret, 48, "%.46s", (const char *)entry + 2);
	}
}

static int add_set_bits(const struct qcow2_header *h, unsigned kind,
			uint64_t bits, struct image_facts *facts)
{
	static const char *const kinds[] = {
		[QCOW2_FEATURE_INCOMPATIBLE] = "incompatible",
		[QCOW2_FEATURE_COMPATIBLE] = "compatible",
		[QCOW2_FEATURE_AUTOCLEAR] = "autoclear",
	};
	char name[48];
	int err = 0;

	for (; bits && err == 0; bits &= bits - 1) {
		name_feature(h, kind, __builtin_ctzll(bits), name);
		err = image_facts_add(facts, name, IMAGE_FACT_STRING, "%s",
				      kinds[kind]);
	}
	return err;
}

int qcow2_features(struct image *image, struct image_facts *ret)
{
	const struct qcow2_header *h = &qcow2_of(image)->header;
	struct image_facts facts = {0};
	int err = add_set_bits(h, QCOW2_FEATURE_INCOMPATIBLE, h->incompatible,
			       &facts);

	if (err == 0)
		err = add_set_bits(h, QCOW2_FEATURE_COMPATIBLE, h->compatible,
				   &facts);
	if (err == 0)
		err = add_set_bits(h, QCOW2_FEATURE_AUTOCLEAR, h->autoclear,
				   &facts);
	if (err) {
		image_facts_deinit(&facts);
		return err;
	}
	*ret = facts;
	return 0;
}
