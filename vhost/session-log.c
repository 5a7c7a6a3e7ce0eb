/* SPDX-License-Identifier: Apache-2.0 */
/* The messages about the dirty log of live migration. */
#include <errno.h>

#include "vhost/session-handlers.h"
#include "vhost/session-state.h"

static int refuse_log(struct session *session, const struct vhost_user_log *log)
{
	return session_refuse(session,
			      "log size 0x%llx, offset 0x%llx: empty or not "
			      "within its file",
			      (unsigned long long)log->mmap_size,
			      (unsigned long long)log->mmap_offset);
}

int session_set_log_base(struct session *session, struct vhost_message *request,
			 struct vhost_message *ret_reply)
{
	const struct vhost_user_log *asked = &request->payload.log;
	struct dirty_log *log;
	uint64_t end;
	int err;

	if (request->header.size != sizeof(*asked))
		return session_refuse(session,
				      "payload size %u, not a log description",
				      request->header.size);
	err = dirty_log_new(request->fds[0], asked->mmap_offset,
			    asked->mmap_size, &log);
	if (err == -EINVAL)
		return refuse_log(session, asked);
	if (err < 0)
		return err;
	end = session->memory ? guest_memory_end(session->memory) : 0;
	if (dirty_log_end(log) < end) {
		dirty_log_unref(log);
		return session_refuse(
			session,
			"log size 0x%llx is too small for memory up to 0x%llx",
			(unsigned long long)asked->mmap_size,
			(unsigned long long)end);
	}
	session_stop_rings(session);
	if (session->log)
		dirty_log_unref(session->log);
	session->log = log;
	session_start_rings(session);
	return 0;
}

/*
 * An eventfd that may be used to tell that the log changed. Front-ends poll
 * the log, and no notice per write is worth its cost: it is closed.
 */
int session_set_log_fd(struct session *session, struct vhost_message *request,
		       struct vhost_message *ret_reply)
{
	return 0;
}
