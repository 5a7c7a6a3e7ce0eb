/* SPDX-License-Identifier: Apache-2.0 */
#include "image/manage.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "image/open.h"

int image_preallocation_parse(const char *text, enum image_preallocation *ret)
{
	static const char *const names[] = {
		[IMAGE_PREALLOCATION_OFF] = "off",
		[IMAGE_PREALLOCATION_METADATA] = "metadata",
		[IMAGE_PREALLOCATION_FALLOC] = "falloc",
		[IMAGE_PREALLOCATION_FULL] = "full",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum image_preallocation)i;
			return 0;
		}
	}
	return -EINVAL;
}

int image_facts_add(struct image_facts *facts, const char *name,
		    enum image_fact_kind kind, const char *format, ...)
{
	struct image_fact *grown;
	struct image_fact fact = {.kind = kind};
	va_list args;
	int length;

	grown = reallocarray(facts->facts, facts->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	facts->facts = grown;
	fact.name = strdup(name);
	va_start(args, format);
	length = vasprintf(&fact.value, format, args);
	va_end(args);
	if (!fact.name || length < 0) {
		free(fact.name);
		return -ENOMEM;
	}
	facts->facts[facts->count++] = fact;
	return 0;
}

void image_facts_deinit(struct image_facts *facts)
{
	for (size_t i = 0; i < facts->count; i++) {
		free(facts->facts[i].name);
		free(facts->facts[i].value);
	}
	free(facts->facts);
	*facts = (struct image_facts){0};
}

void image_snapshots_deinit(struct image_snapshots *snapshots)
{
	for (size_t i = 0; i < snapshots->count; i++) {
		free(snapshots->all[i].id);
		free(snapshots->all[i].name);
	}
	free(snapshots->all);
	*snapshots = (struct image_snapshots){0};
}

void image_bitmaps_deinit(struct image_bitmaps *bitmaps)
{
	for (size_t i = 0; i < bitmaps->count; i++)
		free(bitmaps->all[i].name);
	free(bitmaps->all);
	*bitmaps = (struct image_bitmaps){0};
}

static int unsupported(struct image *image, const char *what)
{
	return image_set_error(image, -ENOTSUP, "%s images have no %s",
			       image->format->name, what);
}

/* Before a change: it may be made, and nothing waits to be written. */
static int begin(struct image *image)
{
	if (image->read_only)
		return image_set_error(image, -EROFS,
				       "the image is open for reading only");
	return image_is_dirty(image) ? image_flush_sync(image) : 0;
}

#define OFFERS(image, call) \
	((image)->format->manage && (image)->format->manage->call)

/* File systems that know no such thing refuse, which does no harm. */
static void give_hints(int fd, const struct image_options *o)
{
	uint64_t hint = image_options_number(o, "extent_size_hint", 0);
	struct fsxattr attributes;
	int flags;

	if (image_options_bool(o, "nocow", false) &&
	    ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		flags |= FS_NOCOW_FL;
		(void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
	}
	if (hint && hint <= UINT32_MAX &&
	    ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0) {
		attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
		attributes.fsx_extsize = (uint32_t)hint;
		(void)ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
	}
}

int image_create(const struct image_format *format,
		 const struct image_create_request *request, char **ret_error)
{
	static const struct image_options none;
	struct image_create_request checked = *request;
	int err;

	if (!format->manage || !format->manage->create)
		return store_fail(ret_error, -ENOTSUP,
				  "%s images cannot be made", format->name);
	if (!checked.options)
		checked.options = &none;
	err = image_options_check(checked.options, format->manage->options,
				  IMAGE_OPTION_CREATE, ret_error);
	if (err)
		return err;
	if (checked.store->fd >= 0)
		give_hints(checked.store->fd, checked.options);
	return format->manage->create(&checked, ret_error);
}

int image_new_file(const struct image_create_request *request, const char *path,
		   struct store **ret_store, char **ret_error)
{
	return request->new_file
		       ? request->new_file(request->opaque, path, ret_store,
					   ret_error)
		       : store_create_file(path, false, ret_store, ret_error);
}

bool image_is_stream(const struct image_format *format,
		     const struct image_options *options)
{
	return format->manage && format->manage->is_stream &&
	       format->manage->is_stream(options);
}

int image_stream(const struct image_format *format,
		 const struct image_create_request *request,
		 struct image_stream *ret, char **ret_error)
{
	int err = image_options_check(request->options, format->manage->options,
				      IMAGE_OPTION_CREATE, ret_error);

	return err ? err : format->manage->stream(request, ret, ret_error);
}

int image_measure(const struct image_format *format,
		  const struct image_create_request *request,
		  struct image *source, struct image_measure *ret,
		  char **ret_error)
{
	static const struct image_options none;
	struct image_create_request checked = *request;
	int err;

	if (!format->manage || !format->manage->measure)
		return store_fail(ret_error, -ENOTSUP,
				  "%s images cannot be measured", format->name);
	if (!checked.options)
		checked.options = &none;
	err = image_options_check(checked.options, format->manage->options,
				  IMAGE_OPTION_CREATE, ret_error);
	if (err == 0 && source && image_is_dirty(source))
		err = image_flush_sync(source);
	return err ? err
		   : format->manage->measure(&checked, source, ret, ret_error);
}

int image_facts(struct image *image, struct image_facts *ret)
{
	if (!OFFERS(image, facts)) {
		*ret = (struct image_facts){0};
		return 0;
	}
	return image->format->manage->facts(image, ret);
}

int image_features(struct image *image, struct image_facts *ret)
{
	if (!OFFERS(image, features)) {
		*ret = (struct image_facts){0};
		return 0;
	}
	return image->format->manage->features(image, ret);
}

int image_is_sparse(struct image *image, bool *ret)
{
	if (!OFFERS(image, is_sparse)) {
		*ret = false;
		return 0;
	}
	return image->format->manage->is_sparse(image, ret);
}

int image_check(struct image *image, enum image_fix fix, image_report *report,
		void *opaque, struct image_check *ret)
{
	if (!OFFERS(image, check))
		return unsupported(image, "checks");
	if (fix != IMAGE_FIX_NONE && image->read_only)
		return begin(image);
	return image->format->manage->check(image, fix, report, opaque, ret);
}

int image_resize(struct image *image, uint64_t size_bytes,
		 enum image_preallocation preallocation)
{
	int err = begin(image);

	if (err)
		return err;
	if (!OFFERS(image, resize))
		return unsupported(image, "way to be resized");
	return image->format->manage->resize(image, size_bytes, preallocation);
}

int image_amend(struct image *image, const struct image_amend_request *request)
{
	char *error = NULL;
	int err = begin(image);

	if (err)
		return err;
	if (!OFFERS(image, amend))
		return unsupported(image, "options that can be amended");
	err = image_options_check(request->options,
				  image->format->manage->options,
				  IMAGE_OPTION_AMEND, &error);
	if (err) {
		image_set_error(image, err, "%s", error ? error : "no memory");
		free(error);
		return err;
	}
	return image->format->manage->amend(image, request);
}

int image_set_backing(struct image *image, const char *name,
		      const char *backing_format)
{
	int err = begin(image);

	if (err)
		return err;
	if (!OFFERS(image, set_backing))
		return unsupported(image, "backing files");
	return image->format->manage->set_backing(image, name, backing_format);
}

int image_make_empty(struct image *image)
{
	int err = begin(image);

	if (err)
		return err;
	if (!OFFERS(image, make_empty))
		return unsupported(image, "way to be emptied");
	return image->format->manage->make_empty(image);
}

int image_snapshot_list(struct image *image, struct image_snapshots *ret)
{
	if (!OFFERS(image, snapshot_list)) {
		*ret = (struct image_snapshots){0};
		return 0;
	}
	return image->format->manage->snapshot_list(image, ret);
}

int image_snapshot_create(struct image *image, const char *name)
{
	int err = begin(image);

	if (err)
		return err;
	if (!OFFERS(image, snapshot_create))
		return unsupported(image, "snapshots");
	return image->format->manage->snapshot_create(image, name);
}

int image_snapshot_apply(struct image *image, const char *name)
{
	int err = begin(image);

	if (err)
		return err;
	if (!OFFERS(image, snapshot_apply))
		return unsupported(image, "snapshots");
	return image->format->manage->snapshot_apply(image, name);
}

int image_snapshot_delete(struct image *image, const char *name)
{
	int err = begin(image);

	if (err)
		return err;
	if (!OFFERS(image, snapshot_delete))
		return unsupported(image, "snapshots");
	return image->format->manage->snapshot_delete(image, name);
}

int image_bitmap_list(struct image *image, struct image_bitmaps *ret)
{
	if (!OFFERS(image, bitmap_list)) {
		*ret = (struct image_bitmaps){0};
		return 0;
	}
	return image->format->manage->bitmap_list(image, ret);
}

int image_bitmap_change(struct image *image,
			const struct image_bitmap_change *change)
{
	int err = begin(image);

	if (err)
		return err;
	if (!OFFERS(image, bitmap_change))
		return unsupported(image, "bitmaps");
	return image->format->manage->bitmap_change(image, change);
}

int image_bitmap_copy(struct image *image, struct image *source)
{
	int err = begin(image);

	if (err)
		return err;
	if (!OFFERS(image, bitmap_copy))
		return unsupported(image, "bitmaps");
	return image->format->manage->bitmap_copy(image, source);
}

int image_bitmap_next(struct image *image, const char *name, uint64_t offset,
		      uint64_t *ret_offset, uint64_t *ret_length)
{
	if (!OFFERS(image, bitmap_next))
		return unsupported(image, "bitmaps");
	return image->format->manage->bitmap_next(image, name, offset,
						  ret_offset, ret_length);
}

int image_bitmap_set(struct image *image, const char *name, uint64_t offset,
		     uint64_t length)
{
	int err = begin(image);

	if (err)
		return err;
	if (!OFFERS(image, bitmap_set))
		return unsupported(image, "bitmaps");
	return image->format->manage->bitmap_set(image, name, offset, length);
}
