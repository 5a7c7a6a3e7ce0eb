/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor from inside. Everything here belongs to the loop's thread,
 * except what struct executor_level and struct executor_group say.
 *
 * A request is stepped (executor.c): each step maps the next range and turns
 * the extent into a part, which is a transfer (executor-transfer.c) or a fill
 * (executor-fill.c: the copy-on-write of an allocation). A part that ends takes
 * the request's count of pending parts down; the request is done when it is
 * mapped to its end and no part is pending. The one case that matters for speed,
 * plain data from end to end, needs no part: the request's own loop_op carries
 * the only submission.
 *
 * What must wait is in exactly one list: of requests for which the pools are
 * empty (starved), for which the image is busy (a level's waiters), that need
 * a flush (flush.must), or that may be stepped again (runnable). executor_run
 * empties the last, so that nothing recurses however synchronous a store is.
 *
 * Deadlock. A transfer from the pool always ends by itself; it waits at most for
 * a buffer or for a block, whose holders wait for nothing. A fill waits for the
 * transfers of its nested reads, and a request for fills; a request that
 * compresses waits for packs, and these for a request that is nested in them.
 * Nothing of a lower rank waits for a higher one.
 */
#ifndef IMAGE_EXECUTOR_PRIVATE_H
#define IMAGE_EXECUTOR_PRIVATE_H

#include "image/codec-pool.h"
#include "image/executor.h"
#include "image/inline-batch.h"
#include "image/open.h"

enum {
	TRANSFER_IOV = 32,	      /* segments in one submission */
	TRANSFER_PARTS = 3,	      /* head, data, tail */
	TRANSFER_MAX_BYTES = 1 << 30, /* in one submission */
	ZEROES_BYTES = 65536,
	FLUSH_TRANSFERS = 16,
	EXECUTOR_UNPACKED = 4,
};

extern char executor_zeroes[ZEROES_BYTES]; /* never written */

/* A store of the image that a flush has to sync. */
struct executor_barrier {
	struct loop_op op;
	struct executor *executor;
	struct store *store;
	/* Of a store that carries it out by itself. */
	struct store_io io;
	struct loop_message io_ended;
	int io_result;
};

/* A store that this executor transfers from or to. */
struct executor_file {
	struct store *store;
	int fd;		    /* the loop's slot, or the descriptor, or -1 */
	unsigned sqe_flags; /* IOSQE_FIXED_FILE for a slot */
	bool no_zero_range; /* the kernel said so */
	bool no_punch;
	bool in_line; /* through the inline batch */
};

enum transfer_kind {
	TRANSFER_READ,
	TRANSFER_WRITE,
	TRANSFER_ZERO,
	TRANSFER_PUNCH,
};

/* A run of bytes on the memory side of a transfer. */
struct transfer_part {
	struct iov_cursor at;
	uint64_t left;
	bool zeroes; /* from executor_zeroes instead of @at */
};

struct executor_transfer {
	struct loop_op op;
	struct executor *executor;
	struct executor_transfer *next;
	/* Told once; may free the transfer. */
	void (*ended)(struct executor_transfer *transfer, int result);
	void *owner;
	struct executor_file *file;
	enum transfer_kind kind;
	int result;
	uint64_t offset; /* in the store, of the first byte left */
	uint64_t left;
	struct transfer_part parts[TRANSFER_PARTS];
	struct iovec single; /* storage for a part's only segment */
	struct iovec iov[TRANSFER_IOV];
	struct image_cipher *cipher; /* of what lies in the store; or NULL */
	uint64_t crypt_shift; /* from an offset in the store to the cipher's */
	struct image_extent extent; /* NEED, COMPRESSED */
	struct image *image;	    /* NEED */
	char *stream;		    /* COMPRESSED: a buffer */
	struct codec_job job;	    /* COMPRESSED, with a codec pool */
	char *bounce;		    /* a buffer, in a round that needs one */
	size_t bounce_bytes;
	size_t bounce_done; /* of these, in an encrypted image */
	/* See executor-store.c. */
	struct store_io io;
	struct loop_message io_ended;
	int io_result;
};

/* Copy-on-write of one IMAGE_ALLOCATE extent. */
struct executor_fill {
	struct executor *executor;
	struct executor_fill *next;
	struct executor_request *request;
	struct image_extent extent;
	char *buffer; /* head, then tail */
	unsigned pending;
	int result;
	struct iov_cursor data;
	struct executor_request nested[2];
	struct iovec nested_iov[2];
	struct executor_transfer transfer;
};

/* One cluster on its way to being stored compressed: executor-packed.c. */
struct executor_pack {
	struct executor *executor;
	struct executor_pack *next; /* in order, or in the pool */
	struct executor_request *request;
	uint64_t offset;     /* guest */
	uint64_t bytes;	     /* guest: a cluster, or up to the image's end */
	enum executor_op op; /* how it is to be written */
	bool ready;	     /* to be mapped */
	int result;
	char *plain; /* room for a cluster in one piece */
	char *stream;
	struct iovec iov; /* the cluster, wherever it lies */
	struct codec_job job;
	struct executor_request nested;
};

/* See executor-unpacked.c. */
struct executor_unpacked {
	struct store *store; /* NULL: nothing is here */
	uint64_t host_offset;
	uint32_t host_bytes;
	uint32_t cluster_bytes;
	enum image_codec codec;
	char *data;
};

struct request_list {
	struct executor_request *first, *last;
};

/*
 * One image of the chain. The waiter's callback runs on whichever thread moved
 * the generation; it sets @woken and posts the message.
 */
struct executor_level {
	struct executor *executor;
	struct image *image;
	struct request_list waiters;
	struct image_waiter waiter;
	struct loop_message message;
	bool woken;  /* atomic */
	bool posted; /* atomic: the message is on its way */
};

struct executor_flush {
	struct request_list next;    /* join the flush after this one */
	struct request_list current; /* done when this one ends */
	struct request_list must;    /* step again when this one ends */
	bool running;
	struct image_plan plan;
	size_t step;	  /* the next to start */
	unsigned pending; /* transfers and barriers under way */
	int result;
	struct executor_transfer *free; /* of these: */
	struct executor_transfer transfers[FLUSH_TRANSFERS];
	struct executor_barrier *barriers; /* one per store; heap */
	unsigned barrier_count;
	bool at_barrier; /* nothing starts before it is over */
	bool stepping;
	struct executor_request retry; /* waits while another's flush is out */
};

struct executor {
	struct loop *loop;
	struct image *image;

	unsigned in_flight; /* submitted and not done */
	unsigned active;    /* begun, their data not yet in place */
	unsigned depth;
	bool writethrough;
	bool no_sync;
	bool in_line;
	bool running;  /* in executor_run */
	bool released; /* a pool got something back */
	uint8_t parity;
	bool draining; /* the requests of the other parity are awaited */
	unsigned live[2];

	struct inline_batch *batch; /* of the loop; NULL until one is wanted */
	struct executor_transfer *free_transfers;
	struct executor_fill *free_fills;
	char *free_buffers; /* linked through their first bytes */
	size_t buffer_bytes, host_buffer_bytes;

	struct request_list waiting; /* for the depth */
	struct request_list starved;
	struct request_list runnable;
	struct executor_transfer *ended, **ended_tail;
	struct executor_transfer *bounce_waiters;
	unsigned busy; /* requests in levels' waiters */

	struct executor_flush flush;
	struct executor_group *group;
	struct executor *group_next;
	struct loop_message group_message;
	bool group_posted; /* under the group's lock */

	struct codec *codec;
	struct codec_pool *pool; /* borrowed; or NULL */
	int level;
	struct executor_pack *packs;
	struct executor_pack *free_packs;
	struct executor_pack *first_pack, *last_pack; /* begun, in order */
	struct executor_pack *mapping; /* the one that is being mapped */
	char *pack_buffers;
	size_t pack_buffers_bytes;
	struct executor_unpacked unpacked[EXECUTOR_UNPACKED];
	unsigned unpacked_next;
	unsigned file_count;
	struct executor_file *files; /* heap */
	uint32_t *file_slots; /* by store: of @files, from 1; 0: free; heap */
	unsigned file_slot_shift;
	unsigned level_count;
	struct executor_level *levels;

	/* What the pools are cut from. */
	struct executor_transfer *transfers;
	struct executor_fill *fills;
	void *buffers;
	size_t buffers_bytes;
};

static inline void request_list_push(struct request_list *list,
				     struct executor_request *request)
{
	request->next = NULL;
	if (list->first)
		list->last->next = request;
	else
		list->first = request;
	list->last = request;
}

static inline struct executor_request *
request_list_pop(struct request_list *list)
{
	struct executor_request *request = list->first;

	if (request)
		list->first = request->next;
	return request;
}

/* Moves all of @from to the end of @to. */
static inline void request_list_move(struct request_list *to,
				     struct request_list *from)
{
	if (!from->first)
		return;
	if (to->first)
		to->last->next = from->first;
	else
		to->first = from->first;
	to->last = from->last;
	from->first = NULL;
}

/* executor.c */

/* Works until nothing can go on; a no-op within itself. */
void executor_run(struct executor *executor);

/* Starts a fill's read or what a pack writes: not limited by the depth. */
void executor_begin_nested(struct executor *executor,
			   struct executor_request *request);

/* A part of @request is over. */
void executor_part_ended(struct executor_request *request, int result);

/* The request's flush is over: done. */
void executor_finish(struct executor_request *request, int result);

/* An errno for what image_map and the like answered. */
int executor_outcome(int outcome);

/* executor-pool.c */

int executor_make_pools(struct executor *executor);
void executor_free_pools(struct executor *executor);
struct executor_transfer *executor_take_transfer(struct executor *executor);
void executor_give_transfer(struct executor_transfer *transfer);
struct executor_fill *executor_take_fill(struct executor *executor);
void executor_give_fill(struct executor_fill *fill);
char *executor_take_buffer(struct executor *executor);
void executor_give_buffer(struct executor *executor, char *buffer);

/* The entry of @store; NULL for one that is of no image of the chain. */
struct executor_file *executor_file(struct executor *executor,
				    struct store *store);

/* executor-inline.c */

/* True if the loop's inline batch, shared by its executors, is at hand. */
bool executor_take_batch(struct executor *executor);
void executor_give_batch(struct executor *executor);

/* False if the batch is full and running: use the ring. */
static inline bool executor_add_inline(struct executor *executor,
				       const struct executor_file *file,
				       bool write, const struct iovec *iov,
				       unsigned iov_count, uint64_t offset,
				       struct loop_op *op)
{
	struct inline_batch *batch = executor->batch;
	int fd = file->store->fd;

	if (inline_batch_add(batch, fd, write, iov, iov_count, offset, op))
		return true;
	loop_submit(executor->loop);
	return inline_batch_add(batch, fd, write, iov, iov_count, offset, op);
}

/* executor-transfer.c */

/*
 * Starts a transfer whose owner, ended, file, kind, offset, left and parts are
 * set. It ends from the loop or from executor_run, never from within.
 */
void transfer_start(struct executor_transfer *transfer);

/* One part of memory; the other two empty. */
void transfer_set_iov(struct executor_transfer *transfer, struct iov_cursor at,
		      uint64_t bytes);
void transfer_set_buffer(struct executor_transfer *transfer, void *data,
			 uint64_t bytes);
void transfer_set_zeroes(struct executor_transfer *transfer, uint64_t bytes);

/* Whether O_DIRECT takes these buffers at this offset of @store. */
bool executor_is_aligned(const struct store *store, uint64_t offset,
			 const struct iovec *iov, size_t count);

/* Ends it from executor_run. */
void transfer_end_later(struct executor_transfer *transfer, int result);

/* For executor-bounce.c: the memory side moves by @bytes. */
void transfer_advance(struct executor_transfer *transfer, uint64_t bytes);
void transfer_copy(struct executor_transfer *transfer, char *buffer,
		   uint64_t bytes);
void transfer_run(struct executor_transfer *transfer);

/* For executor-store.c. */

/* The next segments, at most @max_bytes, to its iov, without moving on. */
unsigned transfer_slice(struct executor_transfer *transfer, uint64_t max_bytes);

/* A round has moved @result bytes, or failed. */
void transfer_moved(struct executor_transfer *transfer, int32_t result);

/* A ZERO or PUNCH has its result; zeroes are written where there is no other way. */
void transfer_allocated(struct executor_transfer *transfer, int result);
void transfer_write_zeroes(struct executor_transfer *transfer);
bool transfer_is_unsupported(int result);

/*
 * executor-store.c: the next round of a transfer whose store has no descriptor;
 * of at most @within bytes.
 */
void executor_store_move(struct executor_transfer *transfer, uint64_t within);
void executor_store_allocate(struct executor_transfer *transfer);

/* executor-bounce.c: O_DIRECT and buffers, or an offset, that are not aligned. */
void executor_bounce(struct executor_transfer *transfer);
void executor_bounce_waiters(struct executor *executor);

/* executor-crypt.c: the next round of an encrypted image's transfer. */
void executor_crypt(struct executor_transfer *transfer);

/* The bytes of @extent, and of its head and tail, are encrypted or not. */
static inline void transfer_set_cipher(struct executor_transfer *transfer,
				       const struct image_extent *extent)
{
	transfer->cipher = extent->cipher;
	transfer->crypt_shift = extent->crypt_offset - extent->host_offset;
}

/* executor-extent.c: what to do with each kind of extent. */

enum step {
	STEP_ON,     /* map the rest */
	STEP_PARKED, /* the request waits in a list or for its NEED */
};

struct found {
	struct image_extent extent;
	unsigned level;
	uint64_t generation; /* of that level, before it was asked */
};

/* Maps through the chain. 0 or a negative errno. */
int executor_map(struct executor *executor, enum executor_op op,
		 uint64_t offset, uint64_t length, struct found *ret_found);

enum step executor_extent(struct executor_request *request,
			  struct found *found);

/* executor-packed.c: see there. */

int executor_make_packs(struct executor *executor);
void executor_free_packs(struct executor *executor);

/* The next cluster of an EXECUTOR_WRITE_COMPRESSED. */
enum step executor_pack_step(struct executor_request *request);

/* Maps room for a pack's stream, as executor_map does for others. */
int executor_pack_map(struct executor_request *nested, struct found *ret_found);

/* A pack's request has its answer, and the next pack its turn. */
void executor_pack_mapped(struct executor_request *nested);

/* The room is there. */
enum step executor_pack_write(struct executor_request *nested,
			      const struct image_extent *extent);

bool executor_has_packs_to_map(const struct executor *executor);
void executor_map_packs(struct executor *executor);

/* executor-unpacked.c */

/* The cluster that is stored compressed at @extent, or NULL. */
const char *executor_find_unpacked(const struct executor *executor,
				   const struct image_extent *extent);

/*
 * Decompresses and keeps it: 0 or what codec_decompress answers. The cluster
 * stays until the next call.
 */
int executor_unpack(struct executor *executor,
		    const struct image_extent *extent, const char *stream,
		    const char **ret_cluster);

/* Keeps a copy of a cluster that was decompressed elsewhere. */
void executor_keep_unpacked(struct executor *executor,
			    const struct image_extent *extent,
			    const char *cluster);

void executor_forget_unpacked(struct executor *executor);

/* executor-fill.c */

void fill_start(struct executor_fill *fill, struct executor_request *request,
		const struct image_extent *extent);

/* executor-wait.c */

int executor_make_levels(struct executor *executor);
void executor_free_levels(struct executor *executor);

/* Parks @request until the level's generation is no longer @generation. */
void executor_wait(struct executor_request *request, unsigned level,
		   uint64_t generation);

/* Makes the waiters of woken levels runnable. */
void executor_collect(struct executor *executor);

/* Around calls that move a generation: no message is needed for ourselves. */
void executor_calls_image(struct executor *executor);
void executor_called_image(struct executor *executor);

/* executor-flush.c */

int executor_init_flush(struct executor *executor);
void executor_deinit_flush(struct executor *executor);

/* @request (of EXECUTOR_FLUSH, or writethrough) is done after a new flush. */
void executor_join_flush(struct executor_request *request);

/* @request met IMAGE_MUST_FLUSH. */
void executor_park_for_flush(struct executor_request *request);

static inline bool executor_wants_flush(const struct executor *executor)
{
	const struct executor_flush *flush = &executor->flush;

	return !flush->running && (flush->next.first || flush->must.first);
}

/* Begins the flush that is wanted. */
void executor_flush_go(struct executor *executor);

/* executor-group.c: see there. */

int executor_join_group(struct executor *executor);
void executor_leave_group(struct executor *executor);
void executor_group_flushed(struct executor *executor);
void executor_group_drained(struct executor *executor);

#endif
