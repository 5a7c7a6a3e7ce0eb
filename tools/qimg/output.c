/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/printable.h"
#include "tools/qimg/spec.h"

const char *output_size(uint64_t bytes, char ret[OUTPUT_SIZE_CHARS])
{
	static const char *const units[] = {"B",   "KiB", "MiB", "GiB",
					    "TiB", "PiB", "EiB"};
	unsigned unit = 0;
	double value = (double)bytes;

	/* What three digits would round up to 1000 belongs to the next. */
	while (value >= 999.5 && unit < 6) {
		value /= 1024;
		unit++;
	}
	snprintf(ret, OUTPUT_SIZE_CHARS, "%0.3g %s", value, units[unit]);
	return ret;
}

int output_format(const struct cli *cli)
{
	const char *name = cli_value(cli, QIMG_OUTPUT);

	if (!name || strcmp(name, "human") == 0)
		return 0;
	if (strcmp(name, "json") == 0)
		return 1;
	cli_error("--output must be used with human or json as argument.");
	return -1;
}

/*
 * QEMU prints the members of an object in the order of its hash table: by this
 * function of the name, modulo 512 (qobject/qdict.c).
 */
static unsigned member_order(const char *name)
{
	uint32_t hash = 0x238f13af * (uint32_t)strlen(name);

	for (unsigned i = 0; name[i]; i++)
		hash += (uint32_t)(uint8_t)name[i] << (i * 5 % 24);
	return (1103515243 * hash + 12345) % 512;
}

struct member {
	const char *name;
	json_t *value;
	unsigned order;
	int age;
};

static int compare_members(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return y->age - x->age;
}

static void print_value(const json_t *value, int depth);

/* Sorted; to be freed. */
static struct member *members_of(const json_t *object)
{
	size_t count = json_object_size(object), i = 0;
	struct member *members = calloc(count + 1, sizeof(*members));
	const char *name;
	json_t *value;

	if (!members)
		abort();
	json_object_foreach((json_t *)object, name, value)
	{
		members[i] = (struct member){name, value, member_order(name),
					     (int)i};
		i++;
	}
	qsort(members, count, sizeof(*members), compare_members);
	return members;
}

static void print_object(const json_t *object, int depth)
{
	size_t count = json_object_size(object);
	struct member *members = members_of(object);

	printf("{\n");
	for (size_t i = 0; i < count; i++) {
		printf("%*s\"%s\": ", (depth + 1) * 4, "", members[i].name);
		print_value(members[i].value, depth + 1);
		printf(i + 1 < count ? ",\n" : "\n");
	}
	printf("%*s}", depth * 4, "");
	free(members);
}

static void print_value(const json_t *value, int depth)
{
	size_t i;
	json_t *item;

	if (json_is_object(value)) {
		print_object(value, depth);
	} else if (json_is_array(value)) {
		printf("[\n");
		json_array_foreach(value, i, item)
		{
			printf("%*s", (depth + 1) * 4, "");
			print_value(item, depth + 1);
			printf(i + 1 < json_array_size(value) ? ",\n" : "\n");
		}
		printf("%*s]", depth * 4, "");
	} else {
		char *text =
			json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

		printf("%s", text ? text : "null");
		free(text);
	}
}

void output_json(json_t *value)
{
	print_value(value, 0);
	printf("\n");
	json_decref(value);
}

/* How many dots lead to the fact: its groups. */
void output_text(const char *before, const char *text, const char *after)
{
	char *printable = printable_copy(text);

	printf("%s%s%s", before, printable ? printable : "?", after);
	free(printable);
}

static int depth_of(const struct image_fact *fact)
{
	int depth = 0;

	for (const char *c = fact->name; *c; c++)
		depth += *c == '.';
	return depth;
}

static const char *last_part(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? dot + 1 : name;
}

static void print_lines(const json_t *value, int depth);

static void print_line(const char *name, size_t index, const json_t *value,
		       int depth)
{
	printf("%*s", 4 * depth, "");
	if (!name)
		printf("[%zu]", index);
	for (; name && *name; name++)
		putchar(*name == '-' ? ' ' : *name);
	printf(":");
	if (json_is_object(value) || json_is_array(value)) {
		printf("\n");
		print_lines(value, depth + 1);
	} else if (json_is_string(value)) {
		output_text(" ", json_string_value(value), "\n");
	} else if (json_is_integer(value)) {
		printf(" %lld\n", (long long)json_integer_value(value));
	} else {
		printf(" %s\n", json_is_true(value) ? "true" : "false");
	}
}

static void print_lines(const json_t *value, int depth)
{
	size_t i;
	json_t *item;

	if (json_is_object(value)) {
		struct member *members = members_of(value);

		for (i = 0; i < json_object_size(value); i++)
			print_line(members[i].name, 0, members[i].value, depth);
		free(members);
	}
	json_array_foreach(value, i, item) print_line(NULL, i, item, depth);
}

void output_facts(const struct image_facts *facts)
{
	json_t *object = output_facts_json(facts);

	print_lines(object, 1);
	json_decref(object);
}

/* JSON has no bytes that are no letters. */
static json_t *text_value(const char *text)
{
	json_t *value = json_string(text);
	char *printable = value ? NULL : printable_copy(text);

	if (printable)
		value = json_string(printable);
	free(printable);
	return value;
}

static json_t *fact_value(const struct image_fact *fact)
{
	switch (fact->kind) {
	case IMAGE_FACT_STRING:
		return text_value(fact->value);
	case IMAGE_FACT_BOOL:
		return json_boolean(strcmp(fact->value, "true") == 0);
	case IMAGE_FACT_NUMBER:
		return json_integer(strtoll(fact->value, NULL, 10));
	case IMAGE_FACT_GROUP:
		return json_object();
	case IMAGE_FACT_LIST:
		return json_array();
	}
	return NULL;
}

static void put(json_t *into, const char *name, json_t *value)
{
	if (json_is_array(into))
		json_array_append_new(into, value);
	else
		json_object_set_new(into, name, value);
}

json_t *output_facts_json(const struct image_facts *facts)
{
	json_t *levels[8] = {json_object()};

	for (size_t i = 0; i < facts->count; i++) {
		const struct image_fact *fact = &facts->facts[i];
		int depth = depth_of(fact);
		json_t *value;

		if (depth >= 7)
			continue;
		value = fact_value(fact);
		put(levels[depth], last_part(fact->name), value);
		levels[depth + 1] = value;
	}
	return levels[0];
}

static void print_date(const struct image_snapshot *snapshot)
{
	time_t seconds = (time_t)snapshot->date_seconds;
	char text[32] = "";
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%19s", text);
}

void output_snapshots(const struct image_snapshots *snapshots)
{
	printf("%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE",
	       "VM CLOCK", "ICOUNT");
	for (size_t i = 0; i < snapshots->count; i++) {
		const struct image_snapshot *s = &snapshots->all[i];
		uint64_t seconds = s->vm_clock_nanoseconds / 1000000000;
		char size[OUTPUT_SIZE_CHARS], clock[64], icount[24] = "";

		snprintf(clock, sizeof(clock), "%02" PRIu64 ":%02d:%02d.%03d",
			 seconds / 3600, (int)(seconds / 60 % 60),
			 (int)(seconds % 60),
			 (int)(s->vm_clock_nanoseconds / 1000000 % 1000));
		if (s->icount != UINT64_MAX)
			snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
		printf("%-9s %-16s %8s ", s->id, s->name,
		       output_size(s->vm_state_bytes, size));
		print_date(s);
		printf("%13s%11s\n", clock, icount);
	}
}
