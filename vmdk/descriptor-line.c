/* SPDX-License-Identifier: Apache-2.0 */
#include "vmdk/descriptor-line.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"

static const char *const access_words[] = {
	[VMDK_ACCESS_NONE] = "NOACCESS",
	[VMDK_ACCESS_READ] = "RDONLY",
	[VMDK_ACCESS_WRITE] = "RW",
};

static const char *const type_words[] = {
	[VMDK_FLAT] = "FLAT",
	[VMDK_SPARSE] = "SPARSE",
	[VMDK_ZERO] = "ZERO",
	[VMDK_VMFS] = "VMFS",
	[VMDK_VMFSSPARSE] = "VMFSSPARSE",
	[VMDK_SESPARSE] = "SESPARSE",
	[VMDK_VMFSRDM] = "VMFSRDM",
	[VMDK_VMFSRAW] = "VMFSRAW",
};

const char *vmdk_extent_type_name(enum vmdk_extent_type type)
{
	return type_words[type];
}

static size_t skip_blanks(const char *text)
{
	return strspn(text, " \t");
}

/* Of the word at the start of @text: its place in @words, or -1. */
static int find_word(const char *text, const char *const *words, size_t count)
{
	size_t length = strcspn(text, " \t");

	for (size_t i = 0; i < count; i++)
		if (strlen(words[i]) == length &&
		    strncmp(text, words[i], length) == 0)
			return (int)i;
	return -1;
}

/* Moves past the word at *@text and the blanks behind it. */
static void skip_word(const char **text)
{
	*text += strcspn(*text, " \t");
	*text += skip_blanks(*text);
}

static size_t trimmed(const char *text, size_t bytes)
{
	while (bytes > 0 && (text[bytes - 1] == ' ' || text[bytes - 1] == '\t'))
		bytes--;
	return bytes;
}

/* @key and @value are where they stand in the line. */
static enum vmdk_line_kind judge_value(struct vmdk_line *line, const char *key,
				       const char *equals)
{
	const char *value = equals + 1 + skip_blanks(equals + 1);
	size_t bytes = trimmed(value, strlen(value));

	if (bytes >= 2 && value[0] == '"' && value[bytes - 1] == '"') {
		value++;
		bytes -= 2;
	}
	if (memchr(value, '"', bytes))
		return VMDK_LINE_UNKNOWN;
	line->key_bytes = trimmed(key, (size_t)(equals - key));
	line->value_at = (size_t)(value - line->text);
	line->value_bytes = bytes;
	return line->key_bytes ? VMDK_LINE_VALUE : VMDK_LINE_UNKNOWN;
}

enum vmdk_line_kind vmdk_line_judge(struct vmdk_line *line)
{
	const char *text = line->text + skip_blanks(line->text);
	const char *equals = strchr(text, '=');

	line->key_bytes = 0;
	if (*text == '\0' || *text == '#')
		return VMDK_LINE_TEXT;
	if (find_word(text, access_words, ARRAY_SIZE(access_words)) >= 0)
		return VMDK_LINE_EXTENT;
	return equals ? judge_value(line, text, equals) : VMDK_LINE_UNKNOWN;
}

bool vmdk_line_is(const struct vmdk_line *line, const char *key)
{
	return line->key_bytes != 0 && strlen(key) == line->key_bytes &&
	       strncasecmp(line->text + skip_blanks(line->text), key,
			   line->key_bytes) == 0;
}

/* A decimal number at *@text, and moves past it. */
static bool take_number(const char **text, uint64_t *ret)
{
	unsigned long long number;
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	errno = 0;
	number = strtoull(*text, &end, 10);
	if (errno != 0 || (*end != '\0' && *end != ' ' && *end != '\t'))
		return false;
	*ret = number;
	*text = end + skip_blanks(end);
	return true;
}

static const char *take_name(const char **text, const char **ret_name)
{
	const char *start = *text + 1;
	const char *end;

	if (**text != '"')
		return "the name of its file is missing or not quoted";
	end = strchr(start, '"');
	if (!end)
		return "the quote that ends its file's name is missing";
	if (end == start)
		return "its file has no name";
	if (end - start > VMDK_MAX_NAME_BYTES)
		return "its file's name is too long";
	if (end[1] != '\0' && end[1] != ' ' && end[1] != '\t')
		return "something follows its file's name at once";
	*ret_name = strndup(start, (size_t)(end - start));
	*text = end + 1 + skip_blanks(end + 1);
	return *ret_name ? NULL : "";
}

/* What stands behind the name: for flat files where their data begins. */
static const char *take_offset(const char **text, struct vmdk_extent_line *e)
{
	if (**text == '\0')
		return e->type == VMDK_FLAT
			       ? "it does not say where its data begins"
			       : NULL;
	if (!take_number(text, &e->offset_sectors))
		return vmdk_extent_is_flat(e->type)
			       ? "where its data begins is no number"
			       : NULL;
	if (e->offset_sectors > VMDK_MAX_SECTORS - e->sectors)
		return "its data ends too far from the file's beginning";
	if (!vmdk_extent_is_flat(e->type) && e->offset_sectors != 0)
		return "only the data of a flat file can begin later";
	return NULL;
}

static const char *take_all(const char *text, struct vmdk_extent_line *e)
{
	int access = find_word(text, access_words, ARRAY_SIZE(access_words));
	const char *wrong;
	int type;

	skip_word(&text);
	e->access = (enum vmdk_access)access;
	if (!take_number(&text, &e->sectors))
		return "how many sectors it has is no number";
	if (e->sectors == 0 || e->sectors > VMDK_MAX_SECTORS)
		return "it cannot have that many sectors";
	type = find_word(text, type_words, ARRAY_SIZE(type_words));
	if (type < 0)
		return "its type is not known";
	skip_word(&text);
	e->type = (enum vmdk_extent_type)type;
	if (e->type == VMDK_ZERO)
		return *text ? "a ZERO extent has no file" : NULL;
	wrong = take_name(&text, &e->name);
	return wrong ? wrong : take_offset(&text, e);
}

const char *vmdk_line_extent(const char *text, struct vmdk_extent_line *ret)
{
	struct vmdk_extent_line e = {0};
	const char *wrong = take_all(text + skip_blanks(text), &e);

	if (wrong)
		free((char *)e.name);
	else
		*ret = e;
	return wrong;
}

bool vmdk_parse_cid(const char *text, uint32_t *ret_cid)
{
	size_t digits = strspn(text, "0123456789abcdefABCDEF");

	if (digits == 0 || digits > 8 || text[digits] != '\0')
		return false;
	*ret_cid = (uint32_t)strtoul(text, NULL, 16);
	return true;
}

bool vmdk_can_be_quoted(const char *text)
{
	return strlen(text) <= VMDK_MAX_NAME_BYTES &&
	       text[strcspn(text, "\"\r\n")] == '\0';
}
