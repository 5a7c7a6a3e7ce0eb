/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the child: everything is given up first, then the image is looked at twice
 * through descriptors that were open before: as somebody would who is to use
 * it, and as a check does. Nothing is opened by name any more, so a backing or
 * data file cannot be, whatever the image says.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/printable.h"
#include "base/sandbox.h"
#include "image/manage.h"
#include "image/open.h"
#include "tools/qimg/inspect.h"
#include "tools/qimg/output.h"

struct child {
	const struct inspect_request *request;
	json_t *report;
	bool failed; /* no memory for the report */
	json_t *findings;
	uint64_t finding_count;
};

/* --- Giving up -------------------------------------------------------------- */

/* Beside the report and the file, nothing that we were started with. */
static void close_others(const struct inspect_request *r, int out)
{
	int kept[] = {out, r->stores[0]->fd, r->stores[1]->fd};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int last = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		last = MAX(last, kept[i]);
	for (int fd = 0; fd < 3; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			close(fd);
	for (int fd = 3; fd <= last; fd++)
		if (fd != kept[0] && fd != kept[1] && fd != kept[2])
			close(fd);
	(void)close_range(last + 1, ~0U, 0);
}

static void limit(int resource, uint64_t soft, uint64_t hard)
{
	const struct rlimit value = {.rlim_cur = soft, .rlim_max = hard};

	(void)setrlimit(resource, &value);
}

static void set_limits(const struct inspect_request *r)
{
	limit(RLIMIT_CORE, 0, 0);
	limit(RLIMIT_FSIZE, 0, 0);
	limit(RLIMIT_NOFILE, 0, 0);
	/* SIGXCPU first: the parent knows it, and SIGKILL has other reasons. */
	limit(RLIMIT_CPU, r->cpu_seconds, r->cpu_seconds + 1);
#ifndef INSPECT_NO_MEMORY_LIMIT /* the address sanitizer wants terabytes */
	limit(RLIMIT_AS, r->memory_bytes, r->memory_bytes);
#endif
}

static void give_up(struct child *c)
{
	static const char *const names[] = {
		"pread64", "lseek", "fstat", "newfstatat", "fcntl", NULL,
	};
	static const unsigned long ioctls[] = {BLKGETSIZE64, BLKSSZGET};
	const struct sandbox_calls calls = {
		.names = names,
		.ioctls = ioctls,
		.ioctl_count = ARRAY_SIZE(ioctls),
	};
	int paths = sandbox_paths(NULL, NULL);
	int system_calls;

	set_limits(c->request);
	system_calls = sandbox_system_calls(&calls);
	if (paths < 0 || system_calls < 0)
		_exit(INSPECT_CHILD_NO_SANDBOX);
	json_object_set_new(c->report, "landlock", json_boolean(paths == 0));
	json_object_set_new(c->report, "seccomp",
			    json_boolean(system_calls == 0));
}

/* --- Reporting -------------------------------------------------------------- */

static void put(struct child *c, json_t *into, const char *name, json_t *value)
{
	if (json_object_set_new(into, name, value) < 0)
		c->failed = true;
}

static void put_number(struct child *c, json_t *into, const char *name,
		       uint64_t value)
{
	put(c, into, name, json_integer((json_int_t)value));
}

/* Whatever bytes it holds. */
static void put_text(struct child *c, json_t *into, const char *name,
		     const char *text)
{
	char *printable = printable_copy(text ? text : "");

	put(c, into, name, printable ? json_string(printable) : NULL);
	free(printable);
}

static void append(struct child *c, json_t *list, json_t *value)
{
	if (json_array_append_new(list, value) < 0)
		c->failed = true;
}

/* The report's own; NULL without memory, which all else bears. */
static json_t *new_list(struct child *c, const char *name)
{
	put(c, c->report, name, json_array());
	return json_object_get(c->report, name);
}

static const char *kind_of(int err)
{
	switch (err) {
	case IMAGE_E_UNSUPPORTED:
	case -ENOTSUP:
		return "unsupported";
	case -ENOMEM:
		return "memory";
	case -EIO:
		return "io";
	default:
		return err > 0 ? "corrupt" : "other";
	}
}

static void put_error(struct child *c, const char *step, int err,
		      const char *message)
{
	json_t *list = json_object_get(c->report, "errors");
	json_t *error = json_object(), *message_there;

	if (!list)
		list = new_list(c, "errors");
	put_text(c, error, "step", step);
	put_text(c, error, "kind", kind_of(err));
	put_text(c, error, "message",
		 message && *message ? message
		 : err < 0	     ? strerror(-err)
				     : "the image is corrupt");
	/* What keeps an image from being used often keeps it from a check. */
	message_there = json_object_get(
		json_array_get(list, json_array_size(list) - 1), "message");
	if (message_there &&
	    json_equal(message_there, json_object_get(error, "message")))
		json_decref(error);
	else
		append(c, list, error);
}

/* --- Describing -------------------------------------------------------------- */

static void put_reference(struct child *c, const char *kind, const char *name,
			  const char *format)
{
	json_t *list = json_object_get(c->report, "references");
	json_t *reference = json_object();

	if (!list)
		list = new_list(c, "references");
	put_text(c, reference, "kind", kind);
	put_text(c, reference, "name", name);
	if (format)
		put_text(c, reference, "format", format);
	append(c, list, reference);
}

static void describe_facts(struct child *c, struct image *image)
{
	struct image_facts facts = {0};
	int err = image_facts(image, &facts);

	if (err)
		put_error(c, "facts", err, image_error(image));
	/* Values come from the file. */
	for (size_t i = 0; i < facts.count; i++) {
		char *printable = printable_copy(facts.facts[i].value);

		c->failed |= printable == NULL;
		free(facts.facts[i].value);
		facts.facts[i].value = printable ? printable : strdup("");
	}
	if (err == 0)
		put(c, c->report, "format-specific", output_facts_json(&facts));
	image_facts_deinit(&facts);
}

static void describe_features(struct child *c, struct image *image)
{
	json_t *list = new_list(c, "features");
	struct image_facts features = {0};
	int err = image_features(image, &features);

	if (err)
		put_error(c, "features", err, image_error(image));
	for (size_t i = 0; i < features.count; i++) {
		json_t *feature = json_object();

		put_text(c, feature, "name", features.facts[i].name);
		put_text(c, feature, "kind", features.facts[i].value);
		append(c, list, feature);
	}
	image_facts_deinit(&features);
}

static void describe_snapshots(struct child *c, struct image *image)
{
	json_t *list = new_list(c, "snapshots");
	struct image_snapshots snapshots = {0};
	int err = image_snapshot_list(image, &snapshots);

	if (err && err != -ENOTSUP)
		put_error(c, "snapshots", err, image_error(image));
	put_number(c, c->report, "snapshot-count", snapshots.count);
	for (size_t i = 0; i < MIN(snapshots.count, (size_t)INSPECT_MAX_LISTED);
	     i++) {
		const struct image_snapshot *s = &snapshots.all[i];
		json_t *snapshot = json_object();

		put_text(c, snapshot, "id", s->id);
		put_text(c, snapshot, "name", s->name);
		put_number(c, snapshot, "virtual-size", s->size_bytes);
		put_number(c, snapshot, "vm-state-size", s->vm_state_bytes);
		put_number(c, snapshot, "date-sec", s->date_seconds);
		append(c, list, snapshot);
	}
	image_snapshots_deinit(&snapshots);
}

static void describe_bitmaps(struct child *c, struct image *image)
{
	json_t *list = new_list(c, "bitmaps");
	struct image_bitmaps bitmaps = {0};
	int err = image_bitmap_list(image, &bitmaps);

	if (err && err != -ENOTSUP)
		put_error(c, "bitmaps", err, image_error(image));
	put_number(c, c->report, "bitmap-count", bitmaps.count);
	for (size_t i = 0; i < MIN(bitmaps.count, (size_t)INSPECT_MAX_LISTED);
	     i++) {
		const struct image_bitmap *b = &bitmaps.all[i];
		json_t *bitmap = json_object();

		put_text(c, bitmap, "name", b->name);
		put_number(c, bitmap, "granularity", b->granularity_bytes);
		put(c, bitmap, "enabled", json_boolean(b->enabled));
		put(c, bitmap, "inconsistent", json_boolean(b->inconsistent));
		append(c, list, bitmap);
	}
	image_bitmaps_deinit(&bitmaps);
}

static void describe(struct child *c, struct image *image)
{
	put_number(c, c->report, "virtual-size", image->size_bytes);
	if (image->cluster_bytes)
		put_number(c, c->report, "cluster-size", image->cluster_bytes);
	put(c, c->report, "encrypted", json_boolean(image->cipher != NULL));
	if (image->backing_name)
		put_reference(c, "backing file", image->backing_name,
			      image->backing_format);
	for (size_t i = 0;
	     i < MIN(image->file_count, (size_t)INSPECT_MAX_FILES); i++)
		put_reference(c, "data file", image->files[i].name, "raw");
	describe_facts(c, image);
	describe_features(c, image);
	describe_snapshots(c, image);
	describe_bitmaps(c, image);
}

/* --- Checking ---------------------------------------------------------------- */

static void found(void *opaque, const char *finding, bool fixed)
{
	struct child *c = opaque;
	char *printable;

	if (++c->finding_count > INSPECT_MAX_FINDINGS)
		return;
	printable = printable_copy(finding);
	append(c, c->findings, printable ? json_string(printable) : NULL);
	free(printable);
}

static void check(struct child *c, struct image *image)
{
	struct image_check counts;
	json_t *result;
	int err;

	c->findings = json_array();
	err = image_check(image, IMAGE_FIX_NONE, found, c, &counts);
	if (err && err != -ENOTSUP)
		put_error(c, "check", err, image_error(image));
	if (err) {
		json_decref(c->findings);
		return;
	}
	result = json_object();
	put_number(c, result, "corruptions", counts.corruptions);
	put_number(c, result, "leaks", counts.leaks);
	put_number(c, result, "check-errors", counts.check_errors);
	put_number(c, result, "total-clusters", counts.total_clusters);
	put_number(c, result, "allocated-clusters", counts.allocated_clusters);
	put_number(c, result, "compressed-clusters",
		   counts.compressed_clusters);
	put_number(c, result, "finding-count", c->finding_count);
	put(c, result, "findings", c->findings);
	put(c, c->report, "check", result);
}

/* --- Both --------------------------------------------------------------------- */

static const struct image_format *choose_format(struct child *c)
{
	struct store *store = c->request->stores[0];
	char head[IMAGE_PROBE_BYTES];
	size_t size = MIN(store->size_bytes, (uint64_t)sizeof(head));
	const struct image_format *format;
	const char *other = NULL;
	int err = store_read(store, 0, head, size);

	if (err) {
		put_error(c, "open", err, NULL);
		return NULL;
	}
	format = c->request->format ? image_find_format(c->request->format)
				    : image_probe(head, size);
	if (format == &raw_format)
		other = inspect_magic(head, size);
	if (other)
		put_text(c, c->report, "begins-like", other);
	put_text(c, c->report, "format", format->name);
	return format;
}

/* Opens through @store, which is the image's then. 0, or what was reported. */
static int open_image(struct child *c, const struct image_format *format,
		      struct store *store, bool to_check, struct image **ret)
{
	const struct image_open_options options = {
		.read_only = true,
		.cache_bytes = 1, /* the least there is */
		.check = to_check,
		.no_key = true,
	};
	char *error = NULL;
	int err = format->open(store, &options, ret, &error);

	if (err)
		put_error(c, to_check ? "check" : "open", err, error);
	free(error);
	return err;
}

static void examine(struct child *c)
{
	const struct image_format *format = choose_format(c);
	struct image *image;
	int err;

	if (!format)
		return;
	err = open_image(c, format, c->request->stores[0], false, &image);
	if (err == 0) {
		describe(c, image);
		format->close(image);
	}
	/* What was refused as unknown cannot be checked either. */
	if (err == IMAGE_E_UNSUPPORTED || err == -ENOMEM)
		return;
	if (open_image(c, format, c->request->stores[1], true, &image) == 0) {
		check(c, image);
		format->close(image);
	}
}

static bool write_all(int out, const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		ssize_t put_bytes = write(out, text, left);

		if (put_bytes < 0 && errno != EINTR)
			return false;
		text += MAX(put_bytes, 0);
		left -= MAX(put_bytes, 0);
	}
	return true;
}

void inspect_child(const struct inspect_request *request, int out)
{
	struct child c = {.request = request, .report = json_object()};
	char *text;

	close_others(request, out);
	give_up(&c);
	examine(&c);
	text = c.failed ? NULL : json_dumps(c.report, JSON_COMPACT);
	if (!text || !write_all(out, text))
		_exit(INSPECT_CHILD_NO_MEMORY);
	_exit(INSPECT_CHILD_OK);
}
