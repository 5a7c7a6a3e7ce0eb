/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/format-options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "image/open.h"
#include "image/store-nbd.h"
#include "tools/qimg/spec.h"
#include "tools/qimg/temporary.h"

enum {
	SECTOR_BYTES = 512,
};

bool format_is_help(const char *options)
{
	for (const char *at = options;; at++) {
		size_t length = strcspn(at, ",");

		if ((length == 4 && strncmp(at, "help", 4) == 0) ||
		    (length == 1 && *at == '?'))
			return true;
		/* A comma that is doubled is one of a value. */
		for (at += length; strncmp(at, ",,", 2) == 0;)
			at += 2 + strcspn(at + 2, ",");
		if (!*at)
			return false;
	}
}

bool format_is_foreign(const char *name)
{
	static const char *const names[] = {
		"blkdebug",    "blkverify", "bochs",   "cloop",	  "dmg",
		"file",	       "ftp",	    "ftps",    "gluster", "host_cdrom",
		"host_device", "http",	    "https",   "iscsi",	  "nbd",
		"nfs",	       "null-aio",  "null-co", "nvme",	  "parallels",
		"qcow",	       "qed",	    "quorum",  "rbd",	  "ssh",
		"throttle",    "vdi",	    "vhdx",    "vmdk",	  "vpc",
		"vvfat",       NULL};

	if (!name || image_find_format(name))
		return false;
	for (const char *const *n = names; *n; n++)
		if (strcmp(*n, name) == 0)
			return true;
	return false;
}

const char *format_nearest(const char *name)
{
	static char words[64];
	const char *names[IMAGE_MAX_FORMATS + 1];
	const char *nearest;

	image_format_names(names);
	nearest = image_nearest_name(name, names);
	snprintf(words, sizeof(words), "%s%s%s",
		 nearest ? "; did you mean \"" : "", nearest ? nearest : "",
		 nearest ? "\"?" : "");
	return words;
}

void format_print_help(const struct image_format *format, unsigned uses)
{
	static const char *const kinds[] = {"str", "bool (on/off)", "num",
					    "size"};
	const struct image_option *table =
		format->manage ? format->manage->options : NULL;

	printf(uses == IMAGE_OPTION_AMEND ? "Amend options for '%s':\n"
					  : "Supported options:\n",
	       format->name);
	for (; table && table->name; table++) {
		char left[64];

		if (!(table->uses & uses))
			continue;
		snprintf(left, sizeof(left), "%s=<%s>", table->name,
			 kinds[table->kind]);
		printf("  %-25s - %s", left, table->help);
		if (table->choices)
			printf(" (%s)", table->choices);
		printf("\n");
	}
}

/* Takes @name out of the options. */
static int take(struct image_options *options, const char *name, char **ret)
{
	for (size_t i = 0; i < options->count; i++) {
		struct image_setting *setting = &options->settings[i];

		if (strcmp(setting->name, name) != 0)
			continue;
		free(*ret);
		*ret = setting->value;
		free(setting->name);
		*setting = options->settings[--options->count];
		return 0;
	}
	return 0;
}

/* As qemu-img sees it: no setting is empty, and none begins with a comma. */
static bool is_list(const char *text)
{
	while (*text) {
		if (*text == ',')
			return false;
		for (; *text && (*text != ',' || text[1] == ','); text++)
			text += *text == ',';
		if (*text && *++text == '\0')
			return false;
	}
	return true;
}

static int parse_options(const struct cli *cli, struct format_request *r)
{
	char *error = NULL;

	for (size_t i = 0; i < cli->count; i++) {
		const struct cli_argument *a = &cli->arguments[i];

		if (a->key != 'o')
			continue;
		if (!is_list(a->value))
			return cli_error("Invalid option list: %s", a->value);
		if (format_is_help(a->value)) {
			format_print_help(r->format, IMAGE_OPTION_CREATE);
			return 0;
		}
		if (image_options_parse(&r->options, a->value, &error)) {
			cli_error("%s: %s", r->format->name,
				  error ? error : "out of memory");
			free(error);
			return 1;
		}
	}
	return -1;
}

static int check_options(struct format_request *r)
{
	char *error = NULL;
	int err = image_options_check(
		&r->options,
		r->format->manage ? r->format->manage->options : NULL,
		IMAGE_OPTION_CREATE, &error);

	if (err == 0)
		return -1;
	cli_error("%s: %s", r->format->name, error ? error : "out of memory");
	free(error);
	return 1;
}

int format_request_parse(const struct cli *cli, const char *name,
			 struct format_request *ret)
{
	struct format_request r = {0};
	const char *backing = cli_value(cli, 'b');
	int status;

	r.format = image_find_format(name ? name : "raw");
	if (!r.format)
		return format_is_foreign(name)
			       ? cli_error("Format driver '%s' does not "
					   "support image creation",
					   name)
			       : cli_error("Unknown file format '%s'%s", name,
					   format_nearest(name));
	status = parse_options(cli, &r);
	if (status == -1)
		status = check_options(&r);
	if (!backing)
		backing = cli_value(cli, 'B');
	if (status == -1) {
		take(&r.options, "backing_file", &r.backing_name);
		take(&r.options, "backing_fmt", &r.backing_format);
		if (backing) {
			free(r.backing_name);
			r.backing_name = strdup(backing);
		}
		if (cli_value(cli, 'F')) {
			free(r.backing_format);
			r.backing_format = strdup(cli_value(cli, 'F'));
		}
		if (r.backing_format && !image_find_format(r.backing_format) &&
		    !format_is_foreign(r.backing_format))
			status = cli_error("Unknown backing file format "
					   "'%s'%s",
					   r.backing_format,
					   format_nearest(r.backing_format));
	}
	if (status != -1) {
		format_request_deinit(&r);
		return status;
	}
	*ret = r;
	return -1;
}

void format_request_deinit(struct format_request *request)
{
	image_options_deinit(&request->options);
	free(request->backing_name);
	free(request->backing_format);
}

bool format_is_in_place(const char *path)
{
	struct stat st;

	return qimg_is_remote(path) ||
	       (stat(path, &st) == 0 && !S_ISREG(st.st_mode));
}

static int refuse_file(void *opaque, const char *path, struct store **ret_store,
		       char **ret_error)
{
	return store_fail(ret_error, -ENOTSUP,
			  "an image that lies in several files wants a "
			  "regular file as its first one");
}

int format_create_in(const struct format_request *request, struct store *store,
		     const char *named)
{
	const struct image_create_request create = {
		.store = store,
		.path = named,
		/* A disk is made of whole sectors. */
		.size_bytes = align_up(request->size_bytes, SECTOR_BYTES),
		.options = &request->options,
		.backing_name = request->backing_name,
		.backing_format = request->backing_format,
		.secrets = qimg_secrets(),
		.new_file = request->files ? new_files_make : refuse_file,
		.opaque = request->files,
	};
	char *error = NULL;
	int err = image_create(request->format, &create, &error);

	if (err == 0)
		err = store_flush(store);
	if (err)
		cli_error("%s: %s", named,
			  error	    ? error
			  : err < 0 ? strerror(-err)
				    : "the image cannot be made");
	free(error);
	return err ? 1 : 0;
}

char *format_new_data_file(const struct format_request *request,
			   const char *path)
{
	const char *name =
		image_options_string(&request->options, "data_file", NULL);
	char *data = name ? qimg_path_beside(path, name) : NULL;

	if (data && access(data, F_OK) < 0)
		return data;
	free(data);
	return NULL;
}

static int open_in_place(const char *path, struct store **ret_store,
			 char **ret_error)
{
	const struct store_file_options file = {0};
	const struct image_remote_options remote = {0};
	char *address = NULL;
	int err;

	if (!qimg_is_remote(path))
		return store_open_file(path, &file, ret_store, ret_error);
	err = nbd_remote.resolve(path, false, &address, ret_error);
	if (err == 0)
		err = nbd_remote.open(address, &remote, ret_store, ret_error);
	free(address);
	return err;
}

static int create_in_place(const struct format_request *request,
			   const char *path, const char *named)
{
	struct store *store = NULL;
	char *error = NULL;
	int err = open_in_place(path, &store, &error);
	int status = err ? cli_error("%s", error ? error : strerror(-err))
			 : format_create_in(request, store, named);

	store_free(store);
	free(error);
	return status;
}

/*
 * At @temporary, which gets the name @path when it is whole; with a new file
 * @data, or NULL; and further ones that are to get their names, too, or NULL.
 */
static int create_beside(const struct format_request *request,
			 const char *temporary, const char *path,
			 const char *named, const char *data,
			 struct new_files *finish)
{
	struct store *store = NULL;
	char *error = NULL;
	int err = store_create_file(temporary, false, &store, &error);
	int status;

	if (err) {
		status = cli_error("%s: %s", path,
				   error ? error : strerror(-err));
		free(error);
		return status;
	}
	status = format_create_in(request, store, named);
	store_free(store);
	temporary_hold();
	/* From here on it belongs to an image that is whole. */
	temporary_forget(data);
	if (status == 0)
		status = new_files_finish(finish, temporary, path);
	temporary_release();
	if (status)
		(void)unlink(temporary);
	return status;
}

static int create_temporary(const struct format_request *request,
			    const char *path, const char *named,
			    struct new_files *finish)
{
	char *temporary = NULL, *data;
	int status;

	if (asprintf(&temporary, "%s.%d.new", path, (int)getpid()) < 0)
		return cli_error("out of memory");
	data = format_new_data_file(request, named);
	if (!temporary_add(temporary) || (data && !temporary_add(data)))
		status = cli_error("%s: too many files at once", path);
	else
		status = create_beside(request, temporary, path, named, data,
				       finish);
	temporary_forget(temporary);
	temporary_forget(data);
	if (data && status)
		(void)unlink(data);
	free(data);
	free(temporary);
	return status;
}

int format_create(const struct format_request *request, const char *path,
		  const char *named)
{
	struct format_request own = *request;
	struct new_files files;
	int status;

	if (format_is_in_place(path))
		return create_in_place(request, path, named);
	if (request->files)
		return create_temporary(request, path, named, NULL);
	new_files_init(&files, "new");
	own.files = &files;
	status = create_temporary(&own, path, named, &files);
	new_files_deinit(&files);
	return status;
}
