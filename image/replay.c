/* SPDX-License-Identifier: Apache-2.0 */
/* An image gets a journal, and what an earlier process left in it is made up. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "image/image.h"
#include "image/journal.h"
#include "image/open.h"

size_t image_journal_bytes(const struct image *image)
{
	if (image->read_only || !image->format->replay)
		return 0;
	return journal_bytes(JOURNAL_DEFAULT_RECORDS);
}

static int identify(struct image *image, struct journal_identity *ret)
{
	struct stat st = {0};

	while (image->journal_instance == 0)
		if (getrandom(&image->journal_instance,
			      sizeof(image->journal_instance), 0) < 0)
			return -errno;
	if (image->store->fd >= 0 && fstat(image->store->fd, &st) < 0)
		return -errno;
	*ret = (struct journal_identity){
		.size_bytes = image->size_bytes,
		.cluster_bytes = image->cluster_bytes,
		.device = st.st_dev,
		.inode = st.st_ino,
		.instance = image->journal_instance,
	};
	return 0;
}

static int flush_if_dirty(struct image *image)
{
	return image_is_dirty(image) ? image_flush_sync(image) : 0;
}

/* Makes up for what the records say was lost. */
static int catch_up(struct image *image, const void *area, size_t bytes,
		    const struct journal_identity *identity)
{
	struct journal_record *records;
	char error[JOURNAL_ERROR_BYTES];
	size_t count;
	int err = journal_read(area, bytes, identity, &records, &count, error);

	if (err > 0)
		return image_set_error(image, err, "%s", error);
	if (err == 0 && count)
		err = image->format->replay(image, records, count);
	free(records);
	return err;
}

static void set_journal(struct image *image, struct journal *journal)
{
	pthread_mutex_lock(&image->lock);
	image->journal = journal;
	pthread_mutex_unlock(&image->lock);
}

int image_journal_attach(struct image *image, void *area, size_t bytes)
{
	struct journal_identity identity;
	struct journal *journal;
	int err;

	if (image_journal_bytes(image) == 0)
		return 0;
	/* What a session without a journal left is in nobody's records. */
	err = flush_if_dirty(image);
	if (err == 0)
		err = identify(image, &identity);
	if (err == 0)
		err = catch_up(image, area, bytes, &identity);
	if (err)
		return err;
	journal = malloc(sizeof(*journal));
	if (!journal)
		return -ENOMEM;
	if (journal_start(journal, area, bytes, &identity))
		set_journal(image, journal);
	else
		free(journal);
	return 0;
}

int image_journal_detach(struct image *image)
{
	struct journal *journal = image->journal;
	int err;

	if (!journal)
		return 0;
	err = flush_if_dirty(image);
	set_journal(image, NULL);
	free(journal);
	return err;
}
