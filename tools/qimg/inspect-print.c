/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A report for people. The child has made every text printable; should it have
 * been taken over, that is done once more.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/qimg/inspect.h"
#include "tools/qimg/output.h"

static void print_member(const char *before, const json_t *object,
			 const char *name, const char *after)
{
	output_text(before, inspect_string(object, name), after);
}

static void print_size(const char *what, uint64_t bytes, const char *after)
{
	char text[OUTPUT_SIZE_CHARS];

	printf("%s: %s (%" PRIu64 " bytes)%s", what, output_size(bytes, text),
	       bytes, after);
}

static void print_sizes(const json_t *report)
{
	char on_disk[OUTPUT_SIZE_CHARS];

	if (json_object_get(report, "virtual-size"))
		print_size("virtual size",
			   inspect_number(report, "virtual-size"), "\n");
	print_size("file length", inspect_number(report, "file-length"), ", ");
	printf("%s on disk\n",
	       output_size(inspect_number(report, "actual-size"), on_disk));
}

static void print_format(const json_t *report)
{
	const json_t *facts = json_object_get(report, "format-specific");

	print_member("format: ", report, "format", "");
	if (json_object_get(facts, "compat"))
		print_member(" (compat ", facts, "compat", ")");
	if (json_object_get(facts, "compression-type"))
		print_member(", compression ", facts, "compression-type", "");
	printf("\n");
}

static void print_references(const json_t *report)
{
	size_t i;
	json_t *reference;

	json_array_foreach(json_object_get(report, "references"), i, reference)
	{
		print_member("", reference, "kind", ": ");
		print_member("\"", reference, "name", "\"");
		if (json_object_get(reference, "format"))
			print_member(", format ", reference, "format", "");
		printf(" (not opened)\n");
	}
}

static void print_features(const json_t *report)
{
	const json_t *features = json_object_get(report, "features");
	size_t i;
	json_t *feature;

	if (json_array_size(features) == 0)
		return;
	printf("features:");
	json_array_foreach((json_t *)features, i, feature)
	{
		print_member(i ? ", " : " ", feature, "name", "");
		print_member(" (", feature, "kind", ")");
	}
	printf("\n");
}

static void print_date(uint64_t seconds)
{
	time_t time = (time_t)seconds;
	char text[32] = "at no date";
	struct tm tm;

	if (localtime_r(&time, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%s", text);
}

static void print_snapshots(const json_t *report)
{
	size_t i;
	json_t *s;

	if (inspect_number(report, "snapshot-count"))
		printf("snapshots: %" PRIu64 "\n",
		       inspect_number(report, "snapshot-count"));
	json_array_foreach(json_object_get(report, "snapshots"), i, s)
	{
		print_member("    ", s, "id", " ");
		print_member("\"", s, "name", "\", ");
		print_date(inspect_number(s, "date-sec"));
		printf("\n");
	}
}

static void print_bitmaps(const json_t *report)
{
	size_t i;
	json_t *b;

	if (inspect_number(report, "bitmap-count"))
		printf("bitmaps: %" PRIu64 "\n",
		       inspect_number(report, "bitmap-count"));
	json_array_foreach(json_object_get(report, "bitmaps"), i, b)
	{
		print_member("    \"", b, "name", "\"");
		printf(", a bit for %" PRIu64 " bytes%s\n",
		       inspect_number(b, "granularity"),
		       inspect_true(b, "inconsistent") ? ", inconsistent" : "");
	}
}

static void print_check(const json_t *report)
{
	const json_t *check = json_object_get(report, "check");
	uint64_t count = inspect_number(check, "finding-count");
	size_t i;
	json_t *finding;

	if (!check)
		return;
	printf("metadata check: %" PRIu64 " errors, %" PRIu64
	       " leaked clusters\n",
	       inspect_number(check, "corruptions") +
		       inspect_number(check, "check-errors"),
	       inspect_number(check, "leaks"));
	json_array_foreach(json_object_get(check, "findings"), i, finding)
	{
		const char *text = json_string_value(finding);

		output_text("    ", text ? text : "", "\n");
	}
	if (count > i)
		printf("    ... and %" PRIu64 " more\n", count - i);
}

static void print_list(const json_t *report, const char *name,
		       const char *title, const char *before)
{
	const json_t *list = json_object_get(report, name);
	size_t i;
	json_t *line;

	if (json_array_size(list) == 0)
		return;
	printf("%s\n", title);
	json_array_foreach((json_t *)list, i, line)
	{
		const char *text = json_string_value(line);

		output_text(before, text ? text : "", "\n");
	}
}

void inspect_print(const json_t *report)
{
	print_member("image: ", report, "filename", "\n");
	print_member("verdict: ", report, "verdict", "\n");
	if (json_object_get(report, "format"))
		print_format(report);
	print_sizes(report);
	if (json_object_get(report, "encrypted"))
		printf("encrypted: %s\n",
		       inspect_true(report, "encrypted") ? "yes" : "no");
	print_references(report);
	print_features(report);
	print_snapshots(report);
	print_bitmaps(report);
	print_check(report);
	print_list(report, "warnings", "warnings:", "  - ");
	print_list(report, "notes", "notes:", "  - ");
	print_list(report, "commands", "to use it:", "    ");
}
