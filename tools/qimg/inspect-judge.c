/* SPDX-License-Identifier: Apache-2.0 */
/* What follows from a report: a verdict, why, and what to type next. */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/option.h"
#include "tools/qimg/inspect.h"
#include "tools/qimg/output.h"
#include "tools/qimg/spec.h"

enum {
	/* A disk so many times as large as its file, and at least this. */
	VAST_TIMES = 1000,
	/* Data that unpacks to so many times its size, and at least this. */
	BOMB_TIMES = 100,
};

static const uint64_t VAST_BYTES = UINT64_C(1) << 40;
static const uint64_t BOMB_BYTES = UINT64_C(1) << 30;

struct judge {
	const struct inspect_request *request;
	json_t *report;
	json_t *warnings, *notes, *commands;
	enum inspect_verdict verdict;
};

static void add_text(json_t *list, const char *format, va_list args)
{
	char *text = NULL;

	if (vasprintf(&text, format, args) < 0)
		return;
	json_array_append_new(list, json_string(text));
	free(text);
}

static void warn(struct judge *j, enum inspect_verdict verdict,
		 const char *format, ...) __attribute__((format(printf, 3, 4)));
static void note(struct judge *j, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void command(struct judge *j, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void warn(struct judge *j, enum inspect_verdict verdict,
		 const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_text(j->warnings, format, args);
	va_end(args);
	j->verdict = MAX(j->verdict, verdict);
}

static void note(struct judge *j, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_text(j->notes, format, args);
	va_end(args);
}

static void command(struct judge *j, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_text(j->commands, format, args);
	va_end(args);
}

/* --- How the child ended ------------------------------------------------------ */

static void judge_end(struct judge *j, enum inspect_end end, int signal)
{
	char memory[OUTPUT_SIZE_CHARS];

	switch (end) {
	case INSPECT_OUT_OF_MEMORY:
		warn(j, INSPECT_HOSTILE,
		     "reading it takes more than %s of memory: it is made to "
		     "do harm, or very large; --memory=SIZE allows more",
		     output_size(j->request->memory_bytes, memory));
		break;
	case INSPECT_OUT_OF_TIME:
		warn(j, INSPECT_HOSTILE,
		     "reading it takes more than %u s of processor time: "
		     "it is made to do harm, or very large; --cpu-time=SECONDS "
		     "allows more",
		     j->request->cpu_seconds);
		break;
	case INSPECT_FORBIDDEN_CALL:
		warn(j, INSPECT_HOSTILE,
		     "it took over the process that read it, which made a "
		     "forbidden system call and was killed: do not use it, and "
		     "report it");
		break;
	case INSPECT_CRASHED:
		warn(j, INSPECT_HOSTILE,
		     "the process that read it crashed (%s): do not use it, "
		     "and report it",
		     signal ? strsignal(signal) : "it left no report");
		break;
	default:
		break;
	}
}

static void judge_errors(struct judge *j)
{
	size_t i;
	json_t *error;

	json_array_foreach(json_object_get(j->report, "errors"), i, error)
	{
		const char *kind = inspect_string(error, "kind");
		const char *message = inspect_string(error, "message");

		if (strcmp(kind, "memory") == 0)
			judge_end(j, INSPECT_OUT_OF_MEMORY, 0);
		else if (strcmp(kind, "unsupported") == 0)
			warn(j, INSPECT_ATTENTION, "%s", message);
		else
			warn(j, INSPECT_DAMAGED, "%s", message);
	}
}

/* --- What the image says ------------------------------------------------------- */

static void judge_reference(struct judge *j, json_t *reference)
{
	const char *kind = inspect_string(reference, "kind");
	const char *name = inspect_string(reference, "name");
	const char *format = inspect_string(reference, "format");

	inspect_name(reference, j->request->stores[0]->name);
	warn(j, INSPECT_ATTENTION,
	     "it needs another file, its %s \"%s\"; look at that one, too",
	     kind, name);
	if (qimg_is_remote(name) && strcmp(kind, "backing file") == 0)
		warn(j, INSPECT_ATTENTION,
		     "the %s is on a server, to which qimg connects when the "
		     "image is used; vhost-blk refuses it",
		     kind);
	else if (inspect_true(reference, "protocol"))
		warn(j, INSPECT_ATTENTION,
		     "the name of the %s is no path but a protocol, which may "
		     "reach the network or any other file; qimg and vhost-blk "
		     "refuse it",
		     kind);
	if (inspect_true(reference, "itself"))
		warn(j, INSPECT_DAMAGED, "its %s is the image itself", kind);
	if (inspect_true(reference, "system"))
		warn(j, INSPECT_ATTENTION,
		     "the %s is a device or a file of the system (%s): its "
		     "content would be shown to the guest",
		     kind, inspect_string(reference, "path"));
	else if (inspect_true(reference, "outside-folder"))
		warn(j, INSPECT_ATTENTION,
		     "the %s is not in the image's folder but at %s", kind,
		     inspect_string(reference, "path"));
	if (!*format || strcmp(format, "probe") == 0)
		warn(j, INSPECT_ATTENTION,
		     "the image does not say which format its %s has: it would "
		     "have to be guessed",
		     kind);
}

static void judge_features(struct judge *j)
{
	size_t i;
	json_t *feature;

	json_array_foreach(json_object_get(j->report, "features"), i, feature)
	{
		const char *name = inspect_string(feature, "name");

		if (strcmp(name, "dirty") == 0)
			warn(j, INSPECT_ATTENTION,
			     "it is marked dirty: it was not closed properly, "
			     "and will be mended when it is next opened for "
			     "writing");
		if (strcmp(name, "corrupt") == 0)
			warn(j, INSPECT_DAMAGED, "it is marked corrupt");
	}
}

static void judge_bitmaps(struct judge *j)
{
	size_t i;
	json_t *bitmap;

	json_array_foreach(json_object_get(j->report, "bitmaps"), i,
			   bitmap) if (inspect_true(bitmap, "inconsistent"))
		warn(j, INSPECT_ATTENTION,
		     "bitmap \"%s\" is inconsistent: it can only be "
		     "removed",
		     inspect_string(bitmap, "name"));
}

static void judge_check(struct judge *j)
{
	const json_t *check = json_object_get(j->report, "check");
	uint64_t corruptions = inspect_number(check, "corruptions");
	uint64_t leaks = inspect_number(check, "leaks");
	uint64_t errors = inspect_number(check, "check-errors");

	if (corruptions)
		warn(j, INSPECT_DAMAGED,
		     "%" PRIu64 " errors in its metadata: what it reads as may "
		     "be wrong, and writing may make it worse",
		     corruptions);
	if (errors)
		warn(j, INSPECT_DAMAGED,
		     "%" PRIu64 " places of its metadata cannot be read",
		     errors);
	if (leaks)
		warn(j, INSPECT_ATTENTION,
		     "%" PRIu64
		     " leaked clusters: wasted room, no harm to data",
		     leaks);
}

static void judge_sizes(struct judge *j)
{
	const json_t *check = json_object_get(j->report, "check");
	uint64_t disk = MAX(inspect_number(j->report, "actual-size"),
			    inspect_number(j->report, "file-length"));
	uint64_t size = inspect_number(j->report, "virtual-size");
	uint64_t clusters = inspect_number(check, "allocated-clusters");
	uint64_t cluster = inspect_number(j->report, "cluster-size");
	bool is_raw = strcmp(inspect_string(j->report, "format"), "raw") == 0;
	char text[OUTPUT_SIZE_CHARS], on_disk[OUTPUT_SIZE_CHARS];
	uint64_t data = clusters && cluster > INT64_MAX / clusters
				? INT64_MAX
				: clusters * cluster;

	output_size(disk, on_disk);
	if (!is_raw && size >= VAST_BYTES && size / VAST_TIMES > disk)
		warn(j, INSPECT_ATTENTION,
		     "it claims a disk of %s in a file of %s: have an eye on "
		     "what it may grow to",
		     output_size(size, text), on_disk);
	if (data >= BOMB_BYTES && data / BOMB_TIMES > disk)
		warn(j, INSPECT_ATTENTION,
		     "its %s hold data that unpack to %s: copied, it may fill "
		     "a disk",
		     on_disk, output_size(data, text));
	if (is_raw && size % 512)
		note(j, "its length is no multiple of 512 bytes");
}

static void judge_kind(struct judge *j)
{
	const char *other = inspect_string(j->report, "begins-like");

	if (*other)
		warn(j, INSPECT_ATTENTION,
		     "it begins like %s: as a raw disk a guest would see its "
		     "bytes as they are",
		     other);
	else if (strcmp(inspect_string(j->report, "format"), "raw") == 0)
		note(j, "it begins with no magic number that is known: a raw "
			"disk. Always say so (-f raw), since a guest can write "
			"a magic number");
	if (inspect_true(j->report, "encrypted"))
		note(j, "it is encrypted: its data was not looked at");
	if (!inspect_true(j->report, "seccomp") ||
	    !inspect_true(j->report, "landlock"))
		note(j,
		     "this kernel or this build has no %s: the sandbox was "
		     "not complete",
		     inspect_true(j->report, "landlock") ? "seccomp"
		     : inspect_true(j->report, "seccomp")
			     ? "Landlock"
			     : "seccomp and no Landlock");
}

/* --- What to type ---------------------------------------------------------------- */

/* What "\xNN" stands for cannot be typed. */
static bool can_be_typed(const char *path)
{
	return *path && !strstr(path, "\\x");
}

static bool may_be_used(const json_t *reference)
{
	return can_be_typed(inspect_string(reference, "path")) &&
	       !inspect_true(reference, "system") &&
	       !inspect_true(reference, "itself");
}

/*
 * Where to look next, and what vhost-blk is to be allowed; to be freed. NULL:
 * what the image names is nothing to recommend.
 */
static char *suggest_references(struct judge *j)
{
	char *allow = strdup("");
	size_t i;
	json_t *reference;

	json_array_foreach(json_object_get(j->report, "references"), i,
			   reference)
	{
		char *word = inspect_quote(inspect_string(reference, "path"));
		char *longer = NULL;

		if (word && allow && may_be_used(reference)) {
			command(j, "qimg inspect %s", word);
			if (asprintf(&longer, "%s --allow-file=%s", allow,
				     word) < 0)
				longer = NULL;
		}
		free(allow);
		free(word);
		allow = longer;
	}
	return allow;
}

static void suggest_use(struct judge *j, const char *format, const char *file)
{
	bool encrypted = inspect_true(j->report, "encrypted");
	char *allow = suggest_references(j);

	if (!allow) {
		note(j, "how to use it is not said, because of what it names");
		return;
	}
	command(j, "qimg convert -p -f %s%s -O raw %s TARGET", format,
		encrypted ? " --object secret,id=key,file=KEYFILE" : "", file);
	if (encrypted)
		note(j, "vhost-blk takes no passphrases: convert it first");
	else
		command(j,
			"vhost-blk --socket-path=SOCKET --blk-file=%s "
			"--format=%s%s",
			file, format, allow);
	free(allow);
}

static void suggest(struct judge *j)
{
	const json_t *check = json_object_get(j->report, "check");
	const char *format = inspect_string(j->report, "format");
	char *file = inspect_quote(j->request->name);

	if (!file || !*format || j->verdict == INSPECT_HOSTILE ||
	    json_object_get(j->report, "begins-like")) {
		free(file);
		return;
	}
	if (check && j->verdict == INSPECT_DAMAGED)
		command(j, "qimg check -f %s -r all %s", format, file);
	else if (inspect_number(check, "leaks"))
		command(j, "qimg check -f %s -r leaks %s", format, file);
	if (j->verdict != INSPECT_DAMAGED &&
	    json_object_get(j->report, "virtual-size"))
		suggest_use(j, format, file);
	free(file);
}

enum inspect_verdict inspect_judge(json_t *report,
				   const struct inspect_request *request,
				   enum inspect_end end, int signal)
{
	static const char *const verdicts[] = {
		[INSPECT_SAFE] = "safe",
		[INSPECT_ATTENTION] = "needs attention",
		[INSPECT_DAMAGED] = "damaged",
		[INSPECT_HOSTILE] = "hostile",
	};
	struct judge j = {
		.request = request,
		.report = report,
		.warnings = json_array(),
		.notes = json_array(),
		.commands = json_array(),
	};
	size_t i;
	json_t *reference;

	judge_end(&j, end, signal);
	judge_errors(&j);
	json_array_foreach(json_object_get(report, "references"), i, reference)
		judge_reference(&j, reference);
	judge_features(&j);
	judge_bitmaps(&j);
	judge_check(&j);
	judge_sizes(&j);
	if (end == INSPECT_REPORTED)
		judge_kind(&j);
	suggest(&j);
	json_object_set_new(report, "warnings", j.warnings);
	json_object_set_new(report, "notes", j.notes);
	json_object_set_new(report, "commands", j.commands);
	json_object_set_new(report, "verdict",
			    json_string(verdicts[j.verdict]));
	return j.verdict;
}
