/* SPDX-License-Identifier: Apache-2.0 */
/* qimg info: what an image says of itself. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/open.h"
#include "tools/qimg/commands.h"
#include "tools/qimg/output.h"
#include "tools/qimg/spec.h"

enum {
	BACKING_CHAIN = QIMG_FIRST_OWN_KEY,
};

static const struct cli_option options[] = {
	QIMG_OPTION_FORMAT,
	QIMG_OPTION_SHARE,
	QIMG_OPTION_OBJECT,
	QIMG_OPTION_IMAGE_OPTS,
	QIMG_OPTION_OUTPUT,
	{BACKING_CHAIN, "backing-chain", CLI_FLAG, NULL,
	 "the images below it, too"},
	{0},
};

/* All that is printed about one image. */
struct report {
	struct image *image;
	const char *name; /* as it is shown */
	const char *path;
	uint64_t disk_bytes;
	bool is_remote; /* how much room it takes is its server's to know */
	struct image_facts facts;
	struct image_snapshots snapshots;
	bool dirty;
	bool encrypted;
};

/*
 * What the file system holds for the image, with the files that it names; but
 * for the data file of a QCOW2 image, which qemu-img info does not open.
 */
static uint64_t disk_bytes(const struct image *image)
{
	struct stat st;
	uint64_t bytes = 0;
	size_t count = strcmp(image->format->name, "qcow2") == 0
			       ? 1
			       : image_store_count(image);

	for (size_t i = 0; i < count; i++) {
		const struct store *store = image_store_at(image, i);

		/* The disk is whole without it. */
		if (i > 0 && image->files[i - 1].optional)
			continue;
		if (store && store->fd >= 0 && fstat(store->fd, &st) == 0)
			bytes += (uint64_t)st.st_blocks * 512;
	}
	return bytes;
}

static int ask_dirty(struct report *r)
{
	struct image_facts features;
	int err = image_features(r->image, &features);

	if (err)
		return err;
	for (size_t i = 0; i < features.count; i++)
		r->dirty |= strcmp(features.facts[i].name, "dirty") == 0;
	image_facts_deinit(&features);
	return 0;
}

static int collect(struct report *r)
{
	int err = image_facts(r->image, &r->facts);

	if (err == 0)
		err = image_snapshot_list(r->image, &r->snapshots);
	if (err == 0)
		err = ask_dirty(r);
	r->disk_bytes = disk_bytes(r->image);
	r->is_remote = r->image->store->is_remote;
	r->encrypted = r->image->cipher != NULL;
	return err ? qimg_image_error(r->image, r->name, err,
				      "cannot be described")
		   : 0;
}

static void release(struct report *r)
{
	image_facts_deinit(&r->facts);
	image_snapshots_deinit(&r->snapshots);
}

/* NULL: an export has no folder from which it could be seen. To be freed. */
static char *backing_path(const struct report *r)
{
	const char *name = r->image->backing_name;

	if (r->is_remote && name[0] != '/' && !strchr(name, ':'))
		return NULL;
	return qimg_path_beside(r->path, name);
}

static void print_backing(const struct report *r)
{
	char *path = backing_path(r);

	output_text("backing file: ", r->image->backing_name, "");
	if (!path)
		printf(" (cannot determine actual path)");
	else if (strcmp(path, r->image->backing_name) != 0)
		output_text(" (actual path: ", path, ")");
	printf("\n");
	if (r->image->backing_format)
		output_text("backing file format: ", r->image->backing_format,
			    "\n");
	free(path);
}

static void print_human(const struct report *r)
{
	char size[OUTPUT_SIZE_CHARS], disk[OUTPUT_SIZE_CHARS];

	printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64
	       " bytes)\ndisk size: %s\n",
	       r->name, r->image->format->name,
	       output_size(r->image->size_bytes, size), r->image->size_bytes,
	       r->is_remote ? "unavailable" : output_size(r->disk_bytes, disk));
	if (r->encrypted)
		printf("encrypted: yes\n");
	if (r->image->cluster_bytes)
		printf("cluster_size: %u\n", r->image->cluster_bytes);
	if (r->dirty)
		printf("cleanly shut down: no\n");
	if (r->image->backing_name)
		print_backing(r);
	if (r->snapshots.count) {
		printf("Snapshot list:\n");
		output_snapshots(&r->snapshots);
	}
	if (r->facts.count) {
		printf("Format specific information:\n");
		output_facts(&r->facts);
	}
}

static json_t *snapshot_json(const struct image_snapshot *s)
{
	json_t *value = json_pack(
		"{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "id", s->id, "name",
		s->name, "vm-state-size", (json_int_t)s->vm_state_bytes,
		"date-sec", (json_int_t)s->date_seconds, "date-nsec",
		(json_int_t)s->date_nanoseconds, "vm-clock-sec",
		(json_int_t)(s->vm_clock_nanoseconds / 1000000000),
		"vm-clock-nsec",
		(json_int_t)(s->vm_clock_nanoseconds % 1000000000));

	if (s->icount != UINT64_MAX)
		json_object_set_new(value, "icount",
				    json_integer((json_int_t)s->icount));
	return value;
}

static json_t *report_json(const struct report *r)
{
	json_t *value =
		json_pack("{s:s, s:s, s:I}", "filename", r->name, "format",
			  r->image->format->name, "virtual-size",
			  (json_int_t)r->image->size_bytes);

	if (!r->is_remote)
		json_object_set_new(value, "actual-size",
				    json_integer((json_int_t)r->disk_bytes));
	/* qemu-img knows none of a raw export. */
	if (!r->is_remote || r->image->cluster_bytes)
		json_object_set_new(value, "dirty-flag",
				    json_boolean(r->dirty));
	if (r->image->cluster_bytes)
		json_object_set_new(value, "cluster-size",
				    json_integer(r->image->cluster_bytes));
	if (r->encrypted)
		json_object_set_new(value, "encrypted", json_true());
	if (r->image->backing_name) {
		char *path = backing_path(r);

		json_object_set_new(value, "backing-filename",
				    json_string(r->image->backing_name));
		if (path)
			json_object_set_new(value, "full-backing-filename",
					    json_string(path));
		if (r->image->backing_format)
			json_object_set_new(
				value, "backing-filename-format",
				json_string(r->image->backing_format));
		free(path);
	}
	if (r->snapshots.count) {
		json_t *all = json_array();

		for (size_t i = 0; i < r->snapshots.count; i++)
			json_array_append_new(
				all, snapshot_json(&r->snapshots.all[i]));
		json_object_set_new(value, "snapshots", all);
	}
	if (r->facts.count)
		json_object_set_new(value, "format-specific",
				    json_pack("{s:s, s:o}", "type",
					      r->image->format->name, "data",
					      output_facts_json(&r->facts)));
	return value;
}

static int print_one(struct image *image, const char *name, const char *path,
		     json_t *all)
{
	struct report r = {.image = image, .name = name, .path = path};
	int status = collect(&r);

	if (status == 0 && all)
		json_array_append_new(all, report_json(&r));
	else if (status == 0)
		print_human(&r);
	release(&r);
	return status;
}

/* How the image at @path, the top one as @name, is shown. */
static const char *shown(const struct image *image, const char *name,
			 const char *path)
{
	return image->store->is_remote ? image->store->name
	       : name		       ? name
				       : path;
}

static int print_chain(struct image *image, const char *name, const char *top,
		       json_t *all)
{
	unsigned depth = 0;
	int status = 0;

	for (struct image *at = image; at && status == 0; at = at->backing) {
		char *path = qimg_path_below(image, top, depth);

		if (depth && !all)
			printf("\n");
		status = path ? print_one(at,
					  shown(at, depth ? NULL : name, path),
					  path, all)
			      : cli_error("out of memory");
		depth++;
		free(path);
	}
	return status;
}

/* One, or all if its backing images were opened. */
static int print(struct image *image, const struct qimg_open *open, bool json,
		 bool chain)
{
	json_t *all = json ? json_array() : NULL;
	char *name = qimg_shown_name(open->name, open->image_opts);
	char *path = qimg_path(open->name, open->image_opts);
	int status = name && path ? print_chain(image, name, path, all) : 1;

	if (json && status == 0)
		output_json(chain ? json_incref(all)
				  : json_incref(json_array_get(all, 0)));
	json_decref(all);
	free(path);
	free(name);
	return status;
}

static int run(const struct cli *cli)
{
	struct qimg_open open = {
		.name = cli->operands[0],
		.format = cli_value(cli, 'f'),
		.image_opts = cli_has(cli, QIMG_IMAGE_OPTS),
		.read_only = true,
		.no_backing = !cli_has(cli, BACKING_CHAIN),
		.share = cli_has(cli, 'U'),
		.no_key = true,
		.check = true,
	};
	int json = output_format(cli);
	struct image *image;
	int status;

	if (json < 0 || !qimg_secrets_add(cli))
		return 1;
	image = qimg_open(&open);
	if (!image)
		return 1;
	status = print(image, &open, json, !open.no_backing);
	image_close(image);
	return status;
}

const struct cli_command qimg_info = {
	.name = "info",
	.operands = "FILE",
	.summary = "Says what an image is: format, sizes, snapshots, backing",
	.min_operands = 1,
	.max_operands = 1,
	.options = options,
	.run = run,
};
