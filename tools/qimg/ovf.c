/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/ovf.h"

#include <ctype.h>
#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "image/store.h"

/* What <File> says. */
struct file {
	char *id;
	char *href; /* without percent signs */
	bool is_compressed;
	bool is_chunked;
};

/* Elements whose content is of interest. */
enum place {
	ELSEWHERE,
	IN_ENVELOPE,
	IN_REFERENCES,
	IN_DISKS,
};

struct reader {
	XML_Parser xml;
	enum place places[OVF_MAX_DEPTH]; /* of the open elements */
	unsigned depth;
	struct file *files;
	size_t file_count;
	struct ovf ovf;
	char **references; /* of the disks: fileRef, or NULL */
	int err;
	const char *wrong; /* with -EBADMSG */
};

/* --- Values ------------------------------------------------------------- */

static const char *local_name(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : name;
}

/* NULL if there is none. */
static const char *attribute(const char **attributes, const char *name)
{
	for (; *attributes; attributes += 2)
		if (strcmp(local_name(attributes[0]), name) == 0)
			return attributes[1];
	return NULL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The bytes that a reference stands for; NULL: none, or no memory. */
static char *decode_href(const char *href)
{
	char *name = strdup(href), *to = name;

	for (const char *at = href; name && *at; at++) {
		int high = *at == '%' ? hex_digit(at[1]) : -1;
		int low = high >= 0 ? hex_digit(at[2]) : -1;

		if (low < 0) {
			*to++ = *at;
			continue;
		}
		*to++ = (char)(high << 4 | low);
		at += 2;
	}
	if (name)
		*to = '\0';
	return name;
}

/* "* 2^30" and "* 10^3" behind "byte": false for anything else. */
static bool take_factor(const char *text, uint64_t *ret)
{
	unsigned base, exponent;
	uint64_t factor = 1;
	int end = 0;

	if (sscanf(text, " * %2u ^ %2u %n", &base, &exponent, &end) != 2 ||
	    text[end] || (base != 2 && base != 10))
		return false;
	for (unsigned i = 0; i < exponent; i++)
		if (__builtin_mul_overflow(factor, (uint64_t)base, &factor))
			return false;
	*ret = factor;
	return true;
}

/* As OVF 1.0 has them, and the words of the drafts before it. */
static bool parse_units(const char *units, uint64_t *ret)
{
	static const char *const words[] = {"bytes", "kilobytes", "megabytes",
					    "gigabytes", "terabytes"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcasecmp(units, words[i]) != 0)
			continue;
		*ret = UINT64_C(1) << (10 * i);
		return true;
	}
	if (strncasecmp(units, "byte", 4) != 0)
		return false;
	*ret = 1;
	return units[4] == '\0' || take_factor(units + 4, ret);
}

bool ovf_capacity(const char *number, const char *units, uint64_t *ret_bytes)
{
	uint64_t unit, bytes;
	char *end;

	if (!isdigit((unsigned char)*number))
		return false;
	errno = 0;
	bytes = strtoull(number, &end, 10);
	if (errno || *end || !parse_units(units, &unit) ||
	    __builtin_mul_overflow(bytes, unit, &bytes) || bytes > INT64_MAX)
		return false;
	*ret_bytes = bytes;
	return true;
}

/* --- Elements ----------------------------------------------------------- */

static void stop(struct reader *r, int err, const char *wrong)
{
	r->err = err;
	r->wrong = wrong;
	XML_StopParser(r->xml, XML_FALSE);
}

/* Room for one more; false: the parser was stopped. */
static bool grow(struct reader *r, void *array, size_t count, size_t most,
		 size_t size, const char *wrong)
{
	void **place = array, *grown;

	if (count == most) {
		stop(r, -EBADMSG, wrong);
		return false;
	}
	if (count && !is_power_of_two(count))
		return true;
	grown = reallocarray(*place, count ? 2 * count : 1, size);
	if (!grown)
		stop(r, -ENOMEM, NULL);
	else
		*place = grown;
	return grown;
}

static void take_file(struct reader *r, const char **attributes)
{
	const char *id = attribute(attributes, "id");
	const char *href = attribute(attributes, "href");
	const char *compression = attribute(attributes, "compression");
	struct file *file;

	if (!id || !href || strlen(href) > OVF_MAX_NAME_BYTES) {
		stop(r, -EBADMSG, "a file of it has no id or no name");
		return;
	}
	if (!grow(r, &r->files, r->file_count, OVF_MAX_FILES, sizeof(*file),
		  "it has too many files"))
		return;
	file = &r->files[r->file_count++];
	*file = (struct file){
		.id = strdup(id),
		.href = decode_href(href),
		.is_compressed = compression && *compression &&
				 strcmp(compression, "identity") != 0,
		.is_chunked = attribute(attributes, "chunkSize"),
	};
	if (!file->id || !file->href)
		stop(r, -ENOMEM, NULL);
}

/* A capacity that a property gives, as "${size}", is not known here. */
static uint64_t capacity_of(const char **attributes)
{
	const char *capacity = attribute(attributes, "capacity");
	const char *units = attribute(attributes, "capacityAllocationUnits");
	uint64_t bytes = 0;

	if (!capacity ||
	    !ovf_capacity(capacity, units ? units : "byte", &bytes))
		return 0;
	return bytes;
}

static void take_disk(struct reader *r, const char **attributes)
{
	const char *id = attribute(attributes, "diskId");
	const char *reference = attribute(attributes, "fileRef");
	struct ovf *ovf = &r->ovf;
	size_t at = ovf->count;

	if (!id) {
		stop(r, -EBADMSG, "a disk of it has no diskId");
		return;
	}
	if (!grow(r, &ovf->disks, at, OVF_MAX_DISKS, sizeof(*ovf->disks),
		  "it has too many disks") ||
	    !grow(r, &r->references, at, OVF_MAX_DISKS, sizeof(*r->references),
		  "it has too many disks"))
		return;
	ovf->disks[at] = (struct ovf_disk){
		.id = strdup(id),
		.capacity_bytes = capacity_of(attributes),
	};
	r->references[at] = reference && *reference ? strdup(reference) : NULL;
	ovf->count++;
	if (!ovf->disks[at].id ||
	    (reference && *reference && !r->references[at]))
		stop(r, -ENOMEM, NULL);
}

static enum place place_of(struct reader *r, const char *name,
			   const char **attributes)
{
	enum place above = r->depth ? r->places[r->depth - 1] : ELSEWHERE;

	if (r->depth == 0) {
		if (strcmp(name, "Envelope") == 0)
			return IN_ENVELOPE;
		stop(r, -EBADMSG, "it is no OVF envelope");
	} else if (above == IN_ENVELOPE) {
		if (strcmp(name, "References") == 0)
			return IN_REFERENCES;
		if (strcmp(name, "DiskSection") == 0)
			return IN_DISKS;
	} else if (above == IN_REFERENCES && strcmp(name, "File") == 0) {
		take_file(r, attributes);
	} else if (above == IN_DISKS && strcmp(name, "Disk") == 0) {
		take_disk(r, attributes);
	}
	return ELSEWHERE;
}

static void XMLCALL start_element(void *opaque, const char *name,
				  const char **attributes)
{
	struct reader *r = opaque;
	enum place place;

	if (r->err)
		return;
	if (r->depth == OVF_MAX_DEPTH) {
		stop(r, -EBADMSG, "its elements are nested too deeply");
		return;
	}
	place = place_of(r, local_name(name), attributes);
	r->places[r->depth++] = place;
}

static void XMLCALL end_element(void *opaque, const char *name)
{
	struct reader *r = opaque;

	if (r->depth > 0)
		r->depth--;
}

/* No OVF has one, and only there entities can be made. */
static void XMLCALL refuse_document_type(void *opaque, const char *name,
					 const char *system, const char *public,
					 int has_internal)
{
	stop(opaque, -EBADMSG,
	     "it has a document type, which is not looked at");
}

/* --- The whole ---------------------------------------------------------- */

static const struct file *find_file(const struct reader *r, const char *id)
{
	for (size_t i = 0; i < r->file_count; i++)
		if (strcmp(r->files[i].id, id) == 0)
			return &r->files[i];
	return NULL;
}

/* Disks may come before the files that they lie in. */
static int join(struct reader *r)
{
	for (size_t i = 0; i < r->ovf.count; i++) {
		struct ovf_disk *disk = &r->ovf.disks[i];
		const struct file *file;

		if (!r->references[i])
			continue;
		file = find_file(r, r->references[i]);
		if (!file) {
			r->wrong = "a disk of it lies in a file that it does "
				   "not know";
			return -EBADMSG;
		}
		disk->file = strdup(file->href);
		if (!disk->file)
			return -ENOMEM;
		disk->is_compressed = file->is_compressed;
		disk->is_chunked = file->is_chunked;
	}
	return 0;
}

static int parse(struct reader *r, const char *text, size_t bytes,
		 char **ret_error)
{
	enum XML_Status status;
	unsigned long line;

	XML_SetUserData(r->xml, r);
	XML_SetElementHandler(r->xml, start_element, end_element);
	XML_SetStartDoctypeDeclHandler(r->xml, refuse_document_type);
	status = XML_Parse(r->xml, text, (int)bytes, XML_TRUE);
	line = XML_GetCurrentLineNumber(r->xml);
	if (r->err == 0 && status != XML_STATUS_OK) {
		r->err = XML_GetErrorCode(r->xml) == XML_ERROR_NO_MEMORY
				 ? -ENOMEM
				 : -EBADMSG;
		r->wrong = XML_ErrorString(XML_GetErrorCode(r->xml));
	}
	if (r->err == 0)
		r->err = join(r);
	if (r->err == -EBADMSG)
		return store_fail(ret_error, r->err, "line %lu: %s", line,
				  r->wrong);
	return r->err;
}

void ovf_deinit(struct ovf *ovf)
{
	for (size_t i = 0; i < ovf->count; i++) {
		free(ovf->disks[i].id);
		free(ovf->disks[i].file);
	}
	free(ovf->disks);
	*ovf = (struct ovf){0};
}

static void free_reader(struct reader *r)
{
	for (size_t i = 0; i < r->file_count; i++) {
		free(r->files[i].id);
		free(r->files[i].href);
	}
	for (size_t i = 0; i < r->ovf.count; i++)
		free(r->references[i]);
	free(r->files);
	free(r->references);
	if (r->xml)
		XML_ParserFree(r->xml);
}

int ovf_parse(const char *text, size_t bytes, struct ovf *ret, char **ret_error)
{
	struct reader r = {.xml = XML_ParserCreate(NULL)};
	int err = r.xml ? 0 : -ENOMEM;

	if (bytes > OVF_MAX_BYTES)
		err = store_fail(ret_error, -EBADMSG,
				 "it has more than %u bytes", OVF_MAX_BYTES);
	if (err == 0)
		err = parse(&r, text, bytes, ret_error);
	free_reader(&r);
	if (err)
		ovf_deinit(&r.ovf);
	else
		*ret = r.ovf;
	return err;
}
