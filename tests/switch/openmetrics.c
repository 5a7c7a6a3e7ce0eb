/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/switch/openmetrics.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	NAME_BYTES = 128,
	LABELS_BYTES = 256,
	MAX_FAMILIES = 64,
	MAX_SAMPLES = 20000,
};

struct sample {
	char name[NAME_BYTES], labels[LABELS_BYTES], le[32];
	double value;
};

struct reader {
	char families[MAX_FAMILIES][NAME_BYTES];
	unsigned family_count;
	char type[16];
	bool has_samples; /* of the family at hand */
	struct sample *samples;
	unsigned count;
	/* Of the buckets at hand. */
	double below, limit;
	const char *wrong;
};

static const char *take_name(const char *at, char *ret_name)
{
	size_t n = 0;

	if (!isalpha((unsigned char)*at) && *at != '_')
		return NULL;
	while (isalnum((unsigned char)at[n]) || at[n] == '_' || at[n] == ':')
		n++;
	if (n >= NAME_BYTES)
		return NULL;
	memcpy(ret_name, at, n);
	ret_name[n] = '\0';
	return at + n;
}

/* A label's value, in which only three characters may be escaped. */
static const char *take_quoted(const char *at)
{
	if (*at++ != '"')
		return NULL;
	for (; *at != '"'; at++) {
		if (*at == '\\' && !strchr("\\\"n", *++at))
			return NULL;
		if (*at == '\0' || *at == '\n')
			return NULL;
	}
	return at + 1;
}

static const char *take_labels(const char *at, struct sample *sample)
{
	const char *begin = at, *value, *end;
	char name[NAME_BYTES];

	if (*at != '{')
		return at;
	do {
		at = take_name(at + 1, name);
		if (!at || *at != '=')
			return NULL;
		value = at + 1;
		at = take_quoted(value);
		if (!at)
			return NULL;
		if (strcmp(name, "le") == 0)
			snprintf(sample->le, sizeof(sample->le), "%.*s",
				 (int)(at - value - 2), value + 1);
		else
			snprintf(sample->labels + strlen(sample->labels),
				 LABELS_BYTES - strlen(sample->labels),
				 "%s=%.*s,", name, (int)(at - value), value);
	} while (*at == ',');
	end = *at == '}' ? at + 1 : NULL;
	return end && end - begin < LABELS_BYTES ? end : NULL;
}

static bool read_sample(const char *line, struct sample *ret)
{
	const char *at = take_name(line, ret->name);
	char *end;

	at = at ? take_labels(at, ret) : NULL;
	if (!at || *at++ != ' ' || *at == '\0')
		return false;
	ret->value = strtod(at, &end);
	return *end == '\0' && !isnan(ret->value);
}

static bool is_suffix(const struct reader *r, const char *suffix)
{
	static const struct {
		const char *type, *suffix;
	} known[] = {
		{"gauge", ""},		 {"counter", "_total"},
		{"counter", "_created"}, {"histogram", "_bucket"},
		{"histogram", "_count"}, {"histogram", "_sum"},
	};

	for (unsigned i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(known[i].type, r->type) == 0 &&
		    strcmp(known[i].suffix, suffix) == 0)
			return true;
	return false;
}

/* Buckets rise, in limit and count, up to +Inf, which is the count. */
static bool is_bucket(struct reader *r, const struct sample *s)
{
	const struct sample *last =
		r->count > 0 ? &r->samples[r->count - 1] : s;
	bool goes_on = strcmp(last->name, s->name) == 0 && last->le[0] &&
		       strcmp(last->labels, s->labels) == 0;
	char *end;
	double limit = strtod(s->le, &end);

	if (s->le[0] == '\0' || *end != '\0')
		return false;
	if (goes_on && (limit <= r->limit || s->value < r->below))
		return false;
	r->limit = limit;
	r->below = s->value;
	return true;
}

static const char *judge_sample(struct reader *r, const struct sample *s)
{
	const char *family = r->families[r->family_count - 1];
	const size_t length = strlen(family);
	const char *suffix;

	if (r->family_count == 0 || strncmp(s->name, family, length) != 0)
		return "a sample of another family";
	suffix = s->name + length;
	if (!is_suffix(r, suffix))
		return "a suffix that its type does not have";
	if (strcmp(r->type, "gauge") != 0 && s->value < 0)
		return "a count below zero";
	if (strcmp(suffix, "_bucket") == 0 && !is_bucket(r, s))
		return "a bucket that does not fit";
	if (strcmp(suffix, "_bucket") != 0 && s->le[0])
		return "le at something else than a bucket";
	if (strcmp(suffix, "_count") == 0 &&
	    (!isinf(r->limit) || s->value != r->below))
		return "a count that is not the last bucket's";
	for (unsigned i = 0; i < r->count; i++)
		if (strcmp(r->samples[i].name, s->name) == 0 &&
		    strcmp(r->samples[i].labels, s->labels) == 0 &&
		    strcmp(r->samples[i].le, s->le) == 0)
			return "a sample twice";
	return NULL;
}

static const char *take_sample(struct reader *r, const char *line)
{
	struct sample sample = {0};
	const char *wrong;

	if (!read_sample(line, &sample))
		return "no sample";
	wrong = judge_sample(r, &sample);
	if (wrong)
		return wrong;
	if (r->count == MAX_SAMPLES)
		return "too many samples for the reader";
	r->samples[r->count++] = sample;
	r->has_samples = true;
	return NULL;
}

static const char *begin_family(struct reader *r, const char *name,
				const char *type)
{
	for (unsigned i = 0; i < r->family_count; i++)
		if (strcmp(r->families[i], name) == 0)
			return "a family twice";
	if (r->family_count == MAX_FAMILIES)
		return "too many families for the reader";
	if (strcmp(type, "gauge") != 0 && strcmp(type, "counter") != 0 &&
	    strcmp(type, "histogram") != 0)
		return "a type that nobody knows";
	strcpy(r->families[r->family_count++], name);
	snprintf(r->type, sizeof(r->type), "%s", type);
	r->has_samples = false;
	return NULL;
}

static const char *take_comment(struct reader *r, const char *line)
{
	char word[8], name[NAME_BYTES];
	const char *rest;
	size_t length;

	if (sscanf(line, "# %7s ", word) != 1)
		return "no comment that there can be";
	rest = take_name(line + 3 + strlen(word), name);
	if (!rest || *rest != ' ')
		return "a comment on no family";
	rest++;
	if (strcmp(word, "TYPE") == 0)
		return begin_family(r, name, rest);
	if (r->family_count == 0 ||
	    strcmp(r->families[r->family_count - 1], name) != 0 ||
	    r->has_samples)
		return "a comment away from its family";
	length = strlen(name);
	if (strcmp(word, "UNIT") == 0)
		return length > strlen(rest) &&
				       strcmp(name + length - strlen(rest),
					      rest) == 0
			       ? NULL
			       : "a unit that the name does not end with";
	return strcmp(word, "HELP") == 0 ? NULL : "a comment of no kind";
}

int openmetrics_read(const char *text,
		     char ret_error[static OPENMETRICS_ERROR_BYTES])
{
	struct reader r = {.samples = calloc(MAX_SAMPLES, sizeof(*r.samples))};
	const char *wrong = r.samples ? NULL : "there is no memory";
	char line[1024] = "";
	bool ended = false;

	while (!wrong && *text) {
		const char *end = strchr(text, '\n');

		if (!end || (size_t)(end - text) >= sizeof(line)) {
			wrong = "a line without an end";
			break;
		}
		memcpy(line, text, end - text);
		line[end - text] = '\0';
		text = end + 1;
		if (ended)
			wrong = "something behind the end";
		else if (strcmp(line, "# EOF") == 0)
			ended = true;
		else
			wrong = line[0] == '#' ? take_comment(&r, line)
					       : take_sample(&r, line);
	}
	if (!wrong && !ended)
		wrong = "no end";
	free(r.samples);
	if (!wrong)
		return r.count;
	snprintf(ret_error, OPENMETRICS_ERROR_BYTES, "%.180s: %s", line, wrong);
	return -1;
}
