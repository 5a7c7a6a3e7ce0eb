/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/spec-faults.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum {
	SECTOR_BYTES = 512,
	LINE_CHARS = 512,
	READS = 1 << STORE_IO_READ,
	WRITES = 1 << STORE_IO_WRITE,
	FLUSHES = 1 << STORE_IO_FLUSH,
	ZEROES = 1 << STORE_IO_ZERO,
	DISCARDS = 1 << STORE_IO_PUNCH,
	STATUSES = 1 << STORE_IO_STATUS,
};

struct kind {
	const char *name;
	unsigned kinds;
};

static const struct kind events[] = {
	{"none", READS | WRITES | FLUSHES | ZEROES | DISCARDS},
	{"read_aio", READS},
	{"write_aio", WRITES},
	{"flush_to_disk", FLUSHES},
	{"flush_to_os", FLUSHES},
	{NULL, 0},
};

static const struct kind iotypes[] = {
	{"read", READS},
	{"write", WRITES},
	{"write-zeroes", ZEROES},
	{"discard", DISCARDS},
	{"flush", FLUSHES},
	{"block-status", STATUSES},
	{NULL, 0},
};

/* What only shapes QEMU's requests, or counts for rules with a state. */
static const char *const without_effect[] = {
	"align",       "max-transfer", "opt-write-zero", "max-write-zero",
	"opt-discard", "max-discard",  "set-state",	 NULL};

static bool find_kind(const struct kind *table, const char *name, unsigned *ret)
{
	for (; table->name; table++) {
		if (strcmp(table->name, name) == 0) {
			*ret = table->kinds;
			return true;
		}
	}
	return false;
}

/* --- One rule ---------------------------------------------------------- */

static bool add_event(struct store_fault *fault, const char *event,
		      const char *name)
{
	unsigned kinds;

	if (!find_kind(events, event, &kinds))
		return !cli_error(
			"%s: inject-error: event \"%s\" is a place in "
			"QEMU's code; known are none, read_aio, "
			"write_aio, flush_to_disk and flush_to_os",
			name, event);
	/* What opens an image is none of QEMU's events. */
	fault->later = strcmp(event, "none") != 0;
	/* An iotype says more. */
	if (!fault->kinds)
		fault->kinds = kinds;
	return true;
}

static bool add_number(const char *field, const char *value, const char *name,
		       uint64_t limit, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(value, &end, 10);
	if (errno || *end || end == value || *value == '-' || *ret > limit)
		return !cli_error("%s: inject-error: %s=%s is no number that "
				  "will do",
				  name, field, value);
	return true;
}

static bool add_field(struct store_fault *fault, const char *field,
		      const char *value, const char *name)
{
	uint64_t number = 0;

	if (strcmp(field, "event") == 0)
		return add_event(fault, value, name);
	if (strcmp(field, "iotype") == 0) {
		if (find_kind(iotypes, value, &fault->kinds))
			return true;
		return !cli_error("%s: inject-error: there is no iotype \"%s\"",
				  name, value);
	}
	if (strcmp(field, "errno") == 0) {
		if (!add_number(field, value, name, INT_MAX, &number))
			return false;
		fault->error = number ? (int)number : EIO;
		return true;
	}
	if (strcmp(field, "sector") == 0) {
		if (!add_number(field, value, name, INT64_MAX / SECTOR_BYTES,
				&number))
			return false;
		fault->offset = number * SECTOR_BYTES;
		fault->length = SECTOR_BYTES;
		return true;
	}
	if (strcmp(field, "once") == 0) {
		fault->once = strcmp(value, "on") == 0;
		return true;
	}
	if (strcmp(field, "immediately") == 0)
		return true;
	return !cli_error("%s: inject-error: \"%s\" is not known; there are "
			  "event, iotype, errno, sector and once",
			  name, field);
}

static struct store_fault *new_fault(struct spec_faults *faults,
				     const char *name)
{
	if (faults->count == SPEC_MAX_FAULTS) {
		cli_error("%s: inject-error: more than %d rules", name,
			  SPEC_MAX_FAULTS);
		return NULL;
	}
	faults->all[faults->count] = (struct store_fault){.error = EIO};
	return &faults->all[faults->count++];
}

/* --- The configuration file -------------------------------------------- */

/* One line: [section], or key = "value", or nothing. */
static bool read_line(struct spec_faults *faults, char *line, bool *in_rule,
		      const char *name)
{
	char key[64], value[256];

	line += strspn(line, " \t");
	line[strcspn(line, "\r\n")] = '\0';
	if (*line == '\0' || *line == '#')
		return true;
	if (*line == '[') {
		*in_rule = strncmp(line, "[inject-error", 13) == 0;
		return !*in_rule || new_fault(faults, name);
	}
	if (sscanf(line, "%63[^ \t=] = \"%255[^\"]\"", key, value) != 2)
		return !cli_error("%s: \"%s\" is no line of a configuration",
				  name, line);
	return !*in_rule ||
	       add_field(&faults->all[faults->count - 1], key, value, name);
}

static bool read_config(struct spec_faults *faults, const char *path)
{
	FILE *file = fopen(path, "re");
	char line[LINE_CHARS];
	bool in_rule = false, good = true;

	if (!file)
		return !cli_error("%s: %s", path, strerror(errno));
	while (good && fgets(line, sizeof(line), file))
		good = read_line(faults, line, &in_rule, path);
	fclose(file);
	return good;
}

/* --- The settings ------------------------------------------------------ */

bool spec_faults_parse_name(struct image_options *options, const char *name)
{
	static const char scheme[] = "blkdebug:";
	const char *config = name + sizeof(scheme) - 1;
	const char *path;
	char *copy;
	bool set;

	if (strncmp(name, scheme, sizeof(scheme) - 1) != 0)
		return true;
	path = strchr(config, ':');
	if (!path)
		return !cli_error("%s: expecting blkdebug:CONFIG:PATH", name);
	copy = strndup(config, path - config);
	set = copy &&
	      image_options_set(options, "file.driver", "blkdebug") == 0 &&
	      (!*copy ||
	       image_options_set(options, "file.config", copy) == 0) &&
	      image_options_set(options, "file.image.filename", path + 1) == 0;
	free(copy);
	if (!set)
		cli_error("out of memory");
	return set;
}

/* After @word and a dot; NULL if @setting does not begin so. */
static const char *after(const char *setting, const char *word)
{
	size_t length = strlen(word);

	return strncmp(setting, word, length) == 0 && setting[length] == '.'
		       ? setting + length + 1
		       : NULL;
}

static bool is_without_effect(const char *setting)
{
	for (const char *const *n = without_effect; *n; n++)
		if (strcmp(setting, *n) == 0 || after(setting, *n))
			return true;
	return false;
}

/* "3.event": field event of rule 3. They come in order, each rule's together. */
static bool add_rule(struct spec_faults *faults, const char *rule, long *last,
		     const char *value, const char *name)
{
	char *field;
	long number = strtol(rule, &field, 10);

	if (field == rule || *field != '.')
		return !cli_error("%s: inject-error is a list of rules", name);
	if (number != *last && !new_fault(faults, name))
		return false;
	*last = number;
	return add_field(&faults->all[faults->count - 1], field + 1, value,
			 name);
}

/* @setting of the driver itself, its prefix taken off; *@ret_ours: it is one. */
static bool take_setting(struct spec_faults *faults, const char *setting,
			 const char *value, long *last, const char *name,
			 bool *ret_ours)
{
	const char *rule = after(setting, "inject-error");

	*ret_ours = true;
	if (rule)
		return add_rule(faults, rule, last, value, name);
	if (strcmp(setting, "config") == 0)
		return read_config(faults, value);
	*ret_ours =
		strcmp(setting, "driver") == 0 || is_without_effect(setting);
	return true;
}

static bool move_setting(struct image_options *kept, const char *prefix,
			 const char *setting, const char *value)
{
	const char *below = after(setting, "image");
	char full[256];

	snprintf(full, sizeof(full), "%s%s", prefix, below ? below : setting);
	if (image_options_set(kept, full, value) == 0)
		return true;
	return !cli_error("out of memory");
}

/* Those of the driver at @prefix, "" or "file.", out of @options. */
static bool take_at(struct image_options *options, const char *prefix,
		    const char *name, struct spec_faults *faults)
{
	struct image_options kept = {0};
	bool good = true;
	long last = -1;

	for (size_t i = 0; i < options->count && good; i++) {
		const char *setting = options->settings[i].name;
		const char *value = options->settings[i].value;
		size_t length = strlen(prefix);
		bool ours = false;

		if (strncmp(setting, prefix, length) != 0) {
			good = move_setting(&kept, "", setting, value);
			continue;
		}
		good = take_setting(faults, setting + length, value, &last,
				    name, &ours) &&
		       (ours ||
			move_setting(&kept, prefix, setting + length, value));
	}
	image_options_deinit(options);
	*options = kept;
	return good;
}

static bool is_driver(const struct image_options *options, const char *setting)
{
	const char *driver = image_options_string(options, setting, "");

	return strcmp(driver, "blkdebug") == 0;
}

bool spec_faults_take(struct image_options *options, const char *name,
		      struct spec_faults *ret)
{
	bool good = true;

	*ret = (struct spec_faults){0};
	if (is_driver(options, "driver")) {
		ret->meant = ret->above_format = true;
		good = take_at(options, "", name, ret);
	}
	if (good && is_driver(options, "file.driver")) {
		ret->meant = true;
		good = take_at(options, "file.", name, ret);
	}
	return good;
}
