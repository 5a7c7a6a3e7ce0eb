/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/descriptor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "image/image.h"
#include "vmdk/descriptor-line.h"

/* A descriptor in the making. */
struct parser {
	struct vmdk_descriptor d;
	unsigned line; /* from 1 */
	bool has_cid, has_parent;
	char **ret_error;
};

#define fail_line(p, ...) fail_outcome(p, IMAGE_E_CORRUPT, __VA_ARGS__)

static int __attribute__((format(printf, 3, 4)))
fail_outcome(struct parser *p, int outcome, const char *format, ...)
{
	char what[256];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return store_fail(p->ret_error, outcome, "line %u: %s", p->line, what);
}

void vmdk_descriptor_deinit(struct vmdk_descriptor *d)
{
	for (size_t i = 0; i < d->extent_count; i++)
		free((char *)d->extents[i].name);
	for (size_t i = 0; i < d->line_count; i++)
		free(d->lines[i].text);
	free(d->extents);
	free(d->lines);
	free(d->create_type);
	free(d->parent_hint);
	free(d->encoding);
	free(d->change_track);
	*d = (struct vmdk_descriptor){0};
}

static char *copy_value(const struct vmdk_line *line)
{
	return strndup(line->text + line->value_at, line->value_bytes);
}

static int take_text(struct parser *p, const char *key, const char *value,
		     char **ret)
{
	if (*ret)
		return fail_line(p, "%s is there for the second time", key);
	*ret = strdup(value);
	return *ret ? 0 : -ENOMEM;
}

static int take_cid(struct parser *p, const char *key, const char *value,
		    bool *had, uint32_t *ret)
{
	if (*had)
		return fail_line(p, "%s is there for the second time", key);
	*had = true;
	if (!vmdk_parse_cid(value, ret))
		return fail_line(p,
				 "%s is \"%s\", not a number of eight "
				 "hexadecimal digits",
				 key, value);
	return 0;
}

static int take_version(struct parser *p, const char *value)
{
	if (p->d.version)
		return fail_line(p, "version is there for the second time");
	if (strlen(value) != 1 || *value < '1' || *value > '9')
		return fail_line(p, "version is \"%s\", not a number", value);
	if (*value > '3')
		return fail_outcome(p, IMAGE_E_UNSUPPORTED,
				    "it has version %s, and only 1 to 3 are "
				    "known",
				    value);
	p->d.version = (unsigned)(*value - '0');
	return 0;
}

static int take_known(struct parser *p, const struct vmdk_line *line,
		      const char *value)
{
	struct vmdk_descriptor *d = &p->d;

	if (vmdk_line_is(line, "version"))
		return take_version(p, value);
	if (vmdk_line_is(line, "CID"))
		return take_cid(p, "CID", value, &p->has_cid, &d->cid);
	if (vmdk_line_is(line, "parentCID"))
		return take_cid(p, "parentCID", value, &p->has_parent,
				&d->parent_cid);
	if (vmdk_line_is(line, "createType"))
		return take_text(p, "createType", value, &d->create_type);
	if (vmdk_line_is(line, "parentFileNameHint"))
		return take_text(p, "parentFileNameHint", value,
				 &d->parent_hint);
	if (vmdk_line_is(line, "encoding"))
		return take_text(p, "encoding", value, &d->encoding);
	if (vmdk_line_is(line, "changeTrackPath"))
		return take_text(p, "changeTrackPath", value, &d->change_track);
	return 0; /* kept, and not understood */
}

static int take_value(struct parser *p, const struct vmdk_line *line)
{
	char *value = copy_value(line);
	int err = value ? take_known(p, line, value) : -ENOMEM;

	free(value);
	return err;
}

static int take_extent(struct parser *p, const char *text)
{
	struct vmdk_descriptor *d = &p->d;
	struct vmdk_extent_line *grown;
	const char *wrong;

	if (d->extent_count == VMDK_MAX_EXTENTS)
		return fail_outcome(p, IMAGE_E_UNSUPPORTED,
				    "there are more than %u extents",
				    VMDK_MAX_EXTENTS);
	grown = reallocarray(d->extents, d->extent_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	d->extents = grown;
	wrong = vmdk_line_extent(text, &grown[d->extent_count]);
	if (wrong)
		return *wrong ? fail_line(p, "the extent is broken: %s", wrong)
			      : -ENOMEM;
	grown[d->extent_count].line = p->line;
	if (grown[d->extent_count++].sectors > VMDK_MAX_SECTORS - d->sectors)
		return fail_line(p, "with this extent the disk is too large");
	d->sectors += grown[d->extent_count - 1].sectors;
	return 0;
}

/* The line, whose text now belongs to the descriptor. */
static int take_line(struct parser *p, char *text)
{
	struct vmdk_line *line = &p->d.lines[p->d.line_count++];

	p->line = (unsigned)p->d.line_count;
	*line = (struct vmdk_line){.text = text};
	switch (vmdk_line_judge(line)) {
	case VMDK_LINE_TEXT:
		return 0;
	case VMDK_LINE_VALUE:
		return take_value(p, line);
	case VMDK_LINE_EXTENT:
		return take_extent(p, text);
	case VMDK_LINE_UNKNOWN:
		break;
	}
	return fail_line(p, "\"%.40s\" is neither a value nor an extent", text);
}

static int grow_lines(struct parser *p)
{
	struct vmdk_line *grown;

	if (p->d.line_count == VMDK_MAX_DESCRIPTOR_LINES)
		return fail_outcome(p, IMAGE_E_UNSUPPORTED,
				    "there are more than %u lines",
				    VMDK_MAX_DESCRIPTOR_LINES);
	if (!is_power_of_two(p->d.line_count + 1))
		return 0;
	grown = reallocarray(p->d.lines, 2 * (p->d.line_count + 1),
			     sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	p->d.lines = grown;
	return 0;
}

/* Lines end with a line feed, a carriage return before it, or the text. */
static int take_lines(struct parser *p, const char *text, size_t bytes)
{
	while (bytes > 0) {
		const char *feed = memchr(text, '\n', bytes);
		size_t whole = feed ? (size_t)(feed - text) + 1 : bytes;
		size_t length = feed ? whole - 1 : bytes;
		char *copy;
		int err = grow_lines(p);

		if (err)
			return err;
		if (length > 0 && text[length - 1] == '\r')
			length--;
		copy = strndup(text, length);
		err = copy ? take_line(p, copy) : -ENOMEM;
		if (err)
			return err;
		text += whole;
		bytes -= whole;
	}
	return 0;
}

static int judge_whole(struct parser *p)
{
	struct vmdk_descriptor *d = &p->d;

	if (!p->has_cid)
		return store_fail(p->ret_error, IMAGE_E_CORRUPT,
				  "there is no CID");
	if (!d->create_type)
		return store_fail(p->ret_error, IMAGE_E_CORRUPT,
				  "there is no createType");
	if (d->extent_count == 0)
		return store_fail(p->ret_error, IMAGE_E_CORRUPT,
				  "there is no extent");
	if (!d->version)
		d->version = 1;
	if (!p->has_parent)
		d->parent_cid = VMDK_NO_CID;
	return 0;
}

int vmdk_descriptor_parse(const char *text, size_t bytes,
			  struct vmdk_descriptor *ret, char **ret_error)
{
	struct parser p = {.ret_error = ret_error};
	int err;

	bytes = strnlen(text, bytes);
	if (bytes > VMDK_MAX_DESCRIPTOR_BYTES)
		return store_fail(ret_error, IMAGE_E_UNSUPPORTED,
				  "it has more than %u bytes",
				  VMDK_MAX_DESCRIPTOR_BYTES);
	err = take_lines(&p, text, bytes);
	if (err == 0)
		err = judge_whole(&p);
	if (err) {
		vmdk_descriptor_deinit(&p.d);
		return err;
	}
	*ret = p.d;
	return 0;
}

static const struct vmdk_line *find_line(const struct vmdk_descriptor *d,
					 const char *key)
{
	for (size_t i = 0; i < d->line_count; i++)
		if (vmdk_line_is(&d->lines[i], key))
			return &d->lines[i];
	return NULL;
}

char *vmdk_descriptor_get(const struct vmdk_descriptor *d, const char *key)
{
	const struct vmdk_line *line = find_line(d, key);

	return line ? copy_value(line) : NULL;
}

/* The place of the @index-th line in @text. */
static size_t line_at(const char *text, size_t bytes, size_t index)
{
	const char *at = text, *end = text + bytes;

	while (index-- > 0) {
		const char *feed = memchr(at, '\n', (size_t)(end - at));

		if (!feed)
			return bytes;
		at = feed + 1;
	}
	return (size_t)(at - text);
}

struct vmdk_place vmdk_descriptor_place(const struct vmdk_descriptor *d,
					const char *key, const char *text,
					size_t bytes)
{
	const struct vmdk_line *line = find_line(d, key);
	size_t index = (size_t)(line - d->lines);
	size_t at = line_at(text, bytes, index);

	return (struct vmdk_place){
		.line = index,
		.key_at = at + strspn(line->text, " \t"),
		.value_at = at + line->value_at,
		.value_bytes = line->value_bytes,
	};
}

static bool is_ddb(const struct vmdk_line *line)
{
	return strncasecmp(line->text, "ddb.", 4) == 0;
}

/* New lines of the header go below this one. */
static const struct vmdk_line *last_header(const struct vmdk_descriptor *d)
{
	const struct vmdk_line *last = &d->lines[0];

	for (size_t i = 0; i < d->line_count; i++)
		if (d->lines[i].key_bytes && !is_ddb(&d->lines[i]))
			last = &d->lines[i];
	return last;
}

static void print_new(FILE *out, const char *key, const char *value)
{
	bool bare = strcasecmp(key, "version") == 0 ||
		    strcasecmp(key, "CID") == 0 ||
		    strcasecmp(key, "parentCID") == 0;

	if (bare)
		fprintf(out, "%s=%s\n", key, value);
	else
		fprintf(out, "%s%s\"%s\"\n", key,
			strncasecmp(key, "ddb.", 4) == 0 ? " = " : "=", value);
}

/* All lines; @key, if not NULL, with @value. */
static void print(FILE *out, const struct vmdk_descriptor *d, const char *key,
		  const char *value)
{
	const struct vmdk_line *old = key ? find_line(d, key) : NULL;
	bool ddb = key && strncasecmp(key, "ddb.", 4) == 0;
	const struct vmdk_line *above =
		key && !old && !ddb ? last_header(d) : NULL;

	for (const struct vmdk_line *line = d->lines;
	     line < d->lines + d->line_count; line++) {
		if (line == old)
			fprintf(out, "%.*s%s%s\n", (int)line->value_at,
				line->text, value,
				line->text + line->value_at +
					line->value_bytes);
		else
			fprintf(out, "%s\n", line->text);
		if (line == above)
			print_new(out, key, value);
	}
	if (key && !old && ddb)
		print_new(out, key, value);
}

static int write_with(const struct vmdk_descriptor *d, const char *key,
		      const char *value, char **ret_text, size_t *ret_bytes)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);
	bool failed;

	if (!out)
		return -ENOMEM;
	print(out, d, key, value);
	failed = ferror(out);
	failed |= fclose(out) != 0;
	if (failed || bytes > VMDK_MAX_DESCRIPTOR_BYTES) {
		free(text);
		return failed ? -ENOMEM : -EFBIG;
	}
	*ret_text = text;
	*ret_bytes = bytes;
	return 0;
}

int vmdk_descriptor_write(const struct vmdk_descriptor *d, char **ret_text,
			  size_t *ret_bytes)
{
	return write_with(d, NULL, NULL, ret_text, ret_bytes);
}

int vmdk_descriptor_set(struct vmdk_descriptor *d, const char *key,
			const char *value)
{
	struct vmdk_descriptor changed;
	size_t bytes;
	char *text;
	int err;

	if (!vmdk_can_be_quoted(value) || !vmdk_can_be_quoted(key) ||
	    strpbrk(key, "= \t#"))
		return -EINVAL;
	err = write_with(d, key, value, &text, &bytes);
	if (err)
		return err;
	err = vmdk_descriptor_parse(text, bytes, &changed, NULL);
	free(text);
	if (err)
		return err < 0 ? err : -EINVAL;
	vmdk_descriptor_deinit(d);
	*d = changed;
	return 0;
}
