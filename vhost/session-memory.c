/* SPDX-License-Identifier: Apache-2.0 */
/* The messages that change guest memory. */
#include <errno.h>

#include "vhost/session-handlers.h"
#include "vhost/session-state.h"

static struct guest_region_spec region_spec(const struct vhost_user_region *r,
					    int fd)
{
	return (struct guest_region_spec){
		.gpa = r->gpa,
		.size_bytes = r->size,
		.uva = r->uva,
		.mmap_offset = r->mmap_offset,
		.fd = fd,
	};
}

static int refuse_region(struct session *session,
			 const struct guest_region_spec *spec, const char *why)
{
	return session_refuse(session,
			      "region at 0x%llx, size 0x%llx, user address "
			      "0x%llx, file offset 0x%llx: %s",
			      (unsigned long long)spec->gpa,
			      (unsigned long long)spec->size_bytes,
			      (unsigned long long)spec->uva,
			      (unsigned long long)spec->mmap_offset, why);
}

/*
 * Rings move over to @memory (taken; may be NULL), or lose their memory. The
 * log keeps covering all of it: one that is in use may not be outgrown, an old
 * one is given up.
 */
static int swap_memory(struct session *session, struct guest_memory *memory)
{
	uint64_t end = memory ? guest_memory_end(memory) : 0;

	if (session->log && end > dirty_log_end(session->log)) {
		if (session->features & VHOST_USER_BIT(VHOST_F_LOG_ALL) &&
		    session_is_running(session)) {
			guest_memory_unref(memory);
			return session_refuse(
				session,
				"memory up to 0x%llx outgrows the dirty log, "
				"which ends at 0x%llx",
				(unsigned long long)end,
				(unsigned long long)dirty_log_end(
					session->log));
		}
		dirty_log_unref(session->log);
		session->log = NULL;
	}
	session_stop_rings(session);
	if (session->memory)
		guest_memory_unref(session->memory);
	session->memory = memory;
	session_start_rings(session);
	return 0;
}

/* Which of the regions was wrong; only ever to tell. */
static int refuse_table(struct session *session,
			const struct guest_region_spec *specs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct guest_memory *alone;

		if (guest_memory_new(&specs[i], 1, &alone) < 0)
			return refuse_region(session, &specs[i],
					     "empty, wrapping or not within "
					     "its file");
		guest_memory_unref(alone);
	}
	return session_refuse(session, "regions overlap");
}

int session_set_mem_table(struct session *session,
			  struct vhost_message *request,
			  struct vhost_message *ret_reply)
{
	const struct vhost_user_memory *table = &request->payload.memory;
	struct guest_region_spec specs[VHOST_USER_MAX_TABLE_REGIONS];
	struct guest_memory *memory;
	int err;

	for (uint32_t i = 0; i < table->num_regions; i++)
		specs[i] = region_spec(&table->regions[i], request->fds[i]);
	err = guest_memory_new(specs, table->num_regions, &memory);
	if (err == -EINVAL)
		return refuse_table(session, specs, table->num_regions);
	if (err < 0)
		return err;
	return swap_memory(session, memory);
}

int session_get_max_mem_slots(struct session *session,
			      struct vhost_message *request,
			      struct vhost_message *ret_reply)
{
	message_begin_reply(ret_reply, request->header.request,
			    sizeof(ret_reply->payload.u64));
	ret_reply->payload.u64 = GUEST_MEMORY_MAX_REGIONS;
	return 0;
}

/*
 * QEMU (7.2 at least) has one conversation for each pair of a network device
 * on the same socket, and all of them add and remove the same regions.
 */
static bool is_told_again(const struct session *session)
{
	return session->device->queues_per_unit > 1;
}

static bool has_region(const struct session *session,
		       const struct guest_region_spec *spec)
{
	struct guest_memory *others;

	if (!session->memory ||
	    guest_memory_without(session->memory, spec, &others) != 0)
		return false;
	guest_memory_unref(others);
	return true;
}

int session_add_mem_reg(struct session *session, struct vhost_message *request,
			struct vhost_message *ret_reply)
{
	struct guest_region_spec spec = region_spec(
		&request->payload.single_region.region, request->fds[0]);
	struct guest_memory *memory;
	int err;

	if (is_told_again(session) && has_region(session, &spec))
		return 0;
	if (session->memory &&
	    guest_memory_regions(session->memory) >= GUEST_MEMORY_MAX_REGIONS)
		return refuse_region(session, &spec, "all slots are taken");
	err = guest_memory_with(session->memory, &spec, &memory);
	if (err == -EINVAL)
		return refuse_region(session, &spec,
				     "empty, wrapping, overlapping or not "
				     "within its file");
	if (err < 0)
		return err;
	return swap_memory(session, memory);
}

int session_rem_mem_reg(struct session *session, struct vhost_message *request,
			struct vhost_message *ret_reply)
{
	struct guest_region_spec spec =
		region_spec(&request->payload.single_region.region, -1);
	struct guest_memory *memory;
	int err = -ENOENT;

	if (session->memory)
		err = guest_memory_without(session->memory, &spec, &memory);
	if (err == -ENOENT && is_told_again(session))
		return 0;
	if (err == -ENOENT)
		return refuse_region(session, &spec, "there is none like it");
	if (err < 0)
		return err;
	return swap_memory(session, memory);
}
