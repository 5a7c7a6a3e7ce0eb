/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "qcow2/header-write.h"
#include "qcow2/manage.h"
#include "qcow2/offline.h"

/* Copies of what may be NULL; false without memory. */
static bool copy_text(const char *text, char **ret)
{
	*ret = text ? strdup(text) : NULL;
	return !text || *ret;
}

static void swap(char **a, char **b)
{
	char *was = *a;

	*a = *b;
	*b = was;
}

static int check_names(struct qcow2 *q, const char *name, const char *format)
{
	if (format && !name)
		return image_set_error(&q->image, -EINVAL,
				       "a backing format without a backing "
				       "file");
	if ((name && strlen(name) > QCOW2_MAX_BACKING_NAME) ||
	    (format && strlen(format) > QCOW2_MAX_BACKING_FORMAT))
		return image_set_error(&q->image, -EINVAL,
				       "the backing file's name or format is "
				       "too long");
	if (name && (q->header.autoclear & QCOW2_AUTOCLEAR_RAW_DATA))
		return image_set_error(&q->image, -EINVAL,
				       "an image with a raw external data file "
				       "cannot have a backing file");
	return 0;
}

int qcow2_set_backing(struct image *image, const char *name,
		      const char *backing_format)
{
	struct qcow2 *q = qcow2_of(image);
	char *names[4] = {0};
	int err;

	if (name && !*name)
		name = NULL;
	err = check_names(q, name, backing_format);
	if (err == 0)
		err = qcow2_settle(q);
	if (err)
		return err;
	if (!copy_text(name, &names[0]) ||
	    !copy_text(backing_format, &names[1]) ||
	    !copy_text(name, &names[2]) ||
	    !copy_text(backing_format, &names[3]))
		err = -ENOMEM;
	if (err == 0) {
		swap(&q->header.backing_name, &names[0]);
		swap(&q->header.backing_format, &names[1]);
		err = qcow2_header_update(q);
		if (err) {
			swap(&q->header.backing_name, &names[0]);
			swap(&q->header.backing_format, &names[1]);
		} else {
			swap(&image->backing_name, &names[2]);
			swap(&image->backing_format, &names[3]);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		free(names[i]);
	return err;
}
